"""Datadog: events v1 and v2, metrics v2, service checks, the check of a key, OTLP.

UNVERIFIED: that intake of events v2 needs no application key; the text of errors; what 202 with errors means in metrics; the
path of OTLP metrics on newer sites; the fields of service checks. Not here though valid there: zstd, which is answered 415, and events of
category `change`, whose fields the contract does not give.
"""

from __future__ import annotations

from typing import Any

from ..check import Any_, Link, List, Map, Number, Object, Text, Time, rfc3339
from ..core import AlertBook, Apply, Refused, Request, Route
from ..otlp import OtlpReceiver, Wants
from ..wire import Answer

MAX_SENT, MAX_INFLATED = 512_000, 5_242_880
OLDEST_EVENT = 18 * 3600.0
EVENT_V1 = Object(
    {
        "title": Text(low=1), "text": Text(4000, 1), "aggregation_key": Text(100, 1),
        "alert_type": Text(choices=("error", "warning", "info", "success", "user_update", "recommendation", "snapshot")),
        "date_happened": Number(0, 1e11, whole=True), "priority": Text(choices=("normal", "low")), "host": Text(),
        "tags": List(Text(low=1)),
        "device_name": Text(), "source_type_name": Text(), "related_event_id": Number(0, whole=True),
    },
    needed=("title", "text"),
)  # fmt: skip
EVENT_V2 = Object(
    {
        "data": Object(
            {
                "type": Text(choices=("event",)),
                "attributes": Object(
                    {
                        "category": Text(choices=("alert",)), "title": Text(500, 1), "message": Text(4000, 1), "host": Text(255, 1),
                        "tags": List(Text(200, 1), 100, 1), "aggregation_key": Text(100, 1), "timestamp": Time(),
                        "integration_id": Text(choices=("custom-events",)),
                        "attributes": Object(
                            {
                                "status": Text(choices=("error", "warn", "ok")), "priority": Text(choices=("1", "2", "3", "4", "5")),
                                "custom": Map(Any_(), 100, depth=10),
                                "links": List(
                                    Object(
                                        {
                                            "category": Text(choices=("runbook", "documentation", "dashboard", "resource")), "url": Link(),
                                            "title": Text(300, 1),
                                        },
                                        needed=("category", "url"),
                                    ),
                                    20, 1,
                                ),
                            },
                            needed=("status",),
                        ),
                    },
                    needed=("category", "title", "attributes"),
                ),
            },
            needed=("type", "attributes"),
        )
    },
    needed=("data",),
)  # fmt: skip
SERIES = Object(
    {
        "series": List(
            Object(
                {
                    "metric": Text(200, 1, pattern=r"[A-Za-z][A-Za-z0-9_.]*"), "type": Number(choices=(0, 1, 2, 3), whole=True),
                    "unit": Text(),
                    "interval": Number(0, whole=True),
                    "points": List(Object({"timestamp": Number(0, 1e11, whole=True), "value": Number()}, needed=("timestamp", "value")),
                    low=1),
                    "resources": List(Object({"type": Text(low=1), "name": Text(low=1)}, needed=("type", "name"))), "tags": List(Text(200,
                    1)),
                    "source_type_name": Text(), "metadata": Map(Any_()),
                },
                needed=("metric", "points"),
            ),
            low=1,
        )
    },
    needed=("series",),
)  # fmt: skip
CHECK = Object(
    {
        "check": Text(low=1), "host_name": Text(low=1), "status": Number(choices=(0, 1, 2, 3), whole=True), "tags": List(Text(low=1)),
        "message": Text(500), "timestamp": Number(0, 1e11, whole=True),
    },
    needed=("check", "host_name", "status", "tags"),
)  # fmt: skip


