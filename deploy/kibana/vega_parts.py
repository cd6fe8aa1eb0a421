"""What the Vega pictures of the dashboards are made of: queries, scales, axes, and what is drawn where there is nothing."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

# Least score of each band and its colour.
LOW = "#d3dae6"
BANDS = [("WARNING", 3, "#8bc8fb"), ("MINOR", 25, "#fdec25"), ("MAJOR", 50, "#fba740"), ("CRITICAL", 75, "#fe5050")]
SEVERITIES = [name for name, _, _ in BANDS]
COLOURS = [colour for _, _, colour in BANDS]
INK, ACTUAL, BAND, EXPECTED = "#343741", "#0b64dd", "#a6c8f0", "#69707d"
LONGEST = 28  # characters of a label; what is longer is told when the pointer rests on it

CHANGES = "logs-outlier.change-*"
SCORES = "metrics-outlier.score-*"
SIGNALS = "metrics-outlier.signal-*"
HOSTS = "metrics-outlier.host-*"
CURRENT = "outlier-incidents"

OPENED: Json = {"term": {"event.action": "outlier.incident.opened"}}

MOST_HOSTS, MOST_WORKLOADS = 10, 15
MOST_COLOURED = 20  # hosts, and workloads of each; with their times below the 65,536 buckets that an answer may have


IN_TIME_RANGE: Json = {"range": {"@timestamp": {"%timefilter%": True}}}


def query(*more: Json) -> Json:
    """What the dashboard's search bar and filters leave, and `more`."""
    return {
        "bool": {
            "must": ["%dashboard_context-must_clause%"],
            "filter": ["%dashboard_context-filter_clause%", *more],
            "must_not": ["%dashboard_context-must_not_clause%"],
        }
    }


def search_all(index: str, aggs: Json) -> Json:
    """As search(), whatever the filters: for what is joined to documents that have other fields."""
    return {"index": index, "body": {"size": 0, "query": {"bool": {"filter": [IN_TIME_RANGE]}}, "aggs": aggs}}


def search(index: str, aggs: Json, *more: Json) -> Json:
    return {"index": index, "body": {"size": 0, "query": query(IN_TIME_RANGE, *more), "aggs": aggs}}


def terms(field: str, size: int, order: Json | None, aggs: Json) -> Json:
    return {"terms": {"field": field, "size": size} | ({"order": order} if order else {}), "aggs": aggs}


def over_time(buckets: int, aggs: Json, every: bool = True) -> Json:
    """At most about `buckets` of equal length; `every`: the empty ones too, over the whole range."""
    histogram: Json = {"field": "@timestamp", "fixed_interval": {"%autointerval%": buckets}, "min_doc_count": 0 if every else 1}
    if every:
        histogram["extended_bounds"] = {"min": {"%timefilter%": "min"}, "max": {"%timefilter%": "max"}}
    return {"date_histogram": histogram, "aggs": aggs}


def picture(name: str, description: str, **parts: Any) -> Json:
    return {
        "$schema": "https://vega.github.io/schema/vega/v5.json",
        "description": f"{name}: {description}",
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": 6,
        "config": {
            "axis": {"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 11, "gridColor": "#eef1f5"},
            "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 11},
            "title": {"color": INK, "fontSize": 12, "anchor": "start"},
        },
        **parts,
    }


def severity_legend(low: bool, shape: str = "square") -> Json:
    legend = {"fill": "severity", "orient": "top", "direction": "horizontal", "symbolType": shape, "symbolStrokeColor": EXPECTED, "offset": 4}
    return legend | ({} if low else {"values": SEVERITIES})


def limits(data: str, *fields: str) -> Json:
    """A data set `limits` with the least and the greatest of each field; a scale over nothing would be a warning on the screen."""
    ops = [("min", f"least_{name}", name) for name in fields] + [("max", f"greatest_{name}", name) for name in fields]
    op, result, field = (list(column) for column in zip(*ops, strict=True))
    return {"name": "limits", "source": data, "transform": [{"type": "aggregate", "ops": op, "fields": field, "as": result}]}


def limit(which: str, fields: list[str], otherwise: float) -> str:
    """An expression: the `least` or `greatest` of these."""
    function = {"least": "min", "greatest": "max"}[which]
    values = ", ".join(f"data('limits')[0].{which}_{name}" for name in fields)
    return f"length(data('limits')) && isValid(data('limits')[0].{which}_{fields[0]}) ? {function}({values}) : {otherwise}"


def nothing(data: str, what: str) -> Json:
    """Says so where there is nothing to draw."""
    update = {
        "x": {"signal": "width / 2"},
        "y": {"signal": "height / 2"},
        "text": {"signal": f"length(data('{data}')) ? '' : '{what} in this time range'"},
        "align": {"value": "center"},
        "fontSize": {"value": 13},
        "fill": {"value": EXPECTED},
    }
    return {"type": "text", "encode": {"update": update}}


def text_axis(characters: int = LONGEST, **more: Any) -> Json:
    """Names at the left: shortened, whole under the pointer."""
    labels = {"text": {"signal": f"truncate(datum.value, {characters})"}, "tooltip": {"signal": "datum.value"}}
    return {"scale": "y", "orient": "left", "domain": False, "ticks": False, "labelLimit": 360, "encode": {"labels": {"update": labels}}} | more


def severity_scale() -> Json:
    return {"name": "severity", "type": "ordinal", "domain": ["low", *SEVERITIES], "range": [LOW, *COLOURS]}


def severity_of(score: str) -> str:
    """An expression: the name of the band of a score."""
    text = "'low'"
    for name, least, _ in BANDS:
        text = f"({score} >= {least} ? '{name}' : {text})"
    return text


TIME_AXIS: Json = {
    "scale": "x",
    "orient": "bottom",
    "labelOverlap": True,
    "tickCount": 8,
    "format": {"hours": "%H:%M", "minutes": "%H:%M", "date": "%b %d", "seconds": "%H:%M:%S"},
}


def add_filter(dialect: str, fields: Json, index: str) -> str:
    """An expression that adds filters to the dashboard: field -> expression of its value."""
    function = {"kibana": "kibanaAddFilter", "opensearch-dashboards": "opensearchDashboardsAddFilter"}[dialect]
    clauses = ", ".join(f"{{match_phrase: {{'{field}': {value}}}}}" for field, value in fields.items())
    return f"{function}({{bool: {{must: [{clauses}]}}}}, '{index}')"
