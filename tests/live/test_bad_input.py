"""What comes from outside is refused with a clear error, or set aside and said; it never ends in a crash or in silence."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ground import Ground, start, wait_for
from host import OUTLIERCTL, OUTLIERD, Daemon
from services import Service

# C0, DEL and C1 as UTF-8, but for the newline between lines.
RAW_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")


@pytest.fixture
def daemon(ground: Ground, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """On a folder of its own, with a short warm-up; the test starts it."""
    name = re.sub(r"\W+", "-", request.node.name)[:40]
    daemon = Daemon(ground.folder / name, "detection.warm_up=5s", "state.snapshot_interval=2s")
    yield daemon
    if daemon.process is not None:
        daemon.terminate()


def test_output_that_cannot_be_written_is_a_failure_and_a_reader_that_left_is_none() -> None:
    for arguments in (["config", "defaults"], ["--version"], ["--help"]):
        with open("/dev/full", "w") as full:
            failed = subprocess.run([OUTLIERCTL, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
        assert failed.returncode == 1 and failed.stderr == "outlierctl: cannot write the output: No space left on device\n"
    reader, writer = os.pipe()
    os.close(reader)
    left = subprocess.run([OUTLIERCTL, "config", "defaults"], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=20)
    os.close(writer)
    assert left.returncode == 0 and left.stderr == ""


@pytest.mark.parametrize("program", [OUTLIERD, OUTLIERCTL, OUTLIERD.with_name("outlier-relay")], ids=lambda program: program.name)
def test_wrong_usage_is_one_line_with_the_name_of_the_program(program: Path) -> None:
    done = subprocess.run([program, "--no-such-option"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"{program.name}: ") and "--no-such-option" in done.stderr and len(done.stderr.splitlines()) == 1


BAD_CONFIGURATIONS = {
    "unknown key": ("tick: 1s\nbudgets:\n  cpu_percentage: 1\n", 3, "cpu_percentage"),
    "wrong type": ("budgets:\n  cpu_percent: plenty\n", 2, "cpu_percent"),
    "wrong shape": ("tick: 1s\ndetection: [1, 2]\n", 2, "detection"),
    "impossible value": ("# first\ntick: 0s\n", 2, "tick"),
    "unit missing": ("recorder:\n  max_size: 256MiB\n  max_age: 7\n", 3, "max_age"),
    "unknown choice": ("probes: { tasks: maybe }\n", 1, "tasks"),
    "not YAML": ("tick: 1s\nbudgets: {\n", None, ""),
}


@pytest.mark.parametrize("case", BAD_CONFIGURATIONS)
def test_a_wrong_configuration_is_refused_with_its_place(ground: Ground, case: str) -> None:
    text, line, word = BAD_CONFIGURATIONS[case]
    path = ground.folder / "bad.yaml"
    path.write_text(text)
    for command in (
        [OUTLIERD, "--config", path, "--state-dir", ground.folder / "unused", "--listen", f"unix:{ground.folder}/unused.sock"],
        [OUTLIERCTL, "config", "check", path],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        said = done.stderr + done.stdout
        assert done.returncode == 2, said
        place = rf"{re.escape(str(path))}:{line if line else '[0-9]+'}:[0-9]+"
        assert re.search(place, said), said
        assert word in said


def test_a_wrong_setting_on_the_command_line_is_refused(ground: Ground) -> None:
    done = subprocess.run(
        [OUTLIERD, "--state-dir", ground.folder / "unused", "--set", "detection.warmup=5s"], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2
    assert "warmup" in done.stderr


def spoil(path: Path) -> None:
    """Bytes in the middle and at the end are not what they were."""
    content = bytearray(path.read_bytes())
    assert len(content) > 64
    for place in range(len(content) // 2, len(content), max(1, len(content) // 40)):
        content[place] ^= 0xA5
    path.write_bytes(content)


def messages(daemon: Daemon) -> str:
    return " ".join(daemon.status()["messages"])


def test_a_damaged_model_snapshot_is_set_aside_and_said(daemon: Daemon) -> None:
    daemon.start()
    snapshot = daemon.state / "models.snapshot"
    wait_for("a snapshot", snapshot.exists, timeout=20)
    daemon.terminate()
    spoil(snapshot)
    daemon.start()
    assert "snapshot" in messages(daemon)
    assert list(daemon.state.glob("models.snapshot.damaged*")), os.listdir(daemon.state)
    ticks = int(daemon.status()["ticks"])
    wait_for("it goes on", lambda: int(daemon.status()["ticks"]) > ticks, timeout=10)


def test_what_is_kept_in_a_folder_that_is_open_to_all_is_not_for_all(daemon: Daemon) -> None:
    daemon.state.mkdir(parents=True, mode=0o755)
    daemon.start()
    wait_for("a snapshot", (daemon.state / "models.snapshot").exists, timeout=20)
    kept = [path for path in daemon.state.rglob("*") if path.is_file()]
    assert {path.name for path in kept} >= {"journal.sqlite", "models.snapshot"}
    assert not [path for path in kept if path.stat().st_mode & 0o007]


def test_a_damaged_journal_is_set_aside_with_a_new_feed_id(daemon: Daemon) -> None:
    daemon.start()
    feed_id = daemon.status()["source"]["feed_id"]
    assert daemon.terminate() == 0
    journal = daemon.state / "journal.sqlite"
    sqlite3.connect(journal).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal.write_bytes(b"this is not SQLite\n" + journal.read_bytes()[19:])
    daemon.start()
    assert daemon.status()["source"]["feed_id"] != feed_id
    assert list(daemon.state.glob("journal.sqlite.damaged*")), os.listdir(daemon.state)
    assert "journal" in messages(daemon)


def test_a_damaged_recording_is_refused_with_its_place(daemon: Daemon) -> None:
    daemon.start()
    wait_for("some ticks", lambda: int(daemon.status()["ticks"]) > 5, timeout=20)
    recording = daemon.state.parent / "good.rec"
    assert daemon.ctl_run("record", "--output", recording).returncode == 0
    assert daemon.ctl_run("replay", recording).returncode == 0
    content = bytearray(recording.read_bytes())
    content[len(content) // 2] ^= 0xA5  # one byte: whole frames follow, so it cannot be the torn tail of a crash
    recording.write_bytes(content)
    done = daemon.ctl_run("replay", recording)
    assert done.returncode == 1
    assert str(recording).encode() in done.stderr
    assert len(done.stderr.splitlines()) == 1
    other = daemon.state.parent / "other.rec"
    other.write_text("row,value\n1,2\n")
    done = daemon.ctl_run("replay", other)
    assert done.returncode == 1 and str(other).encode() in done.stderr


def test_a_recording_to_the_standard_output_goes_where_that_stands(daemon: Daemon) -> None:
    daemon.start()
    wait_for("some ticks", lambda: int(daemon.status()["ticks"]) > 5, timeout=20)
    path = daemon.state.parent / "all.rec"
    path.write_bytes(b"header")
    with path.open("ab") as file:
        done = subprocess.run([OUTLIERCTL, "--address", daemon.address, "record", "--output", "-"], stdout=file, stderr=subprocess.PIPE, timeout=20)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes().startswith(b"header") and path.stat().st_size > 1000
    path.write_bytes(path.read_bytes()[len(b"header") :])
    assert daemon.ctl_run("replay", path).returncode == 0


@pytest.fixture
def full_disk(daemon: Daemon) -> Iterator[Path]:
    """The daemon's state folder, of which a file `ballast` has taken all."""
    daemon.state.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", daemon.state], check=True)
    fill(daemon.state)
    yield daemon.state
    if daemon.process is not None:
        daemon.terminate()
    subprocess.run(["umount", "--lazy", daemon.state], check=True)


def fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(b"0" * 4096)


def test_a_disk_that_is_full_at_the_start_does_not_keep_the_host_from_being_watched(daemon: Daemon, full_disk: Path) -> None:
    daemon.start()
    told = messages(daemon)
    assert "kept in memory" in told and "make room" in told, told
    wait_for("it goes on", lambda: int(daemon.status()["ticks"]) > 3, timeout=20)
    in_memory = daemon.status()["source"]["feed_id"]
    assert list(daemon.state.parent.glob("journal-*"))
    assert daemon.terminate() == 0
    assert not list(daemon.state.parent.glob("journal-*")), "gone with it"
    (full_disk / "ballast").unlink()
    daemon.start()
    assert "kept in memory" not in messages(daemon)
    assert daemon.status()["source"]["feed_id"] != in_memory


def test_what_is_in_trouble_is_told_until_it_is_over_and_again_when_it_comes_back(daemon: Daemon, full_disk: Path) -> None:
    (full_disk / "ballast").unlink()
    daemon.start()
    for _ in range(2):
        fill(full_disk)
        wait_for("the trouble is told", lambda: "not recorded" in messages(daemon) or "kept in memory" in messages(daemon), timeout=30)
        (full_disk / "ballast").unlink()
        wait_for("and withdrawn", lambda: not daemon.status()["messages"], timeout=30)


