"""Rules, scrape configuration and routes are accepted, tested, and every alert is really held by a test."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import metrics
import pytest
import yaml
from programs import Incident, Relay, Source
from project import DEPLOY, Json
from servers.alertmanager import Alertmanager, amtool
from servers.base import wait_for
from servers.pool import obtain
from servers.prometheus import Prometheus, promtool

RULES = DEPLOY / "prometheus" / "outlierd.rules.yaml"
UNIT_TESTS = Path(__file__).parent / "promtool" / "outlierd.test.yaml"


@pytest.fixture(scope="module")
def with_promtool() -> None:
    obtain(Prometheus)


def rules() -> list[Json]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def unit_tests_of(folder: Path, groups: list[Json]) -> tuple[int, str]:
    """Runs the unit tests over other rules."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    tests = yaml.safe_load(UNIT_TESTS.read_text()) | {"rule_files": ["rules.yaml"]}
    (folder / "test.yaml").write_text(yaml.safe_dump(tests))
    run = promtool("test", "rules", folder / "test.yaml")
    return run.returncode, run.stdout


def test_rules_and_scrape_configuration_are_accepted(with_promtool: None) -> None:
    for words in (("rules", RULES), ("config", DEPLOY / "prometheus" / "prometheus.example.yaml")):
        run = promtool("check", *words)
        assert run.returncode == 0, run.stdout
    configuration = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.example.yaml").read_text())
    assert [job["job_name"] for job in configuration["scrape_configs"]] == ["outlier-relay"], "the rules ask for this job"


def test_the_unit_tests_of_the_rules_pass(with_promtool: None) -> None:
    run = promtool("test", "rules", UNIT_TESTS)
    assert run.returncode == 0, run.stdout


NEVER, ANOTHER, AT_ONCE = {"expr": "vector(0) > 1"}, {"labels": {"severity": "another"}}, {"for": "0s"}


@pytest.mark.parametrize("spoil", [NEVER, ANOTHER, AT_ONCE], ids=["never fires", "fires with another severity", "fires at once"])
def test_an_alert_that_does_something_else_fails_the_unit_tests(spoil: Json, tmp_path: Path, with_promtool: None) -> None:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    spoiled = [rule for group in groups for rule in group["rules"] if "alert" in rule and ("for" in rule or spoil is not AT_ONCE)]
    for rule in spoiled:
        rule.update(spoil)
    code, said = unit_tests_of(tmp_path, groups)
    assert code != 0
    unnoticed = [rule["alert"] for rule in spoiled if f"alertname: {rule['alert']}," not in said]
    assert unnoticed == [], said


def test_each_metric_that_a_rule_reads_is_one_of_the_relay_with_that_label() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        assert metrics.unknown_in(rule["expr"], recorded) == [], rule
    assert metrics.unknown_in("sum by (sink) (outlier_sinc_lag_seconds)", recorded) == ["outlier_sinc_lag_seconds"]
    assert metrics.unknown_in('outlier_incidents_open{severety="MAJOR"}', recorded) == ["outlier_incidents_open{severety}"]


def test_every_alert_says_what_happened_and_how_bad_it_is() -> None:
    for rule in (rule for rule in rules() if "alert" in rule):
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]


def test_the_example_of_routes_sends_what_wakes_to_the_one_on_call() -> None:
    obtain(Alertmanager)
    file = DEPLOY / "prometheus" / "alertmanager.example.yaml"
    check = amtool("check-config", str(file))
    assert check.returncode == 0 and "SUCCESS" in check.stdout, check.stdout
    for labels, receiver in (
        ({"alertname": "OutlierSinkSuspended", "severity": "critical"}, "on-call"),
        ({"alertname": "OutlierSinkLag", "severity": "warning"}, "team"),
        ({"alertname": "OutlierLosses", "severity": "info"}, "nobody"),
        ({"alertname": "Another", "severity": "critical"}, "team"),
        ({"alertname": "OutlierIncident", "sink": "page", "incident": "f-1", "host": "web-1"}, "on-call"),
        ({"alertname": "OutlierIncident", "sink": "tickets", "incident": "f-1", "host": "web-1"}, "team"),
    ):
        routed = amtool("config", "routes", "test", f"--config.file={file}", *(f"{name}={value}" for name, value in labels.items()))
        assert routed.stdout.split()[-1] == receiver, labels  # before it, a warning of amtool's


# ---- what the relay really writes


SAMPLE = re.compile(r"^(outlier_\w+?)(?:\{(.*)\})? \S+$", re.MULTILINE)


