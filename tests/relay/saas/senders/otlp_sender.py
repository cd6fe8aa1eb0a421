"""OpenTelemetry's own exporter over HTTP: metrics of every kind and an event, to one back end after the other."""

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
RESOURCE = Resource.create({"service.name": "outlier-relay", "host.name": "web-1", "host.ip": ["10.0.0.1", "10.0.0.2"]})
VIEWS = [View(instrument_name="outlier.exponential", aggregation=ExponentialBucketHistogramAggregation())]
DELTA, CUMULATIVE = AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE


def send_metrics(job: dict, compression: Compression) -> bool:
    wanted = DELTA if job["delta"] else CUMULATIVE
    temporality = {Counter: wanted, Histogram: wanted, UpDownCounter: DELTA if job["all_delta"] else CUMULATIVE}
    exporter = OTLPMetricExporter(
        endpoint=job["metrics"], headers=job["headers"], compression=compression, timeout=5, preferred_temporality=temporality
    )
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)], resource=RESOURCE, views=VIEWS)
    meter = provider.get_meter("outlier", "1.0.0")
    meter.create_counter("outlier.incidents", unit="{incident}").add(7, {"severity": "critical"})
    meter.create_up_down_counter("outlier.open").add(-2)
    meter.create_histogram("outlier.delay", unit="s").record(0.4)
    meter.create_histogram("outlier.exponential", unit="s").record(0.4)
    meter.create_gauge("outlier.score", unit="1").set(0.93, {"workload": "backup", "depth": 3, "good": False})
    done = provider.force_flush(5000)
    provider.shutdown()
    return done


def send_log(job: dict, compression: Compression) -> bool:
    exporter = OTLPLogExporter(endpoint=job["logs"], headers=job["headers"], compression=compression, timeout=5)
    provider = LoggerProvider(resource=RESOURCE)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    now = time.time_ns()
    record = LogRecord(
        timestamp=now,
        observed_timestamp=now,
        severity_number=SeverityNumber.ERROR,
        severity_text="MAJOR",
        body="web-1: 14x typical",
        attributes={"event.name": "outlier.incident.opened", "outlier.incident.id": "1"},
        event_name="outlier.incident.opened",
    )
    provider.get_logger("outlier", "1.0.0").emit(record)
    done = provider.force_flush(5000)
    provider.shutdown()
    return done


question = json.load(sys.stdin)
encoding = Compression.Gzip if question["gzip"] else Compression.NoCompression
told = {}
for name, job in question["jobs"].items():
    told[name] = send_metrics(job, encoding) and ("logs" not in job or send_log(job, encoding))
json.dump(told, sys.stdout)
