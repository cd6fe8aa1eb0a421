"""The real servers do what the relay's tests rely on, and their installation and life are safe: no relay is involved here."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import grpc
import pytest
from servers import base, cache, wire
from servers.alertmanager import Alertmanager, amtool
from servers.base import NotReady, Server, wait_for
from servers.cache import Unavailable
from servers.certificates import Authority
from servers.cloudwatch import CloudWatch
from servers.collector import Collector, attributes
from servers.elasticsearch import Elasticsearch
from servers.opensearch import OpenSearch
from servers.pool import Pool, obtain
from servers.prometheus import Prometheus, promtool
from servers.rest import Rest
from servers.search import CONSTRAINED, SearchServer
from servers.sigv4 import Credentials

# ---------------------------------------------------------------- search


def define_stream(search: SearchServer, name: str) -> None:
    """A template for data streams of this name, with one number among its fields."""
    search.rest.put(f"/_index_template/{name}", {
        "index_patterns": [f"{name}-*"], "data_stream": {}, "priority": 200,
        "template": {"mappings": {"properties": {"@timestamp": {"type": "date"}, "outlier": {"properties": {"score": {"type": "float"}}}}}},
    }).expect(200)  # fmt: skip


def create(stream: str, identity: str, score: Any = 1.5) -> tuple[dict[str, Any], dict[str, Any]]:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return {"create": {"_index": stream, "_id": identity}}, {"@timestamp": now, "outlier": {"score": score}}


def items(answer: Any) -> list[dict[str, Any]]:
    return [next(iter(item.values())) for item in answer.json()["items"]]


def statuses(answer: Any) -> list[int]:
    return [item["status"] for item in items(answer)]


# First those with Elasticsearch alone: pytest groups what follows by server, and a server is started once.


def test_elasticsearch_tells_what_it_is(elasticsearch: Elasticsearch) -> None:
    answer = elasticsearch.rest.get("/").expect(200)
    assert answer.headers["x-elastic-product"] == "Elasticsearch"
    assert (answer.json()["version"]["number"], answer.json()["version"]["build_flavor"]) == ("8.19.21", "default")
    assert answer.json()["tagline"] == "You Know, for Search"


def test_elasticsearch_is_reached_only_by_its_own_authority_and_by_who_has_credentials(
    elasticsearch: Elasticsearch, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="certificate verify failed"):
        Rest(elasticsearch.url, ca_file=Authority(tmp_path).certificate).get("/")
    assert Rest(elasticsearch.url, ca_file=elasticsearch.ca_file).get("/").status == 401


def test_elasticsearch_takes_a_new_certificate_while_it_runs(elasticsearch: Elasticsearch, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    by_other = Rest(elasticsearch.url, ca_file=other.certificate)

    def answers(rest: Rest) -> bool:
        try:
            return rest.get("/").status == 401
        except ssl.SSLCertVerificationError:
            return False

    assert not answers(by_other)
    elasticsearch.use_certificate(*other.issue("elasticsearch"))
    wait_for("the other authority's certificate", lambda: answers(by_other), interval=0.25)
    elasticsearch.use_certificate(*elasticsearch.authority.issue("elasticsearch", days=-1))

    def expired() -> bool:
        try:
            elasticsearch.rest.get("/")
        except ssl.SSLCertVerificationError as error:
            return "expired" in str(error)
        return False

    wait_for("the expired certificate", expired, interval=0.25)
    elasticsearch.use_certificate(*elasticsearch.authority.issue("elasticsearch"))
    wait_for("a valid certificate", lambda: answers(Rest(elasticsearch.url, ca_file=elasticsearch.ca_file)), interval=0.25)


def test_a_key_for_writing_cannot_set_up_nor_write_elsewhere_and_is_dead_once_invalidated(
    elasticsearch: Elasticsearch, unique: str
) -> None:
    define_stream(elasticsearch, unique)
    key = elasticsearch.create_api_key(
        unique, cluster=["monitor"], indices=[{"names": [f"{unique}-*"], "privileges": ["auto_configure", "create_doc"]}]
    )
    writer = elasticsearch.with_api_key(key)
    body = "".join(json.dumps(line) + "\n" for pair in (create(f"{unique}-default", "a"), create("elsewhere", "a")) for line in pair)

    answer = writer.post("/_bulk", body, {"Content-Type": "application/x-ndjson"}).expect(200)
    assert statuses(answer) == [201, 403]
    assert items(answer)[1]["error"]["type"] == "security_exception"
    refused = writer.put(f"/_index_template/{unique}", {"index_patterns": [f"{unique}-*"], "data_stream": {}})
    assert (refused.status, refused.json()["error"]["type"]) == (403, "security_exception")

    elasticsearch.invalidate_api_keys(unique)
    assert writer.get("/").status == 401


def test_the_first_created_document_makes_a_data_stream_from_its_template(search: SearchServer, unique: str) -> None:
    define_stream(search, unique)
    answer = search.bulk([create(f"{unique}-default", "a")]).expect(200)
    assert statuses(answer) == [201]
    assert items(answer)[0]["_index"].startswith(f".ds-{unique}-default-")
    assert [hit["_id"] for hit in search.documents(f"{unique}-default")] == ["a"]


def test_a_repeated_document_is_refused_as_a_duplicate_and_stored_once(search: SearchServer, unique: str) -> None:
    define_stream(search, unique)
    search.bulk([create(f"{unique}-default", "a")]).expect(200)
    answer = search.bulk([create(f"{unique}-default", "a", score=9), create(f"{unique}-default", "b")]).expect(200)
    assert statuses(answer) == [409, 201]
    assert items(answer)[0]["error"]["type"] == "version_conflict_engine_exception"
    assert {hit["_id"]: hit["_source"]["outlier"]["score"] for hit in search.documents(f"{unique}-default")} == {"a": 1.5, "b": 1.5}


def test_a_duplicate_is_not_noticed_after_a_rollover(search: SearchServer, unique: str) -> None:
    define_stream(search, unique)
    search.bulk([create(f"{unique}-default", "a")]).expect(200)
    search.rest.post(f"/{unique}-default/_rollover").expect(200)
    assert statuses(search.bulk([create(f"{unique}-default", "a")]).expect(200)) == [201]
    assert [hit["_id"] for hit in search.documents(f"{unique}-default")] == ["a", "a"]


def test_a_document_that_does_not_fit_the_mapping_is_refused_alone(search: SearchServer, unique: str) -> None:
    define_stream(search, unique)
    stream = f"{unique}-default"
    answer = search.bulk([create(stream, "a"), create(stream, "b", score="no number"), create(stream, "c")]).expect(200)
    assert statuses(answer) == [201, 400, 201]
    assert items(answer)[1]["error"]["type"] == (
        "mapper_parsing_exception" if isinstance(search, OpenSearch) else "document_parsing_exception"
    )
    assert sorted(hit["_id"] for hit in search.documents(stream)) == ["a", "c"]


def test_a_plain_index_keeps_the_newest_external_version(search: SearchServer, unique: str) -> None:
    def write(version: int, state: str) -> int:
        action = {"index": {"_index": unique, "_id": "incident", "version": version, "version_type": "external"}}
        return statuses(search.bulk([(action, {"state": state})]).expect(200))[0]

    assert [write(5, "OPEN"), write(9, "RESOLVED"), write(7, "late"), write(9, "repeated")] == [201, 200, 409, 409]
    hits = search.documents(unique)
    assert [(hit["_version"], hit["_source"]["state"]) for hit in hits] == [(9, "RESOLVED")]


def test_a_compressed_bulk_with_a_filtered_answer_is_understood(search: SearchServer, unique: str) -> None:
    define_stream(search, unique)
    body = "".join(json.dumps(line) + "\n" for line in create(f"{unique}-default", "a")).encode()
    answer = search.rest.post("/_bulk?filter_path=errors,items.*.status", gzip.compress(body, 1),
                              {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}).expect(200)  # fmt: skip
    assert answer.json() == {"errors": False, "items": [{"create": {"status": 201}}]}


def test_a_read_only_block_refuses_every_document_until_it_is_lifted(search: SearchServer, unique: str) -> None:
    define_stream(search, unique)
    stream = f"{unique}-default"
    search.bulk([create(stream, "a")]).expect(200)
    search.rest.put(f"/{stream}/_settings", {"index.blocks.read_only_allow_delete": True}).expect(200)
    refused = search.bulk([create(stream, "b"), create(stream, "c")]).expect(200)
    assert statuses(refused) == [429, 429]
    assert {item["error"]["type"] for item in items(refused)} == {"cluster_block_exception"}
    search.rest.put(f"/{stream}/_settings", {"index.blocks.read_only_allow_delete": None}).expect(200)
    assert statuses(search.bulk([create(stream, "b")]).expect(200)) == [201]


@pytest.mark.constrained(1)
def test_acknowledged_documents_survive_sigkill_in_mid_bulk_and_a_start_may_have_options(pool: Pool, search_kind: type[SearchServer],
                                                                                        unique: str) -> None:  # fmt: skip
    search = pool.running(search_kind)
    define_stream(search, unique)
    stream = f"{unique}-default"
    acknowledged: list[str] = []
    cut_off: list[OSError] = []

    def write() -> None:
        for batch in range(100000):
            names = [f"{batch}-{number}" for number in range(200)]
            try:
                answer = search.bulk(create(stream, name) for name in names)
            except OSError as error:
                cut_off.append(error)
                return
            acknowledged.extend(name for name, status in zip(names, statuses(answer.expect(200)), strict=True) if status == 201)

    writer = threading.Thread(target=write)
    writer.start()
    wait_for("2000 acknowledged documents", lambda: len(acknowledged) >= 2000 or not writer.is_alive(), timeout=60)
    search.kill()
    writer.join()
    assert cut_off and len(acknowledged) >= 2000

    search.start(CONSTRAINED)
    search.rest.get(f"/_cluster/health/{stream}?wait_for_status=yellow&timeout=30s").expect(200)
    search.rest.post(f"/{stream}/_refresh").expect(200)
    stored = search.rest.post(f"/{stream}/_count", {"query": {"ids": {"values": acknowledged}}}).expect(200).json()["count"]
    assert stored == len(acknowledged)

    too_much = search.bulk([create(stream, "large", score="9" * 200_000)])
    assert too_much.status == 429
    assert too_much.json()["error"]["type"] == (
        "rejected_execution_exception" if search_kind is OpenSearch else "es_rejected_execution_exception"
    )


def test_a_port_is_given_once_to_all_processes() -> None:
    given = {base.free_port() for _ in range(20)}
    assert len(given) == 20
    ask = (
        "import sys; sys.path.insert(0, sys.argv[1]); from servers import base\n"
        "ports = iter(map(int, sys.argv[2:])); base.random.randrange = lambda *_: next(ports); print(base.free_port())"
    )
    other = base.free_port()
    base._given_ports.pop(other).close()  # given back: the only one that another may have
    folder = str(Path(__file__).parent)
    answer = subprocess.run([sys.executable, "-c", ask, folder, *map(str, [*given, other])], capture_output=True, text=True, check=True)
    assert int(answer.stdout) == other


class Sleeper(SearchServer):
    """Has options as a search server has, and starts at once."""

    name = "sleeper"
    started_with: list[dict[str, str]] = []

    @classmethod
    def install(cls) -> Path:
        return Path("/bin/sleep")

    @property
    def rest(self) -> Rest:
        return Rest(f"http://127.0.0.1:{self.port}")

    def _launch(self) -> None:
        self.started_with.append(dict(self.options))
        self._spawn([self.install(), "60"])

    def _ready(self) -> bool:
        return True


def test_options_hold_for_one_start_and_who_wants_others_gets_it_started_again() -> None:
    pool = Pool()
    try:
        server = pool.running(Sleeper)
        assert pool.running(Sleeper, {}) is server and pool.running(Sleeper, {"a": "1"}) is server and pool.running(Sleeper, {"a": "1"}) is server
        assert Sleeper.started_with == [{}, {"a": "1"}]
        server.kill()
        server.start()
        assert pool.running(Sleeper).options == {}
        server.kill()
        server.start({"b": "2"})
        pool.running(Sleeper)
        assert Sleeper.started_with == [{}, {"a": "1"}, {}, {"b": "2"}, {}]
    finally:
        pool.close()


# ---------------------------------------------------------------- OpenTelemetry


def export(collector: Collector, signal: str, request: bytes) -> bytes:
    """By gRPC: `signal` is Logs or Metrics."""
    with grpc.insecure_channel(collector.grpc_target) as channel:
        method = f"/opentelemetry.proto.collector.{signal.lower()}.v1.{signal}Service/Export"
        answer: bytes = channel.unary_unary(method)(request, timeout=10)
        return answer


def keyed(field: int, key: str, text: str) -> bytes:
    return wire.message(field, wire.message(1, key), wire.message(2, wire.message(1, text)))


def resource(host: str) -> bytes:
    return wire.message(1, keyed(1, "host.name", host))


def test_log_records_sent_by_grpc_are_read_back(collector: Collector, unique: str) -> None:
    record = [
        wire.fixed64(1, 1_700_000_000_000_000_001),
        wire.integer(2, 17),
        wire.message(3, "ERROR"),
        wire.message(5, wire.message(1, "memory grows")),
        keyed(6, "outlier.incident.id", unique),
        wire.message(12, "outlier.incident.opened"),
    ]
    answer = export(collector, "Logs", wire.message(1, resource(unique), wire.message(2, wire.message(2, *record))))
    assert answer == wire.message(1)  # a partial success with nothing in it: all is accepted

    read = wait_for(
        "the record", lambda: [found for found in collector.log_records() if attributes(found).get("outlier.incident.id") == unique]
    )
    assert len(read) == 1
    assert (read[0]["eventName"], read[0]["severityNumber"], read[0]["body"]) == (
        "outlier.incident.opened",
        17,
        {"stringValue": "memory grows"},
    )
    assert read[0]["timeUnixNano"] == "1700000000000000001"
    assert attributes(read[0]["resource"]) == {"host.name": unique}


def test_metrics_sent_by_http_compressed_or_not_and_by_grpc_are_read_back(collector: Collector, unique: str) -> None:
    def metrics(name: str, number: float) -> bytes:
        point = wire.message(1, wire.fixed64(3, 1_700_000_000_000_000_000), wire.double(4, number))
        metric = wire.message(2, wire.message(1, name), wire.message(3, "By"), wire.message(5, point))
        return wire.message(1, resource(unique), wire.message(2, metric))

    protobuf = {"Content-Type": "application/x-protobuf"}
    collector.rest.post("/v1/metrics", metrics(f"{unique}.plain", 1.25), protobuf).expect(200)
    collector.rest.post("/v1/metrics", gzip.compress(metrics(f"{unique}.gzip", 2.5)), {**protobuf, "Content-Encoding": "gzip"}).expect(200)
    export(collector, "Metrics", metrics(f"{unique}.grpc", 5))

    def numbers() -> dict[str, float]:
        return {
            found["name"]: found["gauge"]["dataPoints"][0]["asDouble"] for found in collector.metrics() if found["name"].startswith(unique)
        }

    wait_for("three metrics", lambda: len(numbers()) == 3)
    assert numbers() == {f"{unique}.plain": 1.25, f"{unique}.gzip": 2.5, f"{unique}.grpc": 5}


def test_the_collector_refuses_what_is_no_otlp(collector: Collector) -> None:
    assert collector.rest.post("/v1/logs", b"\xff\xff", {"Content-Type": "application/x-protobuf"}).status == 400
    assert collector.rest.post("/v1/logs", "text", {"Content-Type": "text/plain"}).status == 415
    with pytest.raises(grpc.RpcError) as refused:
        export(collector, "Logs", b"\xff\xff")
    assert refused.value.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT)


def test_what_the_collector_received_is_read_across_its_restart(collector: Collector, unique: str) -> None:
    def log(body: str) -> dict[str, Any]:
        record = {"body": {"stringValue": body}, "attributes": [{"key": "test", "value": {"stringValue": unique}}]}
        return {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}

    def bodies() -> list[str]:
        return [found["body"]["stringValue"] for found in collector.log_records() if attributes(found).get("test") == unique]

    collector.rest.post("/v1/logs", log("before")).expect(200)
    wait_for("the first record", bodies)
    collector.kill()
    with pytest.raises(OSError):
        collector.rest.post("/v1/logs", log("while it is down"))
    collector.start()
    collector.rest.post("/v1/logs", log("after")).expect(200)
    wait_for("the second record", lambda: bodies()[1:])
    assert bodies() == ["before", "after"]


# ---------------------------------------------------------------- Prometheus and Alertmanager


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


# ---------------------------------------------------------------- CloudWatch

PUT = b"Action=PutMetricData&Version=2010-08-01&Namespace={}&MetricData.member.1.MetricName=score&MetricData.member.1.Value=73.5"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def put(cloudwatch: CloudWatch, credentials: Credentials, namespace: str) -> tuple[int, str]:
    answer = cloudwatch.call("monitoring", credentials, PUT.replace(b"{}", namespace.encode()), FORM)
    return answer.status, answer.body.decode()


def test_cloudwatch_stores_what_is_signed_well_and_refuses_the_rest(cloudwatch: CloudWatch, unique: str) -> None:
    writer = cloudwatch.writer
    assert put(cloudwatch, writer, unique)[0] == 200
    assert cloudwatch.metric(unique, "score") == [73.5]

    status, said = put(cloudwatch, Credentials(writer.access_key, "wrong" + writer.secret_key), unique)
    assert status == 403 and "SignatureDoesNotMatch" in said
    status, said = put(cloudwatch, Credentials("AKIAUNKNOWN000000000", writer.secret_key), unique)
    assert status == 403 and "InvalidClientTokenId" in said
    status, said = put(cloudwatch, cloudwatch.reader, unique)
    assert status == 403 and "AccessDenied" in said
    assert cloudwatch.metric(unique, "score") == [73.5]


def test_cloudwatch_logs_keep_events_of_who_may_write_them(cloudwatch: CloudWatch, unique: str) -> None:
    def call(action: str, credentials: Credentials = cloudwatch.writer, **body: Any) -> int:
        return cloudwatch.logs(action, credentials, {"logGroupName": unique, **body}).status

    now_ms = time.time_ns() // 1_000_000
    events = [{"timestamp": now_ms - 10, "message": "opened"}, {"timestamp": now_ms, "message": "resolved"}]
    assert call("PutLogEvents", logStreamName="host", logEvents=events) == 400  # no such group yet
    assert call("CreateLogGroup", cloudwatch.reader) in (400, 403)
    assert [
        call("CreateLogGroup"),
        call("CreateLogStream", logStreamName="host"),
        call("PutLogEvents", logStreamName="host", logEvents=events),
    ] == [200] * 3
    assert [event["message"] for event in cloudwatch.log_events(unique, "host")] == ["opened", "resolved"]


def test_cloudwatch_serves_the_published_client_and_so_our_signatures_are_made_as_it_makes_them(
    cloudwatch: CloudWatch, unique: str
) -> None:
    code = cloudwatch.boto3(
        f"""
