"""What the sink for Elasticsearch and OpenSearch sends is what the real servers take, and what they answer means to it what it should."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.elasticsearch import Elasticsearch
from servers.rest import Rest
from servers.search import SearchServer
from sink_driver import Json, SinkDriver, all_delivered, as_json, undelivered

FEED = "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40"
INCIDENT = f"{FEED}:9a3f6c1e55d07b28"
FINDINGS = 12  # of examples::All()
INCIDENTS = 6  # that they are about; two are gaps
WRITER = {
    "cluster": ["monitor"],
    "indices": [
        {"names": ["logs-outlier.*-*", "metrics-outlier.*-*"], "privileges": ["auto_configure", "create_doc"]},
        {"names": ["outlier-incidents"], "privileges": ["auto_configure", "index"]},
    ],
}
SETUP = {
    "cluster": ["monitor", "manage_index_templates"],
    "indices": [{"names": ["logs-outlier.*-*", "metrics-outlier.*-*", "outlier-incidents"], "privileges": ["manage"]}],  # new fields for what is there
}
MakeSink = Callable[..., SinkDriver]


def open_rest(search: SearchServer) -> Rest:
    """Without the rights that a test's own requests have."""
    return Rest(search.url, ca_file=search.ca_file if isinstance(search, Elasticsearch) else None)


@pytest.fixture
def make_sink(search: SearchServer, unique: str, tmp_path: Path) -> Iterator[MakeSink]:
    """Sinks whose keys have these rights, each with data streams of this test only."""
    made: list[SinkDriver] = []

    def make(writer: Json = WRITER, setup: Json = SETUP, **fields: Any) -> SinkDriver:
        config: Json = {"urls": [search.url], "namespace": unique, **fields}
        if isinstance(search, Elasticsearch):
            for key, rights in ("api_key_file", writer), ("setup_api_key_file", setup):
                file = tmp_path / f"{key}{len(made)}"
                file.write_text(search.create_api_key(f"{unique}-{key}", **rights) + "\n")
                config.setdefault(key, str(file))
        made.append(SinkDriver({search.name: config}, open_rest(search)))
        return made[-1]

    search.rest.request("DELETE", "/outlier-incidents?ignore_unavailable=true").expect(200)
    yield make
    for sink in made:
        sink.__exit__()


@pytest.fixture
def sink(make_sink: MakeSink) -> SinkDriver:
    """Set up and prepared."""
    ready = make_sink()
    for step, answer in ready.set_up():
        assert answer.status == 200 or step["optional"], (step["what"], answer.status, answer.body)
    outcomes = ready.prepare()
    assert outcomes and all(outcome["kind"] == "items" and not outcome["warning"] for outcome in outcomes), outcomes
    return ready


@pytest.fixture
def stream(unique: str) -> str:
    return f"logs-outlier.change-{unique}"


def count(search: SearchServer, index: str, query: Json) -> int:
    return len(search.documents(index, query))


def test_setup_installs_everything_and_may_run_again(search: SearchServer, make_sink: MakeSink) -> None:
    for _ in range(2):
        told = make_sink().set_up()
        refused = [step["what"] for step, answer in told if answer.status != 200 and not step["optional"]]
        assert len(told) == 12 and refused == []
    for name in "logs-outlier.change", "metrics-outlier.score", "metrics-outlier.signal", "metrics-outlier.host", "outlier-incidents":
        search.rest.get(f"/_index_template/{name}").expect(200)


def test_every_finding_is_taken_however_hostile(search: SearchServer, sink: SinkDriver, stream: str) -> None:
    outcome = sink.deliver("all", "many:300")
    assert all_delivered(outcome), undelivered(outcome)
    assert len(outcome["items"]) == FINDINGS + 300
    assert outcome["warning"] == ""
    assert len(search.documents(stream)) == FINDINGS + 300
    assert len(search.documents("outlier-incidents")) == INCIDENTS + 300
    backing = search.documents(stream)[0]["_index"]
    assert backing.startswith(".ds-"), "it is no data stream"


