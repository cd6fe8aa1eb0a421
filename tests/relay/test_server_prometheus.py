"""Prometheus and Alertmanager do what the relay's tests rely on: no relay is involved here."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from servers import base, wire
from servers.alertmanager import Alertmanager, amtool
from servers.base import wait_for
from servers.pool import Pool, obtain
from servers.prometheus import Prometheus, promtool


def series(name: str, number: float, time_ms: int, **labels: str) -> bytes:
    named = [wire.message(1, wire.message(1, key), wire.message(2, text)) for key, text in sorted({"__name__": name, **labels}.items())]
    return wire.message(1, *named, wire.message(2, wire.double(1, number), wire.integer(2, time_ms)))


REMOTE_WRITE = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}


def test_prometheus_takes_remote_write_and_answers_queries_about_it(prometheus: Prometheus, unique: str) -> None:
    now_ms = time.time_ns() // 1_000_000
    request = b"".join(series("outlier_workload_score", score, now_ms, host=unique, workload=f"w{score}") for score in (3.0, 97.5))
    prometheus.rest.post("/api/v1/write", wire.snappy(request), REMOTE_WRITE).expect(204)
    found = prometheus.query(f'outlier_workload_score{{host="{unique}"}}')
    assert {each["metric"]["workload"]: float(each["value"][1]) for each in found} == {"w3.0": 3.0, "w97.5": 97.5}


def test_prometheus_refuses_remote_write_that_is_too_old_or_no_message(prometheus: Prometheus, unique: str) -> None:
    now_ms = time.time_ns() // 1_000_000
    prometheus.rest.post("/api/v1/write", wire.snappy(series("a", 1, now_ms, host=unique)), REMOTE_WRITE).expect(204)
    too_old = prometheus.rest.post("/api/v1/write", wire.snappy(series("a", 1, now_ms - 86_400_000, host=unique)), REMOTE_WRITE)
    assert too_old.status == 400
    assert b"out of order" in too_old.body or b"out of bounds" in too_old.body
    assert prometheus.rest.post("/api/v1/write", b"no snappy", REMOTE_WRITE).status == 400


class Recorder:
    """A web server that keeps what is sent to it, and answers GET with a text."""

    def __init__(self, text: str = "") -> None:
        recorder = self
        self.requests: list[tuple[str, str, dict[str, Any]]] = []

        class Answering(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                recorder.requests.append((self.path, self.headers.get("Authorization", ""), json.loads(body)))
                self.send_response(202)
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def paths(self) -> set[str]:
        return {path for path, _, _ in self.requests}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder("outlier_incidents_open 2\n")
    yield recorder
    recorder.close()


def test_prometheus_scrapes_a_target_and_its_rules_alert_in_alertmanager(
    pool: Pool, alertmanager: Alertmanager, recorder: Recorder, unique: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(
        f"groups: [{{name: g, rules: [{{alert: {unique}, expr: outlier_incidents_open > 1, labels: {{severity: critical}}}}]}}]\n"
    )
    obtain(Prometheus)
    with Prometheus(scrape=[recorder.address], rules=[rules], alertmanagers=[f"127.0.0.1:{alertmanager.port}"]) as prometheus:
        wait_for("the scraped value", lambda: prometheus.query("outlier_incidents_open"))
        alerts = wait_for("the alert", lambda: alertmanager.alerts(f'alertname="{unique}"'))
    assert alerts[0]["labels"]["severity"] == "critical"


def test_promtool_tells_good_rules_and_metrics_from_bad_ones(tmp_path: Path) -> None:
    obtain(Prometheus)
    good, bad = tmp_path / "good.yml", tmp_path / "bad.yml"
    good.write_text("groups: [{name: g, rules: [{record: 'outlier:incidents:sum', expr: 'sum(outlier_incidents_open)'}]}]\n")
    bad.write_text("groups: [{name: g, rules: [{record: 'outlier:incidents:sum', expr: 'sum(outlier_incidents_open'}]}]\n")
    assert promtool("check", "rules", good).returncode == 0
    refused = promtool("check", "rules", bad)
    assert refused.returncode != 0 and "unclosed left parenthesis" in refused.stdout
    assert promtool("check", "metrics", text="# HELP a_total Things.\n# TYPE a_total counter\na_total 1\n").returncode == 0
    assert promtool("check", "metrics", text="a_total one\n").returncode != 0


def alert(name: str, **more: Any) -> dict[str, Any]:
    return {"labels": {"alertname": "OutlierIncident", "incident": name}, "annotations": {"summary": "memory grows"}, **more}


def test_alertmanager_holds_a_posted_alert_until_it_is_resolved(alertmanager: Alertmanager, unique: str) -> None:
    now = datetime.now(timezone.utc)
    started, matcher = (now - timedelta(minutes=1)).isoformat(), f'incident="{unique}"'
    alertmanager.rest.post("/api/v2/alerts", [alert(unique, startsAt=started, endsAt=(now + timedelta(minutes=4)).isoformat())]).expect(200)
    held = wait_for("the alert", lambda: alertmanager.alerts(matcher))
    assert (held[0]["status"]["state"], held[0]["annotations"]) == ("active", {"summary": "memory grows"})
    shown = amtool("alert", "query", matcher, f"--alertmanager.url={alertmanager.url}")
    assert "OutlierIncident" in shown.stdout, shown.stdout
    alertmanager.rest.post("/api/v2/alerts", [alert(unique, startsAt=started, endsAt=now.isoformat())]).expect(200)
    wait_for("the end of the alert", lambda: not alertmanager.alerts(matcher))


def test_alertmanager_refuses_an_alert_without_labels(alertmanager: Alertmanager) -> None:
    assert alertmanager.rest.post("/api/v2/alerts", [{"labels": {}}]).status == 400


def test_alertmanager_pages_through_each_of_its_notifiers(recorder: Recorder, unique: str) -> None:
    obtain(Alertmanager)
    base = f"http://{recorder.address}"
    notify = {name: f"{base}/{name}" for name in ("pagerduty", "opsgenie", "victorops", "slack", "webhook")}
    expected = {"/pagerduty", "/opsgenie/v2/alerts", "/victorops/test-key/outlierd", "/slack", "/webhook"}
    with Alertmanager(notify=notify) as alertmanager:
        now = datetime.now(timezone.utc)
        opened = alert(unique, startsAt=now.isoformat())
        alertmanager.rest.post("/api/v2/alerts", [opened]).expect(200)
        wait_for("five pages", lambda: recorder.paths() >= expected)
        assert recorder.paths() == expected
        bodies = {path: body for path, _, body in recorder.requests}
        assert bodies["/pagerduty"]["event_action"] == "trigger"
        assert {auth for path, auth, _ in recorder.requests if path.startswith("/opsgenie")} == {"GenieKey test-key"}
        alertmanager.rest.post("/api/v2/alerts", [{**opened, "endsAt": datetime.now(timezone.utc).isoformat()}]).expect(200)
        resolved = wait_for(
            "the resolution", lambda: [body for path, _, body in recorder.requests if body.get("event_action") == "resolve"]
        )
        assert resolved[0]["dedup_key"] == bodies["/pagerduty"]["dedup_key"]
