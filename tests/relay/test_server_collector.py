"""The OpenTelemetry Collector does what the relay's tests rely on: no relay is involved here."""

from __future__ import annotations

import gzip
from typing import Any

import grpc
import pytest
from servers import wire
from servers.base import wait_for
from servers.collector import Collector, attributes


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