@pytest.mark.parametrize("other", ["auto", "off"])
def test_a_probe_that_is_demanded_and_cannot_be_had_is_an_error(daemon: Daemon, other: str) -> None:
    daemon.command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *daemon.command, "--set", "probes.tasks=on", "--set", f"probes.lifecycle={other}"]
    daemon.state.parent.chmod(0o777)
    daemon.environment["HOME"] = str(daemon.state.parent)
    daemon.launch()
    assert daemon.process is not None and daemon.process.wait(20) == 1
    assert 'probes.tasks is "on" but cannot be loaded' in daemon.log_text()


def test_who_may_not_open_the_socket_is_told_whom_to_ask(daemon: Daemon) -> None:
    daemon.start()
    for command in (["status"], ["probe", "doctor"]):
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", OUTLIERCTL, "--address", daemon.address, *command],
            capture_output=True, text=True, timeout=30)  # fmt: skip
        assert done.returncode == 1 and "membership of group outlierd" in done.stderr, done.stdout + done.stderr


def test_a_damaged_segment_of_the_flight_recorder_is_not_fatal(daemon: Daemon) -> None:
    daemon.start()
    wait_for("some ticks", lambda: int(daemon.status()["ticks"]) > 5, timeout=20)
    daemon.kill()
    segments = sorted(path for path in daemon.state.rglob("*") if path.is_file() and path.suffix not in (".snapshot",) and "journal" not in path.name
                      and path.stat().st_size > 64)  # fmt: skip
    assert segments, "a recorder keeps segments in the state folder"
    spoil(segments[-1])
    daemon.start()
    ticks = int(daemon.status()["ticks"])
    wait_for("it goes on", lambda: int(daemon.status()["ticks"]) > ticks, timeout=10)


def test_a_second_instance_on_the_same_state_is_refused_and_harmless(daemon: Daemon, ground: Ground) -> None:
    daemon.start()
    second = Daemon(ground.folder / "second")
    second.command[second.command.index("--state-dir") + 1] = daemon.state
    second.launch()
    assert second.process is not None
    assert second.process.wait(timeout=10) == 1
    assert str(daemon.state) in second.log_text()
    assert daemon.serves()
    third = Daemon(ground.folder / "third").start()
    assert third.status()["source"]["feed_id"] != daemon.status()["source"]["feed_id"]
    assert third.terminate() == 0


HOSTILE_NAMES = {
    "escape sequences": b"\x1b[31mred\x1b]0;owned\x07",
    "newlines": b"two\nlines\r\tof name",
    "invalid UTF-8": b"caf\xe9\xff\xfe\x80",
    "C1 controls and bidi": "a\u009b31m\u202etxt".encode(),
    "JSON": b'","pid":1,"x":"\\',
}


