"""Dynatrace: events v2, metrics ingest, OTLP; the SaaS paths, and those under /e/<environment> of an ActiveGate.

A problem lives as long as the same payload comes again before its timeout; an `endTime` closes it. UNVERIFIED: closing by
`endTime`; the shape of an answer to metrics that are taken in part; two reserved property names (dt.event.description,
dt.event.group_label); how 429 looks.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

from ..check import Map, Number, Object, Text
from ..core import Apply, Refused, Request, Route
from ..otlp import PROTOBUF, OtlpReceiver, Wants
from ..wire import Answer

OPENING = ("AVAILABILITY_EVENT", "CUSTOM_ALERT", "ERROR_EVENT", "PERFORMANCE_EVENT", "RESOURCE_CONTENTION_EVENT")
INFO = ("CUSTOM_ANNOTATION", "CUSTOM_CONFIGURATION", "CUSTOM_DEPLOYMENT", "CUSTOM_INFO", "MARKED_FOR_TERMINATION", "WARNING")
EVENT = Object(
    {
        "eventType": Text(choices=OPENING + INFO), "title": Text(low=1), "startTime": Number(1e12, 1e14, whole=True),
        "endTime": Number(1e12, 1e14, whole=True), "timeout": Number(1, whole=True), "entitySelector": Text(low=1),
        "properties": Map(Text(4096), 100, 100),
    },
    needed=("eventType", "title"),
)  # fmt: skip
RESERVED_BUT_TAKEN = ("dt.event.", "dt.davis.", "dt.entity.")
KEY = r"[a-z_][a-z0-9_\-]*(\.[a-z0-9_][a-z0-9_\-]*)*"
NUMBER = r"-?\d+(\.\d+)?([eE][+-]?\d+)?"
VALUE = r'"(?:[^"\\]|\\.)*"|[^\s,="]+'
LINE = re.compile(
    rf"(?P<key>{KEY})(?P<dims>(,{KEY}=({VALUE}))*) "
    rf"(?P<value>{NUMBER}|gauge,(({NUMBER})|(min|max|sum|count)={NUMBER}(,(min|max|sum|count)={NUMBER})*)|count,delta={NUMBER})"
    r"( (?P<time>\d{13}))?"
)


class Dynatrace(OtlpReceiver):
    name = "dynatrace"
    keys = ("dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEFGHIJKLMN01",)
    wants = Wants(media=(PROTOBUF,), monotonic_delta=True, most_attributes=50, summaries=False)
    place = r"(/e/[0-9a-z-]+)?/api/v2"
    routes = (
        Route("POST", place + "/events/ingest", "event"),
        Route("POST", place + "/metrics/ingest", "lines", media=("text/plain",), encodings=("gzip",), limit=1_000_000),
    ) + wants.routes(place + "/otlp")

    def reset(self) -> None:
        super().reset()
        self.problems: list[dict[str, Any]] = []
        self.infos: list[Any] = []
        self.lines_stored: list[str] = []

    def authenticate(self, request: Request) -> None:
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        if scheme != "Api-Token" or not token.startswith("dt0c01."):
            raise Refused(401, "Authorization must be 'Api-Token dt0c01.…'", kind="auth")
        if token not in self.valid:
            raise Refused(401, "Token Authentication failed", kind="auth", violation=False)
        request.tenant = token

    def refusal(self, refused: Refused, request: Request | None) -> Answer:
        if request is not None and request.route.handler.startswith("otlp_"):
            return super().refusal(refused, request)
        error: dict[str, Any] = {"code": refused.status, "message": str(refused)}
        if refused.kind == "schema":
            error["constraintViolations"] = [
                {"path": text.partition(" ")[0], "message": text, "parameterLocation": "PAYLOAD_BODY", "location": None}
                for text in refused.texts
            ]
        return Answer(refused.status, {"error": error}, refused.headers)

    def event(self, request: Request) -> Apply:
        request.hold_to(EVENT)
        event = request.value
        for name in event.get("properties", {}):
            if name.startswith("dt.") and not name.startswith(RESERVED_BUT_TAKEN):
                request.violate("schema", f"property {name} is reserved")
        if event.get("timeout", 15) > 360:
            request.violate("limit", f"timeout {event['timeout']} is capped at 360 minutes")
        opening, now = event["eventType"] in OPENING, request.now * 1000
        start, end = event.get("startTime", now), event.get("endTime")
        status = "OK"
        if end is not None and end < start:
            request.violate("schema", "endTime lies before startTime")
            status = "INVALID_TIMESTAMPS"
        elif start > now + 300_000 or (end or 0) > now + (300_000 if opening else 7 * 86_400_000):
            request.violate("future", f"the event is {(max(start, end or 0) - now) / 60000:.0f} minutes ahead, at most 5 are taken")
            status = "INVALID_TIMESTAMPS"
        elif start < now - (6 * 3_600_000 if opening else 30 * 86_400_000):
            status = "INVALID_TIMESTAMPS"  # too old: no violation

        def apply() -> Answer:
            told = "INVALID_METADATA" if request.refuse_items else status
            correlation = f"{zlib.crc32(json.dumps(_identity(event), sort_keys=True).encode()):016x}"
            if told == "OK":
                self._enter(request, event, correlation)
            else:
                request.effects.append("refused " + told)
            return Answer(201, {"reportCount": 1, "eventIngestResults": [{"correlationId": correlation, "status": told}]})

        return apply

    def _enter(self, request: Request, event: dict[str, Any], correlation: str) -> None:
        if event["eventType"] not in OPENING:
            self.infos.append(event)
            request.effects.append("received")
            return
        now = request.now
        self._expire()
        problem = next((item for item in self.problems if item["identity"] == correlation and item["status"] == "open"), None)
        until = now + 60 * min(event.get("timeout", 15), 360)
        ended = event.get("endTime") is not None and event["endTime"] <= now * 1000
        if problem is None and ended:
            self.infos.append(event)
            request.effects.append("nothing")
        elif problem is None:
            self.problems.append(
                {
                    "identity": correlation, "title": event["title"], "type": event["eventType"], "status": "open", "refreshed": 0,
                    "opened_at": now, "until": until, "closed_by": None, "properties": event.get("properties", {}),
                }
            )  # fmt: skip
            request.effects.append("opened")
        elif ended:
            problem.update(status="closed", closed_by="endTime", until=now)
            request.effects.append("resolved")
        else:
            problem.update(until=until, refreshed=problem["refreshed"] + 1)
            request.effects.append("refreshed")

    def _expire(self) -> None:
        for problem in self.problems:
            if problem["status"] == "open" and problem["until"] <= self.clock.now():
                problem.update(status="closed", closed_by="timeout")

    def lines(self, request: Request) -> Apply:
        lines = request.value.splitlines()
        if not any(line.strip() for line in lines):
            raise Refused(400, "no lines")
        good, invalid = [], []
        for number, line in enumerate(lines, 1):
            wrong = _wrong_line(line)
            if wrong:
                invalid.append({"line": number, "error": wrong})
                request.violate("schema", f"line {number}: {wrong}")
            elif line.strip() and not line.startswith("#"):
                good.append(line)

        def apply() -> Answer:
            count = min(request.refuse_items, len(good))
            kept = good[: len(good) - count]
            told = invalid + [{"line": lines.index(line) + 1, "error": "told to refuse some"} for line in good[len(good) - count :]]
            self.lines_stored += kept
            request.effects.append(f"stored {len(kept)} of {len(lines)}")
            error = {"code": 400, "message": f"{len(told)} invalid lines", "invalidLines": told} if told else None
            return Answer(400 if told else 202, {"linesOk": len(kept), "linesInvalid": len(told), "error": error, "warnings": None})

        return apply

    def state(self) -> Any:
        self._expire()
        return super().state() | {
            "problems": self.problems, "open": [item["title"] for item in self.problems if item["status"] == "open"], "infos": self.infos,
            "lines": self.lines_stored,
        }  # fmt: skip


def _identity(event: dict[str, Any]) -> dict[str, Any]:
    """What makes two events the same problem: all but its times."""
    return {name: value for name, value in event.items() if name not in ("startTime", "endTime", "timeout")}


def _wrong_line(line: str) -> str | None:
    if not line.strip() or line.startswith("#"):
        return None
    match = LINE.fullmatch(line)
    if not match:
        return f"not a line of metrics: {line[:80]!r}"
    if not 2 <= len(match["key"]) <= 255:
        return f"the key has {len(match['key'])} characters, 2..255 are allowed"
    if match["key"].startswith("dt."):
        return f"key {match['key']} is reserved"
    names = re.findall(rf",({KEY})=", re.sub(r'"(?:[^"\\]|\\.)*"', '""', match["dims"]))
    if len(names) > 50:
        return f"{len(names)} dimensions, at most 50 are allowed"
    return None