def test_what_was_sent_is_found_by_its_fields(search: SearchServer, sink: SinkDriver, stream: str) -> None:
    assert all_delivered(sink.deliver("all"))

    def nested(path: str, field: str, value: Any) -> Json:
        return {"nested": {"path": path, "query": {"term": {f"{path}.{field}": value}}}}

    expected = [
        (5, {"bool": {"filter": [{"term": {"outlier.incident.id": "9a3f6c1e55d07b28"}}, {"term": {"event.kind": "alert"}}]}}),
        (2, {"term": {"event.action": "outlier.feed.gap"}}),
        (1, {"range": {"outlier.gap.lost": {"gte": 40}}}),
        (1, {"bool": {"filter": [{"term": {"event.type": "end"}}, {"range": {"event.end": {"gte": "2026-03-01T10:10:00.125Z"}}}]}}),
        (4, {"term": {"outlier.influencers": "backup"}}),
        (1, {"term": {"outlier.incident.restart.cause": "CRASH_LOOP"}}),
        (1, {"term": {"orchestrator.resource.name": "billing-7d9f"}}),
        (6, nested("outlier.incident.contributions", "series", "process.syscall.rate{syscall.class=file}")),
        (6, nested("outlier.incident.contributions", "attributes.syscall.class", "file")),
        (4, nested("outlier.incident.suspects", "process.pid", 4242)),
        (1, {"match": {"outlier.silence.reason": "the yearly full backup"}}),
        (7, {"range": {"event.severity": {"gte": 4}}}),
        (1, {"term": {"outlier.incident.coverage.events_lost": 2**63 - 1}}),
        (5, {"bool": {"filter": [{"match_phrase": {"message": "resident memory"}}, {"range": {"outlier.lead.observed": {"gt": 2e8}}}]}}),
    ]
    found = [(count(search, stream, query), query) for _, query in expected]
    assert found == [(number, query) for number, query in expected]


def test_twice_is_once(search: SearchServer, sink: SinkDriver, stream: str) -> None:
    for _ in range(2):
        outcome = sink.deliver("all", "many:50")
        assert all_delivered(outcome), undelivered(outcome)
    assert len(search.documents(stream)) == FINDINGS + 50
    assert len(search.documents("outlier-incidents")) == INCIDENTS + 50


def test_the_newest_state_of_an_incident_stays_whatever_comes_late(search: SearchServer, sink: SinkDriver, stream: str) -> None:
    for batch in (["opened"], ["resolved"], ["updated", "acknowledged"], ["opened"]):
        outcome = sink.deliver(*batch)
        assert all_delivered(outcome), undelivered(outcome)
    (current,) = search.documents("outlier-incidents")
    assert current["_id"] == INCIDENT and current["_version"] == 105
    assert current["_source"]["outlier"]["incident"]["state"] == "RESOLVED"
    assert "data_stream" not in current["_source"]
    assert len(search.documents(stream)) == 4


def test_a_document_that_does_not_fit_is_refused_alone(search: SearchServer, sink: SinkDriver, unique: str, stream: str) -> None:
    """As where a person's own template disagrees: here feedback is to be found as a number, too, which only one finding has not. Its own field stays of our
    type: the stream is there for the tests that come, whose setup brings the fields to all that is there."""
    fields = {"feedback": {"type": "keyword", "copy_to": "outlier.incident.feedback_number"}, "feedback_number": {"type": "long"}}
    search.rest.put(f"/_index_template/{unique}", {
        "index_patterns": [stream], "data_stream": {}, "priority": 300, "composed_of": ["outlier@mappings", "outlier@settings"],
        "template": {"mappings": {"properties": {"outlier": {"properties": {"incident": {"properties": fields}}}}}},
    }).expect(200)  # fmt: skip
    outcome = sink.deliver("opened", "feedback", "restart_loop", "gap_record")
    assert outcome["kind"] == "items"
    assert outcome["items"] == ["delivered", "refused", "delivered", "delivered"]
    reason = outcome["reasons"][1]
    assert reason.startswith("the stream of changes: HTTP 400 ") and "outlier.incident.feedback" in reason
    assert len(search.documents(stream)) == 3
    assert len(search.documents("outlier-incidents")) == 2