def test_the_relays_own_page_has_the_metrics_labels_and_words_that_rules_and_dashboards_are_tested_with(tmp_path: Path) -> None:
    source = Source(tmp_path / "source").start()
    relay = Relay(tmp_path / "relay", [source], [], {"signals": {"resolution": "1s"}}).start()
    try:
        incident = Incident("words-1", severity="CRITICAL", score=91.0)
        source.append(incident.change("OPENED"))
        state = {"workload": {"name": incident.workload, "kind": "SYSTEMD_UNIT"}, "score": 91.0}

        def page() -> str | None:
            source.say("sample " + json.dumps({"tick": "1", "time": incident.change("UPDATED")["time"], "workloads": [state]}))
            text: str = relay.get("/metrics")[1]
            return text if "outlier_workload_score{" in text and "outlier_incident_score{" in text else None

        text = wait_for("the incident and the workload on /metrics", page, 30)
    finally:
        relay.stop()
        source.stop()
    words: dict[str, set[str]] = {"severity": set(), "pattern": set(), "kind": set()}
    for name, selector in SAMPLE.findall(text):
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', selector))
        assert labels.keys() == metrics.METRICS[name], name
        for label in words.keys() & labels.keys():
            words[label].add(labels[label])
    assert words["severity"] == set(metrics.VALUES["severity"])
    assert words["pattern"] == set(metrics.VALUES["pattern"])
    assert words["kind"] >= set(metrics.VALUES["kind"])


def test_a_pager_that_is_down_falls_behind_for_the_rule_that_tells_of_it(tmp_path: Path) -> None:
    rule = next(rule for rule in rules() if rule.get("alert") == "OutlierSinkLag")
    assert "outlier_sink_lag_seconds" in rule["expr"]
    (tmp_path / "key").write_text("0123456789abcdef0123456789abcdef\n")
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        source = Source(tmp_path / "source").start()
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        relay = Relay(tmp_path / "relay", [source], [{"name": "pager", "pagerduty": {"url": url, "routing_key_file": str(tmp_path / "key")}}]).start()
        try:
            wait_for("the source is read", lambda: 'outlier_sink_lag_seconds{sink="pager"' in relay.get("/metrics")[1], 30)
            source.append(Incident("down-1", severity="CRITICAL", score=91.0).change("OPENED"))

            def lag() -> float:
                return max(float(value) for value in re.findall(r'^outlier_sink_lag_seconds\{sink="pager".*\} (\S+)$', relay.get("/metrics")[1], re.MULTILINE))

            wait_for("the pager to be behind", lambda: lag() > 2, 30)
        finally:
            relay.stop()
            source.stop()


# ---- on a real Prometheus


class Exposition(http.server.BaseHTTPRequestHandler):
    began = time.monotonic()

    def do_GET(self) -> None:  # noqa: N802
        body = metrics.exposition(time.monotonic() - self.began).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # a scrape that took too long on a busy machine: there will be another
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def scraped(with_promtool: None) -> Iterator[Prometheus]:
    """A Prometheus of its own with our rules, which has scraped the metrics of a relay twice and evaluated the rules."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exposition)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Prometheus(scrape=[f"127.0.0.1:{server.server_port}"], rules=[RULES]) as prometheus:
        wait_for("two scrapes, and rules after them", lambda: prometheus.query("rate(outlier_losses_total[1m])") and prometheus.query("sink:outlier_sink_delivered:rate5m"), 60)
        yield prometheus
    server.shutdown()
    server.server_close()


def test_the_metrics_of_the_tests_are_openmetrics_as_prometheus_reads_it(scraped: Prometheus) -> None:
    assert {row["metric"]["host"] for row in scraped.query("outlier_source_up")} == {"web-1", "db-1"}
    names = {row["metric"]["__name__"] for row in scraped.query('{__name__=~"outlier_.*"}')}
    assert names == metrics.METRICS.keys()


def test_each_rule_evaluates_and_the_broken_promise_of_db_1_is_pending(scraped: Prometheus) -> None:
    groups = scraped.rest.get("/api/v1/rules").expect(200).json()["data"]["groups"]
    evaluated = [rule for group in groups for rule in group["rules"]]
    assert len(evaluated) == len(rules())
    wait_for("all rules to be evaluated", lambda: all(rule["health"] == "ok" for group in scraped.rest.get("/api/v1/rules").json()["data"]["groups"] for rule in group["rules"]))
    alerts = {(alert["labels"]["alertname"], alert["labels"].get("host")): alert["state"] for alert in scraped.rest.get("/api/v1/alerts").json()["data"]["alerts"]}
    assert alerts[("OutlierPromiseBroken", "db-1")] == "pending" and ("OutlierPromiseBroken", "web-1") not in alerts
    assert alerts[("OutlierIncidentCritical", "web-1")] == "firing"


def grafana_queries() -> list[tuple[str, str]]:
    body = json.loads((DEPLOY / "grafana/dashboards/outlierd-prometheus.json").read_text())
    return [(panel["title"], target["expr"]) for panel in body["panels"] for target in panel["targets"]]


def with_variables(expression: str) -> str:
    values = {"$host": "web-1", "$workload": ".*", "$__range": "5m", "$__interval": "5s", "$__rate_interval": "1m"}
    return re.sub(r"\$\w+", lambda match: values[match[0]], expression)


def test_each_query_of_the_grafana_dashboard_runs_on_prometheus_and_finds_something(scraped: Prometheus) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for title, expression in grafana_queries():
        assert metrics.unknown_in(expression, recorded) == [], title
        wait_for(f"{title}: {expression}", lambda text=with_variables(expression): scraped.query(text), 30)  # type: ignore[misc]
