"""PagerDuty Events API v2.

UNVERIFIED: the texts of errors; that an unknown routing key gets a 400; 413 for a body that is too large; that change events answer as
events do.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ..check import Any_, Link, List, Map, Object, Text, Time
from ..core import AlertBook, Apply, Refused, Request, Route, Vendor
from ..wire import Answer

MAX_BODY = 512_000
ROUTING_KEY = Text(32, 32, pattern=r"[0-9A-Za-z]+")
LINKS = List(Object({"href": Link(), "text": Text()}, needed=("href",)))
IMAGES = List(Object({"src": Link(("https",)), "href": Link(), "alt": Text()}, needed=("src",)))
PAYLOAD = Object(
    {
        "summary": Text(1024, 1), "source": Text(low=1), "severity": Text(choices=("critical", "error", "warning", "info")),
        "timestamp": Time(), "component": Text(), "group": Text(), "class": Text(), "custom_details": Map(Any_()),
    },
    needed=("summary", "source", "severity"),
)  # fmt: skip
EVENT_FIELDS = {
    "routing_key": ROUTING_KEY, "event_action": Text(choices=("trigger", "acknowledge", "resolve")), "dedup_key": Text(255, 1),
    "payload": PAYLOAD, "client": Text(), "client_url": Link(), "links": LINKS, "images": IMAGES,
}  # fmt: skip
TRIGGER = Object(EVENT_FIELDS, needed=("routing_key", "event_action", "payload"))
FOLLOW_UP = Object(EVENT_FIELDS, needed=("routing_key", "event_action", "dedup_key"))
CHANGE = Object(
    {
        "routing_key": ROUTING_KEY, "links": LINKS, "images": IMAGES,
        "payload": Object(
            {"summary": Text(1024, 1), "source": Text(), "timestamp": Time(), "custom_details": Map(Any_())}, needed=("summary",)
        ),
    },
    needed=("routing_key", "payload"),
)  # fmt: skip


class PagerDuty(Vendor):
    name = "pagerduty"
    keys = ("R0123456789abcdef0123456789abcde",)
    rate = (120, 60.0)  # for each integration key
    routes = (
        Route("POST", "/v2/enqueue", "enqueue", limit=MAX_BODY),
        Route("POST", "/v2/change/enqueue", "change", limit=MAX_BODY),
    )

    def reset(self) -> None:
        self.books: dict[str, AlertBook] = {}
        self.changes: list[Any] = []

    def refusal(self, refused: Refused, request: Request | None) -> Answer:
        if refused.status == 429:
            told = {"status": "throttle exceeded", "message": "Requests for this service are arriving too quickly"}
        else:
            told = {"status": "invalid event", "message": "Event object is invalid" if refused.status == 400 else str(refused)}
        return Answer(refused.status, told | {"errors": refused.texts}, refused.headers)

    def _enter(self, request: Request) -> None:
        key = request.value["routing_key"]
        if key not in self.valid:
            raise Refused(400, "'routing_key' is not known", kind="auth", violation=False)
        request.tenant = key

    def enqueue(self, request: Request) -> Apply:
        action = request.value.get("event_action") if isinstance(request.value, dict) else None
        request.hold_to(FOLLOW_UP if action in ("acknowledge", "resolve") else TRIGGER)
        self._enter(request)
        event = request.value

        def apply() -> Answer:
            book = self.books.setdefault(event["routing_key"], AlertBook(self.clock))
            key = event.get("dedup_key") or hashlib.md5(f"{len(book.effects)}{event}".encode()).hexdigest()
            if action == "trigger":
                effect = book.trigger(key, severity=event["payload"]["severity"], summary=event["payload"]["summary"])
            else:
                effect = book.acknowledge(key) if action == "acknowledge" else book.resolve(key)
            request.effects.append(effect)
            return Answer(202, {"status": "success", "message": "Event processed", "dedup_key": key})

        return apply

    def change(self, request: Request) -> Apply:
        request.hold_to(CHANGE)
        self._enter(request)

        def apply() -> Answer:
            self.changes.append(request.value)
            return Answer(202, {"status": "success", "message": "Change event processed"})

        return apply

    def state(self) -> Any:
        return {"keys": {key: book.told() for key, book in self.books.items()}, "changes": self.changes}