@pytest.mark.parametrize("block", ["read_only_allow_delete", "read_only"])
def test_a_block_suspends_until_it_is_lifted(search: SearchServer, sink: SinkDriver, stream: str, block: str) -> None:
    assert all_delivered(sink.deliver("opened"))
    search.rest.put(f"/{stream}/_settings", {f"index.blocks.{block}": True}).expect(200)
    outcome = sink.deliver("updated", "resolved")
    assert outcome["kind"] == "suspend"
    assert "cluster_block_exception" in outcome["reason"] and "lift the block" in outcome["reason"]
    search.rest.put(f"/{stream}/_settings", {f"index.blocks.{block}": None}).expect(200)
    assert all_delivered(sink.deliver("updated", "resolved"))
    assert len(search.documents(stream)) == 3


@pytest.mark.parametrize("block", ["read_only_allow_delete", "read_only"])
def test_a_block_of_the_whole_cluster_suspends_too(search: SearchServer, sink: SinkDriver, block: str) -> None:
    assert all_delivered(sink.deliver("opened"))
    search.rest.put("/_cluster/settings", {"persistent": {f"cluster.blocks.{block}": True}}).expect(200)
    try:
        outcome = sink.deliver("updated")
    finally:
        search.rest.put("/_cluster/settings", {"persistent": {f"cluster.blocks.{block}": None}}).expect(200)
    assert outcome["kind"] == "suspend" and "cluster_block_exception" in outcome["reason"]
    assert all_delivered(sink.deliver("updated"))


def test_where_a_template_of_ours_is_missing_nothing_is_sent_and_no_index_is_made(search: SearchServer, sink: SinkDriver, stream: str) -> None:
    search.rest.request("DELETE", "/_index_template/outlier-incidents").expect(200)
    somebody = {"index_patterns": ["logs-outlier.change-*"], "data_stream": {}, "priority": 200}  # of our name, and not ours
    search.rest.put("/_index_template/logs-outlier.change", somebody).expect(200)
    try:
        sink.do("judge", findings=["opened"], response={"failure": "connection refused"})  # after which it asks again
        outcome = sink.prepare()[-1]
        assert outcome["kind"] == "suspend" and "outlier-relay setup" in outcome["reason"], outcome
        assert "outlier-incidents" in outcome["reason"] and "logs-outlier.change" in outcome["reason"] and "metrics-" not in outcome["reason"]
        search.rest.get(f"/{stream}").expect(404)
        search.rest.get("/outlier-incidents").expect(404)
    finally:
        assert all(answer.status == 200 or step["optional"] for step, answer in sink.set_up())
    assert sink.prepare()[-1]["kind"] == "items"
    assert all_delivered(sink.deliver("opened"))


def test_samples_and_the_state_of_the_host_are_taken(search: SearchServer, sink: SinkDriver, unique: str) -> None:
    for name in "host_status", "hostile_samples":
        outcomes = sink.deliver_samples(name)
        assert outcomes and all(all_delivered(outcome) and not outcome["warning"] for outcome in outcomes), outcomes
    for kind, documents in ("score", 6), ("signal", 36), ("host", 2):
        found = search.documents(f"metrics-outlier.{kind}-{unique}")
        assert len(found) == documents and found[0]["_index"].startswith(".ds-")
    signals = f"metrics-outlier.signal-{unique}"
    assert count(search, signals, {"term": {"outlier.signal.series": "process.syscall.rate{syscall.class=network}"}}) == 6
    assert count(search, signals, {"term": {"outlier.signal.attributes.syscall.class": "network"}}) == 6
    assert count(search, f"metrics-outlier.score-{unique}", {"range": {"outlier.score": {"gt": 90}}}) == 1
    assert count(search, f"metrics-outlier.host-{unique}", {"range": {"outlier.budget.false_alarms_per_week.upper": {"gt": 2}}}) == 2


def test_the_check_says_that_all_is_well(search: SearchServer, sink: SinkDriver) -> None:
    check = sink.do("check")
    assert sink.do("checked", response=as_json(sink.send(check["request"]))) == {"error": ""}


