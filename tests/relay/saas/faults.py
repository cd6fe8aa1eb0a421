"""What goes wrong, told over the control port: rules in order, the first that matches a request and fires decides."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass, field
from typing import Any

from .wire import Incoming

KINDS = {
    "accept": "the request is treated as always (a rule above others)",
    "refuse": "a 4xx in the vendor's own form (`status`, 400 unless told)",
    "throttle": "429 (`retry_after`: seconds, an HTTP date, or nothing for none)",
    "fail": "a 5xx (`status`, 500 unless told)",
    "partial": "part of what is in the request is refused, in the vendor's own form (`count`, 1 unless told)",
    "reset": "the connection is reset (`processed`: after the request took effect)",
    "hang": "no answer until the rule is cleared or the peer goes (`processed`: the request took effect)",
    "slow": "the request takes effect at once, the answer comes `delay` seconds later",
    "garbage": "the request takes effect, the answer is no HTTP",
    "truncate": "the request takes effect, the answer ends in its middle",
    "nonsense": "the request takes effect, the answer is a 200 whose body is an HTML page",
    "redirect": "3xx to `location` (`status`, 307 unless told)",
    "unauthorized": "401 in the vendor's own form",
    "forbidden": "403 in the vendor's own form",
    "not_found": "404 in the vendor's own form",
    "too_large": "413 in the vendor's own form",
}
STATUS = {
    "refuse": 400,
    "throttle": 429,
    "fail": 500,
    "redirect": 307,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "too_large": 413,
}


@dataclass
class Fault:
    vendor: str
    kind: str
    times: int | None = None  # None: until told otherwise
    probability: float = 1.0
    seed: int = 0
    path: str = ""  # a regular expression that the path must contain
    body: str = ""  # a text that the decoded body must contain
    larger_than: int | None = None  # only requests with more bytes on the wire
    status: int | None = None
    retry_after: float | str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    location: str = "/elsewhere"
    count: int = 1
    processed: bool = False
    fired: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"fault kind {self.kind!r} is not known: {', '.join(KINDS)}")
        if not 0 < self.probability <= 1:
            raise ValueError(f"probability {self.probability} is outside (0, 1]")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times {self.times}: at least 1, or none at all for 'until told otherwise'")
        wrong = {"refuse": range(400, 500), "throttle": range(429, 430), "fail": range(500, 600), "redirect": range(300, 400)}.get(
            self.kind
        )
        if self.status is not None and (wrong is None or self.status not in wrong):
            raise ValueError(f"fault {self.kind!r} cannot answer {self.status}")
        self._random = random.Random(self.seed)
        self._matcher = re.compile(self.path)
        self.cleared = asyncio.Event()

    @property
    def answer_status(self) -> int:
        return self.status or STATUS[self.kind]

    def fires(self, incoming: Incoming, body: bytes) -> bool:
        if self.times is not None and self.fired >= self.times:
            return False
        if not self._matcher.search(incoming.path) or (self.body and self.body.encode() not in body):
            return False
        if self.larger_than is not None and len(incoming.body) <= self.larger_than:
            return False
        if self.probability < 1 and self._random.random() >= self.probability:
            return False
        self.fired += 1
        return True

    def told(self) -> dict[str, Any]:
        return {
            "vendor": self.vendor, "kind": self.kind, "times": self.times, "fired": self.fired,
            "left": None if self.times is None else self.times - self.fired,
        }  # fmt: skip


class Faults:
    def __init__(self) -> None:
        self.rules: list[Fault] = []

    def pick(self, vendor: str, incoming: Incoming, body: bytes) -> Fault | None:
        return next((rule for rule in self.rules if rule.vendor in (vendor, "*") and rule.fires(incoming, body)), None)

    def clear(self, vendor: str | None = None) -> None:
        """Those who hang on a rule are let go: their connections are reset."""
        for rule in [rule for rule in self.rules if vendor in (None, "*", rule.vendor)]:
            rule.cleared.set()
            self.rules.remove(rule)
