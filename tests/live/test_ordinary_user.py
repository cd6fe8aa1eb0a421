"""Without root the daemon goes on with what /proc gives, says what it cannot see, and still finds what that is enough for."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from ground import Ground, wait_for
from host import Daemon, Watcher
from services import Service

NOBODY = 65534
WARM_UP = 15


@pytest.fixture(scope="module")
def services(ground: Ground) -> Iterator[dict[str, Service]]:
    services = [Service(ground, "burner"), Service(ground, "crasher", supervised=True), Service(ground, "steady")]
    yield {service.name: service for service in services}
    for service in services:
        service.stop()


@pytest.fixture(scope="module")
def daemon(ground: Ground, services: dict[str, Service]) -> Iterator[Daemon]:
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv to become an ordinary user with")
    folder = ground.folder / "ordinary"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    # A change of user clears the death signal: setpriv sets it anew.
    wrapper = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", "--pdeathsig=KILL")
    daemon = Daemon(folder, f"detection.warm_up={WARM_UP}s", wrapper=wrapper, environment={"HOME": str(folder)}).start()
    daemon.wait_until_known(set(services), timeout=4 * WARM_UP)
    yield daemon
    daemon.terminate()


def test_it_says_that_it_runs_without_bpf_and_what_is_lost(daemon: Daemon) -> None:
    status = daemon.status()
    assert status["mode"] == "proc"
    assert status["messages"]
    missing = {probe["name"]: probe for probe in status["probes"] if probe["state"] != "ON"}
    assert missing and all(probe["reason"] and probe["blind_to"] for probe in missing.values())


def starts_not_seen(daemon: Daemon) -> int:
    return next(int(loss["count"]) for loss in daemon.status()["losses"] if loss["name"] == "starts_not_seen")


def test_what_lives_shorter_than_a_tick_is_counted_and_said(daemon: Daemon) -> None:
    assert any("live less than one tick" in message for message in daemon.status()["messages"])
    before = starts_not_seen(daemon)
    for _ in range(200):
        subprocess.run(["true"], check=True)
    wait_for("200 starts counted", lambda: starts_not_seen(daemon) >= before + 190, timeout=5)  # a look may fall into some


def test_it_finds_a_cpu_burn_and_a_restart(daemon: Daemon, services: dict[str, Service]) -> None:
    watcher = Watcher(daemon)
    services["burner"].order("burn")
    # One that comes back: an instance that lives shorter than a tick is what /proc cannot show.
    services["crasher"].order("exit", lasting=False)
    try:
        wait_for(
            "the burn",
            lambda: watcher.first(
                lambda seen: seen.workload == "burner" and seen.incident["contributions"][0]["signal"] == "process.cpu.utilization"
            ),
            timeout=20,
        )
        wait_for("the restart", lambda: int(daemon.workloads()["crasher"]["restarts"]) == 1, timeout=20)
    finally:
        services["burner"].order("healthy")
        watcher.stop()


def test_without_a_state_folder_it_uses_the_users_own(ground: Ground, services: dict[str, Service]) -> None:
    home = ground.folder / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    runtime = home / "runtime"
    runtime.mkdir()
    os.chown(runtime, NOBODY, NOBODY)
    wrapper = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--pdeathsig=KILL")
    environment = {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime), "XDG_STATE_HOME": str(home / "state")}
    daemon = Daemon(ground.folder / "xdg", wrapper=wrapper, environment=environment)
    daemon.command = [*wrapper, daemon.command[len(wrapper)]]
    daemon.launch()
    try:
        wait_for("the journal in the user's folder", lambda: list((home / "state").rglob("journal.sqlite")), timeout=20)
        wait_for("the socket in the user's folder", lambda: [path for path in runtime.rglob("*") if path.is_socket()], timeout=20)
    finally:
        assert daemon.terminate() == 0
