"""What a vendor is made of: routes, keys, refusals in its own form, and the state that its real counterpart would keep."""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from . import check
from .wire import Answer, Incoming

Apply = Callable[[], Answer]


class Clock:
    """The time of the whole server: the machine's, moved, or standing still where a test says so."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._frozen: float | None = None

    def now(self) -> float:
        return self._frozen if self._frozen is not None else time.time() + self._offset

    def set(self, now: float | None = None, frozen: bool = False) -> None:
        if now is None:
            self._offset, self._frozen = 0.0, None
        elif frozen:
            self._frozen = now
        else:
            self._offset, self._frozen = now - time.time(), None


class Refused(Exception):
    """The vendor does not take the request. A violation is one that a right sender never sends; a revoked key or an old event is none."""

    def __init__(
        self, status: int, *texts: str, kind: str = "schema", violation: bool = True, headers: dict[str, str] | None = None, code: str = ""
    ) -> None:
        super().__init__("; ".join(texts))
        self.status = status
        self.texts = list(texts)
        self.kind = kind
        self.violation = violation
        self.headers = headers or {}
        self.code = code


@dataclass
class Route:
    method: str
    pattern: str  # of the whole path, still percent-encoded; named groups go to the request
    handler: str  # a method of the vendor: checks, then returns what is done when the request takes effect
    media: tuple[str, ...] = ("application/json",)  # empty: no body is expected
    encodings: tuple[str, ...] = ()
    limit: int | None = None  # bytes on the wire
    inflated_limit: int | None = None
    query: dict[str, str] = field(default_factory=dict)  # name -> pattern
    needed_query: tuple[str, ...] = ()
    key: bool = True  # whether `authenticate` is asked


@dataclass
class Request:
    incoming: Incoming
    route: Route
    groups: dict[str, str]
    now: float
    body: bytes = b""
    value: Any = None  # the body, decoded
    tenant: str = ""
    violations: list[dict[str, str]] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)
    refuse_items: int = 0

    @property
    def media(self) -> str:
        return (self.incoming.header("content-type") or "").partition(";")[0].strip().lower()

    def header(self, name: str) -> str | None:
        return self.incoming.header(name)

    def violate(self, kind: str, *texts: str) -> None:
        """Wrong, but the vendor would not say so in its answer."""
        self.violations += [{"kind": kind, "text": text} for text in texts]

    def hold_to(self, shape: check.Shape, status: int = 400) -> None:
        wrong = check.problems(shape, self.value)
        if wrong:
            raise Refused(status, *wrong)


def inflate(data: bytes, encoding: str, limit: int) -> bytes:
    """Raises ValueError where the data is not of the encoding, OverflowError beyond the limit."""
    engine = zlib.decompressobj(31 if encoding == "gzip" else 15)
    try:
        body = engine.decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(f"the body is not {encoding}: {error}") from error
    if len(body) > limit:
        raise OverflowError
    if not engine.eof or engine.unused_data:
        raise ValueError(f"the body is not one whole {encoding} stream")
    return body


class Vendor:
    """One service. A subclass gives routes and their handlers; the server does the rest."""

    name = ""
    keys: tuple[str, ...] = ()  # valid at the start; `configure(keys=...)` replaces them, as a rotation does
    routes: tuple[Route, ...] = ()
    can_be_partial = False
    rate: tuple[int, float] | None = None  # requests, within seconds, for one tenant; only where a test turns it on
    retry_after: float | None = None  # what a 429 carries unless a test says otherwise

    def __init__(self, clock: Clock, world: dict[str, Any]) -> None:
        self.clock = clock
        self.world = world  # what vendors share: the tokens that one issues and the other takes
        self.valid = set(self.keys)
        self.rate_on = False
        self.reset()

    def reset(self) -> None:
        """Forgets all state but configuration."""

    def configure(self, **settings: Any) -> None:
        for name, value in settings.items():
            if name == "keys":
                self.valid = set(value)
            elif name == "rate_limit":
                if self.rate is None:
                    raise ValueError(f"{self.name} has no rate limit in the contract")
                self.rate_on = bool(value)
            elif not self.setting(name, value):
                raise ValueError(f"{self.name} has no setting {name!r}")

    def setting(self, name: str, value: Any) -> bool:
        return False

    def state(self) -> Any:
        return {}

    def authenticate(self, request: Request) -> None:
        """Sets the tenant, or raises Refused."""

    def refusal(self, refused: Refused, request: Request | None) -> Answer:
        return Answer(refused.status, {"message": str(refused)}, refused.headers)

    def throttle(self, retry_after: float | str | None) -> Answer:
        headers = {} if retry_after is None else {"Retry-After": _seconds(retry_after)}
        return self.refusal(Refused(429, "too many requests", headers=headers), None)

    def decorate(self, answer: Answer) -> None:
        """Headers that every answer of the vendor has."""

    # From the wire to a request that a handler can look at.

    def find(self, incoming: Incoming) -> tuple[Route, dict[str, str]]:
        others = []
        for route in self.routes:
            match = re.fullmatch(route.pattern, incoming.path)
            if match and route.method == incoming.method:
                return route, {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
            if match:
                others.append(route.method)
        if others:
            raise Refused(405, f"{incoming.method} is not allowed on {incoming.path}", kind="route", headers={"Allow": ", ".join(others)})
        raise Refused(404, f"no such resource: {incoming.path}", kind="route")

    def decode(self, request: Request) -> None:
        route, incoming = request.route, request.incoming
        for name, value in incoming.query.items():
            if name not in route.query:
                raise Refused(400, f"query parameter {name!r} is not known", kind="route")
            if not re.fullmatch(route.query[name], value):
                raise Refused(400, f"query parameter {name} is {value!r}, which does not match {route.query[name]}", kind="route")
        for name in route.needed_query:
            if name not in incoming.query:
                raise Refused(400, f"query parameter {name!r} is missing", kind="route")
        if route.limit is not None and len(incoming.body) > route.limit:
            raise Refused(413, f"{len(incoming.body)} bytes, at most {route.limit} are allowed", kind="size")
        encoding = (request.header("content-encoding") or "identity").lower()
        if encoding != "identity" and encoding not in route.encodings:
            raise Refused(415, f"Content-Encoding {encoding!r} is not taken here", kind="encoding")
        ceiling = route.inflated_limit or 128 * 1024 * 1024
        if encoding == "identity":
            request.body = incoming.body
            if len(request.body) > ceiling:
                raise Refused(413, f"{len(request.body)} bytes, at most {ceiling} are allowed", kind="size")
        else:
            try:
                request.body = inflate(incoming.body, encoding, ceiling)
            except OverflowError:
                raise Refused(413, f"inflates to more than {ceiling} bytes", kind="size") from None
            except ValueError as error:
                raise Refused(400, str(error), kind="encoding") from None
        if not route.media:
            if request.body:
                raise Refused(400, f"{incoming.method} with a body of {len(request.body)} bytes")
            return
        if request.media not in route.media:
            raise Refused(415, f"Content-Type {request.header('content-type')!r}, must be {' or '.join(route.media)}", kind="media")
        charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", request.header("content-type") or "", re.I)
        if charset and charset.group(1).lower() != "utf-8":
            raise Refused(415, f"charset {charset.group(1)!r}, must be utf-8", kind="media")
        if request.media.endswith("json"):
            request.value = self.parse_json(request)
        elif request.media.startswith("text/"):
            try:
                request.value = request.body.decode()
            except UnicodeDecodeError as error:
                raise Refused(400, f"the body is not UTF-8: {error.reason} at byte {error.start}") from None

    def parse_json(self, request: Request) -> Any:
        def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            value = dict(pairs)
            if len(value) != len(pairs):
                raise ValueError("a key is there twice in one object")
            return value

        def no_constant(text: str) -> None:
            raise ValueError(f"{text} is not JSON")

        try:
            return json.loads(request.body.decode(), object_pairs_hook=once, parse_constant=no_constant)
        except UnicodeDecodeError as error:
            raise Refused(400, f"the body is not UTF-8: {error.reason} at byte {error.start}", kind="json") from None
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"the body is not JSON: {error}", kind="json") from None


def _seconds(value: float | str) -> str:
    return value if isinstance(value, str) else str(int(value) if value == int(value) else value)


class AlertBook:
    """Alerts by key, as every pager keeps them: what is open, and what has ever paged somebody."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.alerts: list[dict[str, Any]] = []  # each opening is one page
        self._open: dict[str, dict[str, Any]] = {}
        self.effects: list[dict[str, Any]] = []

    def open_alert(self, key: str) -> dict[str, Any] | None:
        return self._open.get(key)

    def note(self, key: str, effect: str) -> str:
        self.effects.append({"key": key, "effect": effect, "time": self._clock.now()})
        return effect

    def trigger(self, key: str, **details: Any) -> str:
        alert = self.open_alert(key)
        if alert is None:
            alert = {"key": key, "status": "open", "count": 1, "opened_at": self._clock.now(), "resolved_at": None, **details}
            self.alerts.append(alert)
            self._open[key] = alert
            return self.note(key, "opened")
        alert["count"] += 1
        alert.update(details)
        return self.note(key, "appended")

    def acknowledge(self, key: str) -> str:
        alert = self.open_alert(key)
        if alert is None:
            return self.note(key, "nothing")
        alert["status"] = "acknowledged"
        return self.note(key, "acknowledged")

    def resolve(self, key: str) -> str:
        alert = self.open_alert(key)
        if alert is None:
            return self.note(key, "nothing")
        alert.update(status="resolved", resolved_at=self._clock.now())
        del self._open[key]
        return self.note(key, "resolved")

    def told(self) -> dict[str, Any]:
        return {
            "alerts": self.alerts,
            "open": [alert["key"] for alert in self.alerts if alert["status"] != "resolved"],
            "pages": [alert["key"] for alert in self.alerts],
            "effects": self.effects,
        }
