"""Requests as a right sender makes them, one for each endpoint, and the means to send them or something near."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import http.client
import json
import ssl
import struct
from dataclasses import dataclass, field, replace
from typing import Any

from . import otlp
from .client import Saas
from .vendors.azure import CLIENT, RULE, SCOPE, TENANT
from .vendors.new_relic import NewRelic

NOW = 1_772_359_200  # 2026-03-01T10:00:00Z: where the server's clock stands in tests of ages


@dataclass(frozen=True)
class Message:
    vendor: str
    path: str
    body: Any = None  # bytes as they are, text, or a value that becomes JSON
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"

    def but(self, **changes: Any) -> Message:
        return replace(self, **changes)

    def with_body(self, **changes: Any) -> Message:
        """Keys of the body replaced; None takes one away."""
        return self.but(body={name: value for name, value in (self.body | changes).items() if value is not None})

    def with_headers(self, **changes: str | None) -> Message:
        headers = self.headers | {name.replace("_", "-"): value for name, value in changes.items()}
        return self.but(headers={name: value for name, value in headers.items() if value is not None})

    def gzipped(self) -> Message:
        return self.but(body=gzip.compress(self.encoded(), 1), headers=self.headers | {"content-encoding": "gzip"})

    def encoded(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.body is None else self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def send(server: Saas, message: Message, timeout: float = 10.0, tls: ssl.SSLContext | None = None) -> Reply:
    port = server.ports[message.vendor]
    line = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=tls)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    )
    try:
        line.request(message.method, message.path, message.encoded() if message.body is not None else None, message.headers)
        answer = line.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        line.close()


def signed(message: Message, secret: str, message_id: str = "msg_1", stamp: int = NOW) -> Message:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + message.encoded(), hashlib.sha256).digest()
    return message.but(
        headers=message.headers
        | {"webhook-id": message_id, "webhook-timestamp": str(stamp), "webhook-signature": "v1," + base64.b64encode(digest).decode()}
    )


def _attribute(key: str, value: str) -> bytes:
    return otlp.message_bytes(1, key.encode()) + otlp.message_bytes(2, otlp.message_bytes(1, value.encode()))


def _fixed64(number: int, value: int) -> bytes:
    return otlp.varint(number << 3 | 1) + struct.pack("<Q", value)


def metric_bytes(cumulative: bool = False, monotonic: bool = True, points: int = 1, service: bool = True, extra: bytes = b"") -> bytes:
    """A gauge and a sum, each of so many points, as protobuf."""

    def point(number: int) -> bytes:
        value = otlp.varint(4 << 3 | 1) + struct.pack("<d", 0.5)
        return (
            _fixed64(2, (NOW - 60) * 10**9)
            + _fixed64(3, (NOW - number) * 10**9)
            + value
            + otlp.message_bytes(7, _attribute("host.name", "web-1"))
        )

    data = b"".join(otlp.message_bytes(1, point(number)) for number in range(points))
    gauge = otlp.message_bytes(1, b"outlier.score") + otlp.message_bytes(3, b"1") + otlp.message_bytes(5, data)
    kind = otlp.varint(2 << 3) + otlp.varint(2 if cumulative else 1) + otlp.varint(3 << 3) + otlp.varint(1 if monotonic else 0)
    total = otlp.message_bytes(1, b"outlier.incidents") + otlp.message_bytes(3, b"{incident}") + otlp.message_bytes(7, data + kind)
    scope = otlp.message_bytes(1, otlp.message_bytes(1, b"outlier")) + otlp.message_bytes(2, gauge) + otlp.message_bytes(2, total)
    resource = otlp.message_bytes(1, otlp.message_bytes(1, _attribute("service.name", "outlier-relay"))) if service else b""
    return otlp.message_bytes(1, resource + otlp.message_bytes(2, scope) + extra)


def log_bytes(event: str = "outlier.incident.opened", named: str | None = None) -> bytes:
    record = _fixed64(1, NOW * 10**9) + _fixed64(11, NOW * 10**9) + otlp.varint(2 << 3) + otlp.varint(17)
    record += otlp.message_bytes(5, otlp.message_bytes(1, b"web-1: 14x typical")) + otlp.message_bytes(
        6, _attribute("event.name", named or event)
    )
    record += otlp.message_bytes(12, event.encode())
    resource = otlp.message_bytes(1, otlp.message_bytes(1, _attribute("service.name", "outlier-relay")))
    return otlp.message_bytes(1, resource + otlp.message_bytes(2, otlp.message_bytes(2, record)))


def azure_token(server: Saas) -> str:
    return send(server, right(server)["entra token"]).json["access_token"]


def right(server: Saas) -> dict[str, Message]:
    """By endpoint. Azure's want a token first: `azure_token`."""
    json_type = {"content-type": "application/json"}
    protobuf = {"content-type": "application/x-protobuf"}
    genie = json_type | {"authorization": f"GenieKey {server.key('opsgenie')}"}
    jira = json_type | {"authorization": f"GenieKey {server.key('jira_service_management')}"}
    datadog = {"dd-api-key": server.key("datadog")}
    dynatrace = {"authorization": f"Api-Token {server.key('dynatrace')}"}
    routing_key = server.key("pagerduty")
    cloud_event = {
        "specversion": "1.0", "id": "1", "source": "//web-1/outlierd", "type": "io.outlier.incident.opened.v1", "subject": "incident/1",
        "time": "2026-03-01T10:00:00Z", "datacontenttype": "application/json", "data": {"score": 93},
    }  # fmt: skip
    return {
        "pagerduty trigger": Message(
            "pagerduty", "/v2/enqueue",
            {
                "routing_key": routing_key, "event_action": "trigger", "dedup_key": "feed:1",
                "payload": {"summary": "web-1: 14x typical", "source": "web-1", "severity": "critical",
                "timestamp": "2026-03-01T10:00:00.123Z"},
            }, json_type,
        ),
        "pagerduty resolve": Message("pagerduty", "/v2/enqueue", {"routing_key": routing_key, "event_action": "resolve",
        "dedup_key": "feed:1"}, json_type),
        "pagerduty change": Message("pagerduty", "/v2/change/enqueue", {"routing_key": routing_key, "payload": {"summary": "deployed"}},
        json_type),
        "opsgenie create": Message(
            "opsgenie", "/v2/alerts", {"message": "web-1: 14x typical", "alias": "feed:1", "priority": "P1", "details": {"score": "93"}},
            genie
        ),
        "opsgenie close": Message("opsgenie", "/v2/alerts/feed%3A1/close?identifierType=alias", {"note": "over"}, genie),
        "opsgenie acknowledge": Message("opsgenie", "/v2/alerts/feed%3A1/acknowledge?identifierType=alias", {}, genie),
        "jira_service_management create": Message("jira_service_management", "/jsm/ops/integration/v2/alerts", {"message": "m",
        "alias": "feed:1"}, jira),
        "jira_service_management close": Message(
            "jira_service_management", "/jsm/ops/integration/v2/alerts/feed%3A1/close?identifierType=alias", {}, jira
        ),
        "victorops alert": Message(
            "victorops", f"/integrations/generic/20131114/alert/{server.key('victorops')}/team",
            {"message_type": "CRITICAL", "entity_id": "feed:1", "state_message": "14x typical", "state_start_time": NOW}, json_type,
        ),
        "slack message": Message(
            "slack", f"/services/{server.key('slack')}",
            {"text": "web-1", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "a &lt; b"}}]}, json_type,
        ),
        "webhook event": signed(
            Message("webhook", "/webhook/one", cloud_event, {"content-type": "application/cloudevents+json; charset=utf-8"}),
            server.key("webhook")
        ),
        "datadog event v1": Message(
            "datadog", "/api/v1/events", {"title": "t", "text": "x", "aggregation_key": "feed:1", "alert_type": "error",
            "date_happened": NOW},
            json_type | datadog,
        ),
        "datadog event v2": Message(
            "datadog", "/api/v2/events",
            {
                "data": {
                    "type": "event",
                    "attributes": {
                        "category": "alert", "title": "t", "message": "x", "aggregation_key": "feed:1", "timestamp": "2026-03-01T10:00:00Z",
                        "attributes": {"status": "error", "priority": "1"},
                    },
                }
            }, json_type | datadog,
        ),
        "datadog series": Message(
            "datadog", "/api/v2/series",
            {"series": [{"metric": "outlier.score", "type": 3, "points": [{"timestamp": NOW, "value": 73.5}],
            "resources": [{"type": "host", "name": "web-1"}]}]},
            json_type | datadog,
        ),
        "datadog check": Message("datadog", "/api/v1/check_run", {"check": "outlier.up", "host_name": "web-1", "status": 0,
        "tags": ["a:b"]}, json_type | datadog),
        "datadog validate": Message("datadog", "/api/v1/validate", None, datadog, "GET"),
        "datadog otlp metrics": Message("datadog", "/api/intake/otlp/v1/metrics", metric_bytes(), protobuf | datadog),
        "datadog otlp logs": Message("datadog", "/api/v2/logs", log_bytes(), protobuf | datadog | {"dd-protocol": "otlp"}),
        "new_relic events": Message(
            "new_relic", f"/v1/accounts/{NewRelic.account}/events", [{"eventType": "OutlierIncident", "timestamp": NOW, "score": 93}],
            json_type | {"api-key": server.key("new_relic")},
        ),
        "new_relic otlp metrics": Message("new_relic", "/v1/metrics", metric_bytes(), protobuf | {"api-key": server.key("new_relic")}),
        "new_relic otlp logs": Message("new_relic", "/v1/logs", log_bytes(), protobuf | {"api-key": server.key("new_relic")}),
        "dynatrace event": Message(
            "dynatrace", "/api/v2/events/ingest",
            {"eventType": "PERFORMANCE_EVENT", "title": "t", "startTime": NOW * 1000, "timeout": 15, "properties": {"incident": "feed:1"}},
            json_type | dynatrace,
        ),
        "dynatrace lines": Message(
            "dynatrace", "/api/v2/metrics/ingest",
            f'outlier.score,host="web 1" gauge,min=1,max=9,sum=20,count=4 {NOW}000\noutlier.open,host=web 2',
            {"content-type": "text/plain; charset=utf-8"} | dynatrace,
        ),
        "dynatrace otlp metrics": Message("dynatrace", "/api/v2/otlp/v1/metrics", metric_bytes(), protobuf | dynatrace),
        "dynatrace otlp logs": Message("dynatrace", "/e/abc-123/api/v2/otlp/v1/logs", log_bytes(), protobuf | dynatrace),
        "instana event": Message(
            "instana", "/com.instana.plugin.generic.event", {"title": "t", "text": "x", "severity": 10, "timestamp": NOW * 1000,
            "duration": 60000}, json_type
        ),
        "instana otlp metrics": Message("instana_otlp", "/v1/metrics", metric_bytes(),
        protobuf | {"x-instana-key": server.key("instana_otlp")}),
        "entra token": Message(
            "entra", f"/{TENANT}/oauth2/v2.0/token",
            f"grant_type=client_credentials&client_id={CLIENT}&client_secret=a~client~secret&scope={SCOPE}",
            {"content-type": "application/x-www-form-urlencoded"},
        ),
        "entra metadata": Message(
            "entra", "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fmonitor.azure.com", None,
            {"metadata": "true"}, "GET"
        ),
        "azure rows": Message(
            "azure", f"/dataCollectionRules/{RULE}/streams/Custom-OutlierIncidents_CL?api-version=2023-01-01",
            [{"TimeGenerated": "2026-03-01T10:00:00Z", "Score": 93}], json_type,
        ),
        "azure otlp metrics": Message("azure", f"/datacollectionRules/{RULE}/streams/microsoft-otelmetrics/otlp/v1/metrics",
        metric_bytes(), protobuf),
        "azure otlp logs": Message("azure", f"/datacollectionRules/{RULE}/streams/Microsoft-OTLP-Logs/otlp/v1/logs", log_bytes(), protobuf),
        "grafana_cloud otlp metrics": Message(
            "grafana_cloud", "/otlp/v1/metrics", metric_bytes(),
            protobuf | {"authorization": "Basic " + base64.b64encode(server.key("grafana_cloud").encode()).decode()}
        ),
        "elastic otlp logs": Message("elastic_otlp", "/v1/logs", log_bytes(),
        protobuf | {"authorization": f"ApiKey {server.key('elastic_otlp')}"}),
    }  # fmt: skip
