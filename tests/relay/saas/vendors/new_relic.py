"""New Relic: Event API and OTLP.

The Event API takes any body that is well formed with 200 and drops what is wrong in it later: that is kept as `integration_errors`, and as
violations. UNVERIFIED: that the limit of 10^6 bytes is of the bytes sent; a Retry-After with 429, which is not documented and not sent.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from ..core import Apply, Refused, Request, Route
from ..otlp import OtlpReceiver, Wants
from ..wire import Answer

MAX_BODY = 1_000_000
DAY = 86400.0


class NewRelic(OtlpReceiver):
    name = "new_relic"
    keys = ("0123456789abcdef0123456789abcdef01234567",)
    account = "1234567"
    rate = (100_000, 60.0)
    wants = Wants(limit=MAX_BODY, name_high=255, value_high=4095)
    routes = (
        Route("POST", r"/v1/accounts/(?P<account>\d+)/events", "events", encodings=("gzip", "deflate"), limit=MAX_BODY),
    ) + wants.routes("")

    def reset(self) -> None:
        super().reset()
        self.stored: list[dict[str, Any]] = []
        self.integration_errors: list[str] = []

    def authenticate(self, request: Request) -> None:
        key = request.header("api-key")
        if not key:
            raise Refused(403, "Api-Key is missing", kind="auth")
        if key not in self.valid or request.groups.get("account", self.account) != self.account:
            raise Refused(403, "the key is not known, or not of this account", kind="auth", violation=False)
        request.tenant = key

    def refusal(self, refused: Refused, request: Request | None) -> Answer:
        if request is not None and request.route.handler.startswith("otlp_"):
            return super().refusal(refused, request)
        return Answer(refused.status, {"success": False, "error": str(refused)}, refused.headers)

    def events(self, request: Request) -> Apply:
        events = request.value if isinstance(request.value, list) else [request.value]
        if not request.body or not events:
            raise Refused(400, "no events")
        good, late = [], []
        for number, event in enumerate(events):
            wrong = list(_wrong(event))
            request.violate("schema", *(f"[{number}]: {text}" for text in wrong))
            if not wrong and not _in_time(event, request.now):
                late.append(f"[{number}]: timestamp {event['timestamp']} is not within the last 24 hours")
            elif not wrong:
                good.append(event)
        errors = [violation["text"] for violation in request.violations] + late

        def apply() -> Answer:
            self.stored += good
            self.integration_errors += errors
            request.effects.append(f"stored {len(good)} of {len(events)}")
            return Answer(200, {"success": True, "uuid": str(uuid.uuid4())})

        return apply

    def state(self) -> Any:
        return super().state() | {"events": self.stored, "integration_errors": self.integration_errors}


def _wrong(event: Any) -> list[str]:
    if not isinstance(event, dict):
        return ["is not an object"]
    wrong = []
    kind = event.get("eventType")
    if not isinstance(kind, str) or not re.fullmatch(r"[A-Za-z0-9_:]{1,255}", kind):
        wrong.append(f"eventType is {kind!r}")
    if len(event) > 255:
        wrong.append(f"{len(event)} attributes, at most 255 are allowed")
    for name, value in event.items():
        if len(name) > 255:
            wrong.append(f"a name of {len(name)} characters, at most 255 are allowed")
        if name == "accountId" or name.startswith("entity."):
            wrong.append(f"{name} is reserved")
        if name == "appId" and (isinstance(value, bool) or not isinstance(value, int)):
            wrong.append("appId must be an integer")
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            wrong.append(f"{name[:60]} is neither a string nor a number")
        elif isinstance(value, str) and len(value) > 4096:
            wrong.append(f"{name[:60]} has {len(value)} characters, at most 4096 are allowed")
    stamp = event.get("timestamp", 0)
    if isinstance(stamp, bool) or not isinstance(stamp, int):
        wrong.append("timestamp is not an integer")
    return wrong


def _in_time(event: dict[str, Any], now: float) -> bool:
    stamp = event.get("timestamp")
    if stamp is None:
        return True
    return abs(now - (stamp / 1000 if stamp > 1e11 else stamp)) <= DAY