def test_a_reason_survives_the_filter_of_the_answer(search: SearchServer, sink: SinkDriver) -> None:
    request = sink.do("encode", findings=["opened"])
    request["body"], request["compress"] = "e30K", False  # "{}\n"
    answer = sink.send(request)
    assert answer.status == 400 and answer.json()["error"]["type"] and answer.json()["error"]["reason"]


def test_rights_that_are_missing_suspend(search: SearchServer, make_sink: MakeSink, tmp_path: Path) -> None:
    if not isinstance(search, Elasticsearch):
        pytest.skip("OpenSearch's distribution for tests has no security")
    sink = make_sink()
    sink.set_up()
    streams_only = make_sink(writer={"cluster": ["monitor"], "indices": WRITER["indices"][:1]})
    streams_only.prepare()
    outcome = streams_only.deliver("opened")
    assert outcome["kind"] == "suspend" and "outlier-incidents: HTTP 403 security_exception" in outcome["reason"]

    cannot_ask = make_sink(writer={"cluster": [], "indices": WRITER["indices"]})
    told = cannot_ask.prepare()
    assert all(outcome["kind"] == "items" for outcome in told) and "does not tell its version" in told[0]["warning"]
    assert "does not tell its version" in told[-1]["warning"] and "whether it is set up" in told[-1]["warning"], "both are in the status"
    assert all_delivered(cannot_ask.deliver("opened"))

    wrong = tmp_path / "wrong"
    wrong.write_text("bm90OmFrZXk=")
    stranger = make_sink(api_key_file=str(wrong))
    assert stranger.prepare()[0]["kind"] == "suspend"
    outcome = stranger.deliver("opened")
    assert outcome["kind"] == "suspend" and "401" in outcome["reason"]


@pytest.mark.constrained(2)
def test_too_much_at_once_is_split_or_tried_again(make_sink: MakeSink) -> None:
    sink = make_sink()
    sink.set_up()
    sink.prepare()
    busy = sink.deliver("many:100")
    assert busy["kind"] == "retry" and "429" in busy["reason"]
    too_large = sink.do("encode", findings=["many:1000"])
    too_large["compress"] = False
    answer = sink.send(too_large)
    assert answer.status == 413


def test_incidents_that_were_resolved_long_ago_leave_the_index_of_current_ones_and_those_that_are_open_stay(
    search: SearchServer, make_sink: MakeSink
) -> None:
    rights = {"names": ["outlier-incidents"], "privileges": ["auto_configure", "index", "read", "delete"]}
    sink = make_sink({**WRITER, "indices": [WRITER["indices"][0], rights]}, resolved_retention=30 * 86_400 * 10**9)
    for step, answer in sink.set_up():
        assert answer.status in (200, 400), step
    sink.prepare()
    assert all_delivered(sink.deliver("opened"))
    assert all_delivered(sink.deliver("resolved"))
    assert all_delivered(sink.deliver("restart_loop"))  # another, which stays open

    def states() -> list[str]:
        return sorted(hit["_source"]["outlier"]["incident"]["state"] for hit in search.documents("outlier-incidents"))

    def prune(after_seconds: int) -> Json:
        preparation = sink.do("prepare", after_seconds=after_seconds)
        assert preparation and "_delete_by_query" in preparation["request"]["url"]
        outcome: Json = sink.do("prepared", response=as_json(sink.send(preparation["request"])), after_seconds=after_seconds)
        return outcome

    day = 86_400
    assert states() == ["OPEN", "RESOLVED"]
    assert sink.do("prepare", after_seconds=600) is None, "a relay that is being started has better things to do"
    outcome = prune(29 * day)
    assert outcome["kind"] == "items"
    assert states() == ["OPEN", "RESOLVED"]
    outcome = prune(31 * day)
    assert outcome["kind"] == "items", "whatever the server says, the next batch goes"
    if isinstance(search, Elasticsearch):  # its distribution for tests knows no deletion by query
        assert "outlier-incidents" in outcome["warning"] and states() == ["OPEN", "RESOLVED"]
    else:
        assert outcome["warning"] == "" and states() == ["OPEN"]
