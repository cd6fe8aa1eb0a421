"""Prometheus and promtool, of Debian."""

from __future__ import annotations

import functools
import json
import subprocess
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .base import Server, free_port
from .cache import debian_program
from .rest import Rest


class Prometheus(Server):
    """With the receiver of remote write; scrapes the given targets each second."""

    name = "prometheus"

    def __init__(self, folder: Path | None = None, *, scrape: Sequence[str] = (), rules: Sequence[Path] = (), alertmanagers: Sequence[str] = ()) -> None:
        """`scrape` and `alertmanagers`: host:port."""
        super().__init__(folder)
        self.port = free_port()
        self._scrape, self._rules, self._alertmanagers = list(scrape), list(rules), list(alertmanagers)

    @classmethod
    def install(cls) -> Path:
        debian_program("promtool", "prometheus")
        return debian_program("prometheus", "prometheus")

    @functools.cached_property
    def rest(self) -> Rest:
        return Rest(f"http://127.0.0.1:{self.port}")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant vector: each with `metric` (labels) and `value` ([time, text])."""
        return list(self.rest.get("/api/v1/query?" + urllib.parse.urlencode({"query": expression})).expect(200).json()["data"]["result"])

    def _launch(self) -> None:
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [{"job_name": "test", "static_configs": [{"targets": self._scrape}]}] if self._scrape else [],
            "rule_files": [str(file.resolve()) for file in self._rules],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": self._alertmanagers}]}]} if self._alertmanagers else {},
        }
        file = self.folder / "prometheus.yml"
        file.write_text(json.dumps(configuration, indent=1))  # JSON is YAML
        self._spawn([self.install(), f"--config.file={file}", f"--web.listen-address=127.0.0.1:{self.port}", f"--storage.tsdb.path={self.folder}/data",
                     "--web.enable-remote-write-receiver", "--enable-feature=exemplar-storage", "--log.level=warn"])  # fmt: skip

    def _ready(self) -> bool:
        return self.rest.get("/-/ready").status == 200


def promtool(*words: str | Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs promtool; what it says stands in stdout, errors too."""
    return subprocess.run([debian_program("promtool", "prometheus"), *words], input=text or "", text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
