"""Instana: the events of the host agent (loopback, no key), and the OTLP endpoint.

UNVERIFIED: the agent's status codes, which its documentation does not give; OTLP host, header and codes, which are from clients.
"""

from __future__ import annotations

from typing import Any

from ..check import Number, Object, Text
from ..core import Apply, Refused, Request, Route, Vendor
from ..otlp import OtlpReceiver
from ..wire import Answer

EVENT = Object(
    {
        "title": Text(low=1), "text": Text(), "severity": Number(choices=(-1, 5, 10), whole=True),
        "timestamp": Number(1e12, 1e14, whole=True), "duration": Number(0, 1e12, whole=True),
    },
    needed=("title",),
)  # fmt: skip


class Instana(Vendor):
    name = "instana"
    routes = (Route("POST", "/com.instana.plugin.generic.event", "event"),)

    def reset(self) -> None:
        self.events: list[Any] = []

    def event(self, request: Request) -> Apply:
        request.hold_to(EVENT)
        title = request.value["title"].lower()
        if request.value.get("severity", -1) == -1 and ("online" in title or "offline" in title):
            request.violate("semantics", "a change whose title has online or offline is taken for a presence event")

        def apply() -> Answer:
            self.events.append(request.value)
            return Answer(200, "")

        return apply

    def state(self) -> Any:
        return {"events": self.events}


class InstanaOtlp(OtlpReceiver):
    name = "instana_otlp"
    keys = ("abcdefghijklmnopqrstuv",)
    routes = OtlpReceiver.wants.routes("")

    def authenticate(self, request: Request) -> None:
        key = request.header("x-instana-key")
        if not key:
            raise Refused(401, "x-instana-key is missing", kind="auth")
        if key not in self.valid:
            raise Refused(401, "the key is not known", kind="auth", violation=False)
        request.tenant = key
