"""Datadog's client: an event of v1 and of v2, metrics plain, with gzip and with deflate, the check of a key, and a key that is wrong."""

import json
import sys
import time
from datetime import datetime, timezone

from datadog_api_client import ApiClient, Configuration
from datadog_api_client.exceptions import ApiException
from datadog_api_client.v1.api.authentication_api import AuthenticationApi
from datadog_api_client.v1.api.events_api import EventsApi as EventsV1
from datadog_api_client.v1.api.service_checks_api import ServiceChecksApi
from datadog_api_client.v1.model.event_create_request import EventCreateRequest
from datadog_api_client.v1.model.service_check import ServiceCheck
from datadog_api_client.v1.model.service_check_status import ServiceCheckStatus
from datadog_api_client.v1.model.service_checks import ServiceChecks
from datadog_api_client.v2.api.events_api import EventsApi as EventsV2
from datadog_api_client.v2.api.metrics_api import MetricsApi
from datadog_api_client.v2.model.alert_event_custom_attributes import AlertEventCustomAttributes
from datadog_api_client.v2.model.alert_event_custom_attributes_links_items import AlertEventCustomAttributesLinksItems
from datadog_api_client.v2.model.alert_event_custom_attributes_links_items_category import AlertEventCustomAttributesLinksItemsCategory
from datadog_api_client.v2.model.alert_event_custom_attributes_priority import AlertEventCustomAttributesPriority
from datadog_api_client.v2.model.alert_event_custom_attributes_status import AlertEventCustomAttributesStatus
from datadog_api_client.v2.model.event_category import EventCategory
from datadog_api_client.v2.model.event_create_request import EventCreateRequest as EventCreateRequestV2
from datadog_api_client.v2.model.event_create_request_payload import EventCreateRequestPayload
from datadog_api_client.v2.model.event_create_request_type import EventCreateRequestType
from datadog_api_client.v2.model.event_payload import EventPayload
from datadog_api_client.v2.model.metric_content_encoding import MetricContentEncoding
from datadog_api_client.v2.model.metric_intake_type import MetricIntakeType
from datadog_api_client.v2.model.metric_payload import MetricPayload
from datadog_api_client.v2.model.metric_point import MetricPoint
from datadog_api_client.v2.model.metric_resource import MetricResource
from datadog_api_client.v2.model.metric_series import MetricSeries

question = json.load(sys.stdin)
at = question["url"]


def configured(key: str) -> Configuration:
    configuration = Configuration(host=at, enable_retry=True, max_retries=2)
    configuration.api_key = {"apiKeyAuth": key, "appKeyAuth": "0" * 40}
    configuration.server_index = None
    return configuration


def event(status: str) -> EventCreateRequestPayload:
    custom = AlertEventCustomAttributes(
        status=AlertEventCustomAttributesStatus(status), priority=AlertEventCustomAttributesPriority("1"), custom={"score": 93,
        "signal": {"unit": "1"}},
        links=[
            AlertEventCustomAttributesLinksItems(
                category=AlertEventCustomAttributesLinksItemsCategory("runbook"), title="what to do", url="https://wiki.example/runbook"
            )
        ],
    )  # fmt: skip
    payload = EventPayload(
        category=EventCategory.ALERT, title="web-1: 14x typical", message="run-queue delay", host="web-1", tags=["workload:backup"],
        aggregation_key="feed:1", timestamp=datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"), attributes=custom,
        integration_id="custom-events",
    )  # fmt: skip
    return EventCreateRequestPayload(data=EventCreateRequestV2(type=EventCreateRequestType.EVENT, attributes=payload))


def series() -> MetricPayload:
    point = MetricPoint(timestamp=int(time.time()), value=73.5)
    return MetricPayload(
        series=[
            MetricSeries(
                metric="outlier.score", type=MetricIntakeType.GAUGE, unit="percent", points=[point], tags=["workload:backup"],
                resources=[MetricResource(type="host", name="web-1")],
            )
        ]
    )  # fmt: skip


told = {}
with ApiClient(configured(question["key"])) as client:
    request = EventCreateRequest(
        title="web-1: 14x typical", text="run-queue delay", aggregation_key="feed:1", alert_type="error", date_happened=int(time.time()),
        host="web-1",
        priority="normal", tags=["workload:backup"],
    )  # fmt: skip
    answer = EventsV1(client).create_event(body=request)
    told["v1"] = {"status": answer.status, "id": answer.event.id, "title": answer.event.title}
    for status in ("error", "ok"):
        answer = EventsV2(client).create_event(body=event(status))
        told[f"v2 {status}"] = answer.data.attributes.attributes.evt.uid
    metrics = MetricsApi(client)
    told["series"] = metrics.submit_metrics(body=series()).errors
    for encoding in (MetricContentEncoding.GZIP, MetricContentEncoding.DEFLATE):
        told[f"series {encoding}"] = metrics.submit_metrics(content_encoding=encoding, body=series()).errors
    told["valid"] = AuthenticationApi(client).validate().valid
    check = ServiceCheck(
        check="outlier.up", host_name="web-1", status=ServiceCheckStatus.OK, tags=["a:b"], message="well", timestamp=int(time.time())
    )
    told["check"] = ServiceChecksApi(client).submit_service_check(body=ServiceChecks([check])).status
with ApiClient(configured("f" * 32)) as client:
    try:
        EventsV1(client).create_event(body=request)
    except ApiException as error:
        told["wrong key"] = {"status": error.status, "errors": error.body["errors"]}
json.dump(told, sys.stdout)
