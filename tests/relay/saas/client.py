"""The handle that tests hold the server by."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .certificates import Certificate
from .vendors import VENDORS

PACKAGE = Path(__file__).resolve().parent
KEYS = {vendor.name: list(vendor.keys) for vendor in VENDORS}


class Saas:
    """Starts the server as a process of its own. Use as a context, or call `stop`."""

    def __init__(self, tls: Certificate | None = None, client_ca: Path | None = None) -> None:
        command = [sys.executable, "-m", PACKAGE.name]
        if tls is not None:
            command += ["--certificate", str(tls.certificate), "--key", str(tls.key)]
        if client_ca is not None:
            command += ["--client-ca", str(client_ca)]
        self.tls = tls
        self._process = subprocess.Popen(command, cwd=PACKAGE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server did not start: exit code {self._process.wait(10)}; its message is on standard error")
        told = json.loads(line)
        self.ports: dict[str, int] = told["ports"]
        self._control = f"http://127.0.0.1:{told['control']}/"
        self._secured = {name: tls is not None for name in self.ports}

    def __enter__(self) -> Saas:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def ask(self, operation: str, **details: Any) -> Any:
        data = json.dumps({"operation": operation} | details).encode()
        question = urllib.request.Request(self._control, data, {"Content-Type": "application/json"}, method="POST")
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(question, timeout=30) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from None

    # Where the vendors are.

    def url(self, vendor: str, path: str = "") -> str:
        return f"{'https' if self._secured[vendor] else 'http'}://127.0.0.1:{self.ports[vendor]}{path}"

    def key(self, vendor: str) -> str:
        """A key that the vendor takes, as long as none was configured."""
        return KEYS[vendor][0]

    # What goes wrong. `saas.faults.KINDS` says what each kind does and what details it takes.

    def fault(self, vendor: str, kind: str, times: int | None = None, **details: Any) -> None:
        self.ask("fault", vendor=vendor, kind=kind, times=times, **details)

    def faults(self) -> list[dict[str, Any]]:
        return self.ask("faults")

    def clear_faults(self, vendor: str | None = None) -> None:
        self.ask("clear_faults", vendor=vendor)

    def close(self, vendor: str) -> None:
        """Connections are refused, as when the vendor's host is gone."""
        self.ask("close", vendor=vendor)

    def open(self, vendor: str, tls: Certificate | None = None, client_ca: Path | None = None) -> None:
        """On the same port again, under another certificate or none."""
        self.ask(
            "open", vendor=vendor, certificate=str(tls.certificate) if tls else None, key=str(tls.key) if tls else None,
            client_ca=str(client_ca) if client_ca else None,
        )  # fmt: skip
        self._secured[vendor] = tls is not None

    def configure(self, vendor: str, **settings: Any) -> None:
        """`keys=[...]` replaces the valid ones; `rate_limit=True` holds senders to the contract's rate; others are in the vendor's file."""
        self.ask("configure", vendor=vendor, **settings)

    def clock(self, now: float | None = None, frozen: bool = False) -> float:
        """Moves the server's time (None: back to the machine's); `frozen` lets it stand there."""
        return self.ask("clock", now=now, frozen=frozen)

    def reset(self) -> None:
        self.ask("reset")

    # What was seen.

    def requests(self, vendor: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        return self.ask("requests", vendor=vendor, since=since)

    def accepted(self, vendor: str) -> list[Any]:
        """The bodies that took effect, in their order."""
        return [entry["body"] for entry in self.requests(vendor) if entry["processed"]]

    def count(self, vendor: str | None = None) -> int:
        return self.ask("count", vendor=vendor)

    def violations(self, vendor: str | None = None) -> list[dict[str, Any]]:
        return self.ask("violations", vendor=vendor)

    def state(self, vendor: str) -> Any:
        return self.ask("state", vendor=vendor)

    def wait(self, condition: Callable[[], Any], seconds: float = 20.0, what: str = "the condition") -> Any:
        """The first true value of the condition, asked again and again."""
        end = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise TimeoutError(f"{what} did not come true within {seconds} s; the last requests: {self.requests()[-3:]}")
            time.sleep(0.02)

    def wait_for_requests(self, vendor: str, count: int, seconds: float = 20.0) -> list[dict[str, Any]]:
        """All of the vendor's, once there are so many and each has its verdict."""

        def enough() -> list[dict[str, Any]] | None:
            found = self.requests(vendor)
            return found if len(found) >= count and all(entry["verdict"] for entry in found) else None

        return self.wait(enough, seconds, f"{count} requests at {vendor}")
