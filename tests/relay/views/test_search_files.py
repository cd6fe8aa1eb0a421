"""What outlier-relay installs in Elasticsearch and OpenSearch: complete, up to date, accepted by the servers, safe against long names."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import documents
import node
import pytest
from store import END, Indexed, install
from project import DEPLOY, ROOT, Json, load, mapped, read_json
from servers.search import SearchServer

SEARCH = load("search")
DIALECTS = ["elasticsearch", "opensearch"]


@pytest.mark.parametrize("room", ["search", "kibana", "grafana"])
def test_the_files_are_what_their_generator_writes(room: str) -> None:
    run = subprocess.run(["/usr/bin/python3", DEPLOY / room / "generate.py", "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_changed_a_missing_and_a_superfluous_file_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = SEARCH.all_files()
    SEARCH.write(tmp_path, files, check=False)
    assert SEARCH.write(tmp_path, files, check=True) == 0
    (tmp_path / "opensearch/manifest.json").unlink()
    (tmp_path / "elasticsearch/manifest.json").write_text("[]\n")
    (tmp_path / "elasticsearch/old.json").write_text("{}\n")
    assert SEARCH.write(tmp_path, files, check=True) == 3
    told = capsys.readouterr().err
    assert all(name in told for name in ("opensearch/manifest.json", "elasticsearch/manifest.json", "old.json"))


# ---- the fields of the feed


def parsed_proto() -> tuple[dict[str, list[tuple[str, str, bool]]], set[str]]:
    """Message -> [(type, name, repeated)], and the names of enumerations, of the public feed."""
    messages: dict[str, list[tuple[str, str, bool]]] = {}
    enumerations: set[str] = set()
    within: list[tuple[str, str]] = []
    for line in (ROOT / "proto/outlier/v1/feed.proto").read_text().splitlines():
        line = line.split("//")[0].strip()
        if opened := re.match(r"(message|enum|oneof|service)\s+(\w+)\s*\{(.*)", line):
            kind, name, rest = opened.groups()
            if kind == "message":
                messages[name] = []
            if kind == "enum":
                enumerations.add(name)
            if "}" not in rest:
                within.append((kind, name))
        elif line.startswith("}"):
            within.pop()
        elif within and within[-1][0] == "message":
            if field := re.match(r"(repeated\s+)?(map<[^>]*>|[\w.]+)\s+(\w+)\s*=\s*\d+;", line):
                messages[within[-1][1]].append((field[2], field[3], bool(field[1])))
    return messages, enumerations


# Where a field of the feed stands in documents, if not under its own name: outlier.incident is Incident.
ELSEWHERE = {
    "Incident.source": "outlier.source",
    "Incident.workload": "outlier.workload",
    "Incident.time_to_exhaustion": "outlier.incident.time_to_exhaustion_seconds",
}
TYPES = {
    "string": {"keyword", "text"},
    "double": {"double", "float"},
    "bool": {"boolean"},
    "int32": {"long"},
    "uint32": {"long"},
    "uint64": {"long"},
    "google.protobuf.Timestamp": {"date"},
    "google.protobuf.Duration": {"double"},
    "map<string, string>": {"flattened", "object"},
}


def unmapped(message: str, path: str, fields: dict[str, str]) -> list[str]:
    messages, enumerations = parsed_proto()
    wrong = []
    for kind, name, _ in messages[message]:
        where = ELSEWHERE.get(f"{message}.{name}", f"{path}.{name}")
        if where == "outlier.incident.changes":  # stored, not indexed
            wanted = {"object"}
        elif kind in messages:
            wrong += unmapped(kind, where, fields)
            wanted = {"object", "nested"}
        else:
            wanted = {"keyword"} if kind.split(".")[-1] in enumerations else TYPES[kind]
        if fields.get(where) not in wanted:
            wrong.append(f"{message}.{name}: {where} is {fields.get(where, 'not mapped')}")
    return wrong


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_field_of_an_incident_in_the_feed_is_mapped_with_a_fitting_type(dialect: str) -> None:
    messages, enumerations = parsed_proto()
    assert len(messages["Incident"]) >= 25 and {"Severity", "Cause", "Direction"} <= enumerations
    fields = mapped(dialect)
    assert unmapped("Incident", "outlier.incident", fields) == []
    del fields["outlier.incident.coverage.events_lost"]
    fields["outlier.incident.restart.cause"] = "text"
    assert len(unmapped("Incident", "outlier.incident", fields)) == 2


def test_every_loss_counter_and_every_key_of_an_attribute_is_mapped() -> None:
    counters = set(re.findall(r"^  X\(\w+, (\w+),", (ROOT / "bpf/abi.h").read_text(), re.MULTILINE))
    counters |= set(re.findall(r'^    \{"(\w+)",', (ROOT / "userspace/stream/losses.h").read_text(), re.MULTILINE))
    assert len(counters) > 20 and set(SEARCH.LOSSES) == counters
    features = (ROOT / "userspace/stream/features.def").read_text()
    keys = {key for key in re.findall(r'^\s*FEATURE\("[^"]+", "[^"]+", "([^"]*)"', features, re.MULTILINE) if key}
    assert keys and keys == set(SEARCH.ATTRIBUTE_KEYS)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_string_that_somebody_else_chooses_is_cut_off_for_the_index(dialect: str) -> None:
    def walk(properties: Json, path: str) -> list[str]:
        return [
            path + name
            for name, field in properties.items()
            if field.get("type") in ("keyword", "flattened") and field.get("ignore_above", 1 << 30) * 4 > 32766 or walk(field.get("properties", {}), path + name + ".")
        ]

    mappings = read_json(f"search/{dialect}/outlier@mappings.json")["template"]["mappings"]
    assert mappings["dynamic"] is False
    assert walk(mappings["properties"], "") == []
    assert walk({"bad": {"type": "keyword"}}, "") == ["bad"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_manifest_names_every_file_once_and_each_template_after_its_components(dialect: str) -> None:
    entries = [entry for name in ("manifest", "manifest-ilm") if (DEPLOY / f"search/{dialect}/{name}.json").exists() for entry in read_json(f"search/{dialect}/{name}.json")]
    files = [entry["file"] for entry in entries]
    there = {path.name for path in (DEPLOY / "search" / dialect).glob("*.json")} - {"manifest.json", "manifest-ilm.json"}
    assert sorted(files) == sorted(there)
    seen: set[str] = set()
    for entry in read_json(f"search/{dialect}/manifest.json"):
        assert set(entry) == {"method", "path", "file", "what", "optional"} and entry["method"] == "PUT" and entry["what"]
        body = read_json(f"search/{dialect}/{entry['file']}")
        if entry["path"].startswith("/_component_template/"):
            seen.add(entry["path"].rsplit("/", 1)[1])
        if entry["path"].startswith("/_index_template/"):
            assert set(body["composed_of"]) - set(body.get("ignore_missing_component_templates", [])) <= seen
            assert body["priority"] == 200
        if not entry["path"].startswith("/_plugins/_ism"):
            assert body["version"] == SEARCH.VERSION and body["_meta"]["managed_by"] == "outlier-relay"


# ---- against the published types


def test_the_requests_are_such_as_the_clients_of_elastic_and_opensearch_know(tmp_path: Path, node_modules: Path) -> None:
    kinds = {
        "/_component_template/": ("estypes.ClusterPutComponentTemplateRequest", "API.Cluster_PutComponentTemplate_RequestBody"),
        "/_index_template/": ("estypes.IndicesPutIndexTemplateRequest", "API.Indices_PutIndexTemplate_RequestBody"),
        "/_ilm/policy/": ("estypes.IlmPutLifecycleRequest", ""),
        "/_plugins/_ism/policies/": ("", "NonNullable<API.Ism_PutPolicy_Request['body']>"),
    }
    lines = ["import type { estypes } from '@elastic/elasticsearch';", "import type { API } from '@opensearch-project/opensearch';"]
    count = 0
    for number, dialect in enumerate(DIALECTS):
        manifests = [read_json(f"search/{dialect}/{path.name}") for path in (DEPLOY / "search" / dialect).glob("manifest*.json")]
        for entry in (entry for manifest in manifests for entry in manifest):
            kind = next(types[number] for prefix, types in kinds.items() if entry["path"].startswith(prefix))
            name = {} if dialect == "opensearch" else {"name": entry["path"].rsplit("/", 1)[1]}
            lines.append(f"export const _{count}: {kind} = {json.dumps(name | read_json(f'search/{dialect}/' + entry['file']))};")
            count += 1
    (tmp_path / "good").mkdir()
    assert node.type_errors(tmp_path / "good", {"requests": "\n".join(lines)}) == []
    assert count == 30
    (tmp_path / "bad").mkdir()
    spoiled = "\n".join(lines).replace('"max_primary_shard_size"', '"max_primary_shard_sise"').replace('"ism_template"', '"ism_tempalte"')
    assert len(node.type_errors(tmp_path / "bad", {"requests": spoiled})) >= 8


# ---- on the servers


def test_setup_is_accepted_and_may_be_repeated(indexed: Indexed) -> None:
    refused = {path for path, status in indexed.installed.items() if status != 200}
    # The distribution for tests has no index state management.
    assert refused == ({path for path in indexed.installed if "/_ism/" in path} if indexed.dialect == "opensearch" else set())
    assert install(indexed.server) == indexed.installed


def test_each_stream_gets_its_mapping_and_where_the_server_can_its_retention(indexed: Indexed) -> None:
    for stream, (_, days, _, _) in SEARCH.STREAMS.items():
        made = indexed.server.rest.post(f"/_index_template/_simulate_index/{stream}-simulated").expect(200).json()["template"]
        assert made["mappings"]["dynamic"] == "false"
        assert made["mappings"]["properties"]["outlier"]["properties"]["score"] == {"type": "float"}
        assert made["settings"]["index"]["codec"] == "best_compression"
        if indexed.dialect == "elasticsearch":
            assert made["lifecycle"]["data_retention"] == f"{days}d"


def test_each_field_of_the_documents_is_mapped_and_the_hostile_one_is_found_by_all_but_its_long_names(indexed: Indexed) -> None:
    def leaves(value: object, path: str) -> set[str]:
        if isinstance(value, dict):
            return set().union(*(leaves(item, f"{path}.{key}" if path else key) for key, item in value.items())) if value else set()
        if isinstance(value, list):
            return set().union(*(leaves(item, path) for item in value)) if value else set()
        return {path}

    written = set().union(*(leaves(body, "") for _, body in documents.actions(END)))
    unknown = {path for path in written - mapped(indexed.dialect).keys() if not path.startswith("outlier.incident.changes.") and ".attributes." not in path}
    assert unknown == {"outlier.losses.a_counter_of_a_later_version"}
    found = indexed.search(documents.CURRENT, {"query": {"term": {"outlier.workload.name": documents.HOSTILE}}})["hits"]["hits"]
    assert [hit["_source"]["outlier"]["incident"]["id"] for hit in found] == ["10"]
    assert found[0]["_source"]["process"]["executable"] == documents.LONG
    indexed_path = {"bool": {"filter": [{"ids": {"values": [found[0]["_id"]]}}, {"exists": {"field": "process.executable"}}]}}
    assert indexed.search(documents.CURRENT, {"query": indexed_path})["hits"]["hits"] == []


def test_without_the_limit_a_long_name_would_have_cost_the_document(indexed: Indexed, unique: str) -> None:
    indexed.server.rest.put(f"/{unique}", {"mappings": {"properties": {"path": {"type": "keyword"}}}}).expect(200)
    assert indexed.server.rest.post(f"/{unique}/_doc", {"path": documents.LONG}).status == 400
    indexed.server.rest.request("DELETE", f"/{unique}").expect(200)


def test_the_limits_are_counted_as_the_server_counts(search: SearchServer, unique: str) -> None:
    mappings = read_json(f"search/{search.name}/outlier@mappings.json")["template"]["mappings"]
    limits = read_json(f"search/{search.name}/outlier@settings.json")["template"]["settings"]
    exact = {
        "index.mapping.total_fields.limit": limits["index.mapping.total_fields.limit"] - SEARCH.ROOM_FOR_CUSTOM_FIELDS,
        "index.mapping.nested_fields.limit": limits["index.mapping.nested_fields.limit"],
    }
    search.rest.put(f"/{unique}", {"mappings": mappings, "settings": exact}).expect(200)
    for name, value in exact.items():
        answer = search.rest.put(f"/{unique}-less", {"mappings": mappings, "settings": exact | {name: value - 1}})
        assert answer.status == 400 and "limit" in answer.body.decode().lower(), (name, answer.body)
    search.rest.request("DELETE", f"/{unique}").expect(200)


def test_the_index_of_what_is_current_keeps_the_newest_change(indexed: Indexed) -> None:
    newest = indexed.search(documents.CURRENT, {"size": 100, "version": True, "query": {"terms": {"outlier.source.host_name": ["web-1", "web-2", "db-1"]}}})["hits"]["hits"]
    assert len(newest) == len(documents.INCIDENTS)
    states = {hit["_source"]["outlier"]["incident"]["id"]: hit["_source"]["outlier"]["incident"]["state"] for hit in newest}
    assert {identity for identity, state in states.items() if state == "OPEN"} == {"03", "04"}
    one = newest[0]
    older = indexed.server.rest.put(f"/{documents.CURRENT}/_doc/{one['_id']}?version=1&version_type=external", one["_source"])
    assert older.status == 409
