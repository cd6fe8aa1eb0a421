"""outlier-relay from a source's journal to each vendor's stand-in, which holds every request to the vendor's contract: an incident opens, crosses the
severity line, is acknowledged and resolves; and the vendor throttles, breaks the connection and refuses meanwhile."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from programs import Incident, Json, Relay, Street
from saas.client import Saas
from saas.fixtures import saas, saas_server  # noqa: F401
from saas.vendors import azure
from saas_sinks import sink_of
from servers.base import wait_for
from servers.cloudwatch import CloudWatch

KINDS = ("OPENED", "UPDATED", "ACKNOWLEDGED", "RESOLVED")
QUICK = {"first_backoff": "50ms", "max_backoff": "200ms", "suspended_retry": "200ms"}
DEPLOYED_TABLE = Path(__file__).resolve().parents[2] / "deploy" / "azure" / "outlier-incidents.json"


@dataclass(frozen=True)
class Vendor:
    name: str  # of the stand-in
    words: Callable[[Json], Any]  # what an accepted request says, in a word
    story: list[Any]  # those words, from opening to resolution
    state: bool = False  # is told what is open; the others get every change
    open_now: Callable[[Json], list[Any]] | None = None  # from the vendor's state, where it keeps one


def alerts_of(state: Json) -> list[Any]:
    return list(state["open"])


def path_word(request: Json) -> str:
    last = str(request["path"]).rpartition("/")[2]
    return f"create {request['body']['priority']}" if last == "alerts" else f"priority {request['body']['priority']}" if last == "priority" else last


VENDORS = [
    Vendor("pagerduty", lambda r: (r["body"]["event_action"], r["body"].get("payload", {}).get("severity")),
           [("trigger", "warning"), ("trigger", "critical"), ("acknowledge", None), ("resolve", None)], state=True,
           open_now=lambda state: [key for book in state["keys"].values() for key in book["open"]]),
    Vendor("opsgenie", path_word, ["create P3", "priority P1", "message", "description", "acknowledge", "close"], state=True, open_now=alerts_of),
    Vendor("jira_service_management", path_word, ["create P3", "notes", "acknowledge", "close"], state=True, open_now=alerts_of),
    Vendor("victorops", lambda r: r["body"]["message_type"], ["WARNING", "CRITICAL", "ACKNOWLEDGEMENT", "RECOVERY"], state=True,
           open_now=lambda state: [key for book in state["routings"].values() for key in book["open"]]),
    Vendor("slack", lambda r: "message", ["message"] * 3),  # a chat is told of the opening, the rise and the end
    Vendor("webhook", lambda r: r["body"]["type"], [f"io.outlier.incident.{word}.v1" for word in ("opened", "updated", "acknowledged", "resolved")]),
    Vendor("datadog", lambda r: r["body"]["data"]["attributes"]["attributes"]["status"], ["warn", "error", "error", "ok"]),
    Vendor("new_relic", lambda r: [event["outlier.change.kind"] for event in r["body"]], [[kind] for kind in KINDS]),
    Vendor("dynatrace", lambda r: "ends" if "endTime" in r["body"] else "lives", ["lives", "lives", "lives", "ends"], open_now=alerts_of),
    Vendor("instana", lambda r: r["body"]["severity"], [5, 10, -1, -1]),
    Vendor("azure", lambda r: [row["Action"] for row in r["body"]], [["opened"], ["updated"], ["acknowledged"], ["resolved"]]),
]  # fmt: skip


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest, saas: Saas) -> Vendor:  # noqa: F811
    vendor: Vendor = request.param
    if vendor.name == "azure":
        saas.configure("azure", streams={"Custom-OutlierIncidents": declared_columns()})
    return vendor


def declared_columns() -> dict[str, str]:
    """Of the table that deploy/azure makes."""
    for resource in json.loads(DEPLOYED_TABLE.read_text())["resources"]:
        if resource["type"].endswith("/tables"):
            return {column["name"]: column["type"].lower() for column in resource["properties"]["schema"]["columns"]}
    raise AssertionError(f"{DEPLOYED_TABLE} makes no table")


def carry(street: Street, vendor: Vendor, server: Saas) -> Relay:
    sink = {"name": "sink", **sink_of(vendor.name, server, street.key_file), "delivery": QUICK}
    relay = street.carry(sink, extra={"labels": ["env=the-label-of-relay-yaml"]}).start()
    street.connected()
    return relay


def said(server: Saas, vendor: Vendor) -> list[Any]:
    return [vendor.words(request) for request in server.requests(vendor.name) if request["processed"]]


def change(incident: Incident, kind: str) -> str:
    if kind == "UPDATED":
        incident.severity, incident.score = "CRITICAL", 91.0
    return kind


def test_a_vendor_is_told_the_whole_story_in_its_own_words_and_as_its_contract_wants_it(street: Street, saas: Saas, vendor: Vendor) -> None:  # noqa: F811
    carry(street, vendor, saas)
    incident = Incident("story", severity="MINOR", score=30.0)
    for kind in KINDS:
        street.tell(incident, change(incident, kind))
        if vendor.open_now is not None:
            assert len(vendor.open_now(saas.state(vendor.name))) == (0 if kind == "RESOLVED" else 1), kind
    wait_for("the whole story", lambda: len(said(saas, vendor)) >= len(vendor.story))
    assert said(saas, vendor) == vendor.story
    assert "the-label-of-relay-yaml" in json.dumps(saas.accepted(vendor.name)[0])
    assert saas.violations() == []


def test_a_vendor_that_throttles_breaks_off_and_refuses_once_is_told_everything_all_the_same(street: Street, saas: Saas, vendor: Vendor) -> None:  # noqa: F811
    relay = carry(street, vendor, saas)
    incident = Incident("trouble", severity="MINOR", score=30.0)
    faults: dict[str, Json] = {"OPENED": {"kind": "throttle", "retry_after": 1}, "UPDATED": {"kind": "reset", "processed": True}, "RESOLVED": {"kind": "fail", "status": 503}}
    for kind in KINDS:
        if kind in faults:
            saas.fault(vendor.name, **faults[kind], times=1)
        street.tell(incident, change(incident, kind))
        assert not any(rule["left"] for rule in saas.faults()), f"{kind}: no request met the fault"
    sink = relay.sink("sink")
    assert int(sink["retried"]) >= 2 and sink["dead_letters"] == sink["refused"] == "0"
    # Nothing is missing. The connection broke after a request had taken effect: that one may be there twice.
    words, story = Counter(map(str, said(saas, vendor))), Counter(map(str, vendor.story))
    assert not story - words and (words - story).total() <= 1, words
    if vendor.open_now is not None:
        assert vendor.open_now(saas.state(vendor.name)) == []
    assert saas.violations() == []

    # What is refused for good is a dead letter, is told, and goes when it is sent again.
    saas.fault(vendor.name, "refuse", times=1)
    refused = Incident("refused", workload="mail.service")  # of another workload: a pager is not told at once of one that flaps
    relay.wait_until_delivered("sink", street.source.append(refused.change("OPENED")))
    letters = wait_for("the dead letter", lambda: relay.ctl_json("sinks", "dead-letters", "sink"))
    assert [letter["change"]["incident"]["id"] for letter in letters] == ["refused"]
    assert letters[0]["reason"]
    before = len(said(saas, vendor))
    assert relay.ctl("sinks", "resend", "sink").returncode == 0
    wait_for("sent again", lambda: len(said(saas, vendor)) > before)
    wait_for("buried", lambda: relay.sink("sink")["dead_letters"] == "0")


def test_a_token_of_entra_that_was_withdrawn_is_asked_for_anew_and_nothing_is_lost(street: Street, saas: Saas) -> None:  # noqa: F811
    vendor = next(vendor for vendor in VENDORS if vendor.name == "azure")
    carry(street, vendor, saas)
    incident = Incident("token", severity="MINOR")
    street.tell(incident, "OPENED")
    tokens = saas.count("entra")
    assert tokens == 1, "one token serves as long as it lives"
    saas.configure("entra", revoke=True)
    street.tell(incident, change(incident, "UPDATED"))
    street.tell(incident, "RESOLVED")
    assert saas.count("entra") == tokens + 1
    assert [word for words in said(saas, vendor) for word in words] == ["opened", "updated", "resolved"]
    assert [row["Labels"] for row in saas.state("azure")["rows"]["Custom-OutlierIncidents"]] == [{"env": "the-label-of-relay-yaml"}] * 3


def test_an_unknown_client_of_entra_suspends_azure_with_the_words_of_the_refusal(street: Street, saas: Saas) -> None:  # noqa: F811
    sink = sink_of("azure", saas, street.key_file)
    street.key_file("azure.secret", "another secret")
    relay = street.carry({"name": "sink", **sink, "delivery": QUICK}).start()
    street.connected()
    sequence = street.source.append(Incident("kept").change("OPENED"))
    told = relay.wait_for_state("sink", "SUSPENDED")
    assert "invalid_client" in told["message"] and "another secret" not in json.dumps(told) + relay.log.read_text()
    assert int(told["sources"][0]["sequence"]) < sequence
    street.key_file("azure.secret", saas.key("entra").partition(":")[2])
    relay.wait_until_delivered("sink", sequence)
    assert saas.state("azure")["rows"]["Custom-OutlierIncidents"][0]["IncidentId"] == "kept"


# CloudWatch, against moto, which checks every signature and policy.


def cloudwatch_sink(server: CloudWatch, street: Street, name: str, secret: str | None = None) -> Json:
    credentials = {"access_key_id_file": street.key_file("aws.id", server.writer.access_key),
                   "secret_access_key_file": street.key_file("aws.secret", secret or server.writer.secret_key)}  # fmt: skip
    return {"name": "cw", "delivery": QUICK,
            "cloudwatch": {"region": server.writer.region, "namespace": name, "log_group": f"/outlier/{name}", "log_stream": "relay", "credentials": credentials,
                           "metrics_url": server.url, "logs_url": server.url}}  # fmt: skip


def test_cloudwatch_holds_every_change_as_an_event_of_a_log_that_the_relay_made(street: Street, cloudwatch: CloudWatch, unique: str) -> None:
    street.carry(cloudwatch_sink(cloudwatch, street, unique), extra={"labels": ["env=test"]}).start()
    street.connected()
    incident = Incident("logged", severity="MINOR", score=30.0)
    for kind in KINDS:
        street.tell(incident, change(incident, kind))
    messages = [json.loads(event["message"]) for event in cloudwatch.log_events(f"/outlier/{unique}", "relay")]
    assert [message["outlier"]["change"]["kind"] for message in messages] == list(KINDS)
    assert {message["outlier"]["incident"]["id"] for message in messages} == {"logged"}
    assert messages[1]["outlier"]["incident"]["severity"] == "CRITICAL"
    assert messages[0]["labels"] == {"env": "test"}


def test_cloudwatch_takes_scores_as_metrics(street: Street, cloudwatch: CloudWatch, unique: str) -> None:
    relay = street.carry(cloudwatch_sink(cloudwatch, street, unique), extra={"signals": {"resolution": "1s"}}).start()
    street.connected()
    state = {"workload": {"name": "billing.service", "kind": "SYSTEMD_UNIT"}, "score": 61.5}

    def sampled() -> bool:
        at = Incident("x").change("UPDATED")["time"]
        street.source.say("sample " + json.dumps({"tick": str(int(time.time())), "time": at, "workloads": [state]}))
        return "Score" in cloudwatch.metric_names(unique)

    wait_for("the metric", sampled, timeout=40, interval=0.5)
    assert set(cloudwatch.metric(unique, "Score", "Maximum")) == {61.5}
    assert relay.sink("cw")["samples_lost"] == "0"


def test_a_wrong_signature_suspends_cloudwatch_with_its_cursor_held_until_the_key_file_is_right(street: Street, cloudwatch: CloudWatch, unique: str) -> None:
    wrong = "w" * len(cloudwatch.writer.secret_key)
    relay = street.carry(cloudwatch_sink(cloudwatch, street, unique, secret=wrong)).start()
    street.connected()
    sequence = street.source.append(Incident("signed").change("OPENED"))
    told = relay.wait_for_state("cw", "SUSPENDED")
    assert "Signature" in told["message"], told["message"]
    assert wrong not in json.dumps(told) + relay.log.read_text()
    assert int(told["sources"][0]["sequence"]) < sequence
    street.key_file("aws.secret", cloudwatch.writer.secret_key)
    relay.wait_until_delivered("cw", sequence)
    assert len(cloudwatch.log_events(f"/outlier/{unique}", "relay")) == 1


def test_cloudwatch_that_forgot_its_log_group_gets_it_made_again(street: Street, cloudwatch: CloudWatch, unique: str) -> None:
    relay = street.carry(cloudwatch_sink(cloudwatch, street, unique)).start()
    street.connected()
    street.tell(Incident("before"), "OPENED")
    cloudwatch.logs("DeleteLogGroup", cloudwatch.janitor, {"logGroupName": f"/outlier/{unique}"}).expect(200)
    relay.wait_until_delivered("cw", street.source.append(Incident("after").change("OPENED")))
    messages = [json.loads(event["message"]) for event in cloudwatch.log_events(f"/outlier/{unique}", "relay")]
    assert [message["outlier"]["incident"]["id"] for message in messages] == ["after"]

