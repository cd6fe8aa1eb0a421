"""What goes wrong between a source and its sinks, with real processes, and that nothing is lost by it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from killing import account, file_with, kill_again_and_again
from programs import Incident, Json, Relay, Source
from saas.client import Saas
from saas.fixtures import saas, saas_server  # noqa: F401
from servers.base import wait_for
from servers.elasticsearch import PASSWORD, Elasticsearch
from servers.pool import Pool

KILLS = 20  # `tests/relay/kills` does as many as one likes
SEED = int(os.environ.get("OUTLIER_RELAY_SEED", "20240229"))


@pytest.fixture
def relays() -> Iterator[list[Relay]]:
    started: list[Relay] = []
    yield started
    for relay in started:
        relay.stop()


def search_sink(server: Elasticsearch, folder: Path, namespace: str) -> Json:
    return {
        "name": "search",
        "elasticsearch": {"urls": [server.rest.url], "username": "elastic", "password_file": file_with(folder, "es.password", PASSWORD), "namespace": namespace},
        "connection": {"ca_file": str(server.ca_file), "timeout": "10s"},
        "delivery": {"first_backoff": "200ms", "max_backoff": "1s", "suspended_retry": "500ms"},
    }


def pager_sink(saas: Saas, folder: Path) -> Json:  # noqa: F811
    return {
        "name": "pager",
        "pagerduty": {"routing_key_file": file_with(folder, "pd.key", saas.key("pagerduty")), "url": saas.url("pagerduty")},
        "delivery": {"first_backoff": "100ms", "max_backoff": "500ms", "suspended_retry": "500ms"},
        "paging": {"max_pages_per_hour": 10000, "hold_down": "0"},
    }


def searching(relays: list[Relay], source: Source, folder: Path, server: Elasticsearch, namespace: str) -> Relay:
    """A relay to this server alone, which is set up, started."""
    relay = Relay(folder / "relay", [source], [search_sink(server, folder, namespace)])
    relays.append(relay)
    assert relay.run("setup", "search").returncode == 0
    return relay.start()


def webhook_sink(saas: Saas, folder: Path) -> Json:  # noqa: F811
    return {
        "name": "hook",
        "webhook": {"url": saas.url("webhook", "/webhook/ops"), "secret_file": file_with(folder, "hook.secret", saas.key("webhook"))},
        "delivery": {"first_backoff": "100ms", "max_backoff": "500ms"},
    }


def change_documents(server: Elasticsearch, namespace: str) -> list[Json]:
    return [hit["_source"] for hit in server.documents(f"logs-outlier.change-{namespace}")]


def test_nothing_is_lost_and_nobody_paged_twice_when_the_relay_is_killed_again_and_again(
    source: Source, relays: list[Relay], tmp_path: Path, saas: Saas, elasticsearch: Elasticsearch, unique: str  # noqa: F811
) -> None:
    relay = Relay(tmp_path / "relay", [source], [search_sink(elasticsearch, tmp_path, unique), pager_sink(saas, tmp_path), webhook_sink(saas, tmp_path)])
    relays.append(relay)
    assert relay.run("setup", "search").returncode == 0
    relay.start()
    told = kill_again_and_again(relay, source, KILLS, SEED)
    result = account(told, KILLS, relay, saas, change_documents(elasticsearch, unique))
    assert result.paged > 0
    assert not any(result.faults().values()), f"seed {SEED}: {result}"


def test_elasticsearch_killed_in_mid_bulk_comes_back_and_holds_everything_once(
    source: Source, relays: list[Relay], tmp_path: Path, pool: Pool, elasticsearch: Elasticsearch, unique: str
) -> None:
    relay = searching(relays, source, tmp_path, elasticsearch, unique)
    last = source.say("burst 2000")
    wait_for("some delivered", lambda: int(relay.sink("search")["delivered"]) > 0, interval=0.01)
    elasticsearch.kill()
    wait_for("backing off", lambda: relay.sink("search")["state"] == "BACKING_OFF" or int(relay.sink("search")["delivered"]) == last)
    last = source.say("burst 100")
    elasticsearch.start()
    relay.wait_until_delivered("search", last, timeout=120)
    count = elasticsearch.rest.get(f"/logs-outlier.change-{unique}/_count")
    elasticsearch.rest.post(f"/logs-outlier.change-{unique}/_refresh").expect(200)
    count = elasticsearch.rest.get(f"/logs-outlier.change-{unique}/_count").expect(200).json()["count"]
    assert count == last


def test_a_stream_that_rolls_over_under_a_relay_that_dies_loses_nothing(
    source: Source, relays: list[Relay], tmp_path: Path, elasticsearch: Elasticsearch, unique: str
) -> None:
    relay = searching(relays, source, tmp_path, elasticsearch, unique)
    stream, last = f"logs-outlier.change-{unique}", 0
    for _ in range(3):
        before, last = last, source.say("burst 1000")
        wait_for("some of it is there", lambda: int(relay.sink("search")["sources"][0]["sequence"]) > before, interval=0.01)
        relay.stop(signal.SIGKILL)
        elasticsearch.rest.post(f"/{stream}/_rollover").expect(200)
        relay.start()
    relay.wait_until_delivered("search", last, timeout=120)
    assert relay.sink("search")["dead_letters"] == "0"
    elasticsearch.rest.post(f"/{stream}/_refresh").expect(200)
    unlike = {"size": 0, "track_total_hits": True, "aggs": {"ids": {"terms": {"field": "event.id", "size": 20000}}}}
    found = elasticsearch.rest.post(f"/{stream}/_search", unlike).expect(200).json()
    assert len(found["aggregations"]["ids"]["buckets"]) == last
    # What was sent again after a death is a duplicate where the stream has rolled over between: readers count by event.id.
    assert last <= found["hits"]["total"]["value"] < 2 * last
    assert len(elasticsearch.rest.get(f"/{stream}/_mapping").expect(200).json()) == 4


def test_a_read_only_index_suspends_the_sink_and_holds_its_cursor_until_the_block_is_lifted(
    source: Source, relays: list[Relay], tmp_path: Path, elasticsearch: Elasticsearch, unique: str
) -> None:
    relay = searching(relays, source, tmp_path, elasticsearch, unique)
    relay.wait_until_delivered("search", source.append(Incident("first").change("OPENED")))
    stream = f"logs-outlier.change-{unique}"
    elasticsearch.rest.request("PUT", f"/{stream}/_settings", {"index.blocks.read_only_allow_delete": True}).expect(200)
    sequence = source.append(Incident("second").change("OPENED"))
    sink = wait_for("held up", lambda: (s := relay.sink("search")) and s["state"] != "DELIVERING" and s or None)
    assert "block" in sink["message"] or "read" in sink["message"]
    assert int(sink["sources"][0]["sequence"]) < sequence
    elasticsearch.rest.request("PUT", f"/{stream}/_settings", {"index.blocks.read_only_allow_delete": None}).expect(200)
    relay.wait_until_delivered("search", sequence)
    assert relay.sink("search")["dead_letters"] == "0"


def test_a_key_that_is_taken_away_suspends_and_a_new_one_in_its_file_goes_on(source: Source, relays: list[Relay], tmp_path: Path, saas: Saas) -> None:  # noqa: F811
    relay = Relay(tmp_path / "relay", [source], [webhook_sink(saas, tmp_path), {**pager_sink(saas, tmp_path)},
                                                 {"name": "dd", "datadog": {"api_key_file": file_with(tmp_path, "dd.key", "wrong-key"), "events_url": saas.url("datadog"),
                                                                            "metrics_url": saas.url("datadog")}, "delivery": {"suspended_retry": "300ms"}}])  # fmt: skip
    relays.append(relay)
    relay.start()
    sequence = source.append(Incident("keyed").change("OPENED"))
    sink = relay.wait_for_state("dd", "SUSPENDED")
    assert "wrong-key" not in json.dumps(sink)
    assert "wrong-key" not in relay.log.read_text()
    relay.wait_until_delivered("hook", sequence)  # a suspended sink holds up nobody
    file_with(tmp_path, "dd.key", saas.key("datadog"))
    relay.wait_until_delivered("dd", sequence)
    assert relay.sink("dd")["dead_letters"] == "0"


def test_a_source_that_lost_its_state_leaves_no_ghost_page_and_a_gap_on_record(
    source: Source, relays: list[Relay], tmp_path: Path, saas: Saas, elasticsearch: Elasticsearch, unique: str  # noqa: F811
) -> None:
    relay = Relay(tmp_path / "relay", [source], [search_sink(elasticsearch, tmp_path, unique), pager_sink(saas, tmp_path)])
    relays.append(relay)
    assert relay.run("setup", "search").returncode == 0
    relay.start()
    relay.wait_until_delivered("search", source.append(Incident("ghost").change("OPENED")))
    saas.wait(lambda: [b["event_action"] for b in saas.accepted("pagerduty")] == ["trigger"], what="the page")
    old_feed = source.feed_id
    source.stop()
    source.wipe()
    source.start()
    assert source.feed_id != old_feed
    saas.wait(lambda: [b["event_action"] for b in saas.accepted("pagerduty")] == ["trigger", "resolve"], seconds=30, what="the resolution")
    sequence = source.append(Incident("after").change("OPENED"))

    def recorded() -> list[Json]:
        return [d for d in change_documents(elasticsearch, unique) if d["event"]["action"] == "outlier.feed.gap"]

    gaps = wait_for("a gap record", recorded, timeout=30, interval=0.5)
    assert [gap["outlier"]["gap"]["reason"] for gap in gaps] == ["feed_replaced"]
    relay.wait_until_delivered("search", sequence)
    assert "after" in {d["outlier"]["incident"]["id"] for d in change_documents(elasticsearch, unique) if "incident" in d["outlier"]}


def test_a_journal_compacted_past_the_cursor_is_told_as_a_gap(
    source: Source, relays: list[Relay], tmp_path: Path, elasticsearch: Elasticsearch, unique: str
) -> None:
    relay = searching(relays, source, tmp_path, elasticsearch, unique)
    held = Incident("still open")
    relay.wait_until_delivered("search", source.append(held.change("OPENED")))
    relay.stop()
    source.say("burst 20")
    source.say(f"compact {int((time.time() + 10) * 1e9)}")
    last = source.append(held.change("RESOLVED"))
    relay.start()
    relay.wait_until_delivered("search", last)
    documents = change_documents(elasticsearch, unique)
    gaps = [d["outlier"]["gap"] for d in documents if d["event"]["action"] == "outlier.feed.gap"]
    assert [(gap["first_sequence"], gap["last_sequence"], gap["reason"]) for gap in gaps] == [(2, 41, "compacted")]
    kinds = [d["outlier"]["change"]["kind"] for d in documents if d["outlier"].get("incident", {}).get("id") == "still open"]
    assert sorted(kinds) == ["OPENED", "RESOLVED"]


def test_a_stuck_sink_holds_up_nobody_else(source: Source, relays: list[Relay], tmp_path: Path, saas: Saas) -> None:  # noqa: F811
    saas.fault("pagerduty", "hang")
    relay = Relay(tmp_path / "relay", [source], [pager_sink(saas, tmp_path), webhook_sink(saas, tmp_path)])
    relays.append(relay)
    relay.start()
    wait_for("connected", lambda: relay.sink("pager")["sources"][0]["connected"])
    source.append(Incident("stuck").change("OPENED"))
    saas.wait(lambda: saas.count("pagerduty") >= 1)
    last = source.say("burst 100")
    relay.wait_until_delivered("hook", last, timeout=60)
    assert saas.violations("webhook") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root: mounts a small file system for the relay's state")
def test_a_full_disk_stops_delivery_says_so_and_goes_on_when_there_is_room(source: Source, relays: list[Relay], tmp_path: Path, saas: Saas) -> None:  # noqa: F811
    relay = Relay(tmp_path / "relay", [source], [webhook_sink(saas, tmp_path)])
    state = relay.folder / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "outlier-test", state], check=True)
    try:
        relays.append(relay)
        relay.start()
        relay.wait_until_delivered("hook", source.append(Incident("room").change("OPENED")))
        filler = state / "filler"
        try:
            with filler.open("wb", buffering=0) as file:
                while file.write(b"\0" * 4096):
                    pass
        except OSError:
            pass
        last = source.say("burst 200")
        sink = relay.wait_for_state("hook", "STALLED", timeout=60)
        assert "full" in sink["message"]
        filler.unlink()
        relay.wait_until_delivered("hook", last, timeout=60)
        relay.stop()
    finally:
        subprocess.run(["umount", "-l", state], check=False)


def test_a_silence_pages_nobody_until_it_ends_over_an_open_incident(source: Source, relays: list[Relay], tmp_path: Path, saas: Saas) -> None:  # noqa: F811
    relay = Relay(tmp_path / "relay", [source], [pager_sink(saas, tmp_path), webhook_sink(saas, tmp_path)])
    relays.append(relay)
    relay.start()
    added = relay.ctl_json("silence", "add", "--workload", "billing*", "--for", "1h", "--reason", "upgrade", "--author", "ann")[0]
    sequence = source.append(Incident("quiet").change("OPENED"))
    relay.wait_until_delivered("hook", sequence)
    relay.wait_until_delivered("pager", sequence)
    assert saas.accepted("pagerduty") == []
    assert relay.ctl("silence", "expire", added["id"]).returncode == 0
    saas.wait(lambda: [b["event_action"] for b in saas.accepted("pagerduty")] == ["trigger"], what="the page")
