"""OpenTelemetry's own exporter over HTTP: metrics of every kind and an event, to a base address with headers, plain or gzip."""

import json
import logging
import sys
import time

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
question = json.load(sys.stdin)
resource = Resource.create({"service.name": "outlier-relay", "host.name": "web-1", "host.ip": ["10.0.0.1", "10.0.0.2"]})
compression = Compression.Gzip if question["gzip"] else Compression.NoCompression
told = {}
if question.get("metrics"):
    wanted = AggregationTemporality.DELTA if question["delta"] else AggregationTemporality.CUMULATIVE
    exporter = OTLPMetricExporter(
        endpoint=question["metrics"], headers=question["headers"], compression=compression, timeout=5,
        preferred_temporality={Counter: wanted, Histogram: wanted,
        UpDownCounter: AggregationTemporality.DELTA if question["all_delta"] else AggregationTemporality.CUMULATIVE},
    )  # fmt: skip
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
    views = [View(instrument_name="outlier.exponential", aggregation=ExponentialBucketHistogramAggregation())]
    provider = MeterProvider([reader], resource=resource, views=views)
    meter = provider.get_meter("outlier", "1.0.0")
    meter.create_counter("outlier.incidents", unit="{incident}").add(7, {"severity": "critical"})
    meter.create_up_down_counter("outlier.open").add(-2)
    meter.create_histogram("outlier.delay", unit="s").record(0.4)
    meter.create_histogram("outlier.exponential", unit="s").record(0.4)
    meter.create_gauge("outlier.score", unit="1").set(0.93, {"workload": "backup", "depth": 3, "good": False})
    told["metrics"] = provider.force_flush(5000)
    provider.shutdown()
if question.get("logs"):
    exporter = OTLPLogExporter(endpoint=question["logs"], headers=question["headers"], compression=compression, timeout=5)
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    now = time.time_ns()
    record = LogRecord(
        timestamp=now, observed_timestamp=now, severity_number=SeverityNumber.ERROR, severity_text="MAJOR", body="web-1: 14x typical",
        attributes={"event.name": "outlier.incident.opened", "outlier.incident.id": "1"}, event_name="outlier.incident.opened",
    )  # fmt: skip
    provider.get_logger("outlier", "1.0.0").emit(record)
    told["logs"] = provider.force_flush(5000)
    provider.shutdown()
json.dump(told, sys.stdout)
