"""What Elasticsearch and OpenSearch have in common."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from .base import Server, free_port
from .cache import Unavailable
from .rest import Answer

JVM_FOLDER = Path("/usr/lib/jvm")
CONSTRAINED = {"http.max_content_length": "1mb", "indexing_pressure.memory.limit": "100kb"}  # options of one that takes little at once
VECTOR_MODULE = "jdk.incubator.vector"


class SearchServer(Server):
    """One node with 512 MiB of heap. It drops root, and waits for yellow: one node never gets green."""

    start_timeout = 900  # a healthy one took 398 s where 35 processes shared two processors; one that ends is noticed at once
    ask_interval = 0.25  # each question costs a starting node a check of the password
    environment_prefix: ClassVar[str]

    def __init__(self, folder: Path | None = None, *, quick: bool = True) -> None:
        """`quick`: starts with about half the processor time, because Java compiles with less effort, and is slower later. False is the
        server as it is delivered: for measuring."""
        super().__init__(folder)
        self._quick = quick
        self.port = free_port()
        self._transport_port = free_port()
        self.options: dict[str, str] = {}

    def start(self, options: Mapping[str, str] | None = None) -> Self:
        """`options`: settings of the node for this start, given as -E; they win over ours."""
        self.options = dict(options or {})
        return super().start()

    def bulk(self, operations: Iterable[tuple[dict[str, Any], dict[str, Any]]], path: str = "/_bulk") -> Answer:
        """Sends pairs of action line and document."""
        body = "".join(f"{json.dumps(action)}\n{json.dumps(document)}\n" for action, document in operations)
        return self.rest.post(path, body, {"Content-Type": "application/x-ndjson"})

    def documents(self, index: str, query: dict[str, Any] | None = None, size: int = 10000) -> list[dict[str, Any]]:
        """The hits (_id, _source, ...) of an index or data stream, after a refresh."""
        self.rest.post(f"/{index}/_refresh").expect(200)
        found = self.rest.post(f"/{index}/_search", {"query": query or {"match_all": {}}, "size": size, "version": True}).expect(200)
        return list(found.json()["hits"]["hits"])

    def _ready(self) -> bool:
        return self.rest.get("/_cluster/health?wait_for_status=yellow&timeout=1s").status == 200

    def _settings(self) -> dict[str, str]:
        return {
            "cluster.name": "outlierd-tests",
            "discovery.type": "single-node",
            "http.host": "127.0.0.1",
            "http.port": str(self.port),
            "transport.host": "127.0.0.1",
            "transport.port": str(self._transport_port),
            "path.data": str(self.folder / "data"),
            "path.logs": str(self.folder / "logs"),
            # How full this host's disk is must not decide about a test; blocks that a test sets stay until it lifts them.
            "cluster.routing.allocation.disk.threshold_enabled": "false",
        }

    def _launch_node(self, home: Path, program: str, java: Path) -> None:
        for name in ("data", "logs", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)
        config = self.folder / "config"
        if not config.exists():
            shutil.copytree(home / "config", config)
            options = config / "jvm.options"
            unwanted = "gc\\.log|HeapDump|ErrorFile"  # they name files in the home, which is not to be written
            if VECTOR_MODULE not in (java / "release").read_text():
                unwanted += f"|{VECTOR_MODULE}"  # makes searches for vectors faster; small JDKs lack it
            text = re.sub(f"(?m)^.*({unwanted}).*$", "", options.read_text())
            options.write_text(text.replace("-XX:+UseG1GC", "-XX:+UseSerialGC") if self._quick else text)
            self._configure(config)
        prefix = self.environment_prefix
        environment = {f"{prefix}_JAVA_HOME": str(java), f"{prefix}_PATH_CONF": str(config), f"{prefix}_TMPDIR": str(self.folder / "tmp"),
                       f"{prefix}_JAVA_OPTS": "-Xms512m -Xmx512m"}  # fmt: skip
        if self._quick:
            environment[f"{prefix}_JAVA_OPTS"] += " -XX:TieredStopAtLevel=1"
            environment["CLI_JAVA_OPTS"] = "-XX:TieredStopAtLevel=1"
        settings = [f"-E{key}={value}" for key, value in {**self._settings(), **self.options}.items()]
        self._spawn([home / "bin" / program, *settings], environment=environment, as_nobody=True)

    def _configure(self, config: Path) -> None:
        """Completes a new folder of configuration."""


def java_home(lowest: int, highest: int | None = None) -> Path:
    """The lowest fitting JDK under the JVM folder. Raises Unavailable."""
    found: dict[int, Path] = {}
    for release in JVM_FOLDER.glob("*/release"):
        if version := re.search(r'JAVA_VERSION="(\d+)', release.read_text()):
            found.setdefault(int(version[1]), release.parent)
    fitting = [number for number in found if number >= lowest and (highest is None or number <= highest)]
    if not fitting:
        raise Unavailable(
            f"no JDK {lowest} under {JVM_FOLDER}, only {sorted(found) or 'none'}: apt-get install openjdk-{lowest}-jdk-headless"
        )
    return found[min(fitting)]
