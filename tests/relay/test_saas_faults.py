"""The stand-in for the vendors fails in every way that it is told to, on the requests that it is told to, and keeps a true record."""

from __future__ import annotations

import email.utils
import http.client
import json
import ssl
import time
import urllib.request
from typing import Any

import pytest

from saas.certificates import Authority
from saas.client import Saas
from saas.fixtures import authority, saas, saas_server  # noqa: F401
from saas.speak import NOW, Message, Reply, azure_token, right, send

# A request of each vendor that takes an effect, or for Azure's is refused for want of a token: a fault comes before that.
ONE = {
    "pagerduty": "pagerduty trigger", "opsgenie": "opsgenie create", "jira_service_management": "jira_service_management create",
    "victorops": "victorops alert", "slack": "slack message", "datadog": "datadog event v2", "new_relic": "new_relic events",
    "dynatrace": "dynatrace event", "instana": "instana event", "instana_otlp": "instana otlp metrics", "webhook": "webhook event",
    "entra": "entra token", "azure": "azure rows", "grafana_cloud": "grafana_cloud otlp metrics", "elastic_otlp": "elastic otlp logs",
}  # fmt: skip
REFUSALS: list[tuple[str, dict[str, Any], int]] = [
    ("refuse", {}, 400), ("refuse", {"status": 410}, 410), ("throttle", {}, 429), ("fail", {}, 500), ("fail", {"status": 503}, 503),
    ("unauthorized", {}, 401), ("forbidden", {}, 403), ("not_found", {}, 404), ("too_large", {}, 413),
    ("redirect", {"location": "/x"}, 307),
]  # fmt: skip


@pytest.fixture(autouse=True)
def at_the_hour(saas: Saas) -> None:  # noqa: F811
    saas.clock(NOW, frozen=True)


def effects(server: Saas, vendor: str) -> list[str]:
    return [effect for seen in server.requests(vendor) for effect in seen["effects"]]


def message_of(server: Saas, vendor: str) -> Message:
    message = right(server)[ONE[vendor]]
    return message.with_headers(authorization=f"Bearer {azure_token(server)}") if vendor == "azure" else message


def test_every_vendor_is_among_those_that_fail(saas: Saas) -> None:  # noqa: F811
    assert set(ONE) == set(saas.ports)


@pytest.mark.parametrize("vendor", ONE)
def test_a_refusal_is_of_the_vendors_form_takes_no_effect_and_is_over_after_its_times(saas: Saas, vendor: str) -> None:  # noqa: F811
    message = message_of(saas, vendor)
    before = saas.state(vendor)
    for kind, details, status in REFUSALS:
        saas.fault(vendor, kind, times=2, **details)
        since = saas.count()
        replies = [send(saas, message) for _ in range(2)]
        assert [reply.status for reply in replies] == [status] * 2
        if vendor in ("grafana_cloud", "elastic_otlp", "instana_otlp"):  # google.rpc.Status: field 2 is the message
            assert replies[0].headers["content-type"] == "application/x-protobuf" and replies[0].body[:1] == b"\x12"
        elif vendor == "slack":
            assert replies[0].headers["content-type"] == "text/html"
        else:
            assert isinstance(replies[0].json, dict)
        if kind == "redirect":
            assert replies[0].headers["location"] == "/x"
        seen = saas.requests(vendor)[-2:]
        assert [(entry["verdict"], entry["fault"], entry["processed"]) for entry in seen] == [("fault", kind, False)] * 2
        assert saas.count() == since + 2
    assert saas.state(vendor) == before
    assert send(saas, message).status < 300
    assert saas.requests(vendor)[-1]["processed"] is True and saas.state(vendor) != before
    assert saas.violations() == []


