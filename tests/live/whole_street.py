"""The whole street on this host: outlierd over its kernel, outlier-relay, and the real Elasticsearch, Alertmanager and OpenTelemetry Collector;
and when each of them could be seen to hold what happened."""

from __future__ import annotations

import http.client
import json
import math
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from host import BUILD, Daemon, Json, unix_time

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "relay"))
os.environ.setdefault("OUTLIER_BUILD", str(BUILD))

from programs import Relay, Source  # noqa: E402
from servers.alertmanager import Alertmanager  # noqa: E402
from servers.collector import Collector, attributes  # noqa: E402
from servers.elasticsearch import PASSWORD, Elasticsearch  # noqa: E402
from servers.rest import basic  # noqa: E402

NAMESPACE = "live"
CHANGES = f"logs-outlier.change-{NAMESPACE}"
CONTROL = "control"
POLL = 0.05
Key = tuple[str, str]  # incident, kind of change


class Line:
    """One connection that is kept: a handshake for each question would cost what is to be measured."""

    def __init__(self, server: Elasticsearch) -> None:
        self._connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=30, context=ssl.create_default_context(cafile=str(server.ca_file)))
        self._headers = {**basic("elastic", PASSWORD), "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Json) -> Json:
        self._connection.request(method, path, json.dumps(body), self._headers)
        answer: Json = json.loads(self._connection.getresponse().read())
        return answer


class Background:
    """Calls `look` every POLL seconds until it is stopped; what it raises is raised again by stop()."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping.wait(POLL):
                self._look()
        except BaseException as error:  # noqa: BLE001
            self._error = error

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        if self._error is not None:
            raise self._error


class SearchEye:
    """When each change first came back from a search, without asking for a refresh. Beside it a document a second of its own, written straight into an
    index of its own: how long this server, as busy as it is, takes to make searchable what it has been given."""

    def __init__(self, server: Elasticsearch) -> None:
        self.searchable: dict[Key, float] = {}
        self.control: list[tuple[float, float]] = []  # when written, seconds until searchable
        self._line, self._control_line = Line(server), Line(server)
        self._control_line.ask("PUT", f"/{CONTROL}", {"mappings": {"properties": {"number": {"type": "long"}}}})
        self._written: dict[int, float] = {}
        self._next_control = 0.0
        self._threads = [Background(self._look), Background(self._look_at_control)]

    def _look(self) -> None:
        query = {"size": 1000, "sort": [{"event.created": "desc"}], "_source": ["outlier.incident.id", "outlier.change.kind"], "query": {"match_all": {}}}
        found = self._line.ask("POST", f"/{CHANGES}/_search?ignore_unavailable=true", query)
        now = time.time()
        for hit in found.get("hits", {}).get("hits", []):
            outlier = hit["_source"].get("outlier", {})
            if "incident" in outlier:
                self.searchable.setdefault((outlier["incident"]["id"], outlier["change"]["kind"]), now)

    def _look_at_control(self) -> None:
        if time.time() >= self._next_control:
            self._next_control = time.time() + 1
            number = len(self._written)
            self._control_line.ask("PUT", f"/{CONTROL}/_doc/{number}", {"number": number})
            self._written[number] = time.time()
        answer = self._control_line.ask("POST", f"/{CONTROL}/_search", {"size": 50, "sort": [{"number": "desc"}]})
        now = time.time()
        for hit in answer.get("hits", {}).get("hits", []):
            written = self._written.get(int(hit["_id"]), 0.0)
            if written:
                self.control.append((written, now - written))
                self._written[int(hit["_id"])] = 0.0

    def stop(self) -> None:
        for thread in self._threads:
            thread.stop()


class WholeStreet:
    """Start in the main thread. `settings` are outlierd's."""

    def __init__(self, folder: Path, *settings: str, quick: bool = False) -> None:
        """`quick`: Elasticsearch starts sooner and works slower."""
        self.folder = folder
        self.daemon = Daemon(folder / "outlierd", *settings).start()
        self.elasticsearch, self.alertmanager, self.collector = Elasticsearch(quick=quick), Alertmanager(), Collector()
        self._servers = (self.elasticsearch, self.alertmanager, self.collector)
        self.relay: Relay | None = None
        self.eye: SearchEye | None = None

    def open(self) -> WholeStreet:
        for server in self._servers:
            server.start()
        source = Source(self.folder)  # only its address is used
        source.address = self.daemon.address
        password = self.folder / "es.password"
        password.write_text(PASSWORD + "\n")
        self.relay = Relay(self.folder / "relay", [source], [
            {"name": "search", "elasticsearch": {"urls": [self.elasticsearch.url], "username": "elastic", "password_file": str(password), "namespace": NAMESPACE},
             "connection": {"ca_file": str(self.elasticsearch.ca_file)}},
            {"name": "am", "alertmanager": {"urls": [self.alertmanager.url]}},
            {"name": "otel", "otlp": {"endpoint": self.collector.url}},
        ])  # fmt: skip
        done = self.relay.run("setup", "search")
        assert done.returncode == 0, done.stderr
        self.relay.start()
        self.eye = SearchEye(self.elasticsearch)
        return self

    # What each of the three holds, by an incident's id.

    def searchable(self, incident: str, kind: str) -> float | None:
        assert self.eye is not None
        return self.eye.searchable.get((incident, kind))

    def state_in_search(self, incident: str) -> str | None:
        found = self.elasticsearch.rest.post("/outlier-incidents/_search", {"query": {"term": {"outlier.incident.id": incident}}}).expect(200).json()
        states = [hit["_source"]["outlier"]["incident"]["state"] for hit in found["hits"]["hits"]]
        assert len(states) <= 1, f"{incident} is there {len(states)} times"
        return states[0] if states else None

    def alert(self, incident: str) -> Json | None:
        held = [alert for alert in self.alertmanager.alerts() if alert["labels"].get("incident", "").endswith(f":{incident}")]
        assert len(held) <= 1, held
        return held[0] if held else None

    def events(self, incident: str) -> list[str]:
        """In the order of their arrival in the collector's file."""
        records = [(attributes(record), record) for record in self.collector.log_records()]
        return [str(record["eventName"]) for found, record in records if found.get("outlier.incident.id") == incident]

    def close(self) -> None:
        if self.eye is not None:
            self.eye.stop()
        if self.relay is not None:
            self.relay.stop()
        self.daemon.terminate()
        for server in self._servers:
            server.close()


def opened_at(change: Json) -> float:
    """When outlierd opened the incident, by its own clock, which is this host's."""
    return unix_time(change["incident"]["opened_time"])


def percentile(values: list[float], share: float) -> float:
    """The least value that at least this share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
