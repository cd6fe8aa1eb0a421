"""A sink of outlier-relay without the relay: its requests are sent here, and what the server answers goes back to it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pytest
from servers.rest import Answer, Rest

PROGRAM = Path(__file__).resolve().parents[2] / "build" / "tests" / "sink_driver"
Json = dict[str, Any]
Finding = str | Json  # the name of an example, or an IncidentChange


class SinkDriver:
    """See tests/sinks/sink_driver.cc."""

    def __init__(self, config: Json, rest: Rest) -> None:
        if not PROGRAM.exists():
            reason = f"{PROGRAM} is not built"
            pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
        self._rest = rest
        self._process = subprocess.Popen([PROGRAM, json.dumps(config)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def do(self, what: str, **more: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the sink ended at {what}"
        return json.loads(line)

    def send(self, request: Json) -> Answer:
        """As the relay would: gzip where the request allows it."""
        parts = urllib.parse.urlsplit(request["url"])
        headers = dict(request["headers"])
        body: bytes | None = base64.b64decode(request["body"])
        if request["compress"]:
            body = gzip.compress(body or b"", 1)
            headers["Content-Encoding"] = "gzip"
        if request["method"] == "GET":
            body = None
        return self._rest.request(request["method"], f"{parts.path}?{parts.query}" if parts.query else parts.path, body, headers)

    def prepare(self) -> list[Json]:
        """Until nothing is to be asked, or the sink is put off; the outcomes."""
        outcomes: list[Json] = []
        while preparation := self.do("prepare"):
            outcomes.append(self.do("prepared", response=as_json(self.send(preparation["request"]))))
            if outcomes[-1]["kind"] != "items":
                break
            assert len(outcomes) < 5, "it asks again and again"
        return outcomes

    def deliver(self, *findings: Finding) -> Json:
        """The outcome of one batch."""
        request = self.do("encode", findings=list(findings))
        assert "error" not in request, request
        return self.do("judge", findings=list(findings), response=as_json(self.send(request)))

    def deliver_samples(self, name: str) -> list[Json]:
        requests = self.do("samples", of=name)["requests"]
        return [self.do("judge_samples", response=as_json(self.send(request))) for request in requests]

    def set_up(self) -> list[tuple[Json, Answer]]:
        return [(step, self.send(step["request"])) for step in self.do("setup")["steps"]]


def as_json(answer: Answer) -> Json:
    return {"status": answer.status, "headers": dict(answer.headers), "body": base64.b64encode(answer.body).decode()}


def all_delivered(outcome: Json) -> bool:
    return bool(outcome["kind"] == "items" and all(item == "delivered" for item in outcome["items"]))


def undelivered(outcome: Json) -> Sequence[str]:
    """What to show where all_delivered() fails."""
    return [outcome["reason"], *filter(None, outcome["reasons"]), outcome["warning"]]
