"""Draws a Vega specification as Kibana and OpenSearch Dashboards do: puts in what stands between % signs, asks the server, renders."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import node

Json = dict[str, Any]
Search = Callable[[str, Json], Json]  # (index, body) -> the server's answer

RENDER = Path(__file__).with_name("render.js")
# The lengths that an automatic interval is rounded up to, in seconds.
INTERVALS = [(0.1, "100ms"), (0.5, "500ms"), (1, "1s"), (5, "5s"), (10, "10s"), (30, "30s"), (60, "1m"), (300, "5m"), (600, "10m"), (1800, "30m"), (3600, "1h"), (10800, "3h"), (43200, "12h"), (86400, "1d"), (604800, "7d"), (2592000, "30d")]  # fmt: skip


@dataclass(frozen=True)
class Context:
    """What a dashboard knows when a picture asks."""

    begin: datetime
    end: datetime
    filters: tuple[Json, ...] = ()

    def interval(self, buckets: int) -> str:
        wanted = (self.end - self.begin).total_seconds() / buckets
        return next((name for seconds, name in INTERVALS if seconds >= wanted), "365d")

    def put_in(self, value: Any) -> Any:
        if isinstance(value, list):
            result: list[Any] = []
            for item in value:
                clauses = {"must": (), "filter": self.filters, "must_not": ()}
                known = {f"%dashboard_context-{name}_clause%": clause for name, clause in clauses.items()}
                result += [*known[item]] if isinstance(item, str) and item in known else [self.put_in(item)]
            return result
        if not isinstance(value, dict):
            return value
        if "%timefilter%" in value:
            begin, end = (int(time.timestamp() * 1000) for time in (self.begin, self.end))
            which = value["%timefilter%"]
            return {"min": begin, "max": end}[which] if which is not True else {"gte": begin, "lte": end, "format": "epoch_millis"}
        if "%autointerval%" in value:
            buckets = value["%autointerval%"]
            return self.interval(50 if buckets is True else buckets)
        return {key: self.put_in(item) for key, item in value.items()}


@dataclass(frozen=True)
class Picture:
    svg: str
    marks: list[Json]
    warnings: list[str]
    filters: list[Json]

    def named(self, name: str) -> list[Json]:
        return [mark for mark in self.marks if mark["name"] == name]

    def texts(self) -> set[str]:
        return {mark["text"] if isinstance(mark["text"], str) else str(mark["text"]) for mark in self.marks if mark["type"] == "text"}


def searches(spec: Json) -> dict[str, Json]:
    """Data name -> {index, body} of everything that a specification asks of the server."""
    return {data["name"]: data["url"] for data in spec["data"] if "url" in data}


def draw(
    spec: Json, context: Context, search: Search, node_modules: Path, width: int = 900, height: int = 320, click: str = "", png: Path | None = None
) -> Picture:
    """`click`: on the first mark of this name; the filters that it adds. `png`: where to write the picture, to be looked at."""
    results = {}
    for name, url in searches(spec).items():
        body = context.put_in(url["body"])
        assert "%" + "dashboard" not in json.dumps(body), "a placeholder of the dashboard stands where none is replaced"
        results[name] = search(url["index"], body)
    job = {"spec": spec, "results": results, "width": width, "height": height, "click": click, "png": str(png or "")}
    environment = {**os.environ, "NODE_PATH": str(node_modules), "TZ": "UTC"}
    program, _ = node.program()
    run = subprocess.run([program, str(RENDER)], input=json.dumps(job), capture_output=True, text=True, env=environment, timeout=120)
    assert run.returncode == 0, run.stderr
    return Picture(**json.loads(run.stdout))
