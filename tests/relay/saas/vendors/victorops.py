"""Splunk On-Call (VictorOps), REST endpoint.

From the source of a client: the vendor documents no codes. UNVERIFIED: the bodies of answers, 404 for an unknown key, 429.
"""

from __future__ import annotations

from typing import Any

from ..check import Number, Object, Text
from ..core import AlertBook, Apply, Refused, Request, Route, Vendor
from ..wire import Answer

ALERT = Object(
    {
        "message_type": Text(choices=("CRITICAL", "WARNING", "INFO", "ACKNOWLEDGEMENT", "RECOVERY")), "entity_id": Text(512, 1),
        "entity_display_name": Text(), "state_message": Text(20480), "monitoring_tool": Text(), "state_start_time": Number(0, 1e11,
        whole=True),
        "host_name": Text(),
    },
    needed=("message_type",), open=True,
)  # fmt: skip


class VictorOps(Vendor):
    name = "victorops"
    keys = ("558e7ebc-c2f3-4c6b-9d1e-0123456789ab",)
    can_be_partial = True  # 200 that says "failure"
    routes = (Route("POST", r"/integrations/generic/20131114/alert/(?P<key>[^/]+)(/(?P<routing>[^/]+))?", "alert"),)

    def reset(self) -> None:
        self.books: dict[str, AlertBook] = {}

    def authenticate(self, request: Request) -> None:
        if request.groups["key"] not in self.valid:
            raise Refused(404, "the key is not known", kind="auth", violation=False)
        request.tenant = request.groups["key"]

    def refusal(self, refused: Refused, request: Request | None) -> Answer:
        return Answer(refused.status, {"result": "failure", "message": str(refused)}, refused.headers)

    def alert(self, request: Request) -> Apply:
        request.hold_to(ALERT)
        alert = request.value
        for name in alert:
            if name.startswith("vo_annotate.") and not name.startswith(("vo_annotate.u.", "vo_annotate.s.", "vo_annotate.i.")):
                request.violate("schema", f"{name} is neither an annotation of url, note nor image")

        def apply() -> Answer:
            if request.refuse_items:
                return Answer(200, {"result": "failure", "message": "the alert could not be processed"})
            book = self.books.setdefault(request.groups.get("routing", ""), AlertBook(self.clock))
            kind = alert["message_type"]
            key = alert.get("entity_id") or f"unnamed-{len(book.effects)}"
            if kind in ("CRITICAL", "WARNING"):
                effect = book.trigger(key, severity=kind, message=alert.get("state_message", ""))
            elif kind == "ACKNOWLEDGEMENT":
                effect = book.acknowledge(key)
            elif kind == "RECOVERY":
                effect = book.resolve(key)
            else:
                effect = book.note(key, "noted")  # INFO goes to the time line and pages nobody
            request.effects.append(effect)
            return Answer(200, {"result": "success", "entity_id": key})

        return apply

    def state(self) -> Any:
        return {"routings": {routing: book.told() for routing, book in self.books.items()}}
