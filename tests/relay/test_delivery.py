"""outlier-relay from a source's journal to each real server and each vendor's stand-in: one incident opens, gets worse, resolves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from programs import Incident, Json, Relay, Source
from saas.client import Saas
from saas.fixtures import saas, saas_server  # noqa: F401
from servers.alertmanager import Alertmanager
from servers.base import wait_for
from servers.cloudwatch import CloudWatch
from servers.collector import Collector
from servers.elasticsearch import Elasticsearch
from servers.opensearch import OpenSearch
from servers.prometheus import Prometheus


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    source = Source(tmp_path / "source").start()
    yield source
    source.stop()


@dataclass
class Street:
    """One source and one relay."""

    source: Source
    folder: Path
    relay: Relay | None = None

    def carry(self, *sinks: Json, extra: Json | None = None) -> Relay:
        self.relay = Relay(self.folder / "relay", [self.source], sinks, extra)
        return self.relay

    def key_file(self, name: str, content: str) -> str:
        file = self.folder / name
        file.write_text(content + "\n")
        file.chmod(0o600)
        return str(file)

    def story(self) -> Incident:
        """An incident that opens as MAJOR, becomes CRITICAL and resolves; each told to the end before the next."""
        assert self.relay is not None
        incident = Incident("story-1")
        for kind in ("OPENED", "UPDATED", "RESOLVED"):
            if kind == "UPDATED":
                incident.severity, incident.score = "CRITICAL", 91.0
            sequence = self.source.append(incident.change(kind))
            for sink in self.relay.configuration["sinks"]:
                self.relay.wait_until_delivered(sink["name"], sequence)
            wait_for("nothing under way", lambda: all(s["state"] == "DELIVERING" for s in self.relay.ctl_json("sinks")))
        return incident


@pytest.fixture
def street(source: Source, tmp_path: Path) -> Iterator[Street]:
    street = Street(source, tmp_path)
    yield street
    if street.relay is not None:
        street.relay.stop()


def search_sink(server: Elasticsearch | OpenSearch, street: Street, namespace: str) -> Json:
    if isinstance(server, Elasticsearch):
        kind = {"elasticsearch": {"urls": [server.rest.url], "username": "elastic", "password_file": street.key_file("es.password", "for-tests-only"),
                                  "namespace": namespace}, "connection": {"ca_file": str(server.ca_file)}}  # fmt: skip
    else:
        kind = {"opensearch": {"urls": [server.rest.url], "namespace": namespace}}
    return {"name": "search", **kind}


def test_a_search_engine_holds_every_change_once_and_the_current_state(street: Street, search: Any, unique: str) -> None:
    relay = street.carry(search_sink(search, street, unique))
    done = relay.run("setup", "search")
    assert done.returncode == 0, done.stderr
    again = relay.run("setup", "search")
    assert again.returncode == 0, again.stderr
    relay.start()
    street.story()
    changes = [hit["_source"] for hit in search.documents(f"logs-outlier.change-{unique}")]
    assert sorted(change["outlier"]["change"]["kind"] for change in changes) == ["OPENED", "RESOLVED", "UPDATED"]
    assert {change["host"]["name"] for change in changes} == {"web-1"}
    current = [hit for hit in search.documents("outlier-incidents") if hit["_id"].startswith(street.source.feed_id)]
    assert [hit["_source"]["outlier"]["incident"]["state"] for hit in current] == ["RESOLVED"]
    assert current[0]["_source"]["outlier"]["incident"]["severity"] == "CRITICAL"


def test_samples_of_a_troubled_workload_become_documents(street: Street, search: Any, unique: str) -> None:
    relay = street.carry(search_sink(search, street, unique), extra={"signals": {"resolution": "1s"}})
    assert relay.run("setup", "search").returncode == 0
    relay.start()
    incident = Incident("sampled")
    relay.wait_until_delivered("search", street.source.append(incident.change("OPENED")))
    state = {"workload": {"name": incident.workload, "kind": "SYSTEMD_UNIT"}, "score": 61.5, "processes": 2,
             "values": [{"signal": "process.cpu.utilization", "unit": "1", "value": 0.8, "expected": 0.02, "lower": 0.004, "upper": 0.042}]}  # fmt: skip
    calm = {"workload": {"name": "calm", "kind": "EXECUTABLE"}, "score": 0, "values": [{"signal": "process.cpu.utilization", "unit": "1", "value": 0.1}]}

    def sampled() -> bool:
        street.source.say("sample " + json.dumps({"tick": str(int(time.time())), "time": incident.change("UPDATED")["time"], "workloads": [state, calm]}))
        return relay.sink("search")["samples_delivered"] != "0"

    wait_for("samples delivered", sampled, timeout=40, interval=0.5)
    signals = [hit["_source"] for hit in search.documents(f"metrics-outlier.signal-{unique}")]
    assert {one["outlier"]["workload"]["name"] for one in signals} == {incident.workload}, "nobody asked for signals of what is calm"
    assert signals[0]["outlier"]["signal"]["upper"] == 0.042
    assert {hit["_source"]["outlier"]["workload"]["name"] for hit in search.documents(f"metrics-outlier.score-{unique}")} == {incident.workload, "calm"}


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_collector_receives_every_change_as_an_event(street: Street, collector: Collector, protocol: str) -> None:
    endpoint = collector.rest.url if protocol == "http" else f"http://{collector.grpc_target}"
    street.carry({"name": "otel", "otlp": {"endpoint": endpoint, "protocol": protocol}}).start()
    before = len(collector.log_records())
    street.story()
    records = wait_for("records in the collector's file", lambda: (all_records := collector.log_records()[before:]) and len(all_records) >= 3 and all_records)
    assert [record.get("eventName") for record in records] == ["outlier.incident.opened", "outlier.incident.updated", "outlier.incident.resolved"]


def test_alertmanager_holds_the_alert_while_it_is_open_and_not_after(street: Street, alertmanager: Alertmanager) -> None:
    relay = street.carry({"name": "am", "alertmanager": {"urls": [alertmanager.rest.url]}}).start()
    incident = Incident("am-" + street.source.feed_id[:8])

    def held() -> list[Json]:
        return [alert for alert in alertmanager.alerts() if incident.id in json.dumps(alert)]

    wait_for("caught up", lambda: relay.sink("am")["sources"][0]["connected"])
    street.source.append(incident.change("OPENED"))
    alerts = wait_for("alert", held)
    assert len(alerts) == 1
    incident.severity, incident.score = "CRITICAL", 91.0
    relay.wait_until_delivered("am", street.source.append(incident.change("UPDATED")))
    wait_for("one alert still", lambda: len(held()) == 1)
    street.source.append(incident.change("RESOLVED"))
    wait_for("resolved", lambda: not held())


def test_prometheus_scrapes_and_receives_what_is_open(street: Street, tmp_path: Path) -> None:
    with_writes = Prometheus(tmp_path / "written").start()
    try:
        relay = street.carry({"name": "prom", "prometheus_remote_write": {"url": f"{with_writes.rest.url}/api/v1/write"}}, extra={"signals": {"resolution": "1s"}}).start()
        incident = Incident("prom-1")
        street.source.append(incident.change("OPENED"))
        wait_for("on /metrics", lambda: 'outlier_incidents_open{host="web-1",severity="major"} 1' in relay.get("/metrics")[1])
        state = {"workload": {"name": incident.workload, "kind": "SYSTEMD_UNIT"}, "score": 61.5}

        def written() -> list[Json]:
            street.source.say("sample " + json.dumps({"tick": "1", "time": Incident("x").change("UPDATED")["time"], "workloads": [state]}))
            return with_writes.query("outlier_workload_score")

        series = wait_for("written", written, timeout=40, interval=0.5)
        assert series[0]["metric"]["workload"] == incident.workload
        text = relay.get("/metrics", accept="application/openmetrics-text; version=1.0.0")[1]
        assert text.rstrip().endswith("# EOF")
    finally:
        with_writes.close()


@dataclass(frozen=True)
class Vendor:
    name: str  # of the stand-in
    sink: Callable[[Saas, Street], Json]
    told: Callable[[Saas], list[str]]  # what the vendor was told, in order


def words(vendor: str, path: Callable[[Any], str]) -> Callable[[Saas], list[str]]:
    return lambda server: [path(body) for body in server.accepted(vendor)]


VENDORS = [
    Vendor("pagerduty", lambda s, st: {"pagerduty": {"routing_key_file": st.key_file("pd", s.key("pagerduty")), "url": s.url("pagerduty")}},
           words("pagerduty", lambda body: body["event_action"])),
    Vendor("victorops", lambda s, st: {"splunk_on_call": {"api_key_file": st.key_file("vo", s.key("victorops").split("/")[0]), "routing_key": "ops", "url": s.url("victorops")}},
           words("victorops", lambda body: body["message_type"])),
    Vendor("slack", lambda s, st: {"slack": {"webhook_url_file": st.key_file("slack", s.url("slack", s.key("slack") if s.key("slack").startswith("/") else f"/services/{s.key('slack')}"))}},
           words("slack", lambda body: "message")),
    Vendor("datadog", lambda s, st: {"datadog": {"api_key_file": st.key_file("dd", s.key("datadog")), "events_url": s.url("datadog"), "metrics_url": s.url("datadog")}},
           words("datadog", lambda body: body["data"]["attributes"]["attributes"]["status"])),
    Vendor("new_relic", lambda s, st: {"new_relic": {"account_id": "1234567", "license_key_file": st.key_file("nr", s.key("new_relic")), "url": s.url("new_relic")}},
           words("new_relic", lambda body: "event")),
]  # fmt: skip


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_a_vendor_is_told_the_whole_story_as_its_contract_wants_it(street: Street, saas: Saas, vendor: Vendor) -> None:  # noqa: F811
    street.carry({"name": vendor.name, **vendor.sink(saas, street)}).start()
    wait_for("connected", lambda: street.relay is not None and street.relay.sink(vendor.name)["sources"][0]["connected"])
    street.story()
    wait_for("three requests", lambda: saas.count(vendor.name) >= 2)
    assert saas.violations(vendor.name) == []
    assert vendor.told(saas)


def test_a_relay_stops_within_two_seconds_while_a_sink_hangs(street: Street, saas: Saas) -> None:  # noqa: F811
    relay = street.carry({"name": "pd", "pagerduty": {"routing_key_file": street.key_file("pd", saas.key("pagerduty")), "url": saas.url("pagerduty")}}).start()
    wait_for("connected", lambda: relay.sink("pd")["sources"][0]["connected"])
    saas.fault("pagerduty", "hang")
    street.source.append(Incident("hangs").change("OPENED"))
    saas.wait(lambda: saas.count("pagerduty") >= 1)
    began = time.monotonic()
    assert relay.stop() == 0
    assert time.monotonic() - began < 2
