"""Alertmanager and amtool, of Debian."""

from __future__ import annotations

import functools
import json
import subprocess
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .base import Server, free_port
from .cache import Unavailable, debian_program
from .rest import Rest

TEMPLATE = Path("/usr/share/prometheus/alertmanager/default.tmpl")
NOTIFIERS = ("pagerduty", "opsgenie", "victorops", "slack", "webhook")


class Alertmanager(Server):
    """Alone, without a cluster. Notifies at once, and only where it is told to."""

    name = "alertmanager"

    def __init__(self, folder: Path | None = None, *, notify: Mapping[str, str] | None = None, resolve_timeout: str = "5m") -> None:
        """`notify`: which of NOTIFIERS send, and to what URL; so it is a sender of pages that is independent of ours. Its own paths follow
        the URL: /v2/alerts for Opsgenie, /ROUTING_KEY/outlierd for VictorOps, none for the others."""
        super().__init__(folder)
        self.port = free_port()
        self._notify, self._resolve_timeout = dict(notify or {}), resolve_timeout
        if unknown := set(self._notify) - set(NOTIFIERS):
            raise ValueError(f"Alertmanager's notifiers are {', '.join(NOTIFIERS)}, not {', '.join(sorted(unknown))}")

    @classmethod
    def install(cls) -> Path:
        debian_program("amtool", "prometheus-alertmanager")
        if not TEMPLATE.exists():
            raise Unavailable(f"{TEMPLATE}, which Alertmanager reads, is missing: apt-get install --reinstall prometheus-alertmanager")
        return debian_program("prometheus-alertmanager", "prometheus-alertmanager")

    @functools.cached_property
    def rest(self) -> Rest:
        return Rest(f"http://127.0.0.1:{self.port}")

    def alerts(self, matcher: str = "") -> list[dict[str, Any]]:
        """The alerts that it holds as active (resolved ones are gone), by a matcher like alertname="x"."""
        query = "?" + urllib.parse.urlencode({"filter": matcher}) if matcher else ""
        return list(self.rest.get("/api/v2/alerts" + query).expect(200).json())

    def _launch(self) -> None:
        file = self.folder / "alertmanager.yml"
        file.write_text(json.dumps(self._configuration(), indent=1))  # JSON is YAML
        self._spawn([self.install(), f"--config.file={file}", f"--storage.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}",
                     "--cluster.listen-address=", "--log.level=debug"])  # fmt: skip

    def _configuration(self) -> dict[str, Any]:
        receiver: dict[str, Any] = {"name": "test"}
        for notifier, url in self._notify.items():
            receiver[f"{notifier}_configs"] = [{"send_resolved": True, **{
                "pagerduty": {"routing_key": "0" * 32, "url": url},
                "opsgenie": {"api_key": "test-key", "api_url": url.rstrip("/") + "/"},
                "victorops": {"api_key": "test-key", "routing_key": "outlierd", "api_url": url.rstrip("/") + "/"},
                "slack": {"api_url": url, "channel": "#test"},
                "webhook": {"url": url},
            }[notifier]}]  # fmt: skip
        return {
            "global": {"resolve_timeout": self._resolve_timeout},
            "route": {"receiver": "test", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"},
            "receivers": [receiver],
        }

    def _ready(self) -> bool:
        return self.rest.get("/-/ready").status == 200


def amtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs amtool; what it says stands in stdout, errors too."""
    return subprocess.run([debian_program("amtool", "prometheus-alertmanager"), *words], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)  # fmt: skip
