"""The stand-in for the vendors refuses what the contract refuses, in the vendor's words and codes, and records it as a violation."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from saas import otlp
from saas.client import Saas
from saas.fixtures import saas, saas_server  # noqa: F401
from saas.speak import NOW, Message, azure_token, log_bytes, metric_bytes, right, send, signed

ENDPOINTS = [
    "pagerduty trigger", "pagerduty resolve", "pagerduty change", "opsgenie create", "opsgenie close", "opsgenie acknowledge",
    "jira_service_management create", "jira_service_management close", "victorops alert", "slack message", "webhook event",
    "datadog event v1",
    "datadog event v2", "datadog series", "datadog check", "datadog validate", "datadog otlp metrics", "datadog otlp logs",
    "new_relic events",
    "new_relic otlp metrics", "new_relic otlp logs", "dynatrace event", "dynatrace lines", "dynatrace otlp metrics", "dynatrace otlp logs",
    "instana event", "instana otlp metrics", "entra token", "entra metadata", "azure rows", "azure otlp metrics", "azure otlp logs",
    "grafana_cloud otlp metrics", "elastic otlp logs",
]  # fmt: skip
SUCCESS = {
    "pagerduty": 202, "opsgenie": 202, "jira_service_management": 202, "datadog event v1": 202, "datadog event v2": 202,
    "datadog series": 202,
    "datadog check": 202, "dynatrace event": 201, "dynatrace lines": 202, "azure rows": 204, "webhook": 204,
}  # fmt: skip


@pytest.fixture(autouse=True)
def at_the_hour(saas: Saas) -> None:  # noqa: F811
    saas.clock(NOW, frozen=True)


def right_message(server: Saas, endpoint: str) -> Message:
    message = right(server)[endpoint]
    return message.with_headers(authorization=f"Bearer {azure_token(server)}") if message.vendor == "azure" else message


def success(endpoint: str) -> int:
    return SUCCESS.get(endpoint, SUCCESS.get(endpoint.split()[0], 200))


def test_the_list_of_endpoints_is_whole(saas: Saas) -> None:  # noqa: F811
    assert sorted(right(saas)) == sorted(ENDPOINTS)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_right_request_is_taken_and_is_no_violation(saas: Saas, endpoint: str) -> None:  # noqa: F811
    message = right_message(saas, endpoint)
    reply = send(saas, message)
    assert reply.status == success(endpoint), reply
    seen = saas.requests(message.vendor)[-1]
    assert (seen["verdict"], seen["processed"], seen["violations"]) == ("accepted", True, [])
    assert seen["path"] == message.path.partition("?")[0]


def deep(value: dict[str, Any], *path: str, **changes: Any) -> dict[str, Any]:
    """A copy with keys replaced at a place within; None takes one away."""
    if not path:
        return {name: item for name, item in (value | changes).items() if item is not None}
    return value | {path[0]: deep(value[path[0]], *path[1:], **changes)}


def at(*path: str, **changes: Any) -> Callable[[Message], Message]:
    return lambda message: message.but(body=deep(message.body, *path, **changes))


def body(**changes: Any) -> Callable[[Message], Message]:
    return lambda message: message.with_body(**changes)


def headers(**changes: str | None) -> Callable[[Message], Message]:
    return lambda message: message.with_headers(**changes)


def raw(data: bytes | str | Any) -> Callable[[Message], Message]:
    return lambda message: message.but(body=data)


def path(text: str) -> Callable[[Message], Message]:
    return lambda message: message.but(path=text)


def row(**changes: Any) -> Callable[[Message], Message]:
    return lambda message: message.but(body=[message.body[0] | changes])


def series(**changes: Any) -> Callable[[Message], Message]:
    return lambda message: message.but(body={"series": [deep(message.body["series"][0], **changes)]})


def resigned(change: Callable[[Message], Message], **how: Any) -> Callable[[Message], Message]:
    return lambda message: signed(change(message), "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", **how)


def as_json(value: Any) -> Callable[[Message], Message]:
    return lambda message: message.but(body=json.dumps(value), headers=message.headers | {"content-type": "application/json"})


@dataclass(frozen=True)
class Wrong:
    endpoint: str
    what: str
    change: Callable[[Message], Message]
    status: int  # of the answer
    says: str  # in the answer's body
    kind: str = "schema"  # of the violation; "" where it is refused without being one
    recorded: str = ""  # in the violation, where the answer does not say it


V2 = ("data", "attributes")
CUMULATIVE, UNKNOWN = metric_bytes(cumulative=True), metric_bytes(extra=otlp.message_bytes(99, b"x"))
BIG = "x" * 1_000_000
TABLE = [
    Wrong("pagerduty trigger", "no routing key", body(routing_key=None), 400, "'routing_key' is missing or blank"),
    Wrong("pagerduty trigger", "a short routing key", body(routing_key="R1"), 400, "routing_key has 2 characters"),
    Wrong("pagerduty trigger", "a routing key nobody has", body(routing_key="R" * 32), 400, "not known", ""),
    Wrong("pagerduty trigger", "an unknown action", body(event_action="open"), 400, "must be one of trigger, acknowledge, resolve"),
    Wrong("pagerduty trigger", "no payload", body(payload=None), 400, "'payload' is missing"),
    Wrong("pagerduty trigger", "a summary of 1025 characters", at("payload", summary="x" * 1025), 400, "at most 1024"),
    Wrong("pagerduty trigger", "a severity of its own", at("payload", severity="major"), 400,
    "must be one of critical, error, warning, info"),
    Wrong("pagerduty trigger", "no source", at("payload", source=None), 400, "'payload.source' is missing"),
    Wrong("pagerduty trigger", "a timestamp in numbers", at("payload", timestamp=NOW), 400, "no RFC 3339 date-time"),
    Wrong("pagerduty trigger", "custom details that are text", at("payload", custom_details="x"), 400, "is not an object"),
    Wrong("pagerduty trigger", "a dedup key of 256 characters", body(dedup_key="x" * 256), 400, "at most 255"),
    Wrong("pagerduty trigger", "an unknown field", body(severity="critical"), 400, "'severity' is not known"),
    Wrong("pagerduty trigger", "an image that is not https", body(images=[{"src": "http://web-1/a.png"}]), 400, "no URL of https"),
    Wrong("pagerduty trigger", "a link without href", body(links=[{"text": "x"}]), 400, "href' is missing"),
    Wrong("pagerduty trigger", "more than 512000 bytes", at("payload", custom_details={"x": "x" * 512_000}), 413, "at most 512000", "size"),
    Wrong("pagerduty trigger", "JSON cut off", raw('{"routing_key":'), 400, "not JSON", "json"),
    Wrong("pagerduty trigger", "a key twice", raw('{"routing_key":"a","routing_key":"b"}'), 400, "twice", "json"),
    Wrong("pagerduty trigger", "NaN in JSON", raw('{"routing_key":NaN}'), 400, "NaN", "json"),
    Wrong("pagerduty trigger", "text/plain", headers(content_type="text/plain"), 415, "Content-Type", "media"),
    Wrong("pagerduty trigger", "gzip, which it does not take", Message.gzipped, 415, "Content-Encoding", "encoding"),
    Wrong("pagerduty trigger", "an unknown path", path("/v2/enqueue/"), 404, "no such resource", "route"),
    Wrong("pagerduty trigger", "PUT", lambda message: message.but(method="PUT"), 405, "PUT is not allowed", "route"),
    Wrong("pagerduty resolve", "a resolve without a dedup key", body(dedup_key=None), 400, "'dedup_key' is missing"),
    Wrong("pagerduty change", "a change with a severity", at("payload", severity="info"), 400, "not known"),
    Wrong("opsgenie create", "no message", body(message=None), 422, "'message' is missing"),
    Wrong("opsgenie create", "a message of 131 characters", body(message="x" * 131), 422, "at most 130"),
    Wrong("opsgenie create", "an alias of 513 characters", body(alias="x" * 513), 422, "at most 512"),
    Wrong("opsgenie create", "priority 1", body(priority="1"), 422, "must be one of P1, P2, P3, P4, P5"),
    Wrong("opsgenie create", "a number in the details", body(details={"score": 93}), 422, "details.score is not a string"),
    Wrong("opsgenie create", "a responder without a name", body(responders=[{"type": "team"}]), 422, "none of responders[0].id"),
    Wrong("opsgenie create", "no key", headers(authorization=None), 401, "GenieKey", "auth"),
    Wrong("opsgenie create", "a bearer", headers(authorization="Bearer x"), 401, "GenieKey", "auth"),
    Wrong("opsgenie create", "a revoked key", headers(authorization="GenieKey 00000000"), 401, "not known", ""),
    Wrong("opsgenie create", "bad JSON", raw("{"), 400, "not JSON", "json"),
    Wrong("opsgenie close", "an identifier of no known kind", path("/v2/alerts/a/close?identifierType=name"), 400, "identifierType",
    "route"),
    Wrong("opsgenie close", "an alias whose slash is not encoded", path("/v2/alerts/a/b/close?identifierType=alias"), 404, "no such",
    "route"),
    Wrong("opsgenie close", "a form", headers(content_type="application/x-www-form-urlencoded"), 415, "Content-Type", "media"),
    Wrong("jira_service_management create", "a message too long", body(message="x" * 131), 422, "at most 130"),
    Wrong("jira_service_management create", "Opsgenie's own path", path("/v2/alerts"), 404, "no such resource", "route"),
    Wrong("jira_service_management create", "basic auth", headers(authorization="Basic eDp5"), 401, "GenieKey", "auth"),
    Wrong("victorops alert", "no message type", body(message_type=None), 400, "'message_type' is missing"),
    Wrong("victorops alert", "a message type of another vendor", body(message_type="resolve"), 400, "must be one of CRITICAL"),
    Wrong("victorops alert", "a state message of 20481 characters", body(state_message="x" * 20481), 400, "at most 20480"),
    Wrong("victorops alert", "a start time in text", body(state_start_time="now"), 400, "not a finite number"),
    Wrong("victorops alert", "a start time in milliseconds", body(state_start_time=NOW * 1000), 400, "outside"),
    Wrong("victorops alert", "an unknown key in the path", path("/integrations/generic/20131114/alert/x/team"), 404, "failure", ""),
    Wrong("victorops alert", "bad JSON", raw("[}"), 400, "not JSON", "json"),
    Wrong("slack message", "nothing to say", raw({}), 400, "no_text", "schema", "none of text"),
    Wrong("slack message", "51 blocks", body(blocks=[{"type": "divider"}] * 51), 400, "invalid_payload", "schema", "at most 50"),
    Wrong(
        "slack message", "a section of 3001 characters",
        body(blocks=[{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]), 400, "invalid_blocks", "schema", "1..3000",
    ),
    Wrong(
        "slack message", "a header in markdown", body(blocks=[{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]), 400,
        "invalid_blocks", "schema", "plain_text",
    ),
    Wrong("slack message", "an unknown block", body(blocks=[{"type": "card"}]), 400, "invalid_blocks", "schema", "'card'"),
    Wrong("slack message", "a bare ampersand", body(text="R&D"), 200, "ok", "escape", "&D"),
    Wrong("slack message", "a bare less-than", body(text="load < 3"), 200, "ok", "escape", "< 3"),
    Wrong("slack message", "bad JSON", raw("text"), 400, "invalid_payload", "json", "not JSON"),
    Wrong("slack message", "a hook that nobody has", path("/services/T1/B1/x"), 404, "no_service", ""),
    Wrong("webhook event", "no signature", headers(webhook_signature=None), 401, "missing", "auth"),
    Wrong("webhook event", "a signature of another body", body(id="2"), 401, "no signature fits", "signature"),
    Wrong("webhook event", "a signature that is no list", headers(webhook_signature="abc"), 401, "v1,<base64>", "auth"),
    Wrong("webhook event", "a timestamp in milliseconds", headers(webhook_timestamp=f"{NOW}000"), 401, "seconds since 1970", "auth"),
    Wrong("webhook event", "a timestamp six minutes old", resigned(body(), stamp=NOW - 360), 401, "-360 s off", ""),
    Wrong("webhook event", "no specversion", resigned(body(specversion=None)), 400, "specversion' is missing"),
    Wrong("webhook event", "another specversion", resigned(body(specversion="0.3")), 400, "must be one of 1.0"),
    Wrong("webhook event", "no id", resigned(body(id=None)), 400, "id' is missing"),
    Wrong("webhook event", "an id that is a number", resigned(body(id=7)), 400, "id is not a string"),
    Wrong("webhook event", "an extension in capitals", resigned(body(hostName="x")), 400, "no name of an extension"),
    Wrong("webhook event", "an extension that is an object", resigned(body(host={})), 400, "an extension is"),
    Wrong("webhook event", "data twice", resigned(body(data_base64="eA==")), 400, "both data and data_base64"),
    Wrong("webhook event", "plain JSON", resigned(headers(content_type="application/json")), 415, "Content-Type", "media"),
    Wrong("datadog event v1", "no text", body(text=None), 400, "'text' is missing"),
    Wrong("datadog event v1", "a text of 4001 characters", body(text="x" * 4001), 400, "at most 4000"),
    Wrong("datadog event v1", "a key of 101 characters", body(aggregation_key="x" * 101), 400, "at most 100"),
    Wrong("datadog event v1", "an unknown type", body(alert_type="critical"), 400, "must be one of error, warning"),
    Wrong("datadog event v1", "a date in milliseconds", body(date_happened=NOW * 1000), 400, "outside"),
    Wrong("datadog event v1", "an event of 19 hours ago", body(date_happened=NOW - 19 * 3600), 400, "19.0 h old", ""),
    Wrong("datadog event v1", "no key", headers(dd_api_key=None), 403, "Forbidden", "auth"),
    Wrong("datadog event v1", "a revoked key", headers(dd_api_key="0" * 32), 403, "Forbidden", ""),
    Wrong("datadog event v2", "no category", at(*V2, category=None), 400, "category' is missing"),
    Wrong("datadog event v2", "a category that is not generally available", at(*V2, category="incident"), 400, "must be one of alert"),
    Wrong("datadog event v2", "a title of 501 characters", at(*V2, title="x" * 501), 400, "at most 500"),
    Wrong("datadog event v2", "a message of 4001 characters", at(*V2, message="x" * 4001), 400, "at most 4000"),
    Wrong("datadog event v2", "101 tags", at(*V2, tags=["a:b"] * 101), 400, "at most 100"),
    Wrong("datadog event v2", "no tags in the list of tags", at(*V2, tags=[]), 400, "at least 1"),
    Wrong("datadog event v2", "no status", at(*V2, "attributes", status=None), 400, "status' is missing"),
    Wrong("datadog event v2", "v1's status", at(*V2, "attributes", status="success"), 400, "must be one of error, warn, ok"),
    Wrong("datadog event v2", "a priority that is a number", at(*V2, "attributes", priority=1), 400, "is not a string"),
    Wrong("datadog event v2", "101 custom properties", at(*V2, "attributes", custom={str(i): i for i in range(101)}), 400, "at most 100"),
    Wrong("datadog event v2", "21 links", at(*V2, "attributes", links=[{"category": "runbook", "url": "https://a.b"}] * 21), 400,
    "at most 20"),
    Wrong("datadog event v2", "a timestamp of 19 hours ago", at(*V2, timestamp="2026-02-28T15:00:00Z"), 400, "19.0 h old", ""),
    Wrong("datadog event v2", "a timestamp without a zone", at(*V2, timestamp="2026-03-01T10:00:00"), 400, "no RFC 3339 date-time"),
    Wrong("datadog series", "a type in words", series(type="gauge"), 400, "not a finite number"),
    Wrong("datadog series", "no points", series(points=[]), 400, "at least 1"),
    Wrong("datadog series", "v1's points", series(points=[[NOW, 1.0]]), 400, "is not an object"),
    Wrong("datadog series", "a point of two hours ago", series(points=[{"timestamp": NOW - 7200, "value": 1}]), 400,
    "more than an hour old", ""),
    Wrong("datadog series", "a point in 11 minutes", series(points=[{"timestamp": NOW + 660, "value": 1}]), 400, "10 minutes ahead",
    "future"),
    Wrong("datadog series", "a count without an interval", series(type=1), 202, "[]", "schema", "without an interval"),
    Wrong("datadog series", "a metric that starts with a digit", series(metric="1score"), 400, "does not match"),
    Wrong("datadog series", "more than 512000 bytes", series(unit=BIG), 413, "at most 512000", "size"),
    Wrong(
        "datadog series", "more than 5 MB inflated",
        lambda message: series(tags=["x" * 190] * 30_000)(message).gzipped(), 413, "inflates to more than 5242880", "size",
    ),
    Wrong("datadog series", "gzip that is none", headers(content_encoding="gzip"), 400, "not gzip", "encoding"),
    Wrong("datadog check", "status 4", body(status=4), 400, "must be one of"),
    Wrong("datadog otlp metrics", "a cumulative sum", raw(CUMULATIVE), 400, "only delta", "temporality"),
    Wrong("datadog otlp logs", "no dd-protocol", headers(dd_protocol=None), 400, "dd-protocol", "header"),
    Wrong("new_relic events", "no eventType", row(eventType=""), 200, "true", "schema", "eventType is ''"),
    Wrong("new_relic events", "an eventType with a hyphen", row(eventType="outlier-incident"), 200, "true", "schema", "outlier-incident"),
    Wrong("new_relic events", "a boolean", row(acknowledged=True), 200, "true", "schema", "neither a string nor a number"),
    Wrong("new_relic events", "an object", row(workload={}), 200, "true", "schema", "neither a string nor a number"),
    Wrong("new_relic events", "a value of 4097 characters", row(text="x" * 4097), 200, "true", "schema", "at most 4096"),
    Wrong("new_relic events", "256 attributes", row(**{f"a{i}": i for i in range(254)}), 200, "true", "schema", "at most 255"),
    Wrong("new_relic events", "accountId", row(accountId=1), 200, "true", "schema", "reserved"),
    Wrong("new_relic events", "a timestamp in text", row(timestamp="now"), 200, "true", "schema", "not an integer"),
    Wrong("new_relic events", "nothing", raw([]), 400, "no events"),
    Wrong("new_relic events", "no key", headers(api_key=None), 403, "missing", "auth"),
    Wrong("new_relic events", "another account", path("/v1/accounts/7654321/events"), 403, "not of this account", ""),
    Wrong("new_relic events", "more than 10^6 bytes", row(text=BIG), 413, "at most 1000000", "size"),
    Wrong("new_relic events", "text", headers(content_type="text/plain"), 415, "Content-Type", "media"),
    Wrong("new_relic otlp metrics", "a value beyond what is kept", raw(log_bytes("x" * 4096)), 400, "wire type", "protobuf"),
    Wrong("new_relic otlp logs", "an attribute of 4096 characters", raw(log_bytes("x" * 4096)), 200, "", "limit", "at most 4095"),
    Wrong("dynatrace event", "no title", body(title=None), 400, "'title' is missing"),
    Wrong("dynatrace event", "an unknown type", body(eventType="INCIDENT"), 400, "must be one of"),
    Wrong("dynatrace event", "a start in seconds", body(startTime=NOW), 400, "outside"),
    Wrong("dynatrace event", "a property that is a number", body(properties={"score": 93}), 400, "properties.score is not a string"),
    Wrong("dynatrace event", "101 properties", body(properties={str(i): "x" for i in range(101)}), 400, "at most 100"),
    Wrong("dynatrace event", "a property of 4097 characters", body(properties={"a": "x" * 4097}), 400, "at most 4096"),
    Wrong("dynatrace event", "a reserved property", body(properties={"dt.host": "x"}), 201, "OK", "schema", "reserved"),
    Wrong("dynatrace event", "a timeout of 400 minutes", body(timeout=400), 201, "OK", "limit", "capped at 360"),
    Wrong("dynatrace event", "a start of seven hours ago", body(startTime=(NOW - 7 * 3600) * 1000), 201, "INVALID_TIMESTAMPS", ""),
    Wrong("dynatrace event", "a start in ten minutes", body(startTime=(NOW + 600) * 1000), 201, "INVALID_TIMESTAMPS", "future", "ahead"),
    Wrong("dynatrace event", "an end before the start", body(endTime=(NOW - 1) * 1000), 201, "INVALID_TIMESTAMPS", "schema", "before"),
    Wrong("dynatrace event", "a bearer", headers(authorization="Bearer x"), 401, "Api-Token", "auth"),
    Wrong("dynatrace event", "a revoked token", headers(authorization="Api-Token dt0c01.X.Y"), 401, "Token Authentication failed", ""),
    Wrong("dynatrace lines", "a key in capitals", raw("Outlier.Score 1\nb.c 2"), 400, '"linesOk": 1', "schema", "line 1"),
    Wrong("dynatrace lines", "a reserved key", raw("dt.score 1"), 400, '"linesInvalid": 1', "schema", "reserved"),
    Wrong("dynatrace lines", "51 dimensions", raw("a.b," + ",".join(f"d{i}=x" for i in range(51)) + " 1"), 400, "at most 50"),
    Wrong("dynatrace lines", "a time in seconds", raw(f"a.b 1 {NOW}"), 400, "not a line of metrics"),
    Wrong("dynatrace lines", "JSON", headers(content_type="application/json"), 415, "Content-Type", "media"),
    Wrong("dynatrace otlp metrics", "a cumulative counter", raw(CUMULATIVE), 400, "only delta", "temporality"),
    Wrong("dynatrace otlp metrics", "JSON", as_json({"resourceMetrics": []}), 415, "Content-Type", "media"),
    Wrong("instana event", "no title", body(title=None), 400, "'title' is missing"),
    Wrong("instana event", "severity 7", body(severity=7), 400, "must be one of (-1, 5, 10)"),
    Wrong("instana event", "a time in seconds", body(timestamp=NOW), 400, "outside"),
    Wrong("instana event", "a change that says online", body(severity=-1, title="web-1 online"), 200, "", "semantics", "presence"),
    Wrong("instana otlp metrics", "no key", headers(x_instana_key=None), 401, "x-instana-key", "auth"),
    Wrong("entra token", "another scope", lambda message: message.but(body=message.body + "x"), 400, "invalid_scope", "schema", "must be"),
    Wrong("entra token", "no secret", lambda message: message.but(body="grant_type=client_credentials&client_id=a"), 400, "client_secret"),
    Wrong("entra token", "a wrong secret", lambda message: message.but(body=message.body.replace("a~", "b~")), 401, "invalid_client", ""),
    Wrong("entra token", "JSON", as_json({}), 415, "Content-Type", "media"),
    Wrong("entra metadata", "no Metadata header", headers(metadata=None), 400, "Metadata: true", "header"),
    Wrong("azure rows", "one object", raw({"a": 1}), 400, "not an array of objects"),
    Wrong("azure rows", "a column with a dot", row(**{"host.name": "x"}), 204, "", "schema", "'host.name'"),
    Wrong("azure rows", "a column of 46 characters", row(**{"x" * 46: 1}), 204, "", "schema", "1..45"),
    Wrong("azure rows", "a field of 65 KB", row(Text="x" * 65 * 1024), 204, "", "schema", "cut at 64 KB"),
    Wrong("azure rows", "more than 1 MB inflated", lambda message: row(Text="x" * 1_048_600)(message).gzipped(), 413,
    "ContentLengthLimitExceeded", "size", "inflates"),
    Wrong("azure rows", "no token", headers(authorization=None), 401, "AuthenticationFailed", "auth", "Bearer"),
    Wrong("azure rows", "a token nobody issued", headers(authorization="Bearer x"), 401, "AuthenticationTokenInvalid", ""),
    Wrong("azure rows", "no api-version", lambda message: message.but(path=message.path.partition("?")[0]), 400, "api-version", "route"),
    Wrong("azure otlp metrics", "an unknown field", raw(UNKNOWN), 200, "", "schema", "no field 99"),
    Wrong("grafana_cloud otlp metrics", "a bearer", headers(authorization="Bearer x"), 401, "Basic", "auth"),
    Wrong("grafana_cloud otlp metrics", "not protobuf", raw(b"\x07\xff"), 400, "wire type", "protobuf"),
    Wrong("grafana_cloud otlp metrics", "no service.name", raw(metric_bytes(service=False)), 200, "", "schema", "no service.name"),
    Wrong("grafana_cloud otlp metrics", "an unknown name in JSON", as_json({"resource_metrics": []}), 200, "{}", "schema",
    "resource_metrics"),
    Wrong("grafana_cloud otlp metrics", "an enum in words",
          as_json({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "a", "sum": {"aggregationTemporality": "DELTA"}}]}]}]}),
          400, "integers only"),
    Wrong("elastic otlp logs", "an event of two names", raw(log_bytes("a.b", "c.d")), 200, "", "schema", "event.name"),
    Wrong("elastic otlp logs", "basic auth", headers(authorization="Basic x"), 401, "ApiKey", "auth"),
]  # fmt: skip


def test_every_vendor_has_wrong_requests_in_the_table(saas: Saas) -> None:  # noqa: F811
    messages = right(saas)
    assert {messages[wrong.endpoint].vendor for wrong in TABLE} == set(saas.ports)


@pytest.mark.parametrize("wrong", TABLE, ids=lambda wrong: f"{wrong.endpoint}: {wrong.what}")
def test_a_wrong_request_gets_the_vendors_answer_and_is_recorded(saas: Saas, wrong: Wrong) -> None:  # noqa: F811
    message = wrong.change(right_message(saas, wrong.endpoint))
    before = saas.state(message.vendor)
    reply = send(saas, message)
    assert reply.status == wrong.status, reply
    assert wrong.says in reply.body.decode(), reply
    violations = saas.violations(message.vendor)
    if wrong.kind:
        assert violations and {violation["kind"] for violation in violations} == {wrong.kind}
        assert (wrong.recorded or wrong.says) in " ".join(violation["text"] for violation in violations)
    else:
        assert violations == []
    seen = saas.requests(message.vendor)[-1]
    if reply.status >= 400 and wrong.endpoint != "dynatrace lines":
        assert (seen["verdict"], seen["processed"]) == ("refused", False)
        assert saas.state(message.vendor) == before


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"POST /v2/enqueue HTTP/1.1\r\nHost: a\r\n\r\n", 411),
        (b"POST /v2/enqueue HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"POST /v2/enqueue HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"POST /v2/enqueue HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
        (b"POST /v2/enqueue HTTP/1.1\r\nHost: a\r\nContent-Length: two\r\n\r\n{}", 400),
        (b"POST /v2/enqueue HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"POST /v2/enqueue HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n", 400),
        (b"GARBAGE\r\n\r\n", 400),
    ],
)
def test_what_is_not_http_is_a_violation(saas: Saas, text: bytes, status: int) -> None:  # noqa: F811
    with socket.create_connection(("127.0.0.1", saas.ports["pagerduty"]), timeout=10) as line:
        line.sendall(text)
        assert line.recv(4096).startswith(f"HTTP/1.1 {status} ".encode())
    assert [violation["kind"] for violation in saas.violations()] == ["http"]


def test_chunks_and_expect_continue_and_a_kept_connection_are_understood(saas: Saas) -> None:  # noqa: F811
    payload = right(saas)["pagerduty trigger"].encoded()
    head = b"POST /v2/enqueue HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", saas.ports["pagerduty"]), timeout=10) as line:
        line.sendall(head + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        assert line.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(b"%x\r\n%b\r\n%x;x=y\r\n%b\r\n0\r\nTrailer: t\r\n\r\n" % (7, payload[:7], len(payload) - 7, payload[7:]))
        assert line.recv(4096).startswith(b"HTTP/1.1 202 ")
        line.sendall(head + b"Content-Length: %d\r\n\r\n" % len(payload) + payload)
        assert line.recv(4096).startswith(b"HTTP/1.1 202 ")
    first, second = saas.requests("pagerduty")
    assert (first["effects"], second["effects"]) == (["opened"], ["appended"]) and first["connection"] == second["connection"]


def test_a_target_with_its_host_is_understood_as_a_proxy_passes_it_on(saas: Saas) -> None:  # noqa: F811
    for endpoint in ("pagerduty trigger", "opsgenie create", "opsgenie close"):
        message = right(saas)[endpoint]
        assert send(saas, message.but(path=saas.url(message.vendor, message.path))).status == 202
    assert saas.violations() == []


def test_a_request_cut_off_in_its_middle_is_recorded_but_no_violation(saas: Saas) -> None:  # noqa: F811
    with socket.create_connection(("127.0.0.1", saas.ports["pagerduty"]), timeout=10) as line:
        line.sendall(b"POST /v2/enqueue HTTP/1.1\r\nHost: a\r\nContent-Length: 200\r\n\r\n{")
    assert [seen["verdict"] for seen in saas.wait_for_requests("pagerduty", 1)] == ["cut"]
    assert saas.violations() == []


@pytest.mark.parametrize(
    "endpoint", ["datadog series", "new_relic events", "webhook event", "azure rows", "dynatrace lines", "grafana_cloud otlp metrics"]
)
def test_compressed_bodies_are_read_where_the_vendor_takes_them(saas: Saas, endpoint: str) -> None:  # noqa: F811
    message = right_message(saas, endpoint).gzipped()
    if endpoint == "webhook event":  # the signature is of the bytes as sent
        message = signed(message, saas.key("webhook"))
    assert send(saas, message).status == success(endpoint)
    assert saas.violations() == []


def test_deflate_is_read_where_the_vendor_takes_it(saas: Saas) -> None:  # noqa: F811
    for endpoint in ("datadog series", "new_relic events"):
        message = right(saas)[endpoint]
        squeezed = message.but(body=zlib.compress(message.encoded()), headers=message.headers | {"content-encoding": "deflate"})
        assert send(saas, squeezed).status == success(endpoint)
        cut = message.but(body=gzip.compress(message.encoded())[:-6], headers=message.headers | {"content-encoding": "gzip"})
        assert send(saas, cut).status == 400


# What each vendor remembers.


def test_pagerduty_keeps_one_alert_for_each_key_and_routing_key(saas: Saas) -> None:  # noqa: F811
    other = "S" * 32
    saas.configure("pagerduty", keys=[saas.key("pagerduty"), other])
    trigger, resolve = right(saas)["pagerduty trigger"], right(saas)["pagerduty resolve"]
    acknowledge = resolve.with_body(event_action="acknowledge")
    for message in (resolve, trigger, trigger, acknowledge, trigger.with_body(routing_key=other), resolve, resolve, acknowledge, trigger):
        assert send(saas, message).json["dedup_key"] == "feed:1"
    assert [seen["effects"] for seen in saas.requests("pagerduty")] == [
        ["nothing"], ["opened"], ["appended"], ["acknowledged"], ["opened"], ["resolved"], ["nothing"], ["nothing"], ["opened"],
    ]  # fmt: skip
    state = saas.state("pagerduty")["keys"]
    assert [alert["status"] for alert in state[saas.key("pagerduty")]["alerts"]] == ["resolved", "open"]
    assert state[saas.key("pagerduty")]["pages"] == ["feed:1", "feed:1"] and state[other]["open"] == ["feed:1"]
    assert saas.violations() == []


def test_pagerduty_gives_a_key_to_a_trigger_without_one(saas: Saas) -> None:  # noqa: F811
    first, second = (send(saas, right(saas)["pagerduty trigger"].with_body(dedup_key=None)).json["dedup_key"] for _ in range(2))
    assert first != second


@pytest.mark.parametrize("vendor", ["opsgenie", "jira_service_management"])
def test_opsgenie_keeps_one_open_alert_for_an_alias_and_tells_what_became_of_a_request(saas: Saas, vendor: str) -> None:  # noqa: F811
    create, close = right(saas)[f"{vendor} create"], right(saas)[f"{vendor} close"]
    ids = [send(saas, message).json["requestId"] for message in (close, create, create, close, create)]
    state = saas.state(vendor)
    assert [alert["count"] for alert in state["alerts"]] == [2, 1] and state["open"] == ["feed:1"]
    where, headers_ = "/v2/alerts/requests/", create.headers
    if vendor != "opsgenie":
        where = "/jsm/ops/api/00000000-0000-0000-0000-000000000000/v1/alerts/requests/"
        headers_ = {"authorization": "Basic YUBiLmM6dG9rZW4="}
    told = [send(saas, Message(vendor, where + request, None, headers_, "GET")).json["data"]["isSuccess"] for request in ids]
    assert told == [False, True, True, True, True]
    assert send(saas, Message(vendor, where + "unknown", None, headers_, "GET")).status == 404
    assert saas.violations() == []


def test_opsgenie_lists_what_is_open(saas: Saas) -> None:  # noqa: F811
    create, close = right(saas)["opsgenie create"], right(saas)["opsgenie close"]
    for number in range(3):
        send(saas, create.with_body(alias=f"feed:{number}"))
    send(saas, close)
    listed = send(saas, Message("opsgenie", "/v2/alerts?query=status%3Aopen&limit=100", None, create.headers, "GET")).json["data"]
    assert sorted(alert["alias"] for alert in listed) == ["feed:0", "feed:2"]
    one = send(saas, Message("opsgenie", "/v2/alerts/feed%3A1?identifierType=alias", None, create.headers, "GET")).json["data"]
    assert (one["alias"], one["status"]) == ("feed:1", "closed")


def test_an_update_and_a_note_change_an_open_alert_of_opsgenie(saas: Saas) -> None:  # noqa: F811
    create = right(saas)["opsgenie create"]
    send(saas, create)
    update = create.but(method="PUT", path="/v2/alerts/feed%3A1/priority?identifierType=alias", body={"priority": "P2"})
    note = create.but(path="/v2/alerts/feed%3A1/notes?identifierType=alias", body={"note": "worse"})
    assert [send(saas, message).status for message in (update, note, note.but(body={}))] == [202, 202, 422]
    assert saas.state("opsgenie")["alerts"][0]["priority"] == "P2"


def test_victorops_keeps_the_state_of_an_entity(saas: Saas) -> None:  # noqa: F811
    alert = right(saas)["victorops alert"]
    for kind in ("RECOVERY", "CRITICAL", "WARNING", "ACKNOWLEDGEMENT", "INFO", "RECOVERY"):
        assert send(saas, alert.with_body(message_type=kind)).json == {"result": "success", "entity_id": "feed:1"}
    assert [seen["effects"][0] for seen in saas.requests("victorops")] == [
        "nothing",
        "opened",
        "appended",
        "acknowledged",
        "noted",
        "resolved",
    ]


def test_datadog_makes_one_alert_of_the_events_of_one_key(saas: Saas) -> None:  # noqa: F811
    first, second = right(saas)["datadog event v1"], right(saas)["datadog event v2"]
    for message in (first, second, at(*V2, "attributes", status="ok")(second), first.with_body(alert_type="success"), first):
        send(saas, message)
    assert [seen["effects"][0] for seen in saas.requests("datadog")] == ["opened", "appended", "resolved", "nothing", "opened"]


def test_datadog_keeps_the_last_value_of_a_metric_tags_and_second(saas: Saas) -> None:  # noqa: F811
    message = right(saas)["datadog series"]
    for value in (1.0, 2.0):
        send(saas, series(points=[{"timestamp": NOW, "value": value}], tags=["a:b"])(message))
    send(saas, series(points=[{"timestamp": NOW, "value": 3.0}], tags=["a:c"])(message))
    assert [point["value"] for point in saas.state("datadog")["series"]] == [2.0, 3.0]


def test_a_problem_of_dynatrace_lives_while_it_is_refreshed_and_ends_by_time_or_by_its_end(saas: Saas) -> None:  # noqa: F811
    event = right(saas)["dynatrace event"]
    send(saas, event)
    saas.clock(NOW + 14 * 60, frozen=True)
    send(saas, event)
    saas.clock(NOW + 28 * 60, frozen=True)
    assert saas.state("dynatrace")["open"] == ["t"]
    send(saas, event.with_body(title="another"))
    saas.clock(NOW + 30 * 60, frozen=True)
    assert saas.state("dynatrace")["open"] == ["another"]
    send(saas, event.with_body(title="another", endTime=(NOW + 29 * 60) * 1000))
    state = saas.state("dynatrace")
    assert [(problem["refreshed"], problem["closed_by"]) for problem in state["problems"]] == [(1, "timeout"), (0, "endTime")]
    assert saas.violations() == []


def test_new_relic_drops_an_event_of_yesterday_without_a_word(saas: Saas) -> None:  # noqa: F811
    message = right(saas)["new_relic events"]
    both = [message.body[0] | {"timestamp": (NOW - 90_000) * 1000}, message.body[0]]
    assert send(saas, message.but(body=both)).status == 200
    state = saas.state("new_relic")
    assert (len(state["events"]), len(state["integration_errors"]), saas.violations()) == (1, 1, [])


def test_dynatrace_stores_the_good_lines_of_a_bad_body(saas: Saas) -> None:  # noqa: F811
    message = right(saas)["dynatrace lines"]
    reply = send(saas, message.but(body="a.b 1\nnonsense\nc.d,e=f 2"))
    assert (reply.status, reply.json["linesOk"], reply.json["error"]["invalidLines"][0]["line"]) == (400, 2, 2)
    assert saas.state("dynatrace")["lines"] == ["a.b 1", "c.d,e=f 2"]


def test_a_webhook_takes_a_repeat_once_and_sees_when_it_is_none(saas: Saas) -> None:  # noqa: F811
    event = right(saas)["webhook event"]
    for _ in range(2):
        send(saas, event)
    assert [seen["effects"] for seen in saas.requests("webhook")] == [["received"], ["duplicate"]]
    assert len(saas.state("webhook")["events"]) == 1 and saas.violations() == []
    send(saas, signed(event.with_body(id="2"), saas.key("webhook")))
    assert [violation["kind"] for violation in saas.violations()] == ["identity"]


def test_a_webhook_takes_either_signature_while_its_secret_is_rotated(saas: Saas) -> None:  # noqa: F811
    old, new = saas.key("webhook"), "whsec_bmV3IHNlY3JldCBuZXcgc2VjcmV0IG5ldyBzZWNyZXQ="
    event = right(saas)["webhook event"]
    both = signed(event, new).headers["webhook-signature"] + " " + event.headers["webhook-signature"]
    saas.configure("webhook", keys=[new])
    assert send(saas, event).status == 401
    assert send(saas, event.with_headers(webhook_signature=both)).status == 204
    saas.configure("webhook", keys=[old])
    assert send(saas, event.with_headers(webhook_signature=both)).status == 200


def test_the_handshake_of_a_webhook_names_who_may_send(saas: Saas) -> None:  # noqa: F811
    reply = send(saas, Message("webhook", "/webhook/one", None, {"webhook-request-origin": "relay.example"}, "OPTIONS"))
    assert (reply.status, reply.headers["webhook-allowed-origin"]) == (200, "relay.example")


def test_azure_holds_rows_to_the_stream_and_tokens_to_their_time(saas: Saas) -> None:  # noqa: F811
    saas.configure("azure", streams={"Custom-OutlierIncidents_CL": {"TimeGenerated": "datetime", "Score": "real"}})
    message = right_message(saas, "azure rows")
    assert send(saas, message).status == 204 and saas.violations() == []
    assert send(saas, message.but(body=[{"TimeGenerated": "today", "Scores": 1}])).status == 204
    assert sorted(violation["text"] for violation in saas.violations()) == [
        "[0]: TimeGenerated is declared datetime", "[0]: the stream declares no column Scores, it is dropped",
    ]  # fmt: skip
    saas.clock(NOW + 3601, frozen=True)
    assert send(saas, message).status == 401


def test_otlp_is_stored_point_by_point_and_json_equals_protobuf(saas: Saas) -> None:  # noqa: F811
    protobuf = right(saas)["new_relic otlp logs"]
    send(saas, protobuf)
    attribute = {"key": "event.name", "value": {"stringValue": "outlier.incident.opened"}}
    record = {
        "timeUnixNano": f"{NOW}000000000", "observedTimeUnixNano": f"{NOW}000000000", "severityNumber": 17,
        "eventName": "outlier.incident.opened",
        "body": {"stringValue": "web-1: 14x typical"}, "attributes": [attribute],
    }  # fmt: skip
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "outlier-relay"}}]}
    tree = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}
    send(saas, protobuf.but(body=tree, headers=protobuf.headers | {"content-type": "application/json"}))
    first, second = saas.state("new_relic")["logs"]
    assert first == second and first["event"] == "outlier.incident.opened" and saas.violations() == []
    send(saas, right(saas)["new_relic otlp metrics"].but(body=metric_bytes(points=3)))
    assert len(saas.state("new_relic")["metrics"]) == 6


def test_dynatrace_takes_a_cumulative_sum_that_may_fall(saas: Saas) -> None:  # noqa: F811
    message = right(saas)["dynatrace otlp metrics"].but(body=metric_bytes(cumulative=True, monotonic=False))
    assert send(saas, message).status == 200 and saas.violations() == []


def test_the_rate_of_the_contract_is_kept_where_a_test_asks_for_it(saas: Saas) -> None:  # noqa: F811
    trigger, hook = right(saas)["pagerduty trigger"], right(saas)["slack message"]
    saas.configure("pagerduty", rate_limit=True)
    saas.configure("slack", rate_limit=True)
    assert [send(saas, trigger).status for _ in range(121)].index(429) == 120
    replies = [send(saas, hook) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 429] and int(replies[1].headers["retry-after"]) >= 1
    saas.clock(NOW + 60, frozen=True)
    assert (send(saas, trigger).status, send(saas, hook).status, saas.violations()) == (202, 200, [])
