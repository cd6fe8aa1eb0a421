"""The stand-in is faithful: the vendors' own published clients, and Alertmanager, speak to it and find what they expect.

Dynatrace and Instana publish no client that could be pointed here, and neither does Splunk On-Call for its REST
endpoint: for the last Alertmanager is the only witness, for the others there is none but the contract.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from saas import senders
from saas.certificates import Authority
from saas.client import Saas
from saas.fixtures import authority, saas, saas_server  # noqa: F401
from saas.speak import azure_token
from saas.vendors.azure import CLIENT, RULE, TENANT


@pytest.fixture(scope="module")
def secure_server(authority: Authority) -> Iterator[Saas]:  # noqa: F811
    with Saas(tls=authority.server()) as server:
        yield server


@pytest.fixture
def secure(secure_server: Saas) -> Saas:
    secure_server.reset()
    return secure_server


def test_datadogs_client_sends_events_metrics_and_checks(saas: Saas) -> None:  # noqa: F811
    saas.fault("datadog", "throttle", times=1, path="/api/v2/series", retry_after=1)
    told = senders.run_python("datadog_sender.py", url=saas.url("datadog"), key=saas.key("datadog"))
    assert told["v1"]["status"] == "ok" and told["v1"]["id"] > 0
    assert told["v2 error"].startswith("AY") and told["v2 ok"].startswith("AY")
    assert told["series"] == told["series gzip"] == told["series deflate"] == []
    assert told["valid"] is True and told["check"] == "ok"
    assert told["wrong key"] == {"status": 403, "errors": ["Forbidden"]}
    assert saas.violations() == []
    state = saas.state("datadog")
    assert [effect["effect"] for effect in state["events"]["effects"]] == ["opened", "appended", "resolved"]
    assert {(point["metric"], point["value"], point["host"]) for point in state["series"]} == {("outlier.score", 73.5, "web-1")}
    sent = [seen for seen in saas.requests("datadog") if seen["path"] == "/api/v2/series"]
    assert [seen["status"] for seen in sent] == [429, 202, 202, 202]
    assert sent[1]["time"] - sent[0]["time"] >= 1  # it waits as X-RateLimit-Reset says
    assert [seen["headers"].get("content-encoding") for seen in sent[1:]] == [None, "gzip", "deflate"]


def test_opsgenies_client_opens_acknowledges_notes_closes_and_asks(saas: Saas) -> None:  # noqa: F811
    told = senders.run_python("opsgenie_sender.py", url=saas.url("opsgenie"), key=saas.key("opsgenie"))
    assert told["create"] == ["Request will be processed"] * 2
    assert (told["acknowledge"], told["note"], told["get"], told["list"]) == (True, True, 2, ["feed/1 a"])
    assert (told["close"], told["close again"], told["wrong key"]) == (True, False, 401)
    assert saas.violations() == []
    assert any(seen["path"] == "/v2/alerts/feed%2F1%20a/close" for seen in saas.requests("opsgenie"))
    effects = [effect["effect"] for effect in saas.state("opsgenie")["effects"]]
    assert effects == ["opened", "appended", "acknowledged", "noted", "resolved", "nothing"]


def test_pagerdutys_client_triggers_acknowledges_resolves_and_tells_changes(secure: Saas, authority: Authority) -> None:  # noqa: F811
    secure.fault("pagerduty", "throttle", times=1, body="feed:throttled")
    told = senders.run_node(
        "pagerduty_sender.cjs", authority.ca, server=f"127.0.0.1:{secure.ports['pagerduty']}", key=secure.key("pagerduty")
    )
    for name in ("trigger", "acknowledge", "resolve"):
        assert told[name] == {"status": 202, "data": {"status": "success", "message": "Event processed", "dedup_key": "feed:1"}}
    assert told["change"]["status"] == told["repeated"]["status"] == 202
    assert told["wrong"]["status"] == 400 and told["wrong"]["data"]["status"] == "invalid event" and told["wrong"]["data"]["errors"]
    assert {violation["text"].split()[0] for violation in secure.violations()} == {"payload.severity"}
    assert secure.state("pagerduty")["keys"][secure.key("pagerduty")]["pages"] == ["feed:1", "feed:throttled"]
    assert [seen["status"] for seen in secure.requests("pagerduty")] == [202, 202, 202, 202, 400, 429, 202]


def test_new_relics_client_sends_events(secure: Saas, authority: Authority) -> None:  # noqa: F811
    told = senders.run_python(
        "new_relic_sender.py", port=secure.ports["new_relic"], ca=str(authority.ca), key=secure.key("new_relic"), account="1234567", now_ms=int(time.time() * 1000))  # fmt: skip
    assert told == {"one": 200, "batch": 200, "type": 200, "wrong key": 403}
    assert {seen["headers"]["content-encoding"] for seen in secure.requests("new_relic")} == {"gzip"}
    assert [event["incident"] for event in secure.state("new_relic")["events"]] == ["feed:1", "feed:2", "feed:3"]
    assert len(secure.violations()) == len(secure.state("new_relic")["integration_errors"]) == 1, "the type that is none is taken, and dropped later"


def test_slacks_client_posts_text_and_blocks_and_hears_what_is_wrong(saas: Saas) -> None:  # noqa: F811
    told = senders.run_node(
        "slack_sender.cjs", hook=saas.url("slack", f"/services/{saas.key('slack')}"), stranger=saas.url("slack", "/services/T0/B0/no")
    )
    assert told["text"]["text"] == told["blocks"]["text"] == "ok"
    assert "400" in told["nothing"]["message"] and "404" in told["stranger"]["message"]
    assert len(saas.state("slack")["messages"]) == 2
    assert [violation["text"] for violation in saas.violations()] == ["none of text, blocks, attachments is there"]


def test_azures_client_gets_a_token_and_uploads_rows(secure: Saas, authority: Authority) -> None:  # noqa: F811
    secure.configure("azure", streams={"Custom-OutlierIncidents_CL": {"TimeGenerated": "datetime", "Number": "int"}})
    secure.fault("azure", "throttle", times=1, retry_after=1)
    told = senders.run_node(
        "azure_sender.cjs", authority.ca, tenant=TENANT, client=CLIENT, secret="a~client~secret", authority=secure.url("entra"),
        endpoint=secure.url("azure"), rule=RULE, stream="Custom-OutlierIncidents_CL",
    )  # fmt: skip
    assert told["uploaded"] == 3
    assert [(part["status"], part["rows"]) for part in told["unknown"]] == [(404, 3)]
    assert [row["Number"] for row in secure.state("azure")["rows"]["Custom-OutlierIncidents_CL"]] == [1, 2, 3]
    assert [seen["status"] for seen in secure.requests("azure")] == [429, 204, 404]
    assert {seen["headers"]["content-encoding"] for seen in secure.requests("azure")} == {"gzip"}
    assert secure.violations() == []


def otlp_jobs(server: Saas) -> dict[str, dict[str, Any]]:
    """Where each back end takes OTLP, with its header and the temporality that it wants."""

    def job(vendor: str, metrics: str, logs: str, headers: dict[str, str], delta: bool = False, all_delta: bool = False) -> dict[str, Any]:
        where = {"metrics": server.url(vendor, metrics), "logs": server.url(vendor, logs)}
        return where | {"headers": headers, "delta": delta, "all_delta": all_delta}

    basic = "Basic " + base64.b64encode(server.key("grafana_cloud").encode()).decode()
    datadog = {"dd-api-key": server.key("datadog"), "dd-protocol": "otlp"}
    rule, bearer = f"/datacollectionRules/{RULE}/streams", {"authorization": f"Bearer {azure_token(server)}"}
    dynatrace = {"authorization": f"Api-Token {server.key('dynatrace')}"}
    return {
        "new_relic": job("new_relic", "/v1/metrics", "/v1/logs", {"api-key": server.key("new_relic")}, delta=True),
        "datadog": job("datadog", "/api/intake/otlp/v1/metrics", "/api/v2/logs", datadog, delta=True, all_delta=True),
        "dynatrace": job("dynatrace", "/api/v2/otlp/v1/metrics", "/api/v2/otlp/v1/logs", dynatrace, delta=True),
        "grafana_cloud": job("grafana_cloud", "/otlp/v1/metrics", "/otlp/v1/logs", {"authorization": basic}),
        "instana_otlp": job("instana_otlp", "/v1/metrics", "/v1/logs", {"x-instana-key": server.key("instana_otlp")}),
        "elastic_otlp": job("elastic_otlp", "/v1/metrics", "/v1/logs", {"authorization": f"ApiKey {server.key('elastic_otlp')}"}),
        "azure": job(
            "azure", f"{rule}/microsoft-otelmetrics/otlp/v1/metrics", f"{rule}/Microsoft-OTLP-Logs/otlp/v1/logs", bearer, delta=True
        ),
    }


@pytest.mark.parametrize("gzip", [False, True])
def test_opentelemetrys_exporter_is_taken_by_every_back_end(saas: Saas, gzip: bool) -> None:  # noqa: F811
    jobs = otlp_jobs(saas)
    assert senders.run_python("otlp_sender.py", jobs=jobs, gzip=gzip) == dict.fromkeys(jobs, True)
    for vendor, job in jobs.items():
        state = saas.state(vendor)
        points = {point["name"]: point for point in state["metrics"]}
        assert {name: (point["kind"], point["value"]) for name, point in points.items()} == {
            "outlier.incidents": ("sum", 7),
            "outlier.open": ("sum", -2),
            "outlier.delay": ("histogram", None),
            "outlier.score": ("gauge", 0.93),
            "outlier.exponential": ("exponentialHistogram", None),
        }, vendor
        assert points["outlier.score"]["attributes"] == {"workload": "backup", "depth": 3, "good": False}
        assert points["outlier.score"]["resource"]["host.ip"] == ["10.0.0.1", "10.0.0.2"]
        assert points["outlier.incidents"]["temporality"] == (1 if job["delta"] else 2)
        logs = [(log["event"], log["severity"], log["body"]) for log in state["logs"]]
        assert logs == [("outlier.incident.opened", 17, "web-1: 14x typical")], vendor
        assert {seen["headers"].get("content-encoding") for seen in saas.requests(vendor)} == {"gzip" if gzip else None}
    assert saas.violations() == []


def test_cumulative_counters_of_the_exporter_are_refused_where_only_delta_is_taken(saas: Saas) -> None:  # noqa: F811
    wanted = ("datadog", "dynatrace")
    jobs = {name: job | {"delta": False, "all_delta": False} for name, job in otlp_jobs(saas).items() if name in wanted}
    for job in jobs.values():
        del job["logs"]
    senders.run_python("otlp_sender.py", jobs=jobs, gzip=False)
    assert {(violation["vendor"], violation["kind"]) for violation in saas.violations()} == {(name, "temporality") for name in wanted}
    assert [saas.state(name)["metrics"] for name in wanted] == [[], []]


def test_cloudevents_and_standard_webhooks_libraries_are_understood(saas: Saas) -> None:  # noqa: F811
    told = senders.run_python(
        "webhook_sender.py", url=saas.url("webhook", "/webhook/one"), secrets={"right": saas.key("webhook"), "wrong": "whsec_" + "A" * 32}
    )
    assert (told["right"], told["wrong"]) == (204, 401) and told["type"].startswith("application/cloudevents+json")
    assert [violation["kind"] for violation in saas.violations()] == ["signature"]
    assert senders.run_node("webhook_sender.cjs", url=saas.url("webhook", "/webhook/one"), secret=saas.key("webhook")) == {
        "statuses": [204, 200]
    }
    assert len(saas.state("webhook")["events"]) == 2 and len(saas.violations()) == 1


CONFIGURATION = """
global:
  resolve_timeout: 5m
  pagerduty_url: {pagerduty}/v2/enqueue
  opsgenie_api_url: {opsgenie}/
  opsgenie_api_key: {opsgenie_key}
  victorops_api_url: {victorops}/integrations/generic/20131114/alert/
  victorops_api_key: {victorops_key}
  slack_api_url: {slack}/services/{slack_key}