def test_hostile_process_names_reach_neither_the_terminal_nor_the_parser(daemon: Daemon, ground: Ground) -> None:
    """As executable file names and as the names that processes give themselves; restarts make incidents of them."""
    services = []
    for number, raw in enumerate(HOSTILE_NAMES.values()):
        name = os.fsdecode(b"%d-" % number + raw)
        services.append(Service(ground, name, supervised=True))
    daemon.start()

    def hostile(names: set[str]) -> set[str]:
        return {name for name in names if re.match(r"\d-", name) and not name.endswith("supervisor.sh")}

    wait_for("all of them known", lambda: len(hostile(set(daemon.workloads()))) == len(services), timeout=30)
    ticks = int(daemon.status()["ticks"])
    wait_for("the kernel knows their executables", lambda: int(daemon.status()["ticks"]) > ticks + 2, timeout=10)
    for service in services:
        service.order("exit")

    def hostile_incidents() -> set[str]:
        return hostile({incident["workload"]["name"] for incident in daemon.incidents()})

    try:
        wait_for("an incident of each", lambda: len(hostile_incidents()) == len(services), timeout=30)
        some = next(incident["id"] for incident in daemon.incidents() if incident["workload"]["name"] in hostile_incidents())
        for arguments in (["workloads"], ["top", "--once"], ["incidents", "--state", "all"], ["status"], ["show", some], ["explain", some]):
            text = daemon.ctl_run(*arguments, output_format="text")
            assert text.returncode == 0, text.stderr
            assert RAW_CONTROL.search(text.stdout) is None, f"{arguments}: {RAW_CONTROL.search(text.stdout)}"
            text.stdout.decode()  # strict
            machine = daemon.ctl_run(*arguments)
            for line in machine.stdout.decode().splitlines():
                json.loads(line)
        log = daemon.log.read_bytes()
        assert RAW_CONTROL.search(log) is None, "the log holds no raw control bytes either"
    finally:
        for service in services:
            service.stop()


def test_sigterm_ends_it_within_two_seconds_and_leaves_no_socket(daemon: Daemon) -> None:
    daemon.start()
    watcher = subprocess.Popen([OUTLIERCTL, "--address", daemon.address, "watch"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)  # an open stream must not hold it up
        began = time.monotonic()
        assert daemon.terminate(timeout=5) == 0
        assert time.monotonic() - began < 2
    finally:
        watcher.kill()
        watcher.wait()
    assert not Path(daemon.address.removeprefix("unix:")).exists()


def test_a_bad_configuration_at_sighup_leaves_the_old_one_in_force(daemon: Daemon) -> None:
    daemon.state.parent.mkdir(exist_ok=True)
    path = daemon.state.parent / "outlierd.yaml"
    path.write_text("budgets: { cpu_percent: 3 }\n")
    daemon.start("--config", str(path))
    assert daemon.status()["budgets"]["cpu_percent_promised"] == 3

    path.write_text("budgets: { cpu_percent: lots }\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for("it says what is wrong", lambda: f"{path}:1:" in daemon.log_text(), timeout=5)
    assert daemon.status()["budgets"]["cpu_percent_promised"] == 3

    path.write_text("budgets: { cpu_percent: 4 }\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for("the new one is in force", lambda: daemon.status()["budgets"]["cpu_percent_promised"] == 4, timeout=5)

    path.write_text("budgets: { cpu_percent: 4 }\nrecorder: { max_age: 1d }\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for("it says what waits for a restart", lambda: "recorder: taken up at the next start" in daemon.log_text(), timeout=5)


def test_a_state_folder_that_cannot_be_written_is_one_clear_line(ground: Ground) -> None:
    blocked = ground.folder / "a-file"
    blocked.write_text("")
    done = subprocess.run(
        [OUTLIERD, "--state-dir", blocked / "state", "--listen", f"unix:{ground.folder}/x.sock"], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    assert str(blocked) in done.stderr


def test_asking_where_no_daemon_is_says_so(ground: Ground) -> None:
    done = subprocess.run([OUTLIERCTL, "--address", f"unix:{ground.folder}/nobody.sock", "status"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "nobody.sock" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", ["redacted", "none"])
def test_with_arguments_none_no_name_comes_from_a_command_line(ground: Ground, daemon: Daemon, arguments: str) -> None:
    script = ground.folder / f"secret-{arguments}.py"
    script.write_text("import time\nwhile True: time.sleep(0.1)\n")
    process = start(["/usr/bin/python3", script], stdout=subprocess.DEVNULL)
    try:
        daemon.command += ["--set", f"privacy.arguments={arguments}"]
        daemon.start()
        wait_for("workloads are named", lambda: any(name.startswith("python3") or name == script.name for name in daemon.workloads()), timeout=30)
        assert (script.name in daemon.workloads()) == (arguments == "redacted")
        recording = ground.folder / f"{arguments}.rec"
        assert daemon.ctl_run("record", "--output", recording).returncode == 0
        replayed = subprocess.run([OUTLIERCTL, "replay", recording], capture_output=True, timeout=60)
        assert replayed.returncode == 0 and (arguments == "redacted" or script.name.encode() not in replayed.stdout)
    finally:
        process.kill()
        process.wait()
