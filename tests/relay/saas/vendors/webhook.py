"""A receiver of CloudEvents 1.0 over HTTP, signed as Standard Webhooks has it; under /plain/ one that takes any JSON, unsigned."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import Any

from .. import check
from ..check import Any_, Link, Object, Text, Time
from ..core import Apply, Refused, Request, Route, Vendor
from ..wire import Answer

TOLERANCE = 300
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
EVENT = Object(
    {
        "specversion": Text(choices=("1.0",)), "id": Text(low=1), "source": Text(low=1, pattern=r"[^\s<>\"{}|\\^`]+"), "type": Text(low=1),
        "subject": Text(low=1), "time": Time(), "datacontenttype": Text(low=1, pattern=r"[^\s/]+/[^\s/;]+(;.*)?"),
        "dataschema": Link(("https", "http")),
        "data": Any_(), "data_base64": Text(pattern=r"[A-Za-z0-9+/]*={0,2}"),
    },
    needed=("specversion", "id", "source", "type"), open=True,
)  # fmt: skip


def wrong_event(event: Any, path: str) -> list[str]:
    wrong = check.problems(EVENT, event, path)
    if isinstance(event, dict):
        if "data" in event and "data_base64" in event:
            wrong.append(f"{path} has both data and data_base64")
        for name, value in event.items():
            if name in EVENT.fields:
                continue
            if not re.fullmatch(r"[a-z0-9]{1,20}", name):
                wrong.append(f"{path}.{name} is no name of an extension: 1..20 of a-z and 0-9")
            elif not isinstance(value, (str, bool, int)) or isinstance(value, int) and abs(value) > 2**31:
                wrong.append(f"{path}.{name}: an extension is a string, a boolean or an integer of 32 bits")
    return wrong


class Webhook(Vendor):
    name = "webhook"
    keys = ("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",)  # the secrets: several while one is rotated
    retry_after = 1.0  # CloudEvents: a 429 must carry it
    routes = (
        Route("POST", r"/webhook/[^/]+", "receive", media=(STRUCTURED, BATCH), encodings=("gzip",)),
        Route("OPTIONS", r"/webhook/[^/]+", "handshake", media=()),
        Route("POST", r"/plain/[^/]+", "receive_plain"),
    )

    def reset(self) -> None:
        self.events: list[Any] = []
        self.seen: dict[str, bytes] = {}
        self.sources: set[tuple[str, str]] = set()
        self.plain: list[Any] = []

    def throttle(self, retry_after: float | str | None) -> Answer:
        return super().throttle(self.retry_after if retry_after is None else retry_after)

    def _verify(self, request: Request) -> str:
        message_id, stamp, signatures = (request.header(f"webhook-{name}") for name in ("id", "timestamp", "signature"))
        if not message_id or not stamp or not signatures:
            raise Refused(401, "webhook-id, webhook-timestamp or webhook-signature is missing", kind="auth")
        if not re.fullmatch(r"\d{1,12}", stamp):
            raise Refused(401, f"webhook-timestamp {stamp!r} is not in seconds since 1970", kind="auth")
        if abs(int(stamp) - request.now) > TOLERANCE:
            raise Refused(
                401, f"webhook-timestamp is {int(stamp) - request.now:+.0f} s off, {TOLERANCE} are allowed", kind="age", violation=False
            )
        given = []
        for text in signatures.split(" "):
            version, comma, value = text.partition(",")
            if not comma or version not in ("v1", "v1a"):
                raise Refused(401, f"webhook-signature {text[:20]!r} is not 'v1,<base64>'", kind="auth")
            if version == "v1":
                try:
                    given.append(base64.b64decode(value, validate=True))
                except binascii.Error:
                    raise Refused(401, "webhook-signature is not base64", kind="auth") from None
        signed = f"{message_id}.{stamp}.".encode() + request.incoming.body  # the bytes as sent
        for secret in self.valid:
            right = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
            if any(hmac.compare_digest(right, value) for value in given):
                request.tenant = secret
                return message_id
        raise Refused(401, "no signature fits", kind="signature")

    def receive(self, request: Request) -> Apply:
        message_id = self._verify(request)
        events = request.value
        if request.media == STRUCTURED:
            events = [events]
        elif not isinstance(events, list):
            raise Refused(400, "a batch is an array")
        wrong = [text for number, event in enumerate(events) for text in wrong_event(event, f"events[{number}]")]
        if wrong:
            raise Refused(400, *wrong)
        if self.seen.get(message_id, request.body) != request.body:
            request.violate("identity", f"webhook-id {message_id!r} comes again with another body")

        def apply() -> Answer:
            if message_id in self.seen:
                request.effects.append("duplicate")
                return Answer(200, "")
            self.seen[message_id] = request.body
            for event in events:
                identity = event["source"], event["id"]
                if identity in self.sources:
                    request.effects.append("duplicate")
                else:
                    self.sources.add(identity)
                    self.events.append(event)
                    request.effects.append("received")
            return Answer(204)

        return apply

    def handshake(self, request: Request) -> Apply:
        origin = request.header("webhook-request-origin")
        if not origin:
            raise Refused(400, "WebHook-Request-Origin is missing")
        return lambda: Answer(200, headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "120", "Allow": "POST"})

    def receive_plain(self, request: Request) -> Apply:
        def apply() -> Answer:
            self.plain.append(request.value)
            return Answer(200, "")

        return apply

    def state(self) -> Any:
        return {"events": self.events, "messages": list(self.seen), "plain": self.plain}
