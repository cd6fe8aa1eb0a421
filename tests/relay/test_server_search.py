"""Elasticsearch and OpenSearch do what the relay's tests rely on: no relay is involved here."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from servers.base import wait_for
from servers.certificates import Authority
from servers.elasticsearch import Elasticsearch
from servers.opensearch import OpenSearch
from servers.pool import Pool
from servers.rest import Rest
from servers.search import CONSTRAINED, SearchServer


def define_stream(search: SearchServer, name: str) -> None:
    """A template for data streams of this name, with one number among its fields."""
    search.rest.put(f"/_index_template/{name}", {
        "index_patterns": [f"{name}-*"], "data_stream": {}, "priority": 200,
        "template": {"mappings": {"properties": {"@timestamp": {"type": "date"}, "outlier": {"properties": {"score": {"type": "float"}}}}}},
    }).expect(200)  # fmt: skip


def create(stream: str, identity: str, score: Any = 1.5) -> tuple[dict[str, Any], dict[str, Any]]:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return {"create": {"_index": stream, "_id": identity}}, {"@timestamp": now, "outlier": {"score": score}}


def items(answer: Any) -> list[dict[str, Any]]:
    return [next(iter(item.values())) for item in answer.json()["items"]]


def statuses(answer: Any) -> list[int]:
    return [item["status"] for item in items(answer)]


# First those with Elasticsearch alone: pytest groups what follows by server, and a server is started once.


def test_elasticsearch_tells_what_it_is(elasticsearch: Elasticsearch) -> None:
    answer = elasticsearch.rest.get("/").expect(200)
    assert answer.headers["x-elastic-product"] == "Elasticsearch"
    assert (answer.json()["version"]["number"], answer.json()["version"]["build_flavor"]) == ("8.19.21", "default")
    assert answer.json()["tagline"] == "You Know, for Search"


def test_elasticsearch_is_reached_only_by_its_own_authority_and_by_who_has_credentials(
    elasticsearch: Elasticsearch, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="certificate verify failed"):
        Rest(elasticsearch.url, ca_file=Authority(tmp_path).certificate).get("/")
    assert Rest(elasticsearch.url, ca_file=elasticsearch.ca_file).get("/").status == 401


def test_elasticsearch_takes_a_new_certificate_while_it_runs(elasticsearch: Elasticsearch, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    by_other = Rest(elasticsearch.url, ca_file=other.certificate)

    def answers(rest: Rest) -> bool:
        try:
            return rest.get("/").status == 401
        except ssl.SSLCertVerificationError:
            return False

    assert not answers(by_other)
    elasticsearch.use_certificate(*other.issue("elasticsearch"))
    wait_for("the other authority's certificate", lambda: answers(by_other), interval=0.25)
    elasticsearch.use_certificate(*elasticsearch.authority.issue("elasticsearch", days=-1))

    def expired() -> bool:
        try:
            elasticsearch.rest.get("/")
        except ssl.SSLCertVerificationError as error:
            return "expired" in str(error)
        return False

    wait_for("the expired certificate", expired, interval=0.25)
    elasticsearch.use_certificate(*elasticsearch.authority.issue("elasticsearch"))
    wait_for("a valid certificate", lambda: answers(Rest(elasticsearch.url, ca_file=elasticsearch.ca_file)), interval=0.25)


def test_a_key_for_writing_cannot_set_up_nor_write_elsewhere_and_is_dead_once_invalidated(
    elasticsearch: Elasticsearch, unique: str
) -> None:
    define_stream(elasticsearch, unique)
    key = elasticsearch.create_api_key(
        unique, cluster=["monitor"], indices=[{"names": [f"{unique}-*"], "privileges": ["auto_configure", "create_doc"]}]
    )
    writer = elasticsearch.with_api_key(key)
    body = "".join(json.dumps(line) + "\n" for pair in (create(f"{unique}-default", "a"), create("elsewhere", "a")) for line in pair)

    answer = writer.post("/_bulk", body, {"Content-Type": "application/x-ndjson"}).expect(200)
    assert statuses(answer) == [201, 403]
    assert items(answer)[1]["error"]["type"] == "security_exception"
    refused = writer.put(f"/_index_template/{unique}", {"index_patterns": [f"{unique}-*"], "data_stream": {}})
    assert (refused.status, refused.json()["error"]["type"]) == (403, "security_exception")

    elasticsearch.invalidate_api_keys(unique)
    assert writer.get("/").status == 401


def test_the_first_created_document_makes_a_data_stream_from_its_template(search: SearchServer, unique: str) -> None:
    define_stream(search, unique)
    answer = search.bulk([create(f"{unique}-default", "a")]).expect(200)
    assert statuses(answer) == [201]
    assert items(answer)[0]["_index"].startswith(f".ds-{unique}-default-")
    assert [hit["_id"] for hit in search.documents(f"{unique}-default")] == ["a"]


def test_a_repeated_document_is_refused_as_a_duplicate_and_stored_once(search: SearchServer, unique: str) -> None:
    define_stream(search, unique)
    search.bulk([create(f"{unique}-default", "a")]).expect(200)
    answer = search.bulk([create(f"{unique}-default", "a", score=9), create(f"{unique}-default", "b")]).expect(200)
    assert statuses(answer) == [409, 201]
    assert items(answer)[0]["error"]["type"] == "version_conflict_engine_exception"
    assert {hit["_id"]: hit["_source"]["outlier"]["score"] for hit in search.documents(f"{unique}-default")} == {"a": 1.5, "b": 1.5}


def test_a_duplicate_is_not_noticed_after_a_rollover(search: SearchServer, unique: str) -> None:
    define_stream(search, unique)
    search.bulk([create(f"{unique}-default", "a")]).expect(200)
    search.rest.post(f"/{unique}-default/_rollover").expect(200)
    assert statuses(search.bulk([create(f"{unique}-default", "a")]).expect(200)) == [201]
    assert [hit["_id"] for hit in search.documents(f"{unique}-default")] == ["a", "a"]


def test_a_document_that_does_not_fit_the_mapping_is_refused_alone(search: SearchServer, unique: str) -> None:
    define_stream(search, unique)
    stream = f"{unique}-default"
    answer = search.bulk([create(stream, "a"), create(stream, "b", score="no number"), create(stream, "c")]).expect(200)
    assert statuses(answer) == [201, 400, 201]
    assert items(answer)[1]["error"]["type"] == (
        "mapper_parsing_exception" if isinstance(search, OpenSearch) else "document_parsing_exception"
    )
    assert sorted(hit["_id"] for hit in search.documents(stream)) == ["a", "c"]


def test_a_plain_index_keeps_the_newest_external_version(search: SearchServer, unique: str) -> None:
    def write(version: int, state: str) -> int:
        action = {"index": {"_index": unique, "_id": "incident", "version": version, "version_type": "external"}}
        return statuses(search.bulk([(action, {"state": state})]).expect(200))[0]

    assert [write(5, "OPEN"), write(9, "RESOLVED"), write(7, "late"), write(9, "repeated")] == [201, 200, 409, 409]
    hits = search.documents(unique)
    assert [(hit["_version"], hit["_source"]["state"]) for hit in hits] == [(9, "RESOLVED")]


def test_a_compressed_bulk_with_a_filtered_answer_is_understood(search: SearchServer, unique: str) -> None:
    define_stream(search, unique)
    body = "".join(json.dumps(line) + "\n" for line in create(f"{unique}-default", "a")).encode()
    answer = search.rest.post("/_bulk?filter_path=errors,items.*.status", gzip.compress(body, 1),
                              {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}).expect(200)  # fmt: skip
    assert answer.json() == {"errors": False, "items": [{"create": {"status": 201}}]}


def test_a_read_only_block_refuses_every_document_until_it_is_lifted(search: SearchServer, unique: str) -> None:
    define_stream(search, unique)
    stream = f"{unique}-default"
    search.bulk([create(stream, "a")]).expect(200)
    search.rest.put(f"/{stream}/_settings", {"index.blocks.read_only_allow_delete": True}).expect(200)
    refused = search.bulk([create(stream, "b"), create(stream, "c")]).expect(200)
    assert statuses(refused) == [429, 429]
    assert {item["error"]["type"] for item in items(refused)} == {"cluster_block_exception"}
    search.rest.put(f"/{stream}/_settings", {"index.blocks.read_only_allow_delete": None}).expect(200)
    assert statuses(search.bulk([create(stream, "b")]).expect(200)) == [201]


@pytest.mark.constrained(1)
def test_acknowledged_documents_survive_sigkill_in_mid_bulk_and_a_start_may_have_options(pool: Pool, search_kind: type[SearchServer],
                                                                                        unique: str) -> None:  # fmt: skip
    search = pool.running(search_kind)
    define_stream(search, unique)
    stream = f"{unique}-default"
    acknowledged: list[str] = []
    cut_off: list[OSError] = []

    def write() -> None:
        for batch in range(100000):
            names = [f"{batch}-{number}" for number in range(200)]
            try:
                answer = search.bulk(create(stream, name) for name in names)
            except OSError as error:
                cut_off.append(error)
                return
            acknowledged.extend(name for name, status in zip(names, statuses(answer.expect(200)), strict=True) if status == 201)

    writer = threading.Thread(target=write)
    writer.start()
    wait_for("2000 acknowledged documents", lambda: len(acknowledged) >= 2000 or not writer.is_alive(), timeout=60)
    search.kill()
    writer.join()
    assert cut_off and len(acknowledged) >= 2000

    search.start(CONSTRAINED)
    search.rest.get(f"/_cluster/health/{stream}?wait_for_status=yellow&timeout=30s").expect(200)
    search.rest.post(f"/{stream}/_refresh").expect(200)
    stored = search.rest.post(f"/{stream}/_count", {"query": {"ids": {"values": acknowledged}}}).expect(200).json()["count"]
    assert stored == len(acknowledged)

    too_much = search.bulk([create(stream, "large", score="9" * 200_000)])
    assert too_much.status == 429
    assert too_much.json()["error"]["type"] == (
        "rejected_execution_exception" if search_kind is OpenSearch else "es_rejected_execution_exception"
    )