def test_how_long_to_wait_is_told_as_the_vendor_tells_it(saas: Saas) -> None:  # noqa: F811
    def throttled(vendor: str, **details: Any) -> dict[str, str]:
        saas.fault(vendor, "throttle", times=1, **details)
        return send(saas, right(saas)[ONE[vendor]]).headers

    date = email.utils.formatdate(NOW + 30, usegmt=True)
    assert throttled("slack", retry_after=7)["retry-after"] == "7"
    assert throttled("slack", retry_after=date)["retry-after"] == date
    assert "retry-after" not in throttled("slack")
    assert throttled("webhook")["retry-after"] == "1"  # CloudEvents: never without
    told = throttled("datadog", retry_after=9)
    assert told["x-ratelimit-reset"] == "9" and "retry-after" not in told
    assert throttled("opsgenie")["x-ratelimit-state"] == "THROTTLED"
    assert "retry-after" not in throttled("pagerduty")
    saas.fault("new_relic", "fail", times=1, status=503, retry_after=4)
    assert send(saas, right(saas)["new_relic events"]).headers["retry-after"] == "4"


@pytest.mark.parametrize("processed", [False, True])
def test_a_reset_comes_before_or_after_the_request_took_effect(saas: Saas, processed: bool) -> None:  # noqa: F811
    saas.fault("pagerduty", "reset", times=1, processed=processed)
    with pytest.raises(ConnectionResetError):
        send(saas, right(saas)["pagerduty trigger"])
    assert effects(saas, "pagerduty") == (["opened"] if processed else [])
    send(saas, right(saas)["pagerduty trigger"])
    assert effects(saas, "pagerduty") == (["opened", "appended"] if processed else ["opened"])


def test_a_hang_lasts_until_the_client_gives_up_or_the_fault_is_cleared(saas: Saas) -> None:  # noqa: F811
    saas.fault("pagerduty", "hang")
    with pytest.raises(TimeoutError):
        send(saas, right(saas)["pagerduty trigger"], timeout=0.3)
    line = http.client.HTTPConnection("127.0.0.1", saas.ports["pagerduty"], timeout=10)
    message = right(saas)["pagerduty trigger"]
    line.request("POST", message.path, message.encoded(), message.headers)
    saas.wait_for_requests("pagerduty", 2)
    saas.clear_faults("pagerduty")
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        line.getresponse()
    line.close()
    assert effects(saas, "pagerduty") == []
    assert send(saas, message).status == 202


def test_a_slow_answer_comes_after_the_effect(saas: Saas) -> None:  # noqa: F811
    saas.fault("pagerduty", "slow", times=2, delay=0.6)
    with pytest.raises(TimeoutError):
        send(saas, right(saas)["pagerduty trigger"], timeout=0.2)
    saas.wait(lambda: effects(saas, "pagerduty") == ["opened"])
    start = time.monotonic()
    assert send(saas, right(saas)["pagerduty trigger"]).status == 202
    assert time.monotonic() - start >= 0.6
    assert effects(saas, "pagerduty") == ["opened", "appended"]


def test_garbage_half_an_answer_and_a_page_of_html_come_after_the_effect(saas: Saas) -> None:  # noqa: F811
    message = right(saas)["datadog event v2"]
    saas.fault("datadog", "garbage", times=1)
    with pytest.raises(http.client.HTTPException):
        send(saas, message)
    saas.fault("datadog", "truncate", times=1)
    with pytest.raises(http.client.IncompleteRead):
        send(saas, message)
    saas.fault("datadog", "nonsense", times=1)
    reply = send(saas, message)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html")
    assert effects(saas, "datadog") == ["opened", "appended", "appended"]


def test_part_of_a_request_is_refused_where_the_api_can(saas: Saas) -> None:  # noqa: F811
    def partly(endpoint: str, **details: Any) -> Reply:
        message = right(saas)[endpoint]
        saas.fault(message.vendor, "partial", times=1, **details)
        return send(saas, message)

    reply = partly("new_relic otlp metrics", count=1)
    assert (reply.status, reply.body) == (200, b"\x0a\x17\x08\x01\x12\x13told to refuse some")
    assert len(saas.state("new_relic")["metrics"]) == 1
    reply = partly("dynatrace lines", count=1)
    assert (reply.status, reply.json["linesOk"], reply.json["linesInvalid"]) == (400, 1, 1)
    assert partly("dynatrace event").json["eventIngestResults"][0]["status"] == "INVALID_METADATA"
    assert partly("victorops alert").json["result"] == "failure"
    assert partly("slack message").body == b"action_prohibited"
    assert partly("datadog series").json["errors"]
    request = partly("opsgenie create").json["requestId"]
    assert saas.state("opsgenie")["requests"][request]["isSuccess"] is False and saas.state("opsgenie")["alerts"] == []
    assert saas.state("slack")["messages"] == [] and saas.state("datadog")["series"] == [] and saas.state("dynatrace")["problems"] == []
    assert {seen["verdict"] for seen in saas.requests()} == {"partial"}
    with pytest.raises(ValueError, match="takes a request as a whole"):
        saas.fault("pagerduty", "partial")


