"""The programs under test as processes: outlier-relay, outlierctl, and a source whose changes the test writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from servers.base import free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("OUTLIER_BUILD", ROOT / "build"))
Json = dict[str, Any]


def timestamp(seconds: float) -> str:
    whole, part = divmod(round(seconds * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{part:03d}Z"


@dataclass
class Incident:
    """An incident as a source tells it, from opened to resolved; `change` gives the next thing to tell."""

    id: str
    workload: str = "billing.service"
    severity: str = "MAJOR"
    score: float = 60.0
    summary: str = ""
    onset: float = field(default_factory=time.time)
    acknowledged: bool = False
    state: str = "OPEN"
    resolved: float | None = None
    related: Sequence[str] = ()
    life: list[Json] = field(default_factory=list)
    _told_severity: str = ""

    def change(self, kind: str, at: float | None = None) -> Json:
        at = time.time() if at is None else at
        if kind == "RESOLVED":
            self.state, self.resolved = "RESOLVED", at
        if kind == "ACKNOWLEDGED":
            self.acknowledged = True
        word, detail = kind.lower(), self.summary
        if kind == "UPDATED" and self.severity != self._told_severity:
            word, detail = "severity", f"severity rose to {self.severity}"
        self._told_severity = self.severity
        self.life.append({"kind": word, "time": timestamp(at), "detail": detail})
        incident: Json = {
            "id": self.id,
            "state": self.state,
            "severity": self.severity,
            "score": self.score,
            "summary": self.summary or f"{self.workload}: CPU 80 % of a core, expected 0.4-4.2 %, higher",
            "workload": {"name": self.workload, "kind": "SYSTEMD_UNIT", "unit": self.workload, "executable": f"/usr/bin/{self.workload.split('.')[0]}"},
            "onset_time": timestamp(self.onset),
            "opened_time": timestamp(self.onset + 2),
            "updated_time": timestamp(at),
            "pattern": "STEP",
            "contributions": [
                {"signal": "process.cpu.utilization", "unit": "1", "direction": "UP", "observed": 0.8, "expected": 0.02, "lower": 0.004,
                 "upper": 0.042, "tail_probability": 1e-9},
                {"signal": "process.syscall.rate", "unit": "{call}/s", "attributes": {"syscall.class": "file"}, "direction": "UP",
                 "observed": 900, "expected": 20, "lower": 3, "upper": 80, "tail_probability": 1e-5},
            ],
            "suspects": [{"workload": {"name": "backup.service", "kind": "SYSTEMD_UNIT"}, "process": {"pid": 4242, "executable": "/usr/bin/rsync"},
                          "share": 0.7, "evidence": ["began 1 s before the onset"]}],
            "related_incident_ids": list(self.related),
            "changes": list(self.life),
            "acknowledged": self.acknowledged,
            "coverage": {"sampled_share": 1.0},
        }  # fmt: skip
        if self.resolved is not None:
            incident["resolved_time"] = timestamp(self.resolved)
        return {"kind": kind, "time": timestamp(at), "incident": incident}


class Source:
    """feed_source: the real journal and feed server."""

    def __init__(self, folder: Path, host: str = "web-1", retained_seconds: int = 30 * 86400) -> None:
        self.folder = folder
        self.host = host
        self.retained_seconds = retained_seconds
        self.address = f"unix://{folder}/feed.sock"
        self.feed_id = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Source:
        self._process = subprocess.Popen(
            [BUILD / "tests" / "feed_source", self.address, self.folder / "state", self.host, str(self.retained_seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        word, self.feed_id = self._process.stdout.readline().split()
        assert word == "feed"
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def say(self, command: str) -> int:
        """The newest sequence afterwards."""
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        word, _, rest = self._process.stdout.readline().strip().partition(" ")
        assert word == "ok", rest
        return int(rest)

    def append(self, *changes: Json) -> int:
        last = 0
        for change in changes:
            last = self.say("append " + json.dumps(change))
        return last

    def stop(self, sig: int = signal.SIGKILL) -> None:
        if self._process is None:
            return
        self._process.send_signal(sig)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None

    def wipe(self) -> None:
        for file in (self.folder / "state").iterdir():
            file.unlink()


class Plain(yaml.SafeDumper):
    """Writes out what is there twice: outlier-relay takes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class Relay:
    """outlier-relay with a configuration of the test's; state and log live in `folder`."""

    def __init__(self, folder: Path, sources: Sequence[Source], sinks: Sequence[Json], extra: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.http_port = free_port()
        self.admin = f"unix://{folder}/relay.sock"
        self.log = folder / "relay.log"
        self.configuration: Json = {
            "sources": [source.address for source in sources],
            "http": {"listen": f"127.0.0.1:{self.http_port}"},
            "sinks": list(sinks),
            **(extra or {}),
        }
        self.wrapper: Sequence[str] = ()  # runs before it on the command line, and ends by exec
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def config_file(self) -> Path:
        return self.folder / "relay.yaml"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def write_configuration(self) -> None:
        self.config_file.write_text(yaml.dump(self.configuration, Dumper=Plain, sort_keys=False))

    def command(self, *words: str | Path) -> list[str | Path]:
        return [BUILD / "bin" / "outlier-relay", "--config", self.config_file, "--state-dir", self.folder / "state", "--relay-address", self.admin, *words]

    def start(self, ready: bool = True) -> Relay:
        self.write_configuration()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([*self.wrapper, *self.command()], stderr=log)
        if ready:
            wait_for("relay ready", self.is_ready, timeout=20)
        return self

    def is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"outlier-relay ended with {self._process.returncode}: {self.log.read_text()[-2000:]}")
        try:
            return self.get("/-/ready")[0] == 200
        except OSError:
            return False

    def get(self, path: str, accept: str = "") -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", headers={"Accept": accept} if accept else {})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`setup` and `check`."""
        self.write_configuration()
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=120, check=False)

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([BUILD / "bin" / "outlierctl", "--relay-address", self.admin, *words], capture_output=True, text=True, timeout=30, check=False)

    def ctl_json(self, *words: str) -> list[Json]:
        done = self.ctl("--format", "json", *words)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def sink(self, name: str) -> Json:
        return next(sink for sink in self.ctl_json("sinks") if sink["name"] == name)

    def wait_until_delivered(self, name: str, sequence: int, timeout: float = 120) -> Json:
        """Until everything up to that sequence of the only source was dealt with; how fast is another matter."""

        def there() -> Json | None:
            sink = self.sink(name)
            return sink if sink["sources"] and int(sink["sources"][0]["sequence"]) >= sequence else None

        try:
            return wait_for(f"{name} at {sequence}", there, timeout=timeout)
        except AssertionError as late:
            raise AssertionError(f"{late}; it stands at {json.dumps(self.sink(name))}; log: {self.log.read_text()[-1500:]}") from None

    def wait_for_state(self, name: str, state: str, timeout: float = 30) -> Json:
        return wait_for(f"{name} {state}", lambda: (sink := self.sink(name)) and sink["state"] == state and sink or None, timeout=timeout)

    def send_signal(self, sig: int) -> None:
        assert self._process is not None
        self._process.send_signal(sig)

    def wait(self) -> int:
        assert self._process is not None
        code = self._process.wait(timeout=20)
        self._process = None
        return code

    def stop(self, sig: int = signal.SIGTERM) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(sig)
        return self.wait()


