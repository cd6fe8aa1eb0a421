"""The Lens panels of Kibana's dashboards: tables, numbers and lines. OpenSearch Dashboards has no Lens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import vega_parts
from vega_parts import Json


@dataclass
class Lens:
    """A Lens panel of one layer: columns by id in the order of the table, bucketed ones first."""

    title: str
    view: str
    kind: str
    columns: dict[str, Json]
    visualization: Json
    kuery: str = ""

    LAYER = "layer"

    def attributes(self) -> Json:
        layer = {"columnOrder": list(self.columns), "columns": self.columns, "incompleteColumns": {}, "sampling": 1}
        return {
            "title": self.title,
            "visualizationType": self.kind,
            "type": "lens",
            "references": self.references(),
            "state": {
                "query": {"query": self.kuery, "language": "kuery"},
                "filters": [],
                "datasourceStates": {"formBased": {"layers": {self.LAYER: layer}}},
                "visualization": self.visualization,
                "adHocDataViews": {},
                "internalReferences": [],
            },
        }

    def references(self) -> list[Json]:
        return [{"type": "index-pattern", "id": self.view, "name": f"indexpattern-datasource-layer-{self.LAYER}"}]


def column(operation: str, source: str, label: str, kind: str, bucketed: bool = False, **params: Any) -> Json:
    scale = {"date": "interval" if bucketed else "ratio", "number": "ratio", "string": "ordinal", "boolean": "ordinal"}[kind]
    return {
        "operationType": operation,
        "sourceField": source,
        "label": label,
        "customLabel": True,
        "dataType": kind,
        "isBucketed": bucketed,
        "scale": scale,
        "params": params,
    }


def times() -> Json:
    return column("date_histogram", "@timestamp", "time", "date", True, interval="auto", includeEmptyRows=True, dropPartials=False)


def top(source: str, label: str, size: int, by: str | None) -> Json:
    order = {"type": "column", "columnId": by} if by else {"type": "alphabetical", "fallback": True}
    more = {"otherBucket": False, "missingBucket": False, "parentFormat": {"id": "terms"}}
    direction = "desc" if by else "asc"
    return column("terms", source, label, "string", True, size=size, orderBy=order, orderDirection=direction, **more)


def number(operation: str, source: str, label: str, form: Json | None = None) -> Json:
    return column(operation, source, label, "number", emptyAsNull=True, **({"format": form} if form else {}))


def newest(source: str, label: str, kind: str = "string", form: Json | None = None, several: bool = False) -> Json:
    params = {"sortField": "@timestamp", "showArrayValues": several} | ({"format": form} if form else {})
    return column("last_value", source, label, kind, **params) | {"filter": {"language": "kuery", "query": f"{source}: *"}}


def decimals(count: int) -> Json:
    return {"id": "number", "params": {"decimals": count}}


def own_format(pattern: str) -> Json:
    return {"id": "custom", "params": {"decimals": 2, "pattern": pattern}}


BYTES = {"id": "bytes", "params": {"decimals": 1}}


def palette(accessor: str = "") -> Json:
    colours = [vega_parts.LOW, *vega_parts.COLOURS]
    starts = [0, *(least for _, least, _ in vega_parts.BANDS)]
    ends = [*starts[1:], 100]
    params = {
        "name": "custom",
        "rangeType": "number",
        "rangeMin": 0,
        "rangeMax": 100,
        "continuity": "above",
        "progression": "fixed",
        "steps": len(colours),
        "stops": [{"color": colour, "stop": end} for colour, end in zip(colours, ends, strict=True)],
        "colorStops": [{"color": colour, "stop": start} for colour, start in zip(colours, starts, strict=True)],
    }
    return {"type": "palette", "name": "custom", "params": params} | ({"accessor": accessor} if accessor else {})


def xy(series: str, x: str, accessors: list[str], split: str = "", colours: dict[str, str] | None = None) -> Json:
    layer: Json = {"layerId": Lens.LAYER, "layerType": "data", "seriesType": series, "xAccessor": x, "accessors": accessors}
    layer["yConfig"] = [{"forAccessor": name, "axisMode": "left", "color": colour} for name, colour in (colours or {}).items()]
    if split:
        layer["splitAccessor"] = split
    return {
        "preferredSeriesType": series,
        "layers": [layer],
        "legend": {"isVisible": True, "position": "right"},
        "valueLabels": "hide",
        "fittingFunction": "None",
    }


def table(columns: dict[str, Json], coloured: str = "") -> Json:
    shown = [{"columnId": name, "isTransposed": False} for name in columns]
    for one in shown:
        if one["columnId"] == coloured:
            one |= {"colorMode": "cell", "palette": palette()}
    return {"layerId": Lens.LAYER, "layerType": "data", "columns": shown, "rowHeight": "custom", "rowHeightLines": 2}


def heatmap(x: str, y: str, value: str) -> Json:
    return {
        "shape": "heatmap",
        "layerId": Lens.LAYER,
        "layerType": "data",
        "xAccessor": x,
        "yAccessor": y,
        "valueAccessor": value,
        "legend": {"isVisible": True, "position": "right", "type": "heatmap_legend"},
        "gridConfig": {
            "type": "heatmap_grid",
            "isCellLabelVisible": False,
            "isXAxisLabelVisible": True,
            "isYAxisLabelVisible": True,
            "isXAxisTitleVisible": False,
            "isYAxisTitleVisible": False,
        },
        "palette": palette(value),
    }


def open_incidents() -> Lens:
    columns = {"severity": top("outlier.incident.severity", "severity", 4, "count"), "count": number("unique_count", "outlier.incident.id", "open")}
    state = {"layerId": Lens.LAYER, "layerType": "data", "metricAccessor": "count", "breakdownByAccessor": "severity", "maxCols": 4}
    return Lens("Open incidents now, by severity", "outlier-incidents", "lnsMetric", columns, state, "outlier.incident.state: OPEN")


INCIDENT_COLUMNS = {
    "severity": newest("outlier.incident.severity", "severity"),
    "workload": newest("outlier.workload.name", "workload"),
    "host": newest("host.name", "host"),
    "series": newest("outlier.lead.series", "found for"),
    "actual": newest("outlier.lead.observed", "actual", "number", own_format("0,0.[00]a")),
    "typical": newest("outlier.lead.expected", "typical", "number", own_format("0,0.[00]a")),
    "probability": newest("outlier.lead.tail_probability", "probability", "number", own_format("0.0e+0")),
    "influencers": newest("outlier.influencers", "influenced by", several=True),
    "pattern": newest("outlier.incident.pattern", "pattern"),
    "state": newest("outlier.incident.state", "state"),
    "summary": newest("event.reason", "summary"),
}


def incident_table(title: str, view: str, kuery: str) -> Lens:
    # Of an incident that changed several times: as it is now.
    columns = {
        "incident": top("outlier.incident.id", "incident", 100, "score"),
        "opened": newest("outlier.incident.opened_time", "opened", "date"),
        "score": number("max", "outlier.incident.score", "score", decimals(0)),
    } | INCIDENT_COLUMNS
    return Lens(title, view, "lnsDatatable", columns, table(columns, "score"), kuery)


def anomaly_table() -> Lens:
    return incident_table("Anomalies", "outlier-changes", "event.kind: alert")


def open_table() -> Lens:
    return incident_table("Open incidents", "outlier-incidents", "outlier.incident.state: OPEN")


def influencers() -> Lens:
    columns = {
        "name": top("outlier.influencers", "suspect", 12, "score"),
        "score": number("max", "outlier.incident.score", "highest score", decimals(0)),
        "incidents": number("unique_count", "outlier.incident.id", "incidents"),
    }
    return Lens("Top influencers", "outlier-changes", "lnsDatatable", columns, table(columns, "score"))


def restarts() -> Lens:
    columns = {
        "time": times(),
        "cause": top("outlier.incident.restart.cause", "cause", 8, None),
        "count": number("unique_count", "outlier.incident.id", "restarts"),
    }
    return Lens("Restarts by cause", "outlier-changes", "lnsXY", columns, xy("bar_stacked", "time", ["count"], "cause"), "event.action: outlier.incident.opened")


def host_lane() -> Lens:
    columns = {"time": times(), "host": top("host.name", "host", 25, "score"), "score": number("max", "outlier.score", "highest score")}
    return Lens("Highest score of each host", "outlier-scores", "lnsHeatmap", columns, heatmap("time", "host", "score"))


WEEK = "outlier.budget.false_alarms_per_week."


def budget_table() -> Lens:
    columns = {"host": top("host.name", "host", 50, None)} | {
        name: newest(source, label, "number", form)
        for name, source, label, form in (
            ("promised", WEEK + "promised", "false alarms a week: promised", decimals(2)),
            ("achieved", WEEK + "achieved", "achieved at most", decimals(2)),
            ("lower", WEEK + "lower", "95 % from", decimals(2)),
            ("upper", WEEK + "upper", "to", decimals(2)),
            ("expected", WEEK + "expected", "expected", decimals(2)),
            ("cpu_promised", "outlier.budget.cpu_percent.promised", "CPU %: promised", decimals(2)),
            ("cpu", "outlier.budget.cpu_percent.achieved", "used", decimals(2)),
            ("memory_promised", "outlier.budget.memory_bytes.promised", "memory: promised", BYTES),
            ("memory", "outlier.budget.memory_bytes.achieved", "used", BYTES),
            ("workloads", "outlier.host.workloads", "workloads", decimals(0)),
            ("warming", "outlier.host.warming_up", "warming up", decimals(0)),
            ("open", "outlier.host.open_incidents", "open incidents", decimals(0)),
        )
    }
    return Lens("Budgets of each host: promised and achieved", "outlier-hosts", "lnsDatatable", columns, table(columns))


def over_time(title: str, accessors: dict[str, tuple[str, str]], form: Json | None = None) -> Lens:
    columns = {"time": times()} | {name: number("max", source, label, form) for name, (source, label) in accessors.items()}
    colours = {name: {"promised": vega_parts.INK, "achieved": vega_parts.ACTUAL}.get(name, vega_parts.EXPECTED) for name in accessors}
    return Lens(title, "outlier-hosts", "lnsXY", columns, xy("line", "time", list(accessors), colours=colours))


def false_alarms() -> Lens:
    shown = {name: (WEEK + name, name) for name in ("promised", "achieved", "lower", "upper")}
    return over_time("False alarms a week (the host with the most)", shown, decimals(2))


def cpu() -> Lens:
    shown = {name: (f"outlier.budget.cpu_percent.{name}", name) for name in ("promised", "achieved")}
    return over_time("CPU of outlierd, % of a core (the host with the most)", shown, decimals(2))


def memory() -> Lens:
    shown = {name: (f"outlier.budget.memory_bytes.{name}", name) for name in ("promised", "achieved")}
    return over_time("Memory of outlierd (the host with the most)", shown, BYTES)