def test_a_fault_can_be_held_to_a_path_a_text_and_a_size(saas: Saas) -> None:  # noqa: F811
    saas.fault("datadog", "fail", path="/api/v2/series$")
    saas.fault("pagerduty", "refuse", body="feed:2")
    saas.fault("new_relic", "too_large", larger_than=200)
    assert [send(saas, right(saas)[name]).status for name in ("datadog series", "datadog event v2")] == [500, 202]
    trigger, events = right(saas)["pagerduty trigger"], right(saas)["new_relic events"]
    assert [send(saas, message).status for message in (trigger, trigger.with_body(dedup_key="feed:2"))] == [202, 400]
    assert [send(saas, message).status for message in (events, events.but(body=events.body * 4))] == [200, 413]


def test_a_probability_gives_the_same_requests_for_the_same_seed(saas: Saas) -> None:  # noqa: F811
    def run(seed: int) -> list[int]:
        saas.reset()
        saas.fault("slack", "fail", probability=0.3, seed=seed)
        return [send(saas, right(saas)["slack message"]).status for _ in range(60)]

    first = run(1)
    assert first == run(1) and first != run(2)
    assert 6 <= first.count(500) <= 32  # binomial of 60 and 0.3: outside in fewer than one seed of 10^4


def test_faults_stand_in_a_row_and_an_accept_lets_through(saas: Saas) -> None:  # noqa: F811
    saas.fault("pagerduty", "accept", times=1)
    saas.fault("pagerduty", "throttle", times=1)
    saas.fault("*", "fail")
    assert [send(saas, right(saas)["pagerduty trigger"]).status for _ in range(3)] == [202, 429, 500]
    assert [(rule["kind"], rule["fired"], rule["left"]) for rule in saas.faults()] == [
        ("accept", 1, 0),
        ("throttle", 1, 0),
        ("fail", 1, None),
    ]
    saas.clear_faults()
    assert send(saas, right(saas)["pagerduty trigger"]).status == 202


def test_a_violation_is_recorded_under_a_fault_too(saas: Saas) -> None:  # noqa: F811
    saas.fault("pagerduty", "fail")
    send(saas, right(saas)["pagerduty trigger"].with_body(routing_key=None))
    assert [violation["kind"] for violation in saas.violations()] == ["schema"]


def test_a_closed_port_refuses_connections_and_keeps_its_state(saas: Saas) -> None:  # noqa: F811
    message = right(saas)["pagerduty trigger"]
    kept = http.client.HTTPConnection("127.0.0.1", saas.ports["pagerduty"], timeout=10)
    kept.request("POST", message.path, message.encoded(), message.headers)
    kept.getresponse().read()
    saas.close("pagerduty")
    with pytest.raises(ConnectionRefusedError):
        send(saas, message)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        kept.request("POST", message.path, message.encoded(), message.headers)
        kept.getresponse()
    assert send(saas, right(saas)["slack message"]).status == 200
    saas.open("pagerduty")
    assert send(saas, message).status == 202 and effects(saas, "pagerduty") == ["opened", "appended"]


def test_a_rotated_key_suspends_the_old_one(saas: Saas) -> None:  # noqa: F811
    message = right(saas)["opsgenie create"]
    saas.configure("opsgenie", keys=["new"])
    assert [send(saas, one).status for one in (message, message.with_headers(authorization="GenieKey new"))] == [401, 202]