@dataclass
class Street:
    """One source and one relay."""

    source: Source
    folder: Path
    relay: Relay | None = None

    def carry(self, *sinks: Json, extra: Json | None = None) -> Relay:
        self.relay = Relay(self.folder / "relay", [self.source], sinks, extra)
        return self.relay

    def key_file(self, name: str, content: str) -> str:
        file = self.folder / name
        file.write_text(content + "\n")
        file.chmod(0o600)
        return str(file)

    def connected(self) -> None:
        """Until every sink follows the source: pagers are told of what opens from now on."""
        assert self.relay is not None
        relay = self.relay
        wait_for("connected", lambda: all(sink["sources"] and sink["sources"][0]["connected"] for sink in relay.ctl_json("sinks")))

    def tell(self, incident: Incident, kind: str) -> int:
        """One change, dealt with by every sink before it returns."""
        assert self.relay is not None
        relay, sequence = self.relay, self.source.append(incident.change(kind))
        for sink in relay.configuration["sinks"]:
            relay.wait_until_delivered(sink["name"], sequence)
        wait_for("nothing under way", lambda: all(sink["state"] == "DELIVERING" for sink in relay.ctl_json("sinks")))
        return sequence

    def story(self) -> Incident:
        """An incident that opens as MAJOR, becomes CRITICAL and resolves; each told to the end before the next."""
        incident = Incident("story-1")
        for kind in ("OPENED", "UPDATED", "RESOLVED"):
            if kind == "UPDATED":
                incident.severity, incident.score = "CRITICAL", 91.0
            self.tell(incident, kind)
        return incident
