"""OTLP over HTTP: protobuf by the wire format and the protocol's field numbers, JSON by its mapping, and what each back end wants.

Both come out as one tree with the names of the JSON mapping. A field that the schema lacks is kept in `unknown`: a receiver would skip it,
a right sender has none.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import Any

from .core import Apply, Refused, Request, Route, Vendor
from .wire import Answer

PROTOBUF, JSON = "application/x-protobuf", "application/json"

# number: (name, kind, repeated). A kind that is no scalar is a message of this table.
SCHEMA: dict[str, dict[int, tuple[str, str, bool]]] = {
    "AnyValue": {
        1: ("stringValue", "string", False), 2: ("boolValue", "bool", False), 3: ("intValue", "int64", False),
        4: ("doubleValue", "double", False), 5: ("arrayValue", "ArrayValue", False), 6: ("kvlistValue", "KeyValueList", False),
        7: ("bytesValue", "bytes", False),
    },
    "ArrayValue": {1: ("values", "AnyValue", True)},
    "KeyValueList": {1: ("values", "KeyValue", True)},
    "KeyValue": {1: ("key", "string", False), 2: ("value", "AnyValue", False)},
    "Scope": {
        1: ("name", "string", False), 2: ("version", "string", False), 3: ("attributes", "KeyValue", True),
        4: ("droppedAttributesCount", "uint32", False),
    },
    "EntityRef": {
        1: ("schemaUrl", "string", False), 2: ("type", "string", False), 3: ("idKeys", "string", True), 4: ("descriptionKeys", "string",
        True),
    },
    "Resource": {
        1: ("attributes", "KeyValue", True), 2: ("droppedAttributesCount", "uint32", False), 3: ("entityRefs", "EntityRef", True),
    },
    "MetricsRequest": {1: ("resourceMetrics", "ResourceMetrics", True)},
    "ResourceMetrics": {
        1: ("resource", "Resource", False), 2: ("scopeMetrics", "ScopeMetrics", True), 3: ("schemaUrl", "string", False),
    },
    "ScopeMetrics": {1: ("scope", "Scope", False), 2: ("metrics", "Metric", True), 3: ("schemaUrl", "string", False)},
    "Metric": {
        1: ("name", "string", False), 2: ("description", "string", False), 3: ("unit", "string", False), 5: ("gauge", "Gauge", False),
        7: ("sum", "Sum", False), 9: ("histogram", "Histogram", False), 10: ("exponentialHistogram", "ExponentialHistogram", False),
        11: ("summary", "Summary", False), 12: ("metadata", "KeyValue", True),
    },
    "Gauge": {1: ("dataPoints", "NumberDataPoint", True)},
    "Sum": {1: ("dataPoints", "NumberDataPoint", True), 2: ("aggregationTemporality", "enum", False), 3: ("isMonotonic", "bool", False)},
    "Histogram": {1: ("dataPoints", "HistogramDataPoint", True), 2: ("aggregationTemporality", "enum", False)},
    "ExponentialHistogram": {1: ("dataPoints", "ExponentialHistogramDataPoint", True), 2: ("aggregationTemporality", "enum", False)},
    "Summary": {1: ("dataPoints", "SummaryDataPoint", True)},
    "NumberDataPoint": {
        2: ("startTimeUnixNano", "fixed64", False), 3: ("timeUnixNano", "fixed64", False), 4: ("asDouble", "double", False),
        5: ("exemplars", "Exemplar", True), 6: ("asInt", "sfixed64", False), 7: ("attributes", "KeyValue", True), 8: ("flags", "uint32",
        False),
    },
    "HistogramDataPoint": {
        2: ("startTimeUnixNano", "fixed64", False), 3: ("timeUnixNano", "fixed64", False), 4: ("count", "fixed64", False),
        5: ("sum", "double", False), 6: ("bucketCounts", "fixed64", True), 7: ("explicitBounds", "double", True),
        8: ("exemplars", "Exemplar", True), 9: ("attributes", "KeyValue", True), 10: ("flags", "uint32", False), 11: ("min", "double",
        False),
        12: ("max", "double", False),
    },
    "ExponentialHistogramDataPoint": {
        1: ("attributes", "KeyValue", True), 2: ("startTimeUnixNano", "fixed64", False), 3: ("timeUnixNano", "fixed64", False),
        4: ("count", "fixed64", False), 5: ("sum", "double", False), 6: ("scale", "sint32", False), 7: ("zeroCount", "fixed64", False),
        8: ("positive", "Buckets", False), 9: ("negative", "Buckets", False), 10: ("flags", "uint32", False),
        11: ("exemplars", "Exemplar", True), 12: ("min", "double", False), 13: ("max", "double", False), 14: ("zeroThreshold", "double",
        False),
    },
    "Buckets": {1: ("offset", "sint32", False), 2: ("bucketCounts", "uint64", True)},
    "SummaryDataPoint": {
        2: ("startTimeUnixNano", "fixed64", False), 3: ("timeUnixNano", "fixed64", False), 4: ("count", "fixed64", False),
        5: ("sum", "double", False), 6: ("quantileValues", "ValueAtQuantile", True), 7: ("attributes", "KeyValue", True),
        8: ("flags", "uint32", False),
    },
    "ValueAtQuantile": {1: ("quantile", "double", False), 2: ("value", "double", False)},
    "Exemplar": {
        2: ("timeUnixNano", "fixed64", False), 3: ("asDouble", "double", False), 4: ("spanId", "bytes", False), 5: ("traceId", "bytes",
        False),
        6: ("asInt", "sfixed64", False), 7: ("filteredAttributes", "KeyValue", True),
    },
    "LogsRequest": {1: ("resourceLogs", "ResourceLogs", True)},
    "ResourceLogs": {1: ("resource", "Resource", False), 2: ("scopeLogs", "ScopeLogs", True), 3: ("schemaUrl", "string", False)},
    "ScopeLogs": {1: ("scope", "Scope", False), 2: ("logRecords", "LogRecord", True), 3: ("schemaUrl", "string", False)},
    "LogRecord": {
        1: ("timeUnixNano", "fixed64", False), 2: ("severityNumber", "enum", False), 3: ("severityText", "string", False),
        5: ("body", "AnyValue", False), 6: ("attributes", "KeyValue", True), 7: ("droppedAttributesCount", "uint32", False),
        8: ("flags", "fixed32", False), 9: ("traceId", "bytes", False), 10: ("spanId", "bytes", False),
        11: ("observedTimeUnixNano", "fixed64", False), 12: ("eventName", "string", False),
    },
}  # fmt: skip
VARINT = {"bool", "int64", "uint32", "uint64", "sint32", "enum"}
FIXED = {"fixed64": "<Q", "sfixed64": "<q", "double": "<d", "fixed32": "<I"}


class Malformed(Exception):
    """Not protobuf, or not of the schema."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed(f"a varint does not end at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7


