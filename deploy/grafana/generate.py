#!/usr/bin/env python3
"""Writes the dashboards of Grafana, one over Prometheus and one over Elasticsearch.

    deploy/grafana/generate.py           writes deploy/grafana/dashboards/*.json
    deploy/grafana/generate.py --check   writes nothing; fails where a file is not what it would write
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]

FOLDER = Path(__file__).resolve().parent / "dashboards"
VERSION = 1
SCHEMA = 39  # of Grafana 10.4: later ones read it, and nothing of later ones is used
LOW = "#d3dae6"
BANDS = [(3, "#8bc8fb"), (25, "#fdec25"), (50, "#fba740"), (75, "#fe5050")]
SEVERITIES = {"WARNING": "#8bc8fb", "MINOR": "#fdec25", "MAJOR": "#fba740", "CRITICAL": "#fe5050"}
ACTUAL, EXPECTED, BAND, PROMISE = "#0b64dd", "#69707d", "#a6c8f0", "#343741"
NO_LEGEND: Json = {"showLegend": False, "displayMode": "list", "placement": "bottom", "calcs": []}
LEGEND: Json = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
TOOLTIP: Json = {"mode": "multi", "sort": "desc"}


def source(kind: str) -> Json:
    return {"type": kind, "uid": "${datasource}"}


def thresholds(*steps: tuple[float, str], base: str) -> Json:
    return {"mode": "absolute", "steps": [{"value": None, "color": base}, *({"value": value, "color": colour} for value, colour in steps)]}


def score_thresholds() -> Json:
    return thresholds(*BANDS, base=LOW)


def override(matcher: str, options: str, **properties: Any) -> Json:
    """`properties`: with __ where the property has a dot."""
    listed = [{"id": name.replace("__", "."), "value": value} for name, value in properties.items()]
    return {"matcher": {"id": matcher, "options": options}, "properties": listed}


def fixed(colour: str) -> Json:
    return {"mode": "fixed", "fixedColor": colour}


class Dashboard:
    def __init__(self, uid: str, title: str, description: str, kind: str, since: str) -> None:
        self.kind = kind
        self.panels: list[Json] = []
        self.x, self.y, self.row_height = 0, 0, 0
        self.body: Json = {
            "uid": uid,
            "title": title,
            "description": description,
            "tags": ["outlierd"],
            "timezone": "browser",
            "editable": True,
            "graphTooltip": 1,
            "time": {"from": since, "to": "now"},
            "refresh": "1m",
            "schemaVersion": SCHEMA,
            "version": VERSION,
            "templating": {"list": [self._data_source()]},
            "annotations": {"list": []},
            "panels": self.panels,
        }

    def _data_source(self) -> Json:
        return {"name": "datasource", "label": "Data source", "type": "datasource", "query": self.kind, "refresh": 1, "hide": 0, "multi": False, "includeAll": False}

    def variable(self, name: str, label: str, query: str | Json, include_all: bool = True, all_value: str = "") -> None:
        one: Json = {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": source(self.kind),
            "query": query,
            "refresh": 2,
            "sort": 1,
            "multi": include_all,
            "includeAll": include_all,
            "hide": 0,
        }
        if include_all:
            one |= {"current": {"text": ["All"], "value": ["$__all"]}} | ({"allValue": all_value} if all_value else {})
        self.body["templating"]["list"].append(one)

    def panel(
        self,
        title: str,
        kind: str,
        size: tuple[int, int],
        targets: list[Json],
        options: Json,
        defaults: Json,
        description: str = "",
        overrides: list[Json] | None = None,
        **more: Any,
    ) -> None:
        width, height = size
        if self.x + width > 24:
            self.x, self.y, self.row_height = 0, self.y + self.row_height, 0
        self.panels.append(
            {
                "id": len(self.panels) + 1,
                "type": kind,
                "title": title,
                "description": description,
                "gridPos": {"x": self.x, "y": self.y, "w": width, "h": height},
                "datasource": source(self.kind),
                "targets": [{"refId": chr(ord("A") + count), "datasource": source(self.kind)} | target for count, target in enumerate(targets)],
                "options": options,
                "fieldConfig": {"defaults": defaults, "overrides": overrides or []},
            }
            | more
        )
        self.x, self.row_height = self.x + width, max(self.row_height, height)


STAT: Json = {
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    "orientation": "auto",
    "textMode": "value_and_name",
    "colorMode": "background",
    "graphMode": "none",
    "justifyMode": "auto",
    "wideLayout": True,
    "showPercentChange": False,
    "percentChangeColorMode": "standard",
}
SWIM_LANE: Json = {"showValue": "never", "rowHeight": 0.9, "colWidth": 0.95, "legend": NO_LEGEND, "tooltip": {"mode": "single", "sort": "none"}}
SWIM_LANE_FIELDS: Json = {
    "min": 0,
    "max": 100,
    "decimals": 0,
    "color": {"mode": "thresholds"},
    "thresholds": score_thresholds(),
    "custom": {"fillOpacity": 100, "lineWidth": 0},
}
LINES: Json = {"legend": LEGEND, "tooltip": TOOLTIP}
TABLE: Json = {"showHeader": True, "cellHeight": "sm"}


def line_fields(**more: Any) -> Json:
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 0, "showPoints": "never", "spanNulls": False} | more.pop("custom", {})
    return {"custom": custom} | more


def severity_stats(names: Callable[[str], str] = str) -> list[Json]:
    return [override("byName", names(name), color=fixed(colour)) for name, colour in SEVERITIES.items()]


def score_cell() -> Json:
    return {"custom__cellOptions": {"type": "color-background"}, "thresholds": score_thresholds(), "color": {"mode": "thresholds"}, "decimals": 0}


def prom(expr: str, legend: str = "", instant: bool = False, table: bool = False) -> Json:
    return {
        "expr": expr,
        "legendFormat": legend or "__auto",
        "instant": instant,
        "range": not instant,
        "format": "table" if table else "time_series",
        "editorMode": "code",
    }


def prometheus() -> Json:
    d = Dashboard("outlierd-prometheus", "outlierd (Prometheus)", "Scores, open incidents, promises and delivery, from /metrics of outlier-relay.", "prometheus", "now-6h")
    d.variable("host", "Host", "label_values(outlier_workload_score, host)", all_value=".*")
    d.variable("workload", "Workload", 'label_values(outlier_workload_score{host=~"$host"}, workload)', all_value=".*")
    here = 'host=~"$host"'
    scores = f'outlier_workload_score{{{here}, workload=~"$workload"}}'
    d.panel(
        "Open incidents",
        "stat",
        (12, 4),
        [prom(f"sum by (severity) (outlier_incidents_open{{{here}}})", "{{severity}}", instant=True)],
        STAT,
        {"color": fixed(LOW), "noValue": "0"},
        "Open now, by severity.",
        severity_stats(str.lower),  # as metrics have it
    )
    d.panel(
        "Delivery",
        "stat",
        (12, 4),
        [
            prom("sum(outlier_source_up == bool 0)", "sources down", instant=True),
            prom("sum(outlier_sink_suspended)", "sinks suspended", instant=True),
            prom("sum(outlier_sink_dead_letters)", "dead letters", instant=True),
            prom("max(outlier_sink_lag_seconds)", "longest lag", instant=True),
        ],
        STAT,
        {"color": {"mode": "thresholds"}, "thresholds": thresholds((1, "#fe5050"), base="#6dccb1"), "noValue": "?"},
        "Whether what is found reaches the sinks.",
        [override("byName", "longest lag", unit="s", thresholds=thresholds((60, "#fdec25"), (300, "#fe5050"), base="#6dccb1"))],
    )
    d.panel(
        "Anomaly swim lane",
        "status-history",
        (24, 11),
        [
            prom(
                f"max by (host, workload) (max_over_time({scores}[$__interval])) "
                f"and topk(30, max by (host, workload) (max_over_time({scores}[$__range] @ end())))",
                "{{workload}}  ·  {{host}}",
            )
        ],
        SWIM_LANE,
        SWIM_LANE_FIELDS,
        "The highest score of each workload in each stretch of time; the thirty workloads with the highest scores of the range.",
        maxDataPoints=72,
    )
    d.panel(
        "Open incidents by workload",
        "table",
        (12, 9),
        [prom(f"outlier_incident_score{{{here}}}", instant=True, table=True)],
        TABLE | {"sortBy": [{"displayName": "score", "desc": True}]},
        {},
        "Open incidents of one pattern and severity share a row. The summary and the suspects: outlierctl incidents, or the search index.",
        [override("byName", "score", **score_cell())],
        transformations=[
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True, "__name__": True, "instance": True, "job": True},
                    "renameByName": {"Value": "score"},
                    "indexByName": {"Value": 0, "severity": 1, "host": 2, "workload": 3, "pattern": 4},
                },
            }
        ],
    )
    d.panel(
        "Incidents",
        "timeseries",
        (12, 9),
        [prom(f"sum by (kind) (increase(outlier_incident_changes_total{{{here}}}[$__rate_interval]))", "{{kind}}")],
        LINES,
        line_fields(min=0, decimals=0, custom={"drawStyle": "bars", "fillOpacity": 60, "stacking": {"mode": "normal", "group": "A"}}),
        "Changes of incidents by kind.",
    )
    d.panel(
        "False alarms a week on $host: promised and achieved",
        "timeseries",
        (8, 8),
        [prom('outlier_false_alarms_per_week{host="$host"}', "{{of}}")],
        LINES,
        line_fields(min=0, decimals=2),
        "The band is the 95 % interval of what was achieved. Promised is broken where even its lower end is above the promise.",
        [
            override("byName", "upper", custom__fillBelowTo="lower", custom__lineWidth=0, custom__fillOpacity=25, color=fixed(BAND)),
            override("byName", "lower", custom__lineWidth=0, color=fixed(BAND)),
            override("byName", "promised", color=fixed(PROMISE), custom__lineWidth=2),
            override("byName", "achieved", color=fixed(ACTUAL), custom__lineWidth=2),
            override("byName", "expected", color=fixed(EXPECTED), custom__lineStyle={"fill": "dash", "dash": [6, 4]}),
        ],
        repeat="host",
        repeatDirection="h",
        maxPerRow=3,
    )
    d.x, d.y, d.row_height = 0, d.y + d.row_height, 0  # repeated panels fill their row
    share = line_fields(unit="percentunit", min=0, thresholds=thresholds((1, "#fe5050"), base="transparent"), custom={"thresholdsStyle": {"mode": "line"}})
    d.panel("CPU of outlierd, share of the promise", "timeseries", (8, 8), [prom(f"host:outlier_overhead_cpu:share{{{here}}}", "{{host}}")], LINES, share, "From the recording rules.")
    d.panel("Memory of outlierd, share of the promise", "timeseries", (8, 8), [prom(f"host:outlier_overhead_memory:share{{{here}}}", "{{host}}")], LINES, share, "Kernel maps included.")
    d.panel(
        "What outlierd lost sight of",
        "timeseries",
        (8, 8),
        [prom(f"sum by (host, counter) (rate(outlier_losses_total{{{here}}}[$__rate_interval])) > 0", "{{host}} {{counter}}")],
        LINES,
        line_fields(unit="cps", min=0),
        "outlierctl status tells what each counter means.",
    )
    d.panel("Changes delivered", "timeseries", (8, 8), [prom("sum by (sink) (rate(outlier_sink_delivered_total[$__rate_interval]))", "{{sink}}")], LINES, line_fields(unit="cps", min=0), "By sink.")
    d.panel("Lag", "timeseries", (8, 8), [prom("max by (sink) (outlier_sink_lag_seconds)", "{{sink}}")], LINES, line_fields(unit="s", min=0), "How old the oldest change is that a sink still waits for.")
    d.panel(
        "Retries and refusals",
        "timeseries",
        (8, 8),
        [
            prom("sum by (sink) (rate(outlier_sink_retries_total[$__rate_interval]))", "{{sink}} retries"),
            prom("sum by (sink) (rate(outlier_sink_refused_total[$__rate_interval]))", "{{sink}} refused"),
            prom("sum by (sink) (rate(outlier_sink_expired_total[$__rate_interval]))", "{{sink}} expired"),
        ],
        LINES,
        line_fields(unit="cps", min=0),
        "",
    )
    return d.body


# One data source sees all indices, so each query names the kind of its documents. Only those of data streams have data_stream.dataset;
# incidents as they are now have not.
SCORES = "data_stream.dataset:outlier.score"
SIGNALS = "data_stream.dataset:outlier.signal"
CHANGES = "data_stream.dataset:outlier.change"
HOSTS = "data_stream.dataset:outlier.host"
CURRENT = "_exists_:outlier.incident.id AND NOT _exists_:data_stream.dataset"
HERE = "host.name:${host:lucene} AND outlier.workload.name:${workload:lucene}"


def metric(kind: str, field: str, number: str = "1", **more: Any) -> Json:
    return {"id": number, "type": kind, "field": field} | more


def by_time(number: str, interval: str = "auto", least: str = "0") -> Json:
    return {"id": number, "type": "date_histogram", "field": "@timestamp", "settings": {"interval": interval, "min_doc_count": least, "trimEdges": "0"}}


def by_term(number: str, field: str, size: int, order: str = "1") -> Json:
    return {"id": number, "type": "terms", "field": field, "settings": {"size": str(size), "order": "desc", "orderBy": order, "min_doc_count": "1"}}


def elastic(query: str, metrics: list[Json], buckets: list[Json], alias: str = "") -> Json:
    return {"query": query, "metrics": metrics, "bucketAggs": buckets, "alias": alias, "timeField": "@timestamp"}


def documents(query: str, size: int = 100) -> Json:
    return elastic(query, [{"id": "1", "type": "raw_data", "settings": {"size": str(size)}}], [])


def columns(*fields: tuple[str, str]) -> list[Json]:
    """The columns of a table of documents, and their names."""
    names = [name for name, _ in fields]
    return [
        {"id": "filterFieldsByName", "options": {"include": {"names": names}}},
        {"id": "organize", "options": {"indexByName": {name: count for count, name in enumerate(names)}, "renameByName": dict(fields)}},
    ]


INCIDENT_COLUMNS = [
    ("@timestamp", "time"),
    ("outlier.incident.severity", "severity"),
    ("outlier.incident.score", "score"),
    ("outlier.workload.name", "workload"),
    ("host.name", "host"),
    ("outlier.lead.series", "found for"),
    ("outlier.lead.observed", "actual"),
    ("outlier.lead.expected", "typical"),
    ("outlier.lead.tail_probability", "probability"),
    ("outlier.influencers", "influenced by"),
    ("outlier.change.kind", "change"),
    ("event.reason", "summary"),
]


def elasticsearch() -> Json:
    d = Dashboard(
        "outlierd-elasticsearch",
        "outlierd (Elasticsearch)",
        "Scores, signals, incidents and promises from the indices that outlier-relay writes. The data source's index is *outlier*, its time field @timestamp.",
        "elasticsearch",
        "now-6h",
    )

    def terms_of(field: str, query: str) -> str:
        return json.dumps({"find": "terms", "field": field, "query": query, "size": 500})

    d.variable("host", "Host", terms_of("host.name", SCORES))
    d.variable("workload", "Workload", terms_of("outlier.workload.name", f"{SCORES} AND host.name:${{host:lucene}}"))
    d.variable("series", "Series", terms_of("outlier.signal.series", f"{SIGNALS} AND {HERE}"), include_all=False)
    d.panel(
        "Open incidents",
        "stat",
        (12, 4),
        [
            elastic(
                f"{CURRENT} AND outlier.incident.state:OPEN AND {HERE}",
                [metric("cardinality", "event.id")],
                [by_term("2", "outlier.incident.severity", 4), by_time("3", "90d", "1")],
                "{{term outlier.incident.severity}}",
            )
        ],
        STAT | {"reduceOptions": {"calcs": ["sum"], "fields": "", "values": False}},
        {"color": fixed(LOW), "noValue": "0"},
        "Open now, by severity: those that changed within the last 90 days.",
        severity_stats(),
        timeFrom="90d",
        hideTimeOverride=True,
    )
    d.panel(
        "Restarts by cause",
        "timeseries",
        (12, 4),
        [
            elastic(
                f"{CHANGES} AND event.action:outlier.incident.opened AND {HERE}",
                [metric("cardinality", "outlier.incident.id")],
                [by_term("2", "outlier.incident.restart.cause", 8), by_time("3")],
                "{{term outlier.incident.restart.cause}}",
            )
        ],
        LINES | {"legend": LEGEND | {"placement": "right"}},
        line_fields(min=0, decimals=0, custom={"drawStyle": "bars", "fillOpacity": 70, "stacking": {"mode": "normal", "group": "A"}}),
        "Incidents that a restart opened.",
    )
    d.panel(
        "Anomaly swim lane",
        "status-history",
        (24, 11),
        [
            elastic(
                f"{SCORES} AND {HERE}",
                [metric("max", "outlier.score")],
                [by_term("2", "host.name", 10), by_term("3", "outlier.workload.name", 15), by_time("4")],
                "{{term outlier.workload.name}}  ·  {{term host.name}}",
            )
        ],
        SWIM_LANE,
        SWIM_LANE_FIELDS,
        "The highest score of each workload in each stretch of time.",
        maxDataPoints=72,
    )
    d.panel(
        "$series",
        "timeseries",
        (16, 11),
        [
            elastic(
                f"{SIGNALS} AND {HERE} AND outlier.signal.series:${{series:lucene}}",
                [metric("avg", f"outlier.signal.{name}", str(count)) for count, name in enumerate(("upper", "lower", "expected", "value"), 1)],
                [by_time("5")],
                "{{field}}",
            )
        ],
        LINES,
        line_fields(custom={"spanNulls": False}),
        "Actual, expected and the band of the chosen series; choose one host and one workload.",
        [
            override("byName", "outlier.signal.upper", displayName="upper", custom__fillBelowTo="outlier.signal.lower", custom__lineWidth=0, custom__fillOpacity=25, color=fixed(BAND)),
            override("byName", "outlier.signal.lower", displayName="lower", custom__lineWidth=0, color=fixed(BAND)),
            override("byName", "outlier.signal.expected", displayName="expected", color=fixed(EXPECTED), custom__lineStyle={"fill": "dash", "dash": [6, 4]}),
            override("byName", "outlier.signal.value", displayName="actual", color=fixed(ACTUAL), custom__lineWidth=2),
        ],
    )
    d.panel(
        "Top influencers",
        "table",
        (8, 11),
        [
            elastic(
                f"{CHANGES} AND {HERE}",
                [metric("max", "outlier.incident.score"), metric("cardinality", "outlier.incident.id", "3")],
                [by_term("2", "outlier.influencers", 12)],
            )
        ],
        TABLE,
        {},
        "Who is suspected: the highest score of an incident that each had a part in, and how many.",
        [
            override("byName", "outlier.influencers", displayName="suspect"),
            override("byName", "Max", displayName="highest score", **score_cell()),
            override("byName", "Unique Count", displayName="incidents"),
        ],
    )
    d.panel(
        "Anomalies",
        "table",
        (24, 10),
        [documents(f"{CHANGES} AND event.kind:alert AND {HERE}")],
        TABLE,
        {},
        "Changes of incidents, the newest first.",
        [override("byName", "score", **score_cell()), override("byName", "probability", unit="sci"), override("byRegexp", "actual|typical", unit="short")],
        transformations=columns(*INCIDENT_COLUMNS),
    )
    week = "outlier.budget.false_alarms_per_week."
    budget = [(f"{week}{name}", f"false alarms a week: {name}") for name in ("promised", "achieved", "lower", "upper")]
    budget += [(f"outlier.budget.cpu_percent.{name}", f"CPU %: {name}") for name in ("promised", "achieved")]
    budget += [(f"outlier.budget.memory_bytes.{name}", f"memory: {name}") for name in ("promised", "achieved")]
    d.panel(
        "Budgets of each host: the most of the range",
        "table",
        (24, 7),
        [elastic(f"{HOSTS} AND host.name:${{host:lucene}}", [metric("max", field, str(count)) for count, (field, _) in enumerate(budget, 1)], [by_term("20", "host.name", 50, "_key")])],
        TABLE,
        {"decimals": 2},
        "What outlierd promised and achieved.",
        [override("byName", "host.name", displayName="host")]
        + [override("byName", f"Max {field}", displayName=name, **({"unit": "bytes"} if "memory" in name else {})) for field, name in budget],
    )
    return d.body


def all_files() -> dict[Path, str]:
    made = {"prometheus": prometheus(), "elasticsearch": elasticsearch()}
    return {FOLDER / f"outlierd-{name}.json": json.dumps(body, indent=1) + "\n" for name, body in made.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a file is out of date")
    check = parser.parse_args().check
    wrong = {path: content for path, content in all_files().items() if not path.exists() or path.read_text() != content}
    for path, content in wrong.items():
        if check:
            print(f"{path} is not what {__file__} writes: run it", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    return 1 if check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
