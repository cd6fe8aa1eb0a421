#!/usr/bin/env python3
"""Writes what outlier-relay installs in Elasticsearch and OpenSearch, from one description of the documents' fields.

    deploy/search/generate.py           writes deploy/search/{elasticsearch,opensearch}/*.json
    deploy/search/generate.py --check   writes nothing; fails where a file is not what it would write

`outlier-relay setup` sends the requests of a dialect's manifest.json in order. An entry that is `optional` may be refused by a server
that lacks the feature: the rest works without it. manifest-ilm.json is for those who prefer Elasticsearch's ILM to the data-stream
lifecycle; ILM wins where both are installed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Of everything installed. A server tells with it which of two templates is the newer: raise it with every change.
VERSION = 2
PRIORITY = 200  # above the 100 of the built-in templates for logs-*-* and metrics-*-*
# Longer strings stay in _source but are not indexed. A path or a process' name is the choice of whoever runs it; Lucene refuses
# a whole document for one term above 32766 bytes, and 1024 characters are at most 4096.
MOST_CHARACTERS = 1024
ROOM_FOR_CUSTOM_FIELDS = 200
MADE_BY = "outlierd: deploy/search/generate.py"

Json = dict[str, Any]

WORKLOAD = dict.fromkeys(["name", "kind", "executable", "container_id", "unit", "pod", "namespace", "user", "script"], "keyword")
EVIDENCE = {
    "signal": "keyword",
    "unit": "keyword",
    "series": "keyword",
    "direction": "keyword",
    "observed": "double",
    "expected": "double",
    "lower": "double",
    "upper": "double",
    "tail_probability": "double",
}
# Every key that an attribute of a signal has: userspace/stream/features.def.
ATTRIBUTE_KEYS = ["type", "direction", "reason", "resource", "syscall.class"]
# Every loss counter of outlierd: OUTLIER_FAILURE_LIST in bpf/abi.h, and userspace/stream/losses.h.
LOSSES = [
    "storage_create_failed", "sums_create_failed", "syscalls_create_failed", "account_syscalls_failed", "fork_unseen", "exit_unknown",
    "ring_full_exec", "ring_full_end", "ring_full_oom", "exec_over_rate", "exec_read_failed", "rss_approximate", "scan_stale", "scan_full",
    "known_executables_failed", "assign_failed", "changes_not_journalled", "free_never_seen", "identity_deferred", "identity_gone",
    "proc_read_failed", "starts_not_seen", "ticks_not_recorded", "ticks_partly_failed", "workloads_full",
]  # fmt: skip

# Field -> type. A key with dots is a path; a dictionary is an object, "[]" in its key a nested one. `attributes` and `unindexed` are no
# types of a server: see property_of().
FIELDS: Json = {
    "@timestamp": "date",
    "message": "text",
    "ecs.version": "keyword",
    "data_stream": {"type": "keyword", "dataset": "keyword", "namespace": "keyword"},
    "event": {
        "kind": "keyword",
        "category": "keyword",
        "type": "keyword",
        "action": "keyword",
        "id": "keyword",
        "sequence": "long",
        "module": "keyword",
        "dataset": "keyword",
        "severity": "long",
        "risk_score": "float",
        "start": "date",
        "end": "date",
        "created": "date",
        "reason": "keyword",
    },
    "host": {"id": "keyword", "name": "keyword", "boot.id": "keyword"},
    "service.name": "keyword",
    "container.id": "keyword",
    "orchestrator": {"namespace": "keyword", "resource.name": "keyword"},
    "process": {"executable": "keyword", "name": "keyword"},
    "user.name": "keyword",
    "outlier": {
        "source": {"host_id": "keyword", "host_name": "keyword", "boot_id": "keyword", "feed_id": "keyword"},
        "workload": WORKLOAD,
        "change": {"sequence": "long", "kind": "keyword"},
        "incident": {
            "id": "keyword",
            "state": "keyword",
            "severity": "keyword",
            "pattern": "keyword",
            "feedback": "keyword",
            "score": "float",
            "summary": "text",
            "acknowledged": "boolean",
            "onset_time": "date",
            "opened_time": "date",
            "updated_time": "date",
            "resolved_time": "date",
            "recurrences_per_week": "double",
            "promised_per_week": "double",
            "feedback_factor": "double",
            "growth_per_second": "double",
            "time_to_exhaustion_seconds": "double",
            "restart": {"cause": "keyword", "exit_code": "long", "signal": "long", "count": "long"},
            "contributions[]": EVIDENCE | {"attributes": "attributes"},
            "suspects[]": {
                "workload": WORKLOAD,
                "process": {"pid": "long", "executable": "keyword"},
                "share": "double",
                "evidence": "text",
            },
            "related_incident_ids": "keyword",
            "changes": "unindexed",
            "coverage": {"events_lost": "long", "sampled_share": "double", "probes_missing": "keyword"},
        },
        # The first contribution again, flat: dashboards cannot aggregate over nested objects.
        "lead": EVIDENCE,
        "influencers": "keyword",
        "silence": {"id": "keyword", "author": "keyword", "reason": "keyword"},
        "gap": {"first_sequence": "long", "last_sequence": "long", "lost": "long", "reason": "keyword"},
        "score": "float",
        "state": {
            "processes": "long",
            "restarts": "long",
            "uptime_seconds": "double",
            "cpu_utilization": "double",
            "memory_bytes": "long",
            "warming_up": "boolean",
        },
        "signal": {
            "name": "keyword",
            "unit": "keyword",
            "series": "keyword",
            "attributes": "attributes",
            "value": "double",
            "expected": "double",
            "lower": "double",
            "upper": "double",
            "tail_probability": "double",
        },
        "budget": {
            "false_alarms_per_week": dict.fromkeys(["promised", "achieved", "lower", "upper", "expected"], "double"),
            "cpu_percent": {"promised": "double", "achieved": "double"},
            "memory_bytes": {"promised": "long", "achieved": "long"},
        },
        "host": {
            "uptime_seconds": "double",
            "ticks": "long",
            "workloads": "long",
            "processes": "long",
            "series": "long",
            "warming_up": "long",
            "open_incidents": "long",
        },
        "losses": dict.fromkeys(LOSSES, "long"),
    },
}

# The plain index of what is current, written by external version. It is not aged out: an open incident must not vanish.
CURRENT = "outlier-incidents"
# Data stream without its namespace -> (short name, retention, when it rolls over at the latest, what it holds).
STREAMS = {
    "logs-outlier.change": ("outlier.change", 90, 30, "every change of every incident"),
    "metrics-outlier.score": ("outlier.score", 30, 7, "how unusual each workload is, 0 to 100"),
    "metrics-outlier.signal": ("outlier.signal", 14, 1, "signals around incidents with what was expected of them"),
    "metrics-outlier.host": ("outlier.host", 90, 30, "what each host promised and achieved, and what it lost sight of"),
}
MOST_SHARD_SIZE = "10gb"


def property_of(kind: Any, dialect: str, nested: bool = False) -> Json:
    if isinstance(kind, dict):
        return ({"type": "nested"} if nested else {}) | {"properties": properties_of(kind, dialect)}
    if kind == "keyword":
        return {"type": "keyword", "ignore_above": MOST_CHARACTERS}
    if kind == "text":
        return {"type": "text", "norms": False}
    if kind == "unindexed":
        return {"type": "object", "enabled": False}
    if kind == "attributes":
        if dialect == "elasticsearch":
            return {"type": "flattened", "depth_limit": 2, "ignore_above": MOST_CHARACTERS}
        # flat_object has no ignore_above: OpenSearch refuses the whole document for one long value. So the keys that exist.
        return {"properties": properties_of(dict.fromkeys(ATTRIBUTE_KEYS, "keyword"), dialect)}
    return {"type": kind}


def properties_of(fields: Json, dialect: str) -> Json:
    result: Json = {}
    for name, kind in fields.items():
        *above, last = name.removesuffix("[]").split(".")
        level = result
        for part in above:
            level = level.setdefault(part, {"properties": {}})["properties"]
        level[last] = property_of(kind, dialect, name.endswith("[]"))
    return result


def flat_fields(properties: Json, path: str = "") -> dict[str, str]:
    """Path -> type of everything that counts against index.mapping.total_fields.limit."""
    result: dict[str, str] = {}
    for name, field in properties.items():
        result[path + name] = field.get("type", "object")
        result |= flat_fields(field.get("properties", {}), path + name + ".")
    return result


def limits_of(mappings: Json) -> Json:
    flat = flat_fields(mappings["properties"])
    return {
        "index.mapping.total_fields.limit": len(flat) + ROOM_FOR_CUSTOM_FIELDS,
        "index.mapping.nested_fields.limit": sum(kind == "nested" for kind in flat.values()),
        "index.mapping.depth.limit": 1 + max(path.count(".") for path in flat) + 2,
    }


def meta(what: str) -> Json:
    return {"version": VERSION, "_meta": {"description": what, "managed_by": "outlier-relay", "made_by": MADE_BY}}


class Dialect:
    """The files of one dialect and the requests that install them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.files: dict[str, Json | list[Json]] = {}
        self.requests: list[Json] = []
        self.ilm_requests: list[Json] = []
        # The only names that are not ours: those of relay.yaml.
        labels: Json = {"labels": {"path_match": "labels.*", "mapping": {"type": "keyword", "ignore_above": MOST_CHARACTERS}}}
        properties = properties_of(FIELDS, name) | {"labels": {"type": "object", "dynamic": True}}
        self.mappings: Json = {"dynamic": False, "dynamic_templates": [labels], "properties": properties}

    def add(self, path: str, body: Json, what: str, file: str = "", optional: bool = False, requests: list[Json] | None = None) -> None:
        file = (file or path.rsplit("/", 1)[1]) + ".json"
        assert file not in self.files, file
        self.files[file] = body
        entry: Json = {"method": "PUT", "path": path, "file": file, "what": what, "optional": optional}
        (self.requests if requests is None else requests).append(entry)

    def component(self, name: str, template: Json, what: str, **options: Any) -> None:
        self.add(f"/_component_template/{name}", {"template": template} | meta(what), f"component template {name}: {what}", **options)

    def index_template(self, name: str, body: Json, components: list[str], custom: list[str], what: str) -> None:
        body["priority"] = PRIORITY
        body["composed_of"] = components
        if self.name == "elasticsearch":  # OpenSearch knows no component that may be missing
            body["composed_of"] = components + custom
            body["ignore_missing_component_templates"] = custom
        self.add(f"/_index_template/{name}", body | meta(what), f"index template {name}: {what}")

    def make(self) -> None:
        common = ["outlier@mappings", "outlier@settings"]
        self.component("outlier@mappings", {"mappings": self.mappings}, "the fields of all documents of outlier-relay")
        self.component("outlier@settings", {"settings": {"index.codec": "best_compression"} | limits_of(self.mappings)}, "settings of all indices")
        if self.name == "elasticsearch":
            self.retention()
        what = "incidents as they are now"
        self.index_template(CURRENT, {"index_patterns": [CURRENT]}, common, [f"{CURRENT}@custom"], what)
        for stream, (short, days, _, holds) in STREAMS.items():
            body = {"index_patterns": [f"{stream}-*"], "data_stream": {}}
            self.index_template(stream, body, common, [f"{short}@lifecycle", f"{short}@ilm", f"{stream}@custom"], f"{holds}, {days} days")
        if self.name == "opensearch":
            self.state_management()
        self.files["manifest.json"] = self.requests
        if self.ilm_requests:
            self.files["manifest-ilm.json"] = self.ilm_requests

    def retention(self) -> None:
        for short, days, rollover_days, holds in STREAMS.values():
            self.component(
                f"{short}@lifecycle",
                {"lifecycle": {"enabled": True, "data_retention": f"{days}d"}},
                f"data-stream lifecycle, {days} days, of {holds}; Elasticsearch 8.14 and later",
                optional=True,
            )
            policy = {
                "policy": {
                    "_meta": meta(f"{days} days of {holds}")["_meta"] | {"version": VERSION},
                    "phases": {
                        "hot": {"actions": {"rollover": {"max_age": f"{rollover_days}d", "max_primary_shard_size": MOST_SHARD_SIZE}}},
                        "delete": {"min_age": f"{days}d", "actions": {"delete": {}}},
                    },
                }
            }
            what = f"ILM policy {short}: {days} days of {holds}"
            self.add(f"/_ilm/policy/{short}", policy, what, file=f"{short}@ilm-policy", requests=self.ilm_requests)
            self.component(
                f"{short}@ilm", {"settings": {"index.lifecycle.name": short}}, f"has ILM policy {short} manage the stream", requests=self.ilm_requests
            )

    def state_management(self) -> None:
        for stream, (short, days, rollover_days, holds) in STREAMS.items():
            what = f"{days} days of {holds}"
            rollover = {"rollover": {"min_index_age": f"{rollover_days}d", "min_primary_shard_size": MOST_SHARD_SIZE}}
            policy = {
                "policy": {
                    "description": f"{what} (version {VERSION}; {MADE_BY})",
                    "default_state": "hot",
                    "states": [
                        {
                            "name": "hot",
                            "actions": [rollover],
                            "transitions": [{"state_name": "delete", "conditions": {"min_rollover_age": f"{days}d"}}],
                        },
                        {"name": "delete", "actions": [{"delete": {}}], "transitions": []},
                    ],
                    "ism_template": [{"index_patterns": [f"{stream}-*"], "priority": PRIORITY}],
                }
            }
            self.add(f"/_plugins/_ism/policies/{short}", policy, f"ISM policy {short}: {what}", file=f"{short}@ism-policy", optional=True)


DIALECTS = ["elasticsearch", "opensearch"]


def all_files() -> dict[Path, str]:
    """Path below this folder -> content, of every file."""
    result: dict[Path, str] = {}
    for name in DIALECTS:
        dialect = Dialect(name)
        dialect.make()
        for file, content in dialect.files.items():
            result[Path(name) / file] = json.dumps(content, indent=1) + "\n"
    return result


def write(folder: Path, files: dict[Path, str], check: bool) -> int:
    """Brings the .json and .ndjson files of a folder to `files`, or tells what is not up to date. The number of differences."""
    there = {path.relative_to(folder) for path in folder.rglob("*") if path.suffix in (".json", ".ndjson")}
    wrong = sorted(there - files.keys()) + [p for p, text in files.items() if p not in there or (folder / p).read_text() != text]
    for path in wrong:
        if check:
            print(f"{folder / path} is not what {folder / 'generate.py'} writes: run it", file=sys.stderr)
        elif path in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(files[path])
        else:
            (folder / path).unlink()
    return len(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a file is out of date")
    check = parser.parse_args().check
    return 1 if write(HERE, all_files(), check) and check else 0


if __name__ == "__main__":
    sys.exit(main())