def _scalar(kind: str, value: int) -> Any:
    if kind == "bool":
        return value != 0
    if kind == "sint32":
        return (value >> 1) ^ -(value & 1)
    if kind in ("int64", "enum"):
        return value - (1 << 64) if value >= 1 << 63 else value
    return value


def decode(data: bytes, message: str, unknown: list[str]) -> dict[str, Any]:
    fields, at = SCHEMA[message], 0
    tree: dict[str, Any] = {}
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        payload: bytes = b""
        scalar = 0
        if wire == 0:
            scalar, at = _varint(data, at)
        elif wire in (1, 5, 2):
            size = 8 if wire == 1 else 4
            if wire == 2:
                size, at = _varint(data, at)
            payload = data[at : at + size]
            if len(payload) != size:
                raise Malformed(f"{message}: field {number} is cut off")
            at += size
        else:
            raise Malformed(f"{message}: field {number} has wire type {wire}")
        if number not in fields:
            unknown.append(f"{message} has no field {number}")
            continue
        name, kind, repeated = fields[number]
        where = f"{message}.{name}"
        packed = repeated and wire == 2 and (kind in VARINT or kind in FIXED)
        expected = 2 if packed else 0 if kind in VARINT else {"<Q": 1, "<q": 1, "<d": 1, "<I": 5}.get(FIXED.get(kind, ""), 2)
        if wire != expected:
            raise Malformed(f"{where} has wire type {wire}, must be {expected}")
        values: list[Any]
        if packed and kind in FIXED:
            if len(payload) % struct.calcsize(FIXED[kind]):
                raise Malformed(f"{where}: {len(payload)} packed bytes")
            values = [value for (value,) in struct.iter_unpack(FIXED[kind], payload)]
        elif packed:
            values, inner = [], 0
            while inner < len(payload):
                value, inner = _varint(payload, inner)
                values.append(_scalar(kind, value))
        elif kind in VARINT:
            values = [_scalar(kind, scalar)]
        elif kind in FIXED:
            values = [struct.unpack(FIXED[kind], payload)[0]]
        elif kind == "string":
            try:
                values = [payload.decode()]
            except UnicodeDecodeError as error:
                raise Malformed(f"{where} is not UTF-8") from error
        elif kind == "bytes":
            values = [payload.hex()]
        else:
            values = [decode(payload, kind, unknown)]
        if repeated:
            tree.setdefault(name, []).extend(values)
        else:
            tree[name] = values[-1]
    return tree


