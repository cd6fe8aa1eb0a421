"""Runs in the guest (see run): a daemon, and three services in memory cgroups of version 2 that run out of memory.

    session.py RESULTS [--no-kernel-tests]

RESULTS gets the recording, the daemon's log, the logs of the kernel tests, and the file `passed` when all is as it should be.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "live"))

from faults import Fault, Finding, await_resolutions, inject, table  # noqa: E402
from ground import MEMORY_CGROUPS, Ground  # noqa: E402
from host import FAULT_PROGRAMS, OUTLIERD, Daemon, Json, Watcher  # noqa: E402
from services import Service  # noqa: E402

WARM_UP = 15
LIMIT = 64 << 20
APART = 8.0  # seconds between two faults, so that nobody can mistake one for another
KERNEL_TESTS = (
    "kernel_abi_test", "kernel_accounting_test", "kernel_lifecycle_test", "kernel_syscall_test", "kernel_probe_conformance_test",
)  # fmt: skip

complaints: list[str] = []


def say(text: str) -> None:
    print(text, flush=True)


def demand(holds: bool, what: str) -> None:
    if not holds:
        complaints.append(what)


def container(name: str, pod: str) -> tuple[str, str]:
    """The cgroup that a kubelet gives a container (systemd driver), and the workload's name."""
    container_id = hashlib.sha256(name.encode()).hexdigest()
    slice_name = f"kubepods-burstable-pod{pod.replace('-', '_')}.slice"
    path = f"kubepods.slice/kubepods-burstable.slice/{slice_name}/cri-containerd-{container_id}.scope"
    return path, f"{pod[:8]}/{container_id[:12]}"


def is_a(kind: str, **identity: str) -> Callable[[Json], str | None]:
    def wrong(incident: Json) -> str | None:
        workload = incident["workload"]
        if any(workload[field] != value for field, value in {"kind": kind, **identity}.items()):
            return f"workload {workload}"
        return None

    return wrong


def probes_work() -> None:
    done = subprocess.run([OUTLIERD, "--probe-doctor"], capture_output=True, text=True)
    say(done.stdout.rstrip())
    demand(done.returncode == 0, f"--probe-doctor: exit status {done.returncode}: {done.stderr}")
    done = subprocess.run([OUTLIERD, "--probe-doctor", "--format", "json"], capture_output=True, text=True)
    states = {probe["name"]: probe["state"] for probe in map(json.loads, done.stdout.splitlines())}
    demand(bool(states) and set(states.values()) == {"ON"}, f"--probe-doctor: {done.stdout}")


def oom_session(results: Path) -> list[Finding]:
    ground = Ground()
    daemon = Daemon(ground.folder / "session", f"detection.warm_up={WARM_UP}s")
    try:
        return watched_faults(ground, daemon, results)
    finally:
        (results / "outlierd.log").write_text(daemon.log_text())