route: {{receiver: all, group_by: [alertname], group_wait: 10ms, group_interval: 200ms, repeat_interval: 1h}}
receivers:
  - name: all
    pagerduty_configs: [{{routing_key: {pagerduty_key}}}]
    opsgenie_configs: [{{priority: P2}}]
    victorops_configs: [{{routing_key: team}}]
    slack_configs: [{{channel: '#alerts', send_resolved: true}}]
    webhook_configs: [{{url: '{webhook}/plain/alertmanager'}}]
"""
RECEIVERS = ("pagerduty", "opsgenie", "victorops", "slack", "webhook")


@pytest.fixture
def alertmanager(saas: Saas, tmp_path: Path) -> Iterator[str]:  # noqa: F811
    """Its address. It sends to the stand-in, as Debian ships it."""
    binary = senders.had(senders.alertmanager)
    names = {name: saas.url(name) for name in RECEIVERS} | {f"{name}_key": saas.key(name) for name in RECEIVERS}
    (tmp_path / "alertmanager.yml").write_text(CONFIGURATION.format(**names))
    command = [
        str(binary), f"--config.file={tmp_path}/alertmanager.yml", f"--storage.path={tmp_path}/data", "--cluster.listen-address=",
        "--web.listen-address=127.0.0.1:0",
    ]  # fmt: skip
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=tmp_path)
    try:

        def address() -> str | None:
            if process.poll() is not None:
                raise AssertionError(f"alertmanager ended: {(tmp_path / 'log').read_text()[-2000:]}")
            found = re.search(r'msg="Listening on" address=(127\.0\.0\.1:\d+)', (tmp_path / "log").read_text())
            return found.group(1) if found else None

        yield saas.wait(address, 20, "alertmanager to listen")
    finally:
        process.terminate()
        process.wait(20)


def post_alert(address: str, **times: str) -> None:
    alert: dict[str, Any] = {"labels": {"alertname": "HostAnomaly", "host": "web-1"}, "annotations": {"summary": "14x typical"}} | times
    request = urllib.request.Request(
        f"http://{address}/api/v2/alerts", json.dumps([alert]).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    assert urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).status == 200


def wait_until_accepted(server: Saas, vendor: str, count: int) -> None:
    server.wait(lambda: len(server.accepted(vendor)) >= count, 20, f"{count} accepted at {vendor}")


def test_alertmanager_pages_and_resolves_at_every_receiver(saas: Saas, alertmanager: str) -> None:  # noqa: F811
    saas.fault("pagerduty", "throttle", times=1)
    saas.fault("victorops", "fail", times=1)
    saas.fault("opsgenie", "throttle", times=1)
    start = datetime.now(timezone.utc).isoformat()
    post_alert(alertmanager, startsAt=start)
    for name in RECEIVERS:
        wait_until_accepted(saas, name, 1)
    time.sleep(0.01)  # an end that lies after the start
    post_alert(alertmanager, startsAt=start, endsAt=datetime.now(timezone.utc).isoformat())
    for name in RECEIVERS:
        wait_until_accepted(saas, name, 2)
    assert saas.violations() == []
    for book in (
        saas.state("pagerduty")["keys"][saas.key("pagerduty")],
        saas.state("opsgenie"),
        saas.state("victorops")["routings"]["team"],
    ):
        assert [effect["effect"] for effect in book["effects"]] == ["opened", "resolved"]
        assert book["open"] == [] and len(book["pages"]) == 1
    assert [seen["status"] for seen in saas.requests("pagerduty")][:2] == [429, 202]
    assert [seen["status"] for seen in saas.requests("victorops")][:2] == [500, 200]
    assert [seen["status"] for seen in saas.requests("opsgenie")][:2] == [429, 202]
    messages = saas.state("slack")["messages"]
    assert [message["attachments"][0]["color"] for message in messages] == ["danger", "good"]
    assert [message["status"] for message in saas.state("webhook")["plain"]] == ["firing", "resolved"]
