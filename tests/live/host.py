"""The daemon under test and what its users see of it, all through outlierctl."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ground import start, wait_for

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("OUTLIER_BUILD_DIR", ROOT / "build"))
OUTLIERD = BUILD / "bin/outlierd"
OUTLIERCTL = BUILD / "bin/outlierctl"
FAULT_PROGRAMS = BUILD / "tests"

Json = dict[str, Any]


def unix_time(timestamp: str) -> float:
    """Of protobuf's JSON mapping: up to nine digits of fraction, always UTC."""
    whole, _, fraction = timestamp.rstrip("Z").partition(".")
    seconds = datetime.fromisoformat(whole).replace(tzinfo=timezone.utc).timestamp()
    return seconds + float(f"0.{fraction or 0}")


def seconds_of(duration: str | None) -> float:
    return float((duration or "0s").rstrip("s"))


@dataclass(frozen=True)
class Seen:
    """One incident change as a subscriber got it."""

    at: float  # Unix time of its arrival
    line: str
    change: Json = field(compare=False)

    @property
    def sequence(self) -> int:
        return int(self.change["sequence"])

    @property
    def incident(self) -> Json:
        return self.change["incident"]

    @property
    def workload(self) -> str:
        return self.incident["workload"]["name"]


def parse_changes(text: str, at: float = 0) -> list[Seen]:
    changes = []
    for line in text.splitlines():
        answer = json.loads(line)
        if "incident" in answer:  # other lines are of other kinds, as heartbeats
            changes.append(Seen(at, line, answer))
    return changes


class Daemon:
    """outlierd on a state folder of its own. `wrapper` runs before it on the command line, as `setpriv ...`."""

    def __init__(self, folder: Path, *settings: str, wrapper: tuple[str, ...] = (), environment: dict[str, str] | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        self.state = folder / "state"
        self.address = f"unix:{folder}/sock"
        self.log = folder / "log"
        self.environment = {**os.environ, **(environment or {})}
        self.command = [*wrapper, OUTLIERD, "--state-dir", self.state, "--listen", self.address]
        for setting in settings:
            self.command += ["--set", setting]
        self.process: subprocess.Popen[Any] | None = None

    def launch(self, *more: str) -> None:
        with self.log.open("ab") as log:
            self.process = start([*self.command, *more], stdout=log, stderr=log, env=self.environment)

    def start(self, *more: str) -> Daemon:
        self.launch(*more)
        wait_for(f"outlierd serves ({self.log})", self.serves, timeout=30)
        return self

    def serves(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"outlierd ended with {self.process.returncode}:\n{self.log_text()[-4000:]}")
        return self.ctl_run("status").returncode == 0

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def terminate(self, timeout: float = 10) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        finally:
            self.process.kill()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def ctl_run(self, *arguments: str | Path, output_format: str = "json") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [OUTLIERCTL, "--address", self.address, "--format", output_format, *arguments], capture_output=True, timeout=60
        )

    def ctl(self, *arguments: str | Path) -> list[Json]:
        """Its answer, one object a line. Strict: what is not JSON fails the test."""
        done = self.ctl_run(*arguments)
        assert done.returncode == 0, f"outlierctl {arguments}: {done.returncode}: {done.stderr.decode(errors='replace')}"
        return [json.loads(line) for line in done.stdout.decode().splitlines()]

    def status(self) -> Json:
        return self.ctl("status")[0]

    def workloads(self) -> dict[str, Json]:
        """By name; where two workloads share a name the one with processes wins."""
        states = sorted(self.ctl("workloads"), key=lambda state: state["processes"])
        return {state["workload"]["name"]: state for state in states}

    def incidents(self) -> list[Json]:
        return self.ctl("incidents", "--state", "all")

    def wait_until_known(self, names: set[str], timeout: float, warm: bool = True) -> None:
        """Until all these workloads are there and have left warm-up."""
        missing: set[str] = names

        def known() -> bool:
            nonlocal missing
            states = self.workloads()
            missing = {name for name in names if name not in states or (warm and states[name]["warming_up"])}
            return not missing

        try:
            wait_for("workloads known and warm", known, timeout, poll=1)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: still missing or warming up: {sorted(missing)}") from None


class Watcher:
    """`outlierctl watch` in the background, from the first change."""

    def __init__(self, daemon: Daemon, start_after: int = 0):
        self.process = start(
            [OUTLIERCTL, "--address", daemon.address, "--format", "json", "watch", "--start-after", str(start_after)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()
        self._seen: list[Seen] = []
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith("\n"):
                return  # cut in the middle by the end of the watch
            changes = parse_changes(line, time.time())
            with self._lock:
                self._seen += changes

    def seen(self) -> list[Seen]:
        with self._lock:
            return list(self._seen)

    def of(self, workload: str) -> Iterator[Seen]:
        return (change for change in self.seen() if change.workload == workload)

    def first(self, condition: Callable[[Seen], bool]) -> Seen | None:
        return next((change for change in self.seen() if condition(change)), None)

    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> list[Seen]:
        self.process.kill()
        self.process.wait()
        self._thread.join()
        return self.seen()