def test_wrong_orders_get_clear_answers(saas: Saas) -> None:  # noqa: F811
    for order, text in [
        (lambda: saas.fault("pagerdoody", "fail"), "pagerdoody"), (lambda: saas.fault("slack", "explode"), "explode"),
        (lambda: saas.fault("slack", "fail", status=404), "cannot answer 404"), (lambda: saas.fault("slack", "fail", probability=2),
        "outside"),
        (lambda: saas.configure("slack", colour=1), "no setting 'colour'"), (lambda: saas.ask("dance"), "dance"),
        (lambda: saas.configure("instana", rate_limit=True), "no rate limit"), (lambda: saas.fault("slack", "fail", times=0), "at least 1"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=text):
            order()


def test_the_record_holds_all_requests_in_order_with_what_they_said(saas: Saas) -> None:  # noqa: F811
    trigger = right(saas)["pagerduty trigger"]
    for number in range(5):
        send(saas, trigger.with_body(dedup_key=f"feed:{number}").with_headers(x_number=str(number)))
    seen = saas.requests("pagerduty")
    assert [entry["body"]["dedup_key"] for entry in seen] == [f"feed:{number}" for number in range(5)]
    assert [entry["headers"]["x-number"] for entry in seen] == list("01234")
    assert [entry["id"] for entry in saas.requests(since=seen[2]["id"])] == [seen[3]["id"], seen[4]["id"]]
    assert saas.accepted("pagerduty") == [entry["body"] for entry in seen]
    assert (seen[0]["method"], seen[0]["status"], seen[0]["time"], seen[0]["tenant"]) == ("POST", 202, NOW, saas.key("pagerduty"))
    saas.reset()
    assert saas.count() == 0 and saas.state("pagerduty")["keys"] == {}


def test_the_server_ends_with_the_one_who_holds_it(tmp_path: Any) -> None:
    server = Saas()
    assert server._process.stdin is not None
    server._process.stdin.close()
    assert server._process.wait(10) == 0
    server.stop()


# TLS.


def trusting(authority: Authority, **client: Any) -> ssl.SSLContext:  # noqa: F811
    context = ssl.create_default_context(cafile=str(authority.ca))
    if client:
        context.load_cert_chain(client["certificate"], client["key"])
    return context


def test_tls_is_spoken_and_an_expired_certificate_can_take_its_place(authority: Authority) -> None:  # noqa: F811
    with Saas(tls=authority.server()) as server:
        assert server.url("slack").startswith("https://")
        message = right(server)["slack message"]
        assert send(server, message, tls=trusting(authority)).status == 200
        server.open("slack", authority.expired())
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            send(server, message, tls=trusting(authority))
        server.open("slack", authority.server("renewed"))
        assert send(server, message, tls=trusting(authority)).status == 200
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            send(server, message)
        server.fault("slack", "reset")
        with pytest.raises((ConnectionResetError, ssl.SSLError)):
            send(server, message, tls=trusting(authority))


def test_a_client_certificate_can_be_wanted_and_is_recorded(authority: Authority, tmp_path: Any) -> None:  # noqa: F811
    client = authority.client("relay")
    with Saas(tls=authority.server(), client_ca=authority.ca) as server:
        message = right(server)["webhook event"].but(path="/plain/one", headers={"content-type": "application/json"})
        with pytest.raises((ssl.SSLError, ConnectionError)):
            send(server, message, tls=trusting(authority))
        stranger = Authority(tmp_path, "stranger").client()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            send(server, message, tls=trusting(authority, certificate=stranger.certificate, key=stranger.key))
        assert send(server, message, tls=trusting(authority, certificate=client.certificate, key=client.key)).status == 200
        assert server.requests("webhook")[-1]["client_certificate"] == "relay"


def test_a_burst_of_requests_is_answered_and_counted(saas: Saas) -> None:  # noqa: F811
    message = right(saas)["new_relic events"]
    line = http.client.HTTPConnection("127.0.0.1", saas.ports["new_relic"], timeout=10)
    for _ in range(500):
        line.request("POST", message.path, message.encoded(), message.headers)
        assert line.getresponse().read()
    line.close()
    assert saas.count("new_relic") == 500 and len(saas.state("new_relic")["events"]) == 500
    assert len({seen["connection"] for seen in saas.requests("new_relic")}) == 1


def test_the_control_port_answers_json_only_over_http(saas: Saas) -> None:  # noqa: F811
    with urllib.request.urlopen(urllib.request.Request(saas._control, b'{"operation": "kinds"}', method="POST"), timeout=10) as answer:
        assert "throttle" in json.load(answer)["value"]
