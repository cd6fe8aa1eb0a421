"""A service that begins to fail as soon as it has been seen once."""

from __future__ import annotations

import time

import pytest

from ground import Ground, wait_for
from host import Daemon, Watcher
from services import Service

WITHIN = 15.0


def test_a_crash_loop_that_begins_in_the_first_second_is_told(ground: Ground, report: list[str]) -> None:
    service = Service(ground, "hasty", supervised=True)
    daemon = Daemon(ground.folder / "first-seconds", "detection.warm_up=45s")
    daemon.launch()
    wait_for("the service seen", lambda: daemon.ctl_run("status").returncode == 0 and "hasty" in daemon.workloads(), timeout=30, poll=0.02)
    if (status := daemon.status())["mode"] != "ebpf":
        pytest.skip(f"the daemon runs without BPF here: {status['messages']}")
    began = time.time()
    service.order("exit")  # every later instance ends within a millisecond of its start
    watcher = Watcher(daemon)
    try:
        told = wait_for(
            "the crash loop",
            lambda: watcher.first(lambda seen: seen.workload == "hasty" and seen.incident.get("restart", {}).get("cause") == "CRASH_LOOP"),
            timeout=WITHIN,
        )
    finally:
        watcher.stop()
        daemon.terminate()
        service.stop()
    report.append(f"crash loop from the first second: told after {told.at - began:.1f} s")
    assert told.incident["restart"]["exit_code"] == 1