def from_json(value: Any, message: str, unknown: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{message} is not an object")
    fields = {name: (kind, repeated) for name, kind, repeated in SCHEMA[message].values()}
    tree: dict[str, Any] = {}
    for name, item in value.items():
        if name not in fields:
            unknown.append(f"{message} has no field {name!r}")
            continue
        kind, repeated = fields[name]
        where = f"{message}.{name}"
        if repeated:
            if not isinstance(item, list):
                raise Malformed(f"{where} is not an array")
            tree[name] = [_json_value(part, kind, where, unknown) for part in item]
        elif item is not None:
            tree[name] = _json_value(item, kind, where, unknown)
    return tree


def _json_value(item: Any, kind: str, where: str, unknown: list[str]) -> Any:
    if kind in SCHEMA:
        return from_json(item, kind, unknown)
    if kind == "string" and isinstance(item, str):
        return item
    if kind == "bool" and isinstance(item, bool):
        return item
    if kind == "bytes" and isinstance(item, str):
        try:
            return (bytes.fromhex(item) if where.endswith("Id") else base64.b64decode(item, validate=True)).hex()
        except (ValueError, binascii.Error) as error:
            raise Malformed(f"{where}: {error}") from error
    if kind == "enum":
        if isinstance(item, int) and not isinstance(item, bool):
            return item
        raise Malformed(f"{where} is {item!r}: enums are integers only")
    if kind == "double":
        if isinstance(item, (int, float)) and not isinstance(item, bool):
            return float(item)
        if item in ("NaN", "Infinity", "-Infinity"):
            return float(item)
    if kind in ("int64", "uint32", "uint64", "sint32", "fixed64", "sfixed64", "fixed32"):
        if isinstance(item, int) and not isinstance(item, bool):
            return item
        if isinstance(item, str) and item.lstrip("-").isdigit():
            return int(item)
    raise Malformed(f"{where} is {str(item)[:40]!r}, must be {kind}")


def varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def message_bytes(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


@dataclass(frozen=True)
class Wants:
    """What one back end takes."""

    media: tuple[str, ...] = (PROTOBUF, JSON)
    encodings: tuple[str, ...] = ("gzip",)
    limit: int | None = None
    inflated_limit: int | None = 64 * 1024 * 1024
    delta_only: bool = False  # every sum and histogram
    monotonic_delta: bool = False  # counters and histograms; up-down counters may be cumulative
    name_high: int | None = None  # characters in the key of an attribute
    value_high: int | None = None  # characters in a value
    most_attributes: int | None = None
    summaries: bool = True

    def routes(self, prefix: str, signals: tuple[str, ...] = ("metrics", "logs"), **more: Any) -> tuple[Route, ...]:
        return tuple(
            Route(
                "POST", f"{prefix}/v1/{signal}", f"otlp_{signal}", media=self.media, encodings=self.encodings, limit=self.limit,
                inflated_limit=self.inflated_limit, **more,
            )
            for signal in signals
        )  # fmt: skip


class OtlpReceiver(Vendor):
    """The handlers of metrics and logs, for a vendor to inherit."""

    can_be_partial = True
    wants = Wants()

    def reset(self) -> None:
        self.metrics: list[dict[str, Any]] = []  # one entry for each data point
        self.logs: list[dict[str, Any]] = []

    def state(self) -> Any:
        return {"metrics": self.metrics, "logs": self.logs}

    def refusal(self, refused: Refused, request: Request | None) -> Answer:
        """google.rpc.Status in the type of the request."""
        if request is not None and request.media == JSON:
            return Answer(refused.status, {"message": str(refused)}, refused.headers)
        body = message_bytes(2, str(refused).encode())
        return Answer(refused.status, body, {"Content-Type": PROTOBUF} | refused.headers)

    def _tree(self, request: Request, message: str) -> dict[str, Any]:
        unknown: list[str] = []
        try:
            if request.media == JSON:
                tree = from_json(request.value, message, unknown)
            else:
                tree = decode(request.body, message, unknown)
        except Malformed as error:
            raise Refused(400, str(error), kind="protobuf" if request.media == PROTOBUF else "schema") from None
        request.violate("schema", *unknown)
        request.value = tree
        return tree

    def _attributes(self, request: Request, owner: dict[str, Any], where: str, name: str = "attributes") -> dict[str, Any]:
        found: dict[str, Any] = {}
        items = owner.get(name, [])
        for item in items:
            key = item.get("key", "")
            if not key:
                request.violate("schema", f"{where}: an attribute without a key")
            if key in found:
                request.violate("schema", f"{where}: attribute {key} is there twice")
            if "value" not in item or len(item["value"]) > 1:
                request.violate("schema", f"{where}: attribute {key} has {len(item.get('value', {}))} values")
            found[key] = plain(item.get("value", {}))
            if self.wants.name_high and len(key) > self.wants.name_high:
                request.violate(
                    "limit", f"{where}: the key of an attribute has {len(key)} characters, at most {self.wants.name_high} are kept"
                )
            if self.wants.value_high and isinstance(found[key], str) and len(found[key]) > self.wants.value_high:
                request.violate("limit", f"{where}: {key} has {len(found[key])} characters, at most {self.wants.value_high} are kept")
        if self.wants.most_attributes and len(items) > self.wants.most_attributes:
            request.violate("limit", f"{where} has {len(items)} attributes, at most {self.wants.most_attributes} are kept")
        return found

    def _resource(self, request: Request, group: dict[str, Any]) -> dict[str, Any]:
        attributes = self._attributes(request, group.get("resource", {}), "resource")
        if not attributes.get("service.name"):
            request.violate("schema", "resource has no service.name")
        return attributes

    def otlp_metrics(self, request: Request) -> Apply:
        tree = self._tree(request, "MetricsRequest")
        points: list[dict[str, Any]] = []
        for group in tree.get("resourceMetrics", []):
            resource = self._resource(request, group)
            if not group.get("scopeMetrics"):
                request.violate("schema", "an empty envelope: resource without metrics")
            for scope in group.get("scopeMetrics", []):
                for metric in scope.get("metrics", []):
                    points += self._metric(request, metric, resource, scope.get("scope", {}).get("name", ""))

        def apply() -> Answer:
            kept = points[: max(0, len(points) - request.refuse_items)]
            self.metrics += kept
            request.effects.append(f"stored {len(kept)} of {len(points)}")
            return self._taken(request, "rejectedDataPoints")

        return apply

    def _metric(self, request: Request, metric: dict[str, Any], resource: dict[str, Any], scope: str) -> list[dict[str, Any]]:
        name = metric.get("name", "")
        if not name:
            raise Refused(400, "a metric without a name")
        kinds = [kind for kind in ("gauge", "sum", "histogram", "exponentialHistogram", "summary") if kind in metric]
        if len(kinds) != 1:
            raise Refused(400, f"{name} has {len(kinds)} kinds of data, must have one")
        kind, data = kinds[0], metric[kinds[0]]
        if not data.get("dataPoints"):
            request.violate("schema", f"{name} has no data points")
        temporality = data.get("aggregationTemporality", 0)
        if kind not in ("gauge", "summary"):
            if temporality not in (1, 2):
                raise Refused(400, f"{name}: aggregation temporality {temporality}")
            counter = kind != "sum" or data.get("isMonotonic", False)
            if temporality == 2 and (self.wants.delta_only or self.wants.monotonic_delta and counter):
                raise Refused(400, f"{name} is cumulative, only delta is taken", kind="temporality")
        if kind == "summary" and not self.wants.summaries:
            raise Refused(400, f"{name}: summaries are not taken", kind="temporality")
        points = []
        for point in data.get("dataPoints", []):
            if not point.get("timeUnixNano"):
                raise Refused(400, f"{name} has a data point without a time")
            start = point.get("startTimeUnixNano", 0)
            if start > point["timeUnixNano"]:
                request.violate("schema", f"{name} starts after its time")
            if kind in ("sum", "histogram", "exponentialHistogram") and not start:
                request.violate("schema", f"{name} has no start time")
            value = point.get("asDouble", point.get("asInt"))
            if kind in ("gauge", "sum") and ("asDouble" in point) == ("asInt" in point) and not point.get("flags", 0) & 1:
                raise Refused(400, f"{name} has a data point with no one value")
            if isinstance(value, float) and (value != value or abs(value) == float("inf")):
                request.violate("schema", f"{name} is {value}")
            if kind == "histogram":
                buckets, bounds = point.get("bucketCounts", []), point.get("explicitBounds", [])
                if buckets and (len(buckets) != len(bounds) + 1 or sum(buckets) != point.get("count", 0) or sorted(bounds) != bounds):
                    raise Refused(
                        400, f"{name}: {len(buckets)} buckets of {sum(buckets)}, {len(bounds)} bounds, count {point.get('count', 0)}"
                    )
            points.append(
                {
                    "name": name, "unit": metric.get("unit", ""), "kind": kind, "temporality": temporality, "value": value,
                    "time": point["timeUnixNano"], "attributes": self._attributes(request, point, name), "resource": resource,
                    "scope": scope,
                }
            )  # fmt: skip
        return points

    def otlp_logs(self, request: Request) -> Apply:
        tree = self._tree(request, "LogsRequest")
        records: list[dict[str, Any]] = []
        for group in tree.get("resourceLogs", []):
            resource = self._resource(request, group)
            if not group.get("scopeLogs"):
                request.violate("schema", "an empty envelope: resource without logs")
            for scope in group.get("scopeLogs", []):
                for record in scope.get("logRecords", []):
                    records.append(self._log(request, record, resource))

        def apply() -> Answer:
            kept = records[: max(0, len(records) - request.refuse_items)]
            self.logs += kept
            request.effects.append(f"stored {len(kept)} of {len(records)}")
            return self._taken(request, "rejectedLogRecords")

        return apply

    def _log(self, request: Request, record: dict[str, Any], resource: dict[str, Any]) -> dict[str, Any]:
        attributes = self._attributes(request, record, "log record")
        event = record.get("eventName", "")
        if not record.get("timeUnixNano") and not record.get("observedTimeUnixNano"):
            request.violate("schema", "a log record with neither time nor observed time")
        if not 0 <= record.get("severityNumber", 0) <= 24:
            request.violate("schema", f"severity number {record['severityNumber']}")
        for name, size in (("traceId", 32), ("spanId", 16)):
            if record.get(name) and len(record[name]) != size:
                request.violate("schema", f"{name} has {len(record[name]) // 2} bytes, must have {size // 2}")
        if event and "event.name" in attributes and attributes["event.name"] != event:
            request.violate("schema", f"event_name {event!r}, but attribute event.name {attributes['event.name']!r}")
        return {
            "event": event, "severity": record.get("severityNumber", 0), "severity_text": record.get("severityText", ""),
            "body": plain(record.get("body", {})), "time": record.get("timeUnixNano", 0), "observed": record.get("observedTimeUnixNano", 0),
            "attributes": attributes, "resource": resource,
        }  # fmt: skip

    def _taken(self, request: Request, rejected: str) -> Answer:
        count, text = request.refuse_items, "told to refuse some"
        if request.media == JSON:
            return Answer(200, {"partialSuccess": {rejected: str(count), "errorMessage": text}} if count else {})
        body = message_bytes(1, varint(1 << 3) + varint(count) + message_bytes(2, text.encode())) if count else b""
        return Answer(200, body, {"Content-Type": PROTOBUF})


def plain(value: dict[str, Any]) -> Any:
    """An AnyValue as Python has it."""
    for kind, item in value.items():
        if kind == "arrayValue":
            return [plain(part) for part in item.get("values", [])]
        if kind == "kvlistValue":
            return {part.get("key", ""): plain(part.get("value", {})) for part in item.get("values", [])}
        return item
    return None
