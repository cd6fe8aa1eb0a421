"""Opsgenie alert API v2: requests are taken at once and carried out later; what became of them is asked by their id.

Codes are those that the vendor's own client explains: 401 a wrong key or a disabled integration, 403 a key without the right, 415 and 422 a
body of the wrong type or meaning. UNVERIFIED: limits other than the message's, the texts.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import Any

from ..check import List, Map, Object, Text
from ..core import AlertBook, Apply, Refused, Request, Route, Vendor
from ..wire import Answer

RESPONDER = Object(
    {"type": Text(choices=("team", "user", "escalation", "schedule")), "id": Text(low=1), "name": Text(low=1), "username": Text(low=1)},
    needed=("type",), one_of=("id", "name", "username"),
)  # fmt: skip
ALERT = Object(
    {
        "message": Text(130, 1), "alias": Text(512, 1), "description": Text(15000), "responders": List(RESPONDER),
        "visibleTo": List(RESPONDER), "actions": List(Text(50, 1), 10), "tags": List(Text(50, 1), 20), "details": Map(Text()),
        "entity": Text(512), "source": Text(100), "priority": Text(choices=("P1", "P2", "P3", "P4", "P5")), "user": Text(100),
        "note": Text(25000),
    },
    needed=("message",),
)  # fmt: skip
ACTION_FIELDS = {"source": Text(100), "user": Text(100), "note": Text(25000)}
ACTION = Object(ACTION_FIELDS)
NOTE = Object(ACTION_FIELDS, needed=("note",))
BY = {"identifierType": "id|alias|tiny"}


def alert_routes(prefix: str, encodings: tuple[str, ...] = ()) -> tuple[Route, ...]:
    one = prefix + r"/(?P<identifier>[^/]+)"
    return (
        Route("POST", prefix, "create"),
        Route("POST", one + "/close", "close", query=BY),
        Route("POST", one + "/acknowledge", "acknowledge", query=BY),
        Route("POST", one + "/notes", "add_note", query=BY),
    )


class Opsgenie(Vendor):
    name = "opsgenie"
    keys = ("5e0b7a2c-1f3d-4c6b-9a8e-7d2f1c0b3a49",)
    rate = (600, 60.0)  # UNVERIFIED: it depends on the plan
    can_be_partial = True  # taken with 202, then failed: seen only in the status of the request
    prefix = "/v2/alerts"
    routes = alert_routes(prefix) + (
        Route("PUT", r"/v2/alerts/(?P<identifier>[^/]+)/(?P<field>message|description|priority)", "update", query=BY),
        Route("GET", r"/v2/alerts/requests/(?P<request_id>[^/]+)", "request_status", media=()),
        Route("GET", r"/v2/alerts/(?P<identifier>[^/]+)", "get", media=(), query=BY),
        Route(
            "GET",
            r"/v2/alerts",
            "list",
            media=(),
            query={"query": ".*", "limit": r"\d+", "offset": r"\d+", "sort": r"\w+", "order": "asc|desc"},
        ),
    )

    def reset(self) -> None:
        self.book = AlertBook(self.clock)
        self.statuses: dict[str, dict[str, Any]] = {}

    def _request_id(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.name}{len(self.statuses)}"))

    def authenticate(self, request: Request) -> None:
        scheme, _, key = (request.header("authorization") or "").partition(" ")
        if scheme != "GenieKey" or not key:
            raise Refused(401, "Could not authenticate: Authorization must be 'GenieKey <key>'", kind="auth")
        if key not in self.valid:
            raise Refused(401, "Could not authenticate: the key is not known", kind="auth", violation=False)
        request.tenant = key

    def refusal(self, refused: Refused, request: Request | None) -> Answer:
        return Answer(refused.status, {"message": str(refused), "took": 0.001, "requestId": str(uuid.uuid4())}, refused.headers)

    def throttle(self, retry_after: float | str | None) -> Answer:
        answer = super().throttle(retry_after)
        answer.headers |= {"X-RateLimit-State": "THROTTLED", "X-RateLimit-Reason": "ACCOUNT", "X-RateLimit-Period-In-Sec": "60"}
        return answer

    def decorate(self, answer: Answer) -> None:
        answer.headers.setdefault("X-RateLimit-State", "OK")

    def _later(self, request: Request, action: str, key: str, success: bool, status: str) -> Answer:
        request_id = self._request_id()
        if request.refuse_items:
            success, status = False, "could not be processed"
        self.statuses[request_id] = {
            "success": success, "action": action, "processedAt": _iso(self.clock.now()), "integrationId": "", "isSuccess": success,
            "status": status, "alertId": str(uuid.uuid5(uuid.NAMESPACE_OID, key)), "alias": key,
        }  # fmt: skip
        return Answer(202, {"result": "Request will be processed", "took": 0.005, "requestId": request_id})

    def _identified(self, request: Request) -> str:
        """The alias that path and query name."""
        identifier, kind = request.groups["identifier"], request.incoming.query.get("identifierType", "id")
        if kind == "alias":
            return identifier
        return next(
            (
                alert["key"]
                for alert in self.book.alerts
                if kind == "id" and str(uuid.uuid5(uuid.NAMESPACE_OID, alert["key"])) == identifier
            ),
            "",
        )

    def create(self, request: Request) -> Apply:
        request.hold_to(ALERT, 422)
        alert = request.value

        def apply() -> Answer:
            key = alert.get("alias") or str(uuid.uuid5(uuid.NAMESPACE_OID, str(len(self.statuses))))
            if not request.refuse_items:
                details = {
                    name: alert[name] for name in ("message", "description", "priority", "source", "entity", "tags") if name in alert
                }
                before = self.book.open_alert(key)
                if before is not None:  # only the count moves: the contents stay those of the first
                    details = {}
                request.effects.append(self.book.trigger(key, **details))
            return self._later(request, "Create", key, True, "Created alert")

        return apply

    def _act(self, request: Request, action: str) -> Apply:
        request.hold_to(NOTE if action == "AddNote" else ACTION, 422)
        key = self._identified(request)

        def apply() -> Answer:
            found = self.book.open_alert(key) is not None
            if found and not request.refuse_items:
                if action == "Close":
                    request.effects.append(self.book.resolve(key))
                elif action == "Acknowledge":
                    request.effects.append(self.book.acknowledge(key))
                else:
                    request.effects.append(self.book.note(key, "noted"))
            elif not found:
                request.effects.append(self.book.note(key, "nothing"))
            return self._later(request, action, key, found, "Processed" if found else "Alert does not exist")

        return apply

    def close(self, request: Request) -> Apply:
        return self._act(request, "Close")

    def acknowledge(self, request: Request) -> Apply:
        return self._act(request, "Acknowledge")

    def add_note(self, request: Request) -> Apply:
        return self._act(request, "AddNote")

    def update(self, request: Request) -> Apply:
        field = request.groups["field"]
        request.hold_to(Object({field: ALERT.fields[field]}, needed=(field,)), 422)
        key = self._identified(request)

        def apply() -> Answer:
            alert = self.book.open_alert(key)
            if alert is not None and not request.refuse_items:
                alert[field] = request.value[field]
            request.effects.append(self.book.note(key, "updated" if alert else "nothing"))
            return self._later(request, f"Update{field.title()}", key, alert is not None, "Processed" if alert else "Alert does not exist")

        return apply

    def request_status(self, request: Request) -> Apply:
        status = self.statuses.get(request.groups["request_id"])
        if status is None:
            raise Refused(404, "Request not found. It might not be processed, yet.", kind="state", violation=False)
        return lambda: Answer(200, {"data": status, "took": 0.001, "requestId": request.groups["request_id"]})

    def _shown(self, alert: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, alert["key"])), "alias": alert["key"],
            "tinyId": str(self.book.alerts.index(alert) + 1),
            "status": "closed" if alert["status"] == "resolved" else "open", "acknowledged": alert["status"] == "acknowledged",
            "count": alert["count"], "message": alert.get("message", ""), "priority": alert.get("priority", "P3"),
            "tags": alert.get("tags", []),
            "source": alert.get("source", ""), "createdAt": _iso(alert["opened_at"]), "isSeen": False, "snoozed": False, "owner": "",
        }  # fmt: skip

    def get(self, request: Request) -> Apply:
        key = self._identified(request)
        found = [alert for alert in self.book.alerts if alert["key"] == key]
        if not found:
            raise Refused(404, "Alert does not exist", kind="state", violation=False)
        return lambda: Answer(
            200, {"data": self._shown(self.book.open_alert(key) or found[-1]), "took": 0.001, "requestId": str(uuid.uuid4())}
        )

    def list(self, request: Request) -> Apply:
        query = request.incoming.query
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 20))
        if limit > 100 or offset + limit > 20000:
            raise Refused(422, "limit can be at most 100, offset and limit together at most 20000")
        wanted = query.get("query", "").replace(" ", "").replace("=", ":")
        if wanted not in ("", "status:open", "status:closed"):
            raise Refused(422, f"this server does not know the query {query['query']!r}")
        shown = [alert for alert in map(self._shown, reversed(self.book.alerts)) if wanted in ("", f"status:{alert['status']}")]
        return lambda: Answer(200, {"data": shown[offset : offset + limit], "paging": {}, "took": 0.001, "requestId": str(uuid.uuid4())})

    def state(self) -> Any:
        return self.book.told() | {"requests": self.statuses}


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
