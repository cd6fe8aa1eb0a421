"""One daemon, one long session: learn, see nothing in healthy noise, find every fault, account for every nanosecond of a fork storm, and
replay all of it from its recording."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from accounting import HOST_CPU, Balance, measure
from faults import Fault, Finding, await_resolutions, inject, leak_is_quantified, table
from ground import MEMORY_CGROUPS, Ground, start
from host import FAULT_PROGRAMS, Daemon, Json, Watcher, parse_changes, unix_time
from services import Script, Service, SlowFileSystem, install

WARM_UP = 45
NOISE_SECONDS = 180
STORM_SECONDS = 60
OOM_LIMIT = 64 << 20
VICTIM_BUSY_MS = 40

FAULT_NAMES = (
    "leak", "crash loop", "out of memory", "child out of memory", "slow file system", "missing files", "silence",
    "burn", "thief", "fork storm",
)  # fmt: skip


@dataclass
class Session:
    ground: Ground
    daemon: Daemon
    watcher: Watcher
    services: dict[str, Service]
    scripts: dict[str, Script]
    file_system: SlowFileSystem | None

    def own_workloads(self) -> set[str]:
        return {*self.services, *self.scripts, *(f"{name}-supervisor.sh" for name in ("crasher", "oomer"))}


def start_services(ground: Ground, file_system: SlowFileSystem | None) -> dict[str, Service]:
    last_core = os.cpu_count() - 1
    services = [
        Service(ground, "steady"),
        Service(ground, "burner"),
        Service(ground, "leaker"),
        Service(ground, "crasher", supervised=True),
        Service(ground, "misser"),
        Service(ground, "hanger"),
        Service(ground, "victim", "--core", str(last_core), "--busy-ms", str(VICTIM_BUSY_MS)),
        Service(ground, "thief", "--core", str(last_core)),
    ]
    if MEMORY_CGROUPS is not None:
        services.append(Service(ground, "oomer", supervised=True, memory_limit=OOM_LIMIT))
        services.append(Service(ground, "nursery", memory_limit=OOM_LIMIT))
    if file_system is not None:
        services.append(Service(ground, "reader", "--read", file_system.file))
    return {service.name: service for service in services}


@pytest.fixture(scope="module")
def session(ground: Ground) -> Iterator[Session]:
    fuse = Path("/dev/fuse").exists() and (FAULT_PROGRAMS / "slow_fs").exists()
    file_system = SlowFileSystem(ground) if fuse else None
    services = start_services(ground, file_system)
    scripts = {name: Script(ground, name) for name in ("storm.sh", "noise.sh")}
    daemon = Daemon(ground.folder / "session", f"detection.warm_up={WARM_UP}s", "state.snapshot_interval=30s").start()
    watcher = Watcher(daemon)
    session = Session(ground, daemon, watcher, services, scripts, file_system)
    daemon.wait_until_known(session.own_workloads(), timeout=2 * WARM_UP)
    yield session
    watcher.stop()
    daemon.terminate()


def needs_ebpf(session: Session) -> None:
    status = session.daemon.status()
    if status["mode"] != "ebpf":
        pytest.skip(f"the daemon runs without BPF here: {status['messages']}")


def told(change: Json) -> str:
    incident = change["incident"]
    first = incident["contributions"][0]["signal"] if incident["contributions"] else "nothing"
    return f"{incident['workload']['name']}: {incident['summary']} [{incident['pattern']}, {first}]"


def test_healthy_noise_raises_no_incident_of_the_tests_own_workloads(session: Session, report: list[str]) -> None:
    time.sleep(NOISE_SECONDS)  # nothing is awaited here: it is the absence over this time that counts
    assert not session.watcher.ended()
    opened = [seen for seen in session.watcher.seen() if seen.change["kind"] == "OPENED"]
    own = [told(seen.change) for seen in opened if seen.workload in session.own_workloads()]
    others = [told(seen.change) for seen in opened if seen.workload not in session.own_workloads()]
    report.append(f"healthy noise, warm-up + {NOISE_SECONDS} s: {len(own)} incidents of own workloads, {len(others)} of others")
    report.extend(f"  {line}" for line in own + others)
    assert own == []


def thief_is_named(thief: Service) -> Callable[[Json], str | None]:
    def wrong(incident: Json) -> str | None:
        suspects = incident["suspects"]
        if not suspects:
            return "no suspects"
        first = suspects[0]
        if first["workload"]["name"] != "thief" or first["process"]["pid"] != thief.pid:
            return f"suspect {first['workload']['name']} {first['process']}"
        return None if first["evidence"] else "no evidence"

    return wrong


def faults_of(session: Session) -> tuple[list[Fault], list[Fault]]:
    """Those that leave one another alone, and those that take a core."""
    services, scripts, file_system = session.services, session.scripts, session.file_system

    def orders(name: str, mode: str, end: str | None = "healthy", lasting: bool = True):
        service = services[name]
        return {
            "begin": lambda: service.order(mode, lasting),
            "end": (lambda: service.order(end)) if end else (lambda: None),
        }

    restart_signals = ("workload.restarts", "workload.exits")
    gentle = [
        Fault("leak", "leaker", **orders("leaker", "leak"), within=60, onset_within=30, patterns=("DRIFT",),
              signals=("process.memory.",), wrong=leak_is_quantified),
        Fault("crash loop", "crasher", **orders("crasher", "exit"), within=15, signals=restart_signals, cause="CRASH_LOOP",
              wrong=lambda incident: None if incident["restart"]["exit_code"] == 1 else f"restart {incident['restart']}"),
        Fault("missing files", "misser", **orders("misser", "missing"), within=10, signals=("process.syscall.errors",)),
        Fault("silence", "hanger", **orders("hanger", "hang"), within=20, patterns=("SILENCE",), direction="DOWN",
              signals=("process.", "workload.")),
    ]  # fmt: skip
    if "oomer" in services:
        gentle += [
            Fault("out of memory", "oomer", **orders("oomer", "grow", end=None, lasting=False), within=10, signals=restart_signals,
                  cause="OUT_OF_MEMORY"),
            Fault("child out of memory", "nursery", **orders("nursery", "grow-child", end=None), within=10,
                  signals=restart_signals, cause="CHILD_OUT_OF_MEMORY"),
        ]  # fmt: skip
    if file_system is not None:
        gentle.append(
            Fault("slow file system", "reader", begin=lambda: file_system.delay(50), end=lambda: file_system.delay(0), within=15,
                  patterns=("SHAPE", "STEP"), signals=("process.syscall.duration",), attributes={"syscall.class": "file"})
        )  # fmt: skip
    storm = scripts["storm.sh"]
    greedy = [
        Fault("thief", "victim", **orders("thief", "burn"), within=15, signals=("process.cpu.run_delay",),
              wrong=thief_is_named(services["thief"])),
        Fault("burn", "burner", **orders("burner", "burn"), within=10, patterns=("STEP",), signals=("process.cpu.utilization",)),
        Fault("fork storm", "storm.sh", begin=lambda: storm.order("storm"), end=lambda: storm.order("healthy"), within=10,
              signals=("workload.process.started",)),
    ]  # fmt: skip
    return gentle, greedy


@pytest.fixture(scope="module")
def findings(session: Session, report: list[str]) -> dict[str, Finding]:
    needs_ebpf(session)
    session.scripts["noise.sh"].stop()
    gentle, greedy = faults_of(session)
    all_findings = inject(gentle, session.watcher)
    for fault in greedy:
        all_findings += inject([fault], session.watcher, apart=0)
        time.sleep(5)  # so that the next one begins on a host at rest
    await_resolutions(all_findings, session.watcher)
    report.extend(table(all_findings))
    hurt = {finding.fault.workload for finding in all_findings}
    since = min(finding.began for finding in all_findings)
    bystanders = [told(seen.change) for seen in session.watcher.seen()
                  if seen.change["kind"] == "OPENED" and seen.at > since and seen.workload not in hurt]  # fmt: skip
    report.append(f"incidents of other workloads during the faults: {len(bystanders)}")
    report.extend(f"  {line}" for line in bystanders)
    return {finding.fault.name: finding for finding in all_findings}


@pytest.mark.parametrize("name", FAULT_NAMES)
def test_a_fault_is_found_in_time_told_rightly_and_resolves(findings: dict[str, Finding], name: str) -> None:
    if name not in findings:
        pytest.skip(f"{name}: this kernel has no memory cgroups or no FUSE")
    finding = findings[name]
    assert finding.found_in_time(), (
        f"found after {finding.found_after} s, limit {finding.fault.within:g} s; opened after {finding.opened_after} s;"
        f" until then: {finding.complaints or 'nothing was told'}"
    )
    assert finding.wrong_at_end is None
    assert finding.resolved_after is not None, "was not resolved within two minutes of its end"


def test_every_nanosecond_and_process_of_a_fork_storm_is_accounted_for(session: Session, ground: Ground, report: list[str]) -> None:
    needs_ebpf(session)
    storm = start(
        [install(ground, FAULT_PROGRAMS / "fork_storm", "fork_storm"), str(STORM_SECONDS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    # Known first: what a process starts before anybody looked at it counts for its parent.
    session.daemon.wait_until_known({"fork_storm"}, timeout=20, warm=False)
    time.sleep(3)
    before = measure(session.daemon)
    storm.stdin.write("go\n")
    storm.stdin.flush()
    started = int(storm.stdout.readline())
    time.sleep(3)  # the kernel frees the last processes up to a tick after their end
    after = measure(session.daemon)
    storm.stdin.close()
    storm.wait()
    balance = Balance(before, after)
    mine = balance.of("fork_storm")
    report.append(
        f"fork storm: {started / STORM_SECONDS:.0f} starts/s; host {balance.host_seconds:.3f} s of CPU by {HOST_CPU.source}, workloads"
        f" {balance.accounted_seconds:.3f} s ({100 * balance.error:+.3f} %), unattributed {100 * balance.unattributed_share:.3f} %;"
        f" starts counted {mine['started']} of {started}; workloads {balance.workloads_before} -> {balance.workloads_after};"
        f" losses {balance.losses}"
    )
    assert started > 100 * STORM_SECONDS, "this was no storm"
    assert abs(balance.error) < HOST_CPU.tolerance
    assert balance.unattributed_share < 0.01
    assert balance.imbalance() == []
    assert balance.workloads_after <= balance.workloads_before + 2, "whoever else came meanwhile"
    lost = sum(balance.losses.values())
    assert abs(mine["started"] - started) <= lost, "its workers and their children, nothing else"


def without_sequence(line: str) -> str:
    return re.sub(r'"sequence":\s*"\d+"', '"sequence":"0"', line)


def replayed(session: Session, recording: Path, *options: str) -> list[str]:
    done = session.daemon.ctl_run("replay", recording, *options)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return [without_sequence(seen.line) for seen in parse_changes(done.stdout.decode())]


@pytest.fixture(scope="module")
def recordings(session: Session) -> tuple[Path, Path, list[str], list[float]]:
    """The whole session and its last minute; what the subscriber saw by then."""
    whole, tail = session.ground.folder / "whole.rec", session.ground.folder / "tail.rec"
    session.services["crasher"].order("exit")  # so that the last minute holds changes
    time.sleep(8)
    session.services["crasher"].order("healthy")
    assert list(session.watcher.of("crasher")), "there is something to compare"
    for path, since in ((whole, []), (tail, ["--since", "60s"])):
        done = session.daemon.ctl_run("record", *since, "--output", path)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
    if keep := os.environ.get("OUTLIER_KEEP_RECORDING"):  # what a session missed is found out by replaying it
        shutil.copy(whole, keep)
    time.sleep(3)
    seen = session.watcher.seen()
    return whole, tail, [without_sequence(change.line) for change in seen], [unix_time(change.change["time"]) for change in seen]


def common_prefix(replay: list[str], live: list[str], times: list[float], recorded_at: float) -> list[str]:
    """The recording ends before the subscriber stopped listening: only changes from after it may be missing."""
    assert all(time_of > recorded_at - 3 for time_of in times[len(replay) :]), f"{len(replay)} changes replayed, {len(live)} seen live"
    return live[: len(replay)]


@pytest.mark.parametrize("options", [(), ("--batch", "7")], ids=["tick by tick", "in batches of 7"])
def test_replaying_the_whole_session_gives_the_same_bytes(session: Session, recordings, report: list[str], options) -> None:
    whole, _, live, times = recordings
    began = time.time()
    replay = replayed(session, whole, *options)
    report.append(f"replay {' '.join(options)}: {len(replay)} changes, {whole.stat().st_size >> 10} KiB, {time.time() - began:.1f} s")
    assert replay == common_prefix(replay, live, times, whole.stat().st_mtime)


def test_replaying_from_the_middle_gives_the_same_bytes_from_there_on(session: Session, recordings) -> None:
    _, tail, live, times = recordings
    replay = replayed(session, tail)
    assert replay, "the last minute held changes"
    first = live.index(replay[0])
    assert first == 0 or times[first - 1] < tail.stat().st_mtime - 50, "it reaches back a minute"
    assert replay == common_prefix(replay, live[first:], times[first:], tail.stat().st_mtime)
