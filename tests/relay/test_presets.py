"""outlier-relay with each preset of `otlp` to the vendor's stand-in, which refuses another path, key or protocol: an incident from opening to resolution."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from programs import Incident, Json, Street
from saas.client import Saas
from saas.fixtures import saas, saas_server  # noqa: F401
from saas.vendors import azure
from servers.base import wait_for
from servers.sigv4 import Credentials, signed_headers

KINDS = ("OPENED", "UPDATED", "ACKNOWLEDGED", "RESOLVED")
STORY = [f"outlier.incident.{word}" for word in ("opened", "updated", "acknowledged", "resolved")]
RULES = f"/datacollectionRules/{azure.RULE}/streams"
AWS = Credentials("AKIDEXAMPLE", "s3cret", "eu-central-1")


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


@dataclass(frozen=True)
class Preset:
    """As in the table "Who accepts OTLP directly" of the contract."""

    name: str
    vendor: str  # of the stand-in
    base: str  # path of the endpoint
    path: str  # where records go
    metrics_path: str
    header: str
    value: Callable[[str], str]  # of the header, from the key


PRESETS = [
    Preset("new_relic", "new_relic", "", "/v1/logs", "/v1/metrics", "api-key", str),
    Preset("new_relic_eu", "new_relic", "", "/v1/logs", "/v1/metrics", "api-key", str),
    Preset("datadog", "datadog", "", "/api/v2/logs", "/api/intake/otlp/v1/metrics", "dd-api-key", str),
    Preset("dynatrace", "dynatrace", "", "/api/v2/otlp/v1/logs", "/api/v2/otlp/v1/metrics", "authorization", lambda key: f"Api-Token {key}"),
    Preset("dynatrace", "dynatrace", "/e/abc-123", "/e/abc-123/api/v2/otlp/v1/logs", "/e/abc-123/api/v2/otlp/v1/metrics", "authorization",
           lambda key: f"Api-Token {key}"),
    Preset("instana", "instana_otlp", "", "/v1/logs", "/v1/metrics", "x-instana-key", str),
    Preset("elastic", "elastic_otlp", "", "/v1/logs", "/v1/metrics", "authorization", lambda key: f"ApiKey {key}"),
    Preset("grafana_cloud", "grafana_cloud", "/otlp", "/otlp/v1/logs", "/otlp/v1/metrics", "authorization", basic),
]  # fmt: skip


def tell_a_life(street: Street, sink: Json) -> None:
    street.carry({"name": "otlp", "otlp": sink, "delivery": {"first_backoff": "50ms", "suspended_retry": "200ms"}}).start()
    street.connected()
    incident = Incident("story", severity="MINOR", score=30.0)
    for kind in KINDS:
        if kind == "UPDATED":
            incident.severity, incident.score = "CRITICAL", 91.0
        street.tell(incident, kind)


def names(logs: list[Json]) -> list[Any]:
    return [record["event"] for record in logs]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name + preset.base.replace("/", "-"))
def test_a_preset_speaks_to_its_vendor_as_the_contract_says(street: Street, saas: Saas, preset: Preset) -> None:  # noqa: F811
    key = saas.key(preset.vendor)
    tell_a_life(street, {"preset": preset.name, "endpoint": saas.url(preset.vendor, preset.base), "key_file": street.key_file("otlp.key", key)})
    requests = saas.requests(preset.vendor)
    assert [request["verdict"] for request in requests] == ["accepted"] * 4
    for request in requests:
        assert (request["method"], request["path"]) == ("POST", preset.path)
        assert request["headers"][preset.header] == preset.value(key)
        assert request["headers"]["content-type"] == "application/x-protobuf"
    assert names(saas.state(preset.vendor)["logs"]) == STORY
    assert saas.violations() == []


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name + preset.base.replace("/", "-"))
def test_scores_go_where_the_vendor_takes_metrics(street: Street, saas: Saas, preset: Preset) -> None:  # noqa: F811
    key = saas.key(preset.vendor)
    sink = {"preset": preset.name, "endpoint": saas.url(preset.vendor, preset.base), "key_file": street.key_file("otlp.key", key)}
    street.carry({"name": "otlp", "otlp": sink}, extra={"signals": {"resolution": "1s"}}).start()
    street.connected()
    state = {"workload": {"name": "billing.service", "kind": "SYSTEMD_UNIT"}, "score": 61.5}

    def there() -> list[Json]:
        street.source.say("sample " + json.dumps({"tick": "1", "time": Incident("x").change("UPDATED")["time"], "workloads": [state]}))
        points: list[Json] = saas.state(preset.vendor)["metrics"]
        return points

    assert any(point["value"] == 61.5 for point in wait_for("scores", there, timeout=40, interval=0.5))
    for request in saas.requests(preset.vendor):
        assert (request["path"], request["headers"][preset.header]) == (preset.metrics_path, preset.value(key))
    assert saas.violations() == []


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if not preset.base or preset.name == "grafana_cloud"], ids=lambda preset: preset.name)
def test_a_key_that_is_not_known_suspends_a_preset_until_it_is_right(street: Street, saas: Saas, preset: Preset) -> None:  # noqa: F811
    key = saas.key(preset.vendor)
    wrong = "123456:wrong" if preset.name == "grafana_cloud" else "wrong"
    relay = street.carry({"name": "otlp", "delivery": {"suspended_retry": "200ms"},
                          "otlp": {"preset": preset.name, "endpoint": saas.url(preset.vendor, preset.base), "key_file": street.key_file("otlp.key", wrong)}}).start()  # fmt: skip
    street.connected()
    last = street.source.append(Incident("story").change("OPENED"))
    suspended = relay.wait_for_state("otlp", "SUSPENDED")
    assert wrong not in suspended["message"]
    street.key_file("otlp.key", key)
    relay.wait_until_delivered("otlp", last)
    assert names(saas.state(preset.vendor)["logs"]) == STORY[:1]


def test_azure_monitor_is_written_to_under_its_rule_with_a_token_of_entra(street: Street, saas: Saas) -> None:  # noqa: F811
    secret = saas.key("entra").partition(":")[2]
    entra = {"token_url": saas.url("entra", f"/{azure.TENANT}/oauth2/v2.0/token"), "client_id": azure.CLIENT, "client_secret_file": street.key_file("azure.secret", secret)}
    path = f"{RULES}/Microsoft-OTLP-Logs/otlp/v1/logs"
    tell_a_life(street, {"preset": "azure_monitor", "logs_endpoint": saas.url("azure", path), "metrics_endpoint": "-", "entra": entra})
    requests = saas.requests("azure")
    assert [(request["path"], request["verdict"]) for request in requests] == [(path, "accepted")] * 4
    (token,) = saas.state("entra")["tokens"]
    assert {request["headers"]["authorization"] for request in requests} == {f"Bearer {token}"}
    assert names(saas.state("azure")["logs"]) == STORY
    assert saas.violations() == []


@pytest.fixture
def listener() -> Iterator[tuple[str, list[Json]]]:
    """CloudWatch's OTLP endpoint is in no stand-in: what comes is kept, and its signature made again."""
    kept: list[Json] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.append({"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}, "body": body})
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", kept
    server.shutdown()
    server.server_close()


def test_cloudwatch_is_signed_for_its_logs_and_told_group_and_stream(street: Street, listener: tuple[str, list[Json]]) -> None:
    url, kept = listener
    aws = {"region": AWS.region, "access_key_id_file": street.key_file("aws.id", AWS.access_key), "secret_access_key_file": street.key_file("aws.secret", AWS.secret_key)}
    tell_a_life(street, {"preset": "cloudwatch", "endpoint": url, "metrics_endpoint": "-", "aws": aws, "log_group": "/outlier/incidents", "log_stream": "web-1"})
    wait_for("four exports", lambda: len(kept) >= 4)
    story = []
    for request in kept:
        headers = request["headers"]
        assert request["path"] == "/v1/logs"
        assert (headers["x-aws-log-group"], headers["x-aws-log-stream"]) == ("/outlier/incidents", "web-1")
        signed = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        assert {"host", "x-amz-date", "x-aws-log-group", "x-aws-log-stream"} <= set(signed)
        at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        ours = {name: headers[name] for name in signed if name not in ("host", "x-amz-date")}
        again = signed_headers(AWS, "logs", url + request["path"], request["body"], ours, now=at)
        assert headers["authorization"].replace(" ", "") == again["Authorization"].replace(" ", "")
        story += [request["body"]]
    assert len(story) == 4
