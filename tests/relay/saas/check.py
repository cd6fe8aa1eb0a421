"""Shapes of JSON values: each says what is wrong with a value, by path, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


def rfc3339(text: str) -> float | None:
    """Seconds since 1970, or None where the text is no date-time of RFC 3339."""
    match = _RFC3339.fullmatch(text)
    if not match:
        return None
    *numbers, fraction, zone = match.groups()
    try:
        year, month, day, hour, minute, second = (int(number) for number in numbers)
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None
    if zone not in "Zz":
        moment -= (1 if zone[0] == "+" else -1) * (int(zone[1:3]) * 3600 + int(zone[4:6]) * 60)
    return moment + float(fraction or 0)


class Shape:
    def check(self, value: Any, path: str) -> Iterator[str]:
        raise NotImplementedError


@dataclass
class Any_(Shape):
    def check(self, value: Any, path: str) -> Iterator[str]:
        return iter(())


@dataclass
class Text(Shape):
    high: int | None = None
    low: int = 0
    choices: tuple[str, ...] = ()
    pattern: str | None = None

    def check(self, value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield f"{path} is not a string"
        elif len(value) < self.low:
            yield f"{path} has {len(value)} characters, at least {self.low} are needed" if value else f"{path} is blank"
        elif self.high is not None and len(value) > self.high:
            yield f"{path} has {len(value)} characters, at most {self.high} are allowed"
        elif self.choices and value not in self.choices:
            yield f"{path} is {value[:60]!r}, must be one of {', '.join(self.choices)}"
        elif self.pattern and not re.fullmatch(self.pattern, value):
            yield f"{path} is {value[:60]!r}, which does not match {self.pattern}"


@dataclass
class Time(Shape):
    """A date-time of RFC 3339 as text."""

    def check(self, value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, str) or rfc3339(value) is None:
            yield f"{path} is no RFC 3339 date-time: {str(value)[:60]!r}"


@dataclass
class Link(Shape):
    schemes: tuple[str, ...] = ("https", "http")

    def check(self, value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield f"{path} is not a string"
            return
        parts = urlsplit(value)
        if parts.scheme not in self.schemes or not parts.netloc:
            yield f"{path} is no URL of {' or '.join(self.schemes)}: {value[:60]!r}"


@dataclass
class Number(Shape):
    low: float | None = None
    high: float | None = None
    whole: bool = False
    choices: tuple[int, ...] = ()

    def check(self, value: Any, path: str) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) == float("inf"):
            yield f"{path} is not a finite number"
        elif self.whole and not isinstance(value, int):
            yield f"{path} is not an integer"
        elif self.low is not None and value < self.low or self.high is not None and value > self.high:
            yield f"{path} is {value}, outside {self.low}..{self.high}"
        elif self.choices and value not in self.choices:
            yield f"{path} is {value}, must be one of {self.choices}"


@dataclass
class Flag(Shape):
    def check(self, value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, bool):
            yield f"{path} is not a boolean"


@dataclass
class List(Shape):
    item: Shape
    high: int | None = None
    low: int = 0

    def check(self, value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{path} is not an array"
            return
        if len(value) < self.low:
            yield f"{path} has {len(value)} items, at least {self.low} are needed"
        if self.high is not None and len(value) > self.high:
            yield f"{path} has {len(value)} items, at most {self.high} are allowed"
        for index, item in enumerate(value):
            yield from self.item.check(item, f"{path}[{index}]")


@dataclass
class Map(Shape):
    """Free keys, values of one shape."""

    value: Shape
    high: int | None = None
    key_high: int | None = None
    depth: int | None = None

    def check(self, value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path} is not an object"
            return
        if self.high is not None and len(value) > self.high:
            yield f"{path} has {len(value)} entries, at most {self.high} are allowed"
        if self.depth is not None and _depth(value) > self.depth:
            yield f"{path} is nested {_depth(value)} deep, at most {self.depth} are allowed"
        for key, item in value.items():
            if self.key_high is not None and len(key) > self.key_high:
                yield f"{path} has a key of {len(key)} characters, at most {self.key_high} are allowed"
            yield from self.value.check(item, f"{path}.{key[:60]}")


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(item) for item in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(item) for item in value), default=0)
    return 0


@dataclass
class Object(Shape):
    """Known keys. `open` lets others through: where the vendor takes custom fields."""

    fields: Mapping[str, Shape]
    needed: tuple[str, ...] = ()
    open: bool = False
    one_of: tuple[str, ...] = field(default=())

    def check(self, value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path or 'the body'} is not an object"
            return
        prefix = path + "." if path else ""
        for name in self.needed:
            if value.get(name) in (None, ""):
                yield f"'{prefix}{name}' is missing or blank"
        if self.one_of and not any(value.get(name) not in (None, "", []) for name in self.one_of):
            yield f"none of {', '.join(prefix + name for name in self.one_of)} is there"
        for name, item in value.items():
            shape = self.fields.get(name)
            if shape is not None:
                if not (name in self.needed and item in (None, "")):
                    yield from shape.check(item, prefix + name)
            elif not self.open:
                yield f"'{prefix}{name}' is not known"


def problems(shape: Shape, value: Any, path: str = "") -> list[str]:
    return list(shape.check(value, path))
