"""Dashboards of Grafana: of the published types, without overlap, and every query of the one over Elasticsearch finds documents."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import node
import pytest
import yaml
from store import CONTEXT, END, Indexed
from project import DEPLOY, Json, mapped, read_json

NAMES = ["prometheus", "elasticsearch"]
# Panel type -> module of the published types, which has Options and most a FieldConfig.
MODULES = {"stat": "stat", "table": "table", "timeseries": "timeseries", "status-history": "statushistory"}

QUERY = {"prometheus": "Dataquery", "elasticsearch": "dataquery"}  # the name of the type of a query


def body_of(name: str) -> Json:
    body: Json = read_json(f"grafana/dashboards/outlierd-{name}.json")
    return body


def typed(body: Json, kind: str) -> str:
    """The dashboard as TypeScript in which every part is checked against its own type: Panel.options alone would take anything."""
    lines = ["import type { Loose } from './loose';", "import type * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';"]
    lines += [f"import type * as {module} from '@grafana/grafana-foundation-sdk/{module}';" for module in (*MODULES.values(), kind)]
    lines.append("type Plain<T> = Omit<T, '_implementsDataqueryVariant'>;")
    lines.append("type Panel = Omit<dashboard.Panel, 'targets' | 'options'> & { targets: unknown[]; options: unknown };")
    lines.append(f"export const whole: Loose<Omit<dashboard.Dashboard, 'panels'>> & {{ panels: Loose<Panel>[] }} = {json.dumps(body)};")
    for panel in body["panels"]:
        number, module = panel["id"], MODULES[panel["type"]]
        lines.append(f"export const options{number}: Loose<Partial<{module}.Options>> = {json.dumps(panel['options'])};")
        if custom := panel["fieldConfig"]["defaults"].get("custom"):
            lines.append(f"export const custom{number}: Loose<Partial<{module}.FieldConfig>> = {json.dumps(custom)};")
        for count, target in enumerate(panel["targets"]):
            lines.append(f"export const target{number}_{count}: Loose<Plain<{kind}.{QUERY[kind]}>> = {json.dumps(target)};")
    return "\n".join(lines)


def test_the_dashboards_are_of_the_types_that_grafana_publishes(tmp_path: Path, node_modules: Path) -> None:
    assert node.type_errors(tmp_path, {name: typed(body_of(name), name) for name in NAMES}) == []


def test_a_wrong_key_or_value_is_noticed_wherever_it_stands(tmp_path: Path, node_modules: Path) -> None:
    spoils = [
        ('"schemaVersion": ', '"schemaVersoin": '),
        ('"gridPos": ', '"gridpos": '),
        ('"colorMode": "background"', '"colorMode": "backgruond"'),
        ('"showPoints": "never"', '"showPoints": "nevver"'),
        ('"legendFormat": ', '"legendFromat": '),
        ('"mode": "absolute"', '"mode": "absolut"'),
    ]
    text = typed(body_of("prometheus"), "prometheus")
    modules = {f"spoiled{number}": text.replace(*spoil) for number, spoil in enumerate(spoils)}
    assert all(spoiled != text for spoiled in modules.values())
    errors = node.type_errors(tmp_path, modules)
    assert {error.split(".ts")[0] for error in errors} == modules.keys()


@pytest.mark.parametrize("name", NAMES)
def test_panels_stand_on_the_grid_and_each_query_names_the_chosen_data_source(name: str) -> None:
    body, taken = body_of(name), set()
    assert body["uid"] == f"outlierd-{name}" and len({panel["id"] for panel in body["panels"]}) == len(body["panels"])
    for panel in body["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
        assert {json.dumps(target["datasource"]) for target in panel["targets"]} == {json.dumps({"type": name, "uid": "${datasource}"})}
    variables = {variable["name"] for variable in body["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(body["panels"])))
    assert used <= variables and {"datasource", "host", "workload"} <= used


def test_the_swim_lane_has_the_limits_of_the_severities_and_the_band_lies_between_lower_and_upper() -> None:
    for name in NAMES:
        panels = {panel["title"]: panel for panel in body_of(name)["panels"]}
        steps = panels["Anomaly swim lane"]["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert [step["value"] for step in steps] == [None, 3, 25, 50, 75]
        band = next(panel for panel in panels.values() if "fillBelowTo" in json.dumps(panel))
        matched = {override["matcher"]["options"] for override in band["fieldConfig"]["overrides"]}
        below = next(item["value"] for override in band["fieldConfig"]["overrides"] for item in override["properties"] if item["id"] == "custom.fillBelowTo")
        assert below in matched and below.endswith("lower")


def test_the_provisioning_files_name_what_is_there() -> None:
    providers = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/outlierd.yaml").read_text())
    assert providers["apiVersion"] == 1 and providers["providers"][0]["type"] == "file" and providers["providers"][0]["options"]["path"]
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/outlierd.yaml").read_text())["datasources"]
    assert sorted(source["type"] for source in sources) == sorted(NAMES)
    assert next(source["jsonData"] for source in sources if source["type"] == "elasticsearch")["timeField"] == "@timestamp"


# ---- the dashboard over Elasticsearch, on a server


def in_query(text: str, series: str = "process.cpu.utilization") -> str:
    """With the variables put in as Grafana does for Lucene: quoted, several in brackets."""
    values = {"host": '("web-1" OR "web-2" OR "db-1")', "workload": "*", "series": f'"{series}"'}
    return re.sub(r"\$\{(\w+):lucene\}", lambda match: values[match[1]], text)


def metric_of(one: Json) -> Json:
    return {one["type"]: {"field": one["field"]}}


def body_for(target: Json) -> Json:
    """What Grafana's data source makes of a query."""
    time = {"range": {"@timestamp": {"gte": CONTEXT.begin.isoformat(), "lte": END.isoformat()}}}
    query = {"bool": {"filter": [time, {"query_string": {"query": in_query(target["query"]), "analyze_wildcard": True}}]}}
    if target["metrics"][0]["type"] == "raw_data":
        return {"size": int(target["metrics"][0]["settings"]["size"]), "query": query, "sort": [{"@timestamp": "desc"}]}
    metrics = {one["id"]: metric_of(one) for one in target["metrics"]}
    aggs: Json = metrics
    for bucket in reversed(target["bucketAggs"]):
        settings = bucket["settings"]
        if bucket["type"] == "date_histogram":
            interval = settings["interval"] if settings["interval"] != "auto" else CONTEXT.interval(72)
            made: Json = {"date_histogram": {"field": bucket["field"], "fixed_interval": interval, "min_doc_count": int(settings["min_doc_count"])}}
        else:
            made = {"terms": {"field": bucket["field"], "size": int(settings["size"]), "order": {settings["orderBy"]: settings["order"]}}}
        aggs = {bucket["id"]: made | {"aggs": metrics | aggs}}
    return {"size": 0, "query": query, "aggs": aggs}


