"""Opsgenie's client: create twice, ask what became of it, acknowledge, note, close, list, and a key that is wrong."""

import json
import sys

import opsgenie_sdk

question = json.load(sys.stdin)


def alerts(key: str) -> opsgenie_sdk.AlertApi:
    configuration = opsgenie_sdk.configuration.Configuration()
    configuration.host = question["url"]
    configuration.api_key["Authorization"] = key
    return opsgenie_sdk.AlertApi(opsgenie_sdk.api_client.ApiClient(configuration=configuration))


api = alerts(question["key"])
body = opsgenie_sdk.CreateAlertPayload(
    message="web-1: 14x typical", alias="feed/1 a", description="run-queue delay", responders=[{"type": "team", "name": "storage"}],
    tags=["outlier"], details={"score": "93"}, entity="web-1", source="outlier-relay", priority="P1",
)  # fmt: skip
told = {}


def outcome(request_id: str) -> bool:
    status = api.get_request_status(request_id)
    return status.data.is_success


told["create"] = [api.create_alert(create_alert_payload=body).result for _ in range(2)]
told["acknowledge"] = outcome(
    api.acknowledge_alert(
        identifier="feed/1 a", identifier_type="alias", acknowledge_alert_payload=opsgenie_sdk.AcknowledgeAlertPayload(note="seen")
    ).request_id
)
told["note"] = outcome(
    api.add_note(
        identifier="feed/1 a", identifier_type="alias", add_note_to_alert_payload=opsgenie_sdk.AddNoteToAlertPayload(note="worse")
    ).request_id
)
told["get"] = api.get_alert(identifier="feed/1 a", identifier_type="alias").data.count
told["list"] = [alert.alias for alert in api.list_alerts(query="status:open", limit=10).data]
close = opsgenie_sdk.CloseAlertPayload(note="over", source="outlier-relay", user="outlier-relay")
told["close"] = outcome(api.close_alert(identifier="feed/1 a", identifier_type="alias", close_alert_payload=close).request_id)
told["close again"] = outcome(api.close_alert(identifier="feed/1 a", identifier_type="alias", close_alert_payload=close).request_id)
try:
    alerts("00000000").create_alert(create_alert_payload=body)
except opsgenie_sdk.exceptions.AuthenticationException as error:
    told["wrong key"] = error.status
json.dump(told, sys.stdout)
