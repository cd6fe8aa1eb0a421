#!/usr/bin/env python3
"""Writes the saved objects of Kibana and of OpenSearch Dashboards from one description.

    deploy/kibana/generate.py           writes deploy/kibana/* and deploy/opensearch-dashboards/*
    deploy/kibana/generate.py --check   writes nothing; fails where a file is not what it would write

The pictures in Vega (vega.py) are the same in both. Tables, numbers and lines are Lens panels in Kibana (lens.py); OpenSearch Dashboards has no Lens,
so there they are Vega too, or saved searches.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import lens  # noqa: E402
import vega  # noqa: E402
from vega_parts import CHANGES, CURRENT, HOSTS, OPENED, SCORES, SIGNALS, Json  # noqa: E402

DEPLOY = Path(__file__).resolve().parents[1]
# Kibana applies every migration that is newer: without these numbers all since 7.x, which Lens panels of today do not survive; with
# higher ones it refuses. So those of the oldest Kibana that has everything used here, 8.9.
CORE_VERSION = "8.8.0"
KIBANA_VERSIONS = {"dashboard": "8.9.0", "visualization": "8.5.0", "index-pattern": "8.0.0"}
OPENSEARCH_VERSIONS = {"dashboard": "7.9.3", "visualization": "7.10.0", "index-pattern": "7.6.0", "search": "7.9.3"}

# Id of the data view -> (index pattern, field of time, name). Incidents as they are now have none: an incident that has been
# open since last week is open.
DATA_VIEWS = {
    "outlier-incidents": (CURRENT, "", "outlierd: incidents now"),
    "outlier-changes": (CHANGES, "@timestamp", "outlierd: changes of incidents"),
    "outlier-scores": (SCORES, "@timestamp", "outlierd: scores of workloads"),
    "outlier-signals": (SIGNALS, "@timestamp", "outlierd: signals"),
    "outlier-hosts": (HOSTS, "@timestamp", "outlierd: hosts"),
}


def text(value: Any) -> str:
    """Objects within saved objects are strings."""
    return json.dumps(value, separators=(",", ":"))


def lines(objects: list[Json]) -> str:
    return "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in objects)


EMPTY_SEARCH = text({"query": {"query": "", "language": "kuery"}, "filter": []})


# ---- dashboards


@dataclass
class Dashboard:
    """Panels are Lens panels or names of pictures, each with (x, y, width, height) on a grid 48 wide."""

    id: str
    title: str
    description: str
    since: str
    controls: list[tuple[str, str, str]]  # (field, data view, label)
    panels: list[tuple[lens.Lens | str, tuple[int, int, int, int]]] = field(default_factory=list)


HOST = ("host.name", "outlier-scores", "Host")
WORKLOAD = ("outlier.workload.name", "outlier-scores", "Workload")
SERIES = ("outlier.signal.series", "outlier-signals", "Series")

KIBANA_DASHBOARDS = [
    Dashboard(
        "outlier-anomalies",
        "outlierd: anomalies",
        "When which workload was unusual, by what, who is suspected, and what restarted.",
        "now-24h",
        [HOST, WORKLOAD],
        [
            (lens.open_incidents(), (0, 0, 24, 6)),
            ("swim-lane", (0, 6, 48, 16)),
            ("single-metric", (0, 22, 32, 15)),
            (lens.influencers(), (32, 22, 16, 15)),
            (lens.anomaly_table(), (0, 37, 48, 16)),
            (lens.restarts(), (24, 0, 24, 6)),
            (lens.open_table(), (0, 53, 48, 12)),
        ],
    ),
    Dashboard(
        "outlier-metric",
        "outlierd: single metric",
        "One signal of one workload: actual, expected, and the band. Choose host, workload and series above.",
        "now-6h",
        [("host.name", "outlier-signals", "Host"), ("outlier.workload.name", "outlier-signals", "Workload"), SERIES],
        [("single-metric", (0, 0, 48, 24))],
    ),
    Dashboard(
        "outlier-hosts",
        "outlierd: hosts and budgets",
        "What outlierd promised and achieved on each host: false alarms, CPU, memory.",
        "now-7d",
        [("host.name", "outlier-hosts", "Host")],
        [
            (lens.budget_table(), (0, 0, 48, 12)),
            (lens.false_alarms(), (0, 12, 16, 12)),
            (lens.cpu(), (16, 12, 16, 12)),
            (lens.memory(), (32, 12, 16, 12)),
            (lens.host_lane(), (0, 24, 48, 12)),
        ],
    ),
]

OPENSEARCH_DASHBOARDS = [
    Dashboard(
        "outlier-anomalies",
        "outlierd: anomalies",
        KIBANA_DASHBOARDS[0].description,
        "now-24h",
        [HOST, WORKLOAD],
        [
            ("controls-anomalies", (0, 0, 24, 8)),
            ("open-incidents", (24, 0, 24, 8)),
            ("swim-lane", (0, 8, 48, 16)),
            ("single-metric", (0, 24, 32, 15)),
            ("influencers", (32, 24, 16, 15)),
            ("anomalies", (0, 39, 48, 16)),
            ("restarts", (0, 55, 48, 10)),
            ("open-table", (0, 65, 48, 12)),
        ],
    ),
    Dashboard(
        "outlier-metric",
        "outlierd: single metric",
        KIBANA_DASHBOARDS[1].description,
        "now-6h",
        KIBANA_DASHBOARDS[1].controls,
        [("controls-metric", (0, 0, 48, 8)), ("single-metric", (0, 8, 48, 24))],
    ),
    Dashboard(
        "outlier-hosts",
        "outlierd: hosts and budgets",
        KIBANA_DASHBOARDS[2].description,
        "now-7d",
        [],
        [("budgets", (0, 0, 48, 16)), ("swim-lane", (0, 16, 48, 16))],
    ),
]

# Saved searches of OpenSearch Dashboards: name -> (title, data view, kuery).
SEARCHES = {
    "anomalies": ("Anomalies: changes of incidents", "outlier-changes", "event.kind: alert"),
    "open-table": ("Open incidents", "outlier-incidents", "outlier.incident.state: OPEN"),
}
SEARCH_COLUMNS = [
    "outlier.incident.severity",
    "outlier.incident.score",
    "outlier.workload.name",
    "host.name",
    "outlier.lead.series",
    "outlier.lead.observed",
    "outlier.lead.expected",
    "outlier.lead.tail_probability",
    "outlier.influencers",
    "outlier.incident.state",
    "event.reason",
]


def vega_state(name: str, dialect: str) -> tuple[str, str]:
    title, draw = vega.PICTURES[name]
    spec = json.dumps(draw(dialect), indent=1)
    return title, text({"title": title, "type": "vega", "aggs": [], "params": {"spec": spec}})


def visualization(name: str, title: str, state: str, references: list[Json]) -> Json:
    return {
        "type": "visualization",
        "id": f"outlier-{name}",
        "attributes": {
            "title": f"outlierd: {title}",
            "description": "",
            "version": 1,
            "visState": state,
            "uiStateJSON": "{}",
            "kibanaSavedObjectMeta": {"searchSourceJSON": EMPTY_SEARCH},
        },
        "references": references,
    }


def dashboard(one: Dashboard, panels: list[Json], references: list[Json], **more: Any) -> Json:
    options = {"useMargins": True, "hidePanelTitles": False}
    return {
        "type": "dashboard",
        "id": one.id,
        "attributes": {
            "title": one.title,
            "description": one.description,
            "version": 1,
            "timeRestore": True,
            "timeFrom": one.since,
            "timeTo": "now",
            "refreshInterval": {"pause": False, "value": 60000},
            "optionsJSON": text(options),
            "panelsJSON": text(panels),
            "kibanaSavedObjectMeta": {"searchSourceJSON": EMPTY_SEARCH},
            **more,
        },
        "references": references,
    }


def grid(index: str, place: tuple[int, int, int, int]) -> Json:
    return dict(zip("xywh", place, strict=True)) | {"i": index}


def kibana_dashboard(one: Dashboard) -> Json:
    panels, references = [], []
    for count, (content, place) in enumerate(one.panels):
        index = f"p{count}"
        panel: Json = {"panelIndex": index, "gridData": grid(index, place)}
        if isinstance(content, lens.Lens):
            attributes = content.attributes()
            panel |= {"type": "lens", "title": content.title, "embeddableConfig": {"attributes": attributes, "enhancements": {}}}
            references += [reference | {"name": f"{index}:{reference['name']}"} for reference in attributes["references"]]
        else:
            panel |= {"type": "visualization", "panelRefName": f"panel_{index}", "embeddableConfig": {"enhancements": {}}}
            references.append({"name": f"{index}:panel_{index}", "type": "visualization", "id": f"outlier-{content}"})
        panels.append(panel)
    controls = {}
    for count, (source, view, label) in enumerate(one.controls):
        explicit = {"id": f"c{count}", "fieldName": source, "title": label, "enhancements": {}}
        controls[f"c{count}"] = {"order": count, "width": "medium", "grow": True, "type": "optionsListControl", "explicitInput": explicit}
        references.append({"name": f"controlGroup_c{count}:optionsListDataView", "type": "index-pattern", "id": view})
    ignore = {"ignoreFilters": False, "ignoreQuery": False, "ignoreTimerange": False, "ignoreValidations": False}
    group = {"controlStyle": "oneLine", "chainingSystem": "HIERARCHICAL", "panelsJSON": text(controls), "ignoreParentSettingsJSON": text(ignore)}
    return dashboard(one, panels, references, controlGroupInput=group)


def kibana_objects() -> list[Json]:
    objects: list[Json] = []
    for name, (pattern, time, title) in DATA_VIEWS.items():
        strings = {"fields": "[]", "fieldAttrs": "{}", "fieldFormatMap": "{}", "runtimeFieldMap": "{}", "sourceFilters": "[]"}
        attributes = {"title": pattern, "name": title} | ({"timeFieldName": time} if time else {}) | strings
        objects.append({"type": "index-pattern", "id": name, "attributes": attributes, "references": []})
    used = {content for one in KIBANA_DASHBOARDS for content, _ in one.panels if isinstance(content, str)}
    objects += [visualization(name, *vega_state(name, "kibana"), []) for name in vega.PICTURES if name in used]
    objects += [kibana_dashboard(one) for one in KIBANA_DASHBOARDS]
    return [one | {"coreMigrationVersion": CORE_VERSION, "typeMigrationVersion": KIBANA_VERSIONS[one["type"]], "managed": False} for one in objects]


def controls_visualization(name: str, title: str, controls: list[tuple[str, str, str]]) -> Json:
    listed = [
        {
            "id": f"c{count}",
            "fieldName": source,
            "label": label,
            "parent": "",
            "type": "list",
            "options": {"type": "terms", "multiselect": True, "dynamicOptions": True, "size": 10, "order": "desc"},
            "indexPatternRefName": f"control_{count}_index_pattern",
        }
        for count, (source, _, label) in enumerate(controls)
    ]
    params = {"controls": listed, "updateFiltersOnChange": True, "useTimeFilter": True, "pinFilters": False}
    references = [{"name": f"control_{count}_index_pattern", "type": "index-pattern", "id": view} for count, (_, view, _) in enumerate(controls)]
    return visualization(name, title, text({"title": title, "type": "input_control_vis", "aggs": [], "params": params}), references)


def saved_search(name: str, title: str, view: str, kuery: str) -> Json:
    reference = "kibanaSavedObjectMeta.searchSourceJSON.index"
    source = {"query": {"query": kuery, "language": "kuery"}, "filter": [], "indexRefName": reference}
    # A data view without a time shows none by itself.
    columns = SEARCH_COLUMNS if DATA_VIEWS[view][1] else ["outlier.incident.opened_time", *SEARCH_COLUMNS]
    return {
        "type": "search",
        "id": f"outlier-{name}",
        "attributes": {
            "title": f"outlierd: {title}",
            "description": "",
            "hits": 0,
            "columns": columns,
            "sort": [["@timestamp", "desc"]],
            "version": 1,
            "kibanaSavedObjectMeta": {"searchSourceJSON": text(source)},
        },
        "references": [{"name": reference, "type": "index-pattern", "id": view}],
    }


def opensearch_dashboard(one: Dashboard) -> Json:
    panels, references = [], []
    for count, (content, place) in enumerate(one.panels):
        assert isinstance(content, str)
        panels.append({"version": "7.9.3", "panelIndex": str(count), "gridData": grid(str(count), place), "panelRefName": f"panel_{count}", "embeddableConfig": {}})
        kind = "search" if content in SEARCHES else "visualization"
        references.append({"name": f"panel_{count}", "type": kind, "id": f"outlier-{content}"})
    return dashboard(one, panels, references)


def opensearch_objects() -> list[Json]:
    objects: list[Json] = []
    for name, (pattern, time, _) in DATA_VIEWS.items():
        attributes = {"title": pattern} | ({"timeFieldName": time} if time else {})
        objects.append({"type": "index-pattern", "id": name, "attributes": attributes, "references": []})
    objects += [visualization(name, *vega_state(name, "opensearch-dashboards"), []) for name in vega.PICTURES]
    objects += [controls_visualization(f"controls-{one.id.removeprefix('outlier-')}", f"controls of {one.title.removeprefix('outlierd: ')}", one.controls) for one in OPENSEARCH_DASHBOARDS if one.controls]
    objects += [saved_search(name, *search) for name, search in SEARCHES.items()]
    objects += [opensearch_dashboard(one) for one in OPENSEARCH_DASHBOARDS]
    return [one | {"migrationVersion": {one["type"]: OPENSEARCH_VERSIONS[one["type"]]}} for one in objects]


def rule() -> Json:
    """Body of POST /api/alerting/rule/outlier-major-incident: actions (connectors) are the reader's own."""
    condition = {"bool": {"filter": [OPENED, {"range": {"event.severity": {"gte": 3}}}], "must_not": [{"exists": {"field": "outlier.silence.id"}}]}}
    return {
        "name": "outlierd: a MAJOR or CRITICAL incident was opened",
        "rule_type_id": ".es-query",
        "consumer": "stackAlerts",
        "schedule": {"interval": "1m"},
        "tags": ["outlierd"],
        "enabled": True,
        "actions": [],
        "params": {
            "searchType": "esQuery",
            "index": [CHANGES],
            "timeField": "@timestamp",
            "esQuery": text({"query": condition}),
            "size": 100,
            "threshold": [0],
            "thresholdComparator": ">",
            "timeWindowSize": 5,
            "timeWindowUnit": "m",
            "aggType": "count",
            "groupBy": "top",
            "termField": "outlier.workload.name",
            "termSize": 50,
            "excludeHitsFromPreviousRun": True,
        },
    }


def all_files() -> dict[Path, str]:
    """Path below deploy/ -> content."""
    return {
        Path("kibana/outlierd.ndjson"): lines(kibana_objects()),
        Path("kibana/rule-major-incident.json"): json.dumps(rule(), indent=1) + "\n",
        Path("opensearch-dashboards/outlierd.ndjson"): lines(opensearch_objects()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a file is out of date")
    check = parser.parse_args().check
    wrong = [path for path, content in all_files().items() if not (DEPLOY / path).exists() or (DEPLOY / path).read_text() != content]
    for path in wrong:
        if check:
            print(f"{DEPLOY / path} is not what {__file__} writes: run it", file=sys.stderr)
        else:
            (DEPLOY / path).parent.mkdir(parents=True, exist_ok=True)
            (DEPLOY / path).write_text(all_files()[path])
    return 1 if check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