def watched_faults(ground: Ground, daemon: Daemon, results: Path) -> list[Finding]:
    shop_path, shop_name = container("shop", "0e1d2c3b-4a59-6877-8695-a4b3c2d1e0f0")
    pool_path, pool_name = container("pool", "5f6e7d8c-9b0a-4192-83a4-b5c6d7e8f901")
    unit = MEMORY_CGROUPS.make("system.slice/oomer.service", LIMIT)
    shop = MEMORY_CGROUPS.make(shop_path, LIMIT)
    pool = MEMORY_CGROUPS.make(pool_path, LIMIT)
    (pool / "memory.oom.group").write_text("1")  # as kubelets since 1.28 do: who is in it ends together
    services = {
        "oomer.service": Service(ground, "oomer", cgroup=unit, supervised=True),
        shop_name: Service(ground, "shop", cgroup=shop),
        pool_name: Service(ground, "pool", cgroup=pool, supervised=True),
    }
    daemon.start()
    watcher = Watcher(daemon)
    daemon.wait_until_known(set(services), timeout=8 * WARM_UP)
    status = daemon.status()
    demand(status["mode"] == "ebpf", f"mode {status['mode']}: {status['messages']}")

    def fault(name: str, workload: str, mode: str, cause: str, wrong: Callable[[Json], str | None]) -> Fault:
        return Fault(name, workload, begin=lambda: services[workload].order(mode, lasting=False), end=lambda: None, within=10,
                     signals=("workload.restarts", "workload.exits"), cause=cause, wrong=wrong)  # fmt: skip

    findings = inject(
        [
            fault("service", "oomer.service", "grow", "OUT_OF_MEMORY", is_a("SYSTEMD_UNIT", unit="oomer.service")),
            fault("child under living parent", shop_name, "grow-child", "CHILD_OUT_OF_MEMORY", is_a("CONTAINER")),
            fault("child, all end together", pool_name, "grow-child", "OUT_OF_MEMORY", is_a("CONTAINER")),
        ],
        watcher,
        apart=APART,
    )
    await_resolutions(findings, watcher)
    demand(services[shop_name].process.poll() is None, "the parent did not outlive its child")
    for name in ("oomer.service", pool_name):
        demand(int(daemon.workloads()[name]["restarts"]) == 1, f"{name} was not restarted once")
    for cgroup in (unit, shop, pool):  # the kernel's own word
        events = dict(line.split() for line in (cgroup / "memory.events").read_text().splitlines())
        say(f"{cgroup.name[:24]}: memory.events oom {events['oom']}, oom_kill {events['oom_kill']}")
        demand(int(events["oom_kill"]) > 0, f"nothing was killed in {cgroup}")
    for finding in findings:
        if finding.incident_id is not None:
            incident = daemon.ctl("show", finding.incident_id)[0]
            say(f"{incident['workload']['name']}: {incident['summary']}")
            demand(incident["restart"]["cause"] == finding.fault.cause, f"show: {json.dumps(incident)}")
    recording = daemon.ctl_run("record", "--output", results / "session.rec")
    demand(recording.returncode == 0, f"record: {recording.stderr.decode(errors='replace')}")
    losses = {loss["name"]: loss["count"] for loss in daemon.status()["losses"] if loss["count"] != "0"}
    say(f"losses: {losses or 'none'}")
    for seen in watcher.stop():
        say(f"  {seen.change['kind']:<9} {seen.incident['workload']['name']}: {seen.incident['summary']}")
    daemon.terminate(timeout=60)
    return findings


def kernel_tests(results: Path) -> None:
    for name in KERNEL_TESTS:
        done = subprocess.run([FAULT_PROGRAMS / name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text = done.stdout.decode(errors="replace")
        (results / f"{name}.log").write_text(text)
        outcome = [line for line in text.splitlines() if line.startswith(("[  PASSED", "[  SKIPPED", "[  FAILED"))]
        say(f"{name}: exit status {done.returncode}")
        for line in outcome:
            say(f"  {line}")
        demand(done.returncode == 0, f"{name} failed")


def main() -> int:
    results, options = Path(sys.argv[1]), sys.argv[2:]
    system = os.uname()
    say(f"kernel {system.release} ({system.version})")
    demand(MEMORY_CGROUPS is not None and MEMORY_CGROUPS.limit == "memory.max", f"no memory controller of version 2: {MEMORY_CGROUPS}")
    if not complaints:
        probes_work()
        findings = oom_session(results)
        say("\n".join(table(findings)))
        for finding in findings:
            name = finding.fault.name
            demand(finding.found_in_time(), f"{name}: found after {finding.found_after} s; until then: {finding.complaints}")
            demand(finding.wrong_at_end is None, f"{name}: {finding.wrong_at_end}")
            demand(finding.resolved_after is not None, f"{name}: not resolved")
    if "--no-kernel-tests" not in options:
        kernel_tests(results)
    for complaint in complaints:
        say(f"WRONG: {complaint}")
    if not complaints:
        (results / "passed").touch()
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