answer = client("cloudwatch").put_metric_data(Namespace={unique!r}, MetricData=[dict(MetricName="score", Value=12.5)])
result = answer["ResponseMetadata"]["HTTPStatusCode"]
""",
        cloudwatch.writer,
    )
    assert code == 200
    assert cloudwatch.metric(unique, "score") == [12.5]


# ---------------------------------------------------------------- installation and life


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OUTLIER_TEST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_an_interrupted_installation_is_done_again_and_a_finished_one_is_not(own_cache: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half").touch()
        raise Unavailable("cut off")

    with pytest.raises(Unavailable, match="cut off"):
        cache.installed("thing", ["recipe"], interrupted)
    whole = cache.installed("thing", ["recipe"], lambda folder: (folder / "whole").touch())
    assert [path.name for path in whole.iterdir()] == ["whole"]
    assert cache.installed("thing", ["recipe"], interrupted) == whole
    assert cache.installed("thing", ["another recipe"], lambda folder: None) != whole


def test_two_runs_at_once_install_once(own_cache: Path) -> None:
    script = f"""
import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r})
from servers.cache import cache_folder, installed
def make(folder):
    with (cache_folder() / "made").open("a") as file: file.write("once\\n")
    time.sleep(0.3)
    (folder / "program").touch()
assert (installed("thing", ["recipe"], make) / "program").exists()
"""
    runs = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    assert (own_cache / "made").read_text() == "once\n"


def test_a_damaged_download_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "server.zip"
    file.write_bytes(b"damaged")
    with pytest.raises(Unavailable, match="server.zip: SHA-256 is .* expected 00"):
        cache.require_sha256(file, "00" * 32)


class Missing(Prometheus):
    name = "missing"

    @classmethod
    def install(cls) -> Path:
        return cache.debian_program("no-such-program", "no-such-package")


def test_a_missing_server_fails_a_test_in_continuous_integration_and_skips_it_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "missing: `no-such-program` is not installed: apt-get install no-such-package"
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=said):
        obtain(Missing)
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match=said):
        Pool().running(Missing)


def test_a_server_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    obtain(Prometheus)
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: no list\n")
    with pytest.raises(NotReady, match=r"(?s)prometheus ended with status 1 .*rules\.yml"):
        Prometheus(tmp_path / "state", rules=[rules]).start()
    server = Prometheus(rules=[rules])
    with pytest.raises(NotReady), server:
        pass
    assert not server.folder.exists()


def test_servers_end_with_the_run_that_started_them_even_if_that_is_killed(tmp_path: Path) -> None:
    obtain(Alertmanager)
    script = f"""
import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from servers.alertmanager import Alertmanager
server = Alertmanager(Path({str(tmp_path)!r})).start()
print(server.process.pid, flush=True)
time.sleep(60)
"""
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    pid = int(run.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    run.send_signal(signal.SIGKILL)
    run.wait()
    wait_for("the end of the server", lambda: not Path(f"/proc/{pid}/exe").exists() or _is_zombie(pid))


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_killed_server_leaves_no_process_behind(tmp_path: Path) -> None:
    obtain(Alertmanager)
    server: Server = Alertmanager(tmp_path).start()
    assert server.process is not None
    group = server.process.pid
    server.kill()
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
    server.close()
    assert tmp_path.exists()