class Datadog(OtlpReceiver):
    name = "datadog"
    keys = ("0123456789abcdef0123456789abcdef",)
    wants = Wants(limit=MAX_SENT, inflated_limit=MAX_INFLATED, delta_only=True)
    routes = (
        Route("POST", "/api/v1/events", "event_v1"),
        Route("POST", "/api/v2/events", "event_v2"),
        Route("POST", "/api/v2/series", "series", encodings=("gzip", "deflate"), limit=MAX_SENT, inflated_limit=MAX_INFLATED),
        Route("POST", "/api/v1/check_run", "check_run"),
        Route("GET", "/api/v1/validate", "validate", media=()),
        Route("POST", "/api/v2/logs", "otlp_logs", media=("application/x-protobuf",), encodings=("gzip",), limit=MAX_SENT,
        inflated_limit=MAX_INFLATED),
    ) + wants.routes("/api/intake/otlp", ("metrics",))  # fmt: skip

    def reset(self) -> None:
        super().reset()
        self.book = AlertBook(self.clock)
        self.plain_events: list[Any] = []
        self.series_stored: dict[str, dict[str, Any]] = {}
        self.checks: list[Any] = []

    def authenticate(self, request: Request) -> None:
        key = request.header("dd-api-key")
        if not key:
            raise Refused(403, "Forbidden: DD-API-KEY is missing", kind="auth")
        if key not in self.valid:
            raise Refused(403, "Forbidden", kind="auth", violation=False)
        if request.route.pattern == "/api/v2/logs" and request.header("dd-protocol") != "otlp":
            raise Refused(400, "dd-protocol: otlp is missing", kind="header")
        request.tenant = key

    def refusal(self, refused: Refused, request: Request | None) -> Answer:
        if request is not None and request.route.handler.startswith("otlp_"):
            return super().refusal(refused, request)
        return Answer(refused.status, {"errors": refused.texts}, refused.headers)

    def throttle(self, retry_after: float | str | None) -> Answer:
        """X-RateLimit-Reset, not Retry-After."""
        headers = {"X-RateLimit-Limit": "100", "X-RateLimit-Period": "60", "X-RateLimit-Remaining": "0"}
        if retry_after is not None:
            headers["X-RateLimit-Reset"] = str(int(float(retry_after)))
        return Answer(429, {"errors": ["Rate limit of 100 requests in 60 seconds reached."]}, headers)

    def _age(self, stamp: float, request: Request) -> None:
        if request.now - stamp > OLDEST_EVENT:
            raise Refused(
                400, f"the event is {(request.now - stamp) / 3600:.1f} h old, at most 18 h are taken", kind="age", violation=False
            )

    def event_v1(self, request: Request) -> Apply:
        request.hold_to(EVENT_V1)
        event = request.value
        self._age(event.get("date_happened", request.now), request)

        def apply() -> Answer:
            number = 8_000_000 + len(self.plain_events) + len(self.book.effects)
            self._enter(request, event, event.get("alert_type", "info"), event["title"])
            url = f"/event/event?id={number}"
            told = {"id": number, "id_str": str(number), "title": event["title"], "text": event["text"], "url": url}
            return Answer(
                202, {"status": "ok", "event": told | {name: event[name] for name in ("tags", "priority", "host") if name in event}}
            )

        return apply

    def event_v2(self, request: Request) -> Apply:
        request.hold_to(EVENT_V2)
        event = request.value["data"]["attributes"]
        if "timestamp" in event:
            self._age(rfc3339(event["timestamp"]) or 0.0, request)

        def apply() -> Answer:
            number = f"{8_000_000 + len(self.plain_events) + len(self.book.effects)}"
            self._enter(request, event, event["attributes"]["status"], event["title"])
            told = {"attributes": {"evt": {"uid": f"AY{number}", "id": number}}}
            return Answer(202, {"data": {"type": "event", "attributes": told}, "links": {"self": f"/api/v2/events/{number}"}})

        return apply

    def _enter(self, request: Request, event: dict[str, Any], status: str, title: str) -> None:
        """Events of one key are one alert; a good status ends it."""
        key = event.get("aggregation_key")
        if key is None:
            self.plain_events.append(event)
            request.effects.append("received")
        elif status in ("ok", "success"):
            request.effects.append(self.book.resolve(key))
        elif status in ("error", "warn", "warning"):
            request.effects.append(self.book.trigger(key, severity=status, title=title))
        else:
            request.effects.append(self.book.note(key, "noted"))

    def series(self, request: Request) -> Apply:
        request.hold_to(SERIES)
        late = []
        for entry in request.value["series"]:
            if entry.get("type") in (1, 2) and not entry.get("interval"):
                request.violate("schema", f"{entry['metric']} is a count or a rate without an interval")
            for point in entry["points"]:
                if point["timestamp"] > request.now + 600:
                    raise Refused(400, f"{entry['metric']}: {point['timestamp']} is more than 10 minutes ahead", kind="future")
                if point["timestamp"] < request.now - 3600:
                    late.append((entry["metric"], point["timestamp"]))
        if late:
            raise Refused(400, f"{late[0][0]}: {late[0][1]} is more than an hour old", kind="age", violation=False)

        def apply() -> Answer:
            entries = request.value["series"]
            kept = entries[: max(0, len(entries) - request.refuse_items)]
            for entry in kept:
                host = next((item["name"] for item in entry.get("resources", []) if item["type"] == "host"), "")
                tags = ",".join(sorted(entry.get("tags", [])))
                for point in entry["points"]:  # metric, tags and second: the last write wins
                    self.series_stored[f"{entry['metric']}|{host}|{tags}|{point['timestamp']}"] = {
                        "metric": entry["metric"], "type": entry.get("type", 0), "host": host, "tags": entry.get("tags", []),
                        "unit": entry.get("unit", ""), **point,
                    }  # fmt: skip
            return Answer(202, {"errors": ["told to refuse some"] if request.refuse_items else []})

        return apply

    def check_run(self, request: Request) -> Apply:
        request.hold_to(List(CHECK, low=1) if isinstance(request.value, list) else CHECK)

        def apply() -> Answer:
            self.checks += request.value if isinstance(request.value, list) else [request.value]
            return Answer(202, {"status": "ok"})

        return apply

    def validate(self, request: Request) -> Apply:
        return lambda: Answer(200, {"valid": True})

    def state(self) -> Any:
        return super().state() | {
            "events": self.book.told(), "plain_events": self.plain_events, "series": list(self.series_stored.values()),
            "checks": self.checks,
        }  # fmt: skip
