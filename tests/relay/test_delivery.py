"""outlier-relay from a source's journal to each real server: one incident opens, gets worse, resolves. Vendors: test_vendors.py."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from programs import Incident, Json, Street
from saas.client import Saas
from saas.fixtures import saas, saas_server  # noqa: F401
from servers.alertmanager import Alertmanager
from servers.base import wait_for
from servers.collector import Collector, attributes
from servers.elasticsearch import Elasticsearch
from servers.opensearch import OpenSearch
from servers.prometheus import Prometheus


def search_sink(server: Elasticsearch | OpenSearch, street: Street, namespace: str) -> Json:
    if isinstance(server, Elasticsearch):
        kind = {"elasticsearch": {"urls": [server.rest.url], "username": "elastic", "password_file": street.key_file("es.password", "for-tests-only"),
                                  "namespace": namespace}, "connection": {"ca_file": str(server.ca_file)}}  # fmt: skip
    else:
        kind = {"opensearch": {"urls": [server.rest.url], "namespace": namespace}}
    return {"name": "search", **kind}


def test_a_search_engine_holds_every_change_once_and_the_current_state(street: Street, search: Any, unique: str) -> None:
    relay = street.carry(search_sink(search, street, unique), extra={"labels": [f"env={unique}", "a.b=c"]})
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
    assert len(search.documents(f"logs-outlier.change-{unique}", {"term": {"labels.env": unique}})) == 3, "labels of relay.yaml can be searched for"


def test_a_source_that_is_put_back_to_a_snapshot_loses_no_change_and_its_states_are_those_told_since(street: Street, search: Any, unique: str, tmp_path: Path) -> None:
    relay = street.carry(search_sink(search, street, unique))
    assert relay.run("setup", "search").returncode == 0
    relay.start()

    def put_back_to(folder: Path, to: Path) -> None:
        street.source.stop()
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(folder, to)

    def state_of(incident: str) -> Any:
        hits = [hit["_source"] for hit in search.documents("outlier-incidents") if hit["_id"] == f"{street.source.feed_id}:{incident}"]
        return (hits[0]["outlier"]["incident"]["state"], hits[0]["message"]) if hits else None

    first, lost = Incident("first"), Incident("lost")
    street.tell(first, "OPENED")
    state = street.source.folder / "state"
    put_back_to(state, tmp_path / "snapshot")
    street.source.start()
    for kind in "UPDATED", "RESOLVED":
        street.tell(first, kind)
    street.tell(lost, "OPENED")
    put_back_to(tmp_path / "snapshot", state)
    street.source.start()
    wait_for("that it was put back", lambda: search.documents(f"logs-outlier.change-{unique}", {"term": {"outlier.gap.reason": "journal_rewound"}}))
    told = Incident("first", summary="told after the snapshot")  # under the number of what was told before
    assert street.source.append(told.change("UPDATED")) == 2
    wait_for("its state", lambda: state_of("first") == ("OPEN", "told after the snapshot"))
    wait_for("the end of what never was", lambda: state_of("lost")[0] == "RESOLVED")
    relay.stop()
    relay.start()
    told.summary = "told after a restart"
    assert street.source.append(told.change("RESOLVED")) == 3
    wait_for("its end", lambda: state_of("first") == ("RESOLVED", "told after a restart"))
    changes = [hit["_source"] for hit in search.documents(f"logs-outlier.change-{unique}")]
    told_of = [change["message"] for change in changes if change.get("outlier", {}).get("incident", {}).get("id") == "first"]
    assert len(told_of) == 5 and {"told after the snapshot", "told after a restart"} < set(told_of)


def test_setup_brings_the_fields_to_what_an_earlier_version_made_and_names_one_that_cannot_change(street: Street, search: Any, unique: str) -> None:
    relay = street.carry(search_sink(search, street, unique))
    index, template = f"logs-outlier.change-{unique}", f"/_index_template/earlier-{unique}"  # no stream: the distribution for tests cannot drop one
    for earlier, works in (({"@timestamp": {"type": "date"}}, True), ({"event": {"properties": {"id": {"type": "long"}}}}, False)):
        body = {"index_patterns": [index], "priority": 999, "template": {"mappings": {"dynamic": False, "properties": earlier}}}
        search.rest.request("PUT", template, body).expect(200)
        search.rest.request("PUT", f"/{index}").expect(200)
        try:
            done = relay.run("setup", "search")
            [mapping] = search.rest.get(f"/{index}/_mapping").expect(200).json().values()
        finally:
            search.rest.request("DELETE", f"/{index}").expect(200)
            search.rest.request("DELETE", template).expect(200)
        if works:
            assert done.returncode == 0, done.stdout + done.stderr
            assert mapping["mappings"]["properties"]["outlier"]["properties"]["incident"]["properties"]["severity"]["type"] == "keyword"
        else:
            assert done.returncode != 0 and "event.id" in done.stderr, done.stdout + done.stderr


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
    street.carry({"name": "otel", "otlp": {"endpoint": endpoint, "protocol": protocol}}, extra={"labels": ["env=test"]}).start()
    before = len(collector.log_records())
    street.story()
    records = wait_for("records in the collector's file", lambda: (all_records := collector.log_records()[before:]) and len(all_records) >= 3 and all_records)
    assert [record.get("eventName") for record in records] == ["outlier.incident.opened", "outlier.incident.updated", "outlier.incident.resolved"]
    assert [attributes(record["resource"])["env"] for record in records] == ["test"] * 3


def test_alertmanager_holds_the_alert_while_it_is_open_and_not_after(street: Street, alertmanager: Alertmanager) -> None:
    relay = street.carry({"name": "am", "alertmanager": {"urls": [alertmanager.rest.url]}}, extra={"labels": ["env=test"]}).start()
    incident = Incident("am-" + street.source.feed_id[:8])

    def held() -> list[Json]:
        return [alert for alert in alertmanager.alerts() if incident.id in json.dumps(alert)]

    wait_for("caught up", lambda: relay.sink("am")["sources"][0]["connected"])
    street.source.append(incident.change("OPENED"))
    alerts = wait_for("alert", held)
    assert [alert["labels"]["env"] for alert in alerts] == ["test"]
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


def test_a_relay_stops_within_two_seconds_while_a_sink_hangs(street: Street, saas: Saas) -> None:  # noqa: F811
    relay = street.carry({"name": "pd", "pagerduty": {"routing_key_file": street.key_file("pd", saas.key("pagerduty")), "url": saas.url("pagerduty")}}).start()
    wait_for("connected", lambda: relay.sink("pd")["sources"][0]["connected"])
    saas.fault("pagerduty", "hang")
    street.source.append(Incident("hangs").change("OPENED"))
    saas.wait(lambda: saas.count("pagerduty") >= 1)
    began = time.monotonic()
    assert relay.stop() == 0
    assert time.monotonic() - began < 2