def numbers_in(value: Any, identities: set[str]) -> set[str]:
    """Ids of the metrics that have a number somewhere."""
    if isinstance(value, list):
        return set().union(*(numbers_in(item, identities) for item in value)) if value else set()
    if not isinstance(value, dict):
        return set()
    found = {name for name, item in value.items() if name in identities and isinstance(item, dict) and item.get("value") is not None}
    return found.union(*(numbers_in(item, identities) for item in value.values())) if value else found


def test_each_query_of_the_dashboard_over_elasticsearch_finds_documents_and_numbers(indexed: Indexed) -> None:
    fields = mapped(indexed.dialect)
    for panel in body_of("elasticsearch")["panels"]:
        for target in panel["targets"]:
            used = [one["field"] for one in (*target["metrics"], *target["bucketAggs"]) if "field" in one] + re.findall(r"([\w.@]+):", in_query(target["query"]))
            used += [name for step in panel.get("transformations", []) for name in step["options"].get("include", {}).get("names", [])]
            used += re.findall(r"_exists_:([\w.]+)", target["query"])
            assert [field for field in used if field not in fields and field != "_exists_"] == [], panel["title"]
            answer = indexed.search("*outlier*", body_for(target))
            assert answer["hits"]["total"]["value"] > 0, f"{panel['title']}: {in_query(target['query'])}"
            wanted = {one["id"] for one in target["metrics"] if "field" in one}
            assert numbers_in(answer.get("aggregations", {}), wanted) == wanted, panel["title"]


def test_the_open_incidents_are_not_counted_twice_as_changes_and_as_they_are_now(indexed: Indexed) -> None:
    panel = next(panel for panel in body_of("elasticsearch")["panels"] if panel["title"] == "Open incidents")
    answer = indexed.search("*outlier*", body_for(panel["targets"][0]))
    terms = panel["targets"][0]["bucketAggs"][0]["id"]
    assert {bucket["key"]: bucket["1"]["value"] for bucket in answer["aggregations"][terms]["buckets"]} == {"CRITICAL": 1, "MAJOR": 1}
