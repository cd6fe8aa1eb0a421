"""The Vega pictures of the dashboards, for Kibana and OpenSearch Dashboards alike: complete Vega 5 specifications with their queries.

What stands between % signs is put in by the dashboard when it asks: its time range, its filters, a fitting interval. Expressions keep
to what Vega's interpreter knows, which both use where scripts are forbidden. Buckets are counted by the terms' `size`, so a
host with thousands of workloads costs no more than is drawn.
"""

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


def swim_lane(dialect: str) -> Json:
    most = {"most": {"max": {"field": "outlier.score"}}}
    times = over_time(72, {"score": {"max": {"field": "outlier.score"}}})
    workloads = terms("outlier.workload.name", MOST_WORKLOADS, {"most": "desc"}, most | {"times": times})
    lanes = search(SCORES, {"hosts": terms("host.name", MOST_HOSTS, {"most": "desc"}, most | {"workloads": workloads})})
    chosen = add_filter(dialect, {"host.name": "datum.host", "outlier.workload.name": "datum.name"}, SCORES)
    return picture(
        "Anomaly swim lane",
        "the highest score of each workload on each host in each stretch of time, the most unusual lane first; `overall` is the highest of all",
        data=[
            {
                "name": "cells",
                "url": lanes,
                "format": {"property": "aggregations.hosts.buckets"},
                "transform": [
                    {"type": "flatten", "fields": ["workloads.buckets"], "as": ["workload"]},
                    {"type": "flatten", "fields": ["workload.times.buckets"], "as": ["cell"]},
                    {"type": "formula", "as": "host", "expr": "datum.key"},
                    {"type": "formula", "as": "name", "expr": "datum.workload.key"},
                    {"type": "formula", "as": "lane", "expr": f"truncate(datum.name, {LONGEST}) + '  ·  ' + truncate(datum.host, {LONGEST})"},
                    {"type": "formula", "as": "start", "expr": "datum.cell.key"},
                    {"type": "formula", "as": "score", "expr": "datum.cell.score.value"},
                    {"type": "project", "fields": ["host", "name", "lane", "start", "score"]},
                ],
            },
            {
                "name": "step",
                "source": "cells",
                "transform": [
                    {"type": "aggregate", "groupby": ["start"]},
                    {"type": "window", "ops": ["lead"], "fields": ["start"], "as": ["next"], "sort": {"field": "start"}},
                    {"type": "filter", "expr": "isValid(datum.next)"},
                    {"type": "formula", "as": "step", "expr": "datum.next - datum.start"},
                    {"type": "aggregate", "ops": ["min"], "fields": ["step"], "as": ["step"]},
                ],
            },
            {
                "name": "range",
                "source": "cells",
                "transform": [{"type": "aggregate", "ops": ["min", "max"], "fields": ["start", "start"], "as": ["first", "last"]}],
            },
            {"name": "scored", "source": "cells", "transform": [{"type": "filter", "expr": "isValid(datum.score)"}]},
            {
                "name": "overall",
                "source": "scored",
                "transform": [
                    {"type": "aggregate", "groupby": ["start"], "ops": ["max"], "fields": ["score"], "as": ["score"]},
                    {"type": "formula", "as": "lane", "expr": "'overall'"},
                    {"type": "formula", "as": "name", "expr": "'all workloads'"},
                    {"type": "formula", "as": "host", "expr": "'all hosts'"},
                ],
            },
            {
                "name": "lanes",
                "source": "scored",
                "transform": [
                    {"type": "aggregate", "groupby": ["lane"], "ops": ["max"], "fields": ["score"], "as": ["most"]},
                    {"type": "collect", "sort": {"field": ["most", "lane"], "order": ["descending", "ascending"]}},
                ],
            },
        ],
        signals=[
            {"name": "step", "update": "length(data('step')) && isValid(data('step')[0].step) ? data('step')[0].step : 60000"},
            {"name": "first", "update": "length(data('range')) ? data('range')[0].first : 0"},
            {"name": "last", "update": "length(data('range')) ? data('range')[0].last + step : 1"},
            {"name": "chosen", "on": [{"events": "@cell:click", "update": chosen}]},
        ],
        scales=[
            {"name": "x", "type": "time", "domain": {"signal": "[first, last]"}, "range": "width"},
            {
                "name": "y",
                "type": "band",
                "domain": {"fields": [["overall"], {"data": "lanes", "field": "lane"}]},
                "range": "height",
                "paddingInner": 0.14,
            },
            severity_scale(),
        ],
        axes=[TIME_AXIS, text_axis(2 * LONGEST + 5)],
        legends=[severity_legend(True)],
        marks=[cells("overall", "overall_cell"), cells("scored", "cell"), nothing("scored", "no scores")],
    )


def cells(data: str, name: str) -> Json:
    tooltip = "{workload: datum.name, host: datum.host, from: timeFormat(datum.start, '%Y-%m-%d %H:%M'), score: format(datum.score, '.1f')}"
    update = {
        "x": {"scale": "x", "field": "start"},
        "x2": {"signal": "max(scale('x', datum.start + step) - 1, scale('x', datum.start) + 1)"},
        "y": {"scale": "y", "field": "lane"},
        "height": {"scale": "y", "band": 1},
        "fill": {"scale": "severity", "signal": severity_of("datum.score")},
        "cursor": {"value": "pointer" if name == "cell" else "default"},
        "tooltip": {"signal": tooltip},
    }
    return {"type": "rect", "name": name, "from": {"data": data}, "encode": {"update": update}}


def single_metric(dialect: str) -> Json:
    least = {"least": {"min": {"field": "outlier.signal.tail_probability"}}}
    numbers = {name: {"avg": {"field": f"outlier.signal.{name}"}} for name in ("value", "expected", "lower", "upper")}
    numbers["p"] = least["least"]
    buckets = 120
    times = over_time(buckets, numbers, every=False)
    series = terms("outlier.signal.series", 1, {"least": "asc"}, least | {"times": times, "unit": {"terms": {"field": "outlier.signal.unit", "size": 1}}})
    workloads = terms("outlier.workload.name", 1, {"least": "asc"}, least | {"series": series})
    chosen = search(SIGNALS, {"hosts": terms("host.name", 1, {"least": "asc"}, least | {"workloads": workloads})})

    # The colours come from other documents, which a filter on the series would all refuse. Those with the highest scores suffice:
    # who is not among them is drawn as low.
    most = {"most": {"max": {"field": "outlier.score"}}}
    scored = terms("outlier.workload.name", MOST_COLOURED, {"most": "desc"}, most | {"times": over_time(buckets, most, every=False)})
    scores = search_all(SCORES, {"hosts": terms("host.name", MOST_COLOURED, {"most": "desc"}, most | {"workloads": scored})})

    still_open = {"bool": {"must_not": [{"exists": {"field": "outlier.incident.resolved_time"}}]}}
    ends_in_range = {"range": {"outlier.incident.resolved_time": {"gte": {"%timefilter%": "min"}}}}
    overlap = [
        {"range": {"outlier.incident.opened_time": {"lte": {"%timefilter%": "max"}}}},
        {"bool": {"should": [still_open, ends_in_range], "minimum_should_match": 1}},
    ]
    incidents = {
        "index": CURRENT,
        "body": {
            "size": 200,
            "query": {"bool": {"filter": overlap}},
            "sort": [{"outlier.incident.opened_time": "desc"}],
            "_source": ["host.name", "outlier.workload.name", "event.reason"]
            + [f"outlier.incident.{name}" for name in ("id", "severity", "score", "onset_time", "resolved_time")]
            + ["outlier.lead.series"],
        },
    }
    key = "datum.host + '|' + datum.workload + '|' + datum.start"
    incident_tooltip = (
        "{incident: datum.id, severity: datum.severity, score: format(datum.score, '.1f'), from: timeFormat(datum.from, '%Y-%m-%d %H:%M:%S'), "
        "to: datum.resolved ? timeFormat(datum.to, '%Y-%m-%d %H:%M:%S') : 'still open', summary: truncate(datum.summary, 200)}"
    )
    point_tooltip = (
        "{time: timeFormat(datum.start, '%Y-%m-%d %H:%M:%S'), actual: format(datum.value, '.4~s'), expected: format(datum.expected, '.4~s'), "
        "band: format(datum.lower, '.4~s') + ' to ' + format(datum.upper, '.4~s'), probability: format(datum.p, '.1e'), severity: datum.severity}"
    )
    x, y = {"scale": "x", "field": "start"}, lambda field: {"scale": "y", "field": field}  # noqa: E731
    return picture(
        "Single metric",
        "one signal of one workload: actual (line), expected (dashed), the band within which 99 % were expected, and points outside of it in the "
        "colour of the workload's score; above it the incidents that this signal led. Without filters: the most improbable one",
        data=[
            {
                "name": "scores",
                "url": scores,
                "format": {"property": "aggregations.hosts.buckets"},
                "transform": [
                    {"type": "flatten", "fields": ["workloads.buckets"], "as": ["w"]},
                    {"type": "flatten", "fields": ["w.times.buckets"], "as": ["cell"]},
                    {"type": "formula", "as": "host", "expr": "datum.key"},
                    {"type": "formula", "as": "workload", "expr": "datum.w.key"},
                    {"type": "formula", "as": "start", "expr": "datum.cell.key"},
                    {"type": "formula", "as": "key", "expr": key},
                    {"type": "formula", "as": "score", "expr": "datum.cell.most.value"},
                    {"type": "project", "fields": ["key", "score"]},
                ],
            },
            {
                "name": "points",
                "url": chosen,
                "format": {"property": "aggregations.hosts.buckets"},
                "transform": [
                    {"type": "flatten", "fields": ["workloads.buckets"], "as": ["w"]},
                    {"type": "flatten", "fields": ["w.series.buckets"], "as": ["s"]},
                    {"type": "flatten", "fields": ["s.times.buckets"], "as": ["cell"]},
                    {"type": "formula", "as": "host", "expr": "datum.key"},
                    {"type": "formula", "as": "workload", "expr": "datum.w.key"},
                    {"type": "formula", "as": "series", "expr": "datum.s.key"},
                    {"type": "formula", "as": "unit", "expr": "length(datum.s.unit.buckets) ? datum.s.unit.buckets[0].key : ''"},
                    {"type": "formula", "as": "start", "expr": "datum.cell.key"},
                    *({"type": "formula", "as": name, "expr": f"datum.cell.{name}.value"} for name in ("value", "expected", "lower", "upper", "p")),
                    {"type": "formula", "as": "key", "expr": key},
                    {"type": "lookup", "from": "scores", "key": "key", "fields": ["key"], "values": ["score"], "as": ["score"], "default": 0},
                    {"type": "formula", "as": "severity", "expr": severity_of("datum.score")},
                    {
                        "type": "project",
                        "fields": ["host", "workload", "series", "unit", "start", "value", "expected", "lower", "upper", "p", "severity"],
                    },
                    {"type": "filter", "expr": "isValid(datum.value)"},
                    {"type": "window", "ops": ["lag"], "fields": ["start"], "as": ["before"], "sort": {"field": "start"}},
                    {"type": "formula", "as": "step", "expr": "isValid(datum.before) ? datum.start - datum.before : null"},
                    {"type": "joinaggregate", "ops": ["median"], "fields": ["step"], "as": ["usual_step"]},
                    {"type": "formula", "as": "breaks", "expr": "isValid(datum.step) && datum.step > 4 * datum.usual_step ? 1 : 0"},
                    {"type": "window", "ops": ["sum"], "fields": ["breaks"], "as": ["stretch"], "sort": {"field": "start"}},
                ],
            },
            limits("points", "value", "lower", "upper"),
            {
                "name": "outside",
                "source": "points",
                "transform": [{"type": "filter", "expr": "isValid(datum.upper) && (datum.value > datum.upper || datum.value < datum.lower)"}],
            },
            {
                "name": "incidents",
                "url": incidents,
                "format": {"property": "hits.hits"},
                "transform": [
                    {"type": "formula", "as": "host", "expr": "datum._source.host.name"},
                    {"type": "formula", "as": "workload", "expr": "datum._source.outlier.workload ? datum._source.outlier.workload.name : ''"},
                    {"type": "formula", "as": "series", "expr": "datum._source.outlier.lead ? datum._source.outlier.lead.series : ''"},
                    {"type": "filter", "expr": "datum.host == host && datum.workload == workload && datum.series == series"},
                    {"type": "formula", "as": "id", "expr": "datum._source.outlier.incident.id"},
                    {"type": "formula", "as": "severity", "expr": "datum._source.outlier.incident.severity"},
                    {"type": "formula", "as": "score", "expr": "datum._source.outlier.incident.score"},
                    {"type": "formula", "as": "summary", "expr": "datum._source.event.reason"},
                    {"type": "formula", "as": "resolved", "expr": "isValid(datum._source.outlier.incident.resolved_time)"},
                    {"type": "formula", "as": "from", "expr": "toNumber(toDate(datum._source.outlier.incident.onset_time))"},
                    {"type": "formula", "as": "to", "expr": "datum.resolved ? toNumber(toDate(datum._source.outlier.incident.resolved_time)) : last"},
                    {"type": "filter", "expr": "datum.to >= first && datum.from <= last"},
                ],
            },
        ],
        signals=[
            {"name": "some", "update": "length(data('points')) > 0"},
            {"name": "host", "update": "some ? data('points')[0].host : ''"},
            {"name": "workload", "update": "some ? data('points')[0].workload : ''"},
            {"name": "series", "update": "some ? data('points')[0].series : ''"},
            {"name": "unit", "update": "some ? data('points')[0].unit : ''"},
            {"name": "first", "update": "some ? extent(pluck(data('points'), 'start'))[0] : 0"},
            {"name": "last", "update": "some ? extent(pluck(data('points'), 'start'))[1] : 1"},
            {"name": "heading", "update": f"some ? truncate(workload, {LONGEST}) + '  ·  ' + truncate(host, {LONGEST}) : ''"},
        ],
        title={"text": {"signal": "heading"}, "subtitle": {"signal": "some ? series + (unit == '1' ? '' : ' in ' + unit) : ''"}, "subtitleColor": EXPECTED},
        scales=[
            {"name": "x", "type": "time", "domain": {"signal": "[first, last]"}, "range": "width"},
            {
                "name": "y",
                "type": "linear",
                "domain": {"signal": f"[{limit('least', ['value', 'lower'], 0)}, {limit('greatest', ['value', 'upper'], 1)}]"},
                "range": [{"signal": "height"}, 14],
                "zero": False,
                "nice": True,
            },
            severity_scale(),
            {"name": "lines", "type": "ordinal", "domain": ["actual", "expected", "band"], "range": [ACTUAL, EXPECTED, BAND]},
        ],
        axes=[TIME_AXIS, {"scale": "y", "orient": "left", "grid": True, "tickCount": 6, "format": "~s", "domain": False}],
        legends=[
            severity_legend(False, "circle"),
            {"stroke": "lines", "orient": "top", "direction": "horizontal", "symbolType": "stroke", "symbolStrokeWidth": 4},
        ],
        marks=[
            {
                "type": "group",
                "from": {"facet": {"name": "stretch", "data": "points", "groupby": ["stretch"]}},
                "marks": [
                    {
                        "type": "area",
                        "from": {"data": "stretch"},
                        "sort": {"field": "datum.start"},
                        "encode": {"update": {"x": x, "y": y("upper"), "y2": y("lower"), "fill": {"value": BAND}, "fillOpacity": {"value": 0.55}}},
                    },
                    {
                        "type": "line",
                        "from": {"data": "stretch"},
                        "sort": {"field": "datum.start"},
                        "encode": {"update": {"x": x, "y": y("expected"), "stroke": {"value": EXPECTED}, "strokeDash": {"value": [4, 3]}, "strokeWidth": {"value": 1}}},
                    },
                    {
                        "type": "line",
                        "from": {"data": "stretch"},
                        "sort": {"field": "datum.start"},
                        "encode": {"update": {"x": x, "y": y("value"), "stroke": {"value": ACTUAL}, "strokeWidth": {"value": 1.5}}},
                    },
                ],
            },
            {
                "type": "symbol",
                "name": "outside_point",
                "from": {"data": "outside"},
                "encode": {
                    "update": {
                        "x": x,
                        "y": y("value"),
                        "size": {"value": 34},
                        "fill": {"scale": "severity", "field": "severity"},
                        "stroke": {"value": INK},
                        "strokeWidth": {"value": 0.5},
                        "tooltip": {"signal": point_tooltip},
                    }
                },
            },
            {
                "type": "rect",
                "name": "incident",
                "from": {"data": "incidents"},
                "encode": {
                    "update": {
                        "x": {"signal": "scale('x', max(datum.from, first))"},
                        "x2": {"signal": "max(scale('x', min(datum.to, last)), scale('x', max(datum.from, first)) + 2)"},
                        "y": {"value": 0},
                        "height": {"value": 8},
                        "fill": {"scale": "severity", "field": "severity"},
                        "stroke": {"value": EXPECTED},
                        "strokeWidth": {"value": 0.5},
                        "tooltip": {"signal": incident_tooltip},
                    }
                },
            },
            nothing("points", "no signal"),
        ],
    )


def influencers(dialect: str) -> Json:
    aggs = {"most": {"max": {"field": "outlier.incident.score"}}, "incidents": {"cardinality": {"field": "outlier.incident.id"}}}
    chosen = add_filter(dialect, {"outlier.influencers": "datum.name"}, CHANGES)
    return picture(
        "Top influencers",
        "the workloads most suspected of incidents: the highest score of an incident that each had a part in, and how many",
        data=[
            {
                "name": "suspects",
                "url": search(CHANGES, {"names": terms("outlier.influencers", 12, {"most": "desc"}, aggs)}),
                "format": {"property": "aggregations.names.buckets"},
                "transform": [
                    {"type": "formula", "as": "name", "expr": "datum.key"},
                    {"type": "formula", "as": "score", "expr": "datum.most.value"},
                    {"type": "formula", "as": "incidents", "expr": "datum.incidents.value"},
                ],
            }
        ],
        signals=[{"name": "chosen", "on": [{"events": "@bar:click", "update": chosen}]}],
        scales=[
            {"name": "x", "type": "linear", "domain": [0, 100], "range": "width"},
            {"name": "y", "type": "band", "domain": {"data": "suspects", "field": "name"}, "range": "height", "padding": 0.2},
            severity_scale(),
        ],
        axes=[{"scale": "x", "orient": "bottom", "title": "highest score", "grid": True, "tickCount": 5, "labelOverlap": True}, text_axis()],
        marks=[
            {
                "type": "rect",
                "name": "bar",
                "from": {"data": "suspects"},
                "encode": {
                    "update": {
                        "x": {"scale": "x", "value": 0},
                        "x2": {"scale": "x", "field": "score"},
                        "y": {"scale": "y", "field": "name"},
                        "height": {"scale": "y", "band": 1},
                        "fill": {"scale": "severity", "signal": severity_of("datum.score")},
                        "cursor": {"value": "pointer"},
                        "tooltip": {"signal": "{workload: datum.name, 'highest score': format(datum.score, '.1f'), incidents: datum.incidents}"},
                    }
                },
            },
            {
                "type": "text",
                "from": {"data": "suspects"},
                "encode": {
                    "update": {
                        "x": {"signal": "scale('x', 0) + 5"},
                        "y": {"signal": "scale('y', datum.name) + bandwidth('y') / 2"},
                        "baseline": {"value": "middle"},
                        "fill": {"value": INK},
                        "text": {"signal": "format(datum.score, '.0f') + '   in ' + datum.incidents + (datum.incidents == 1 ? ' incident' : ' incidents')"},
                    }
                },
            },
            nothing("suspects", "no suspects"),
        ],
    )


CAUSES = {
    "CRASH": "#cc5642",
    "CRASH_LOOP": "#7b2d26",
    "OUT_OF_MEMORY": "#9170b8",
    "CHILD_OUT_OF_MEMORY": "#ca8eae",
    "KILLED": "#da8b45",
    "EXITED": "#b9a888",
    "ROLLOUT": "#6092c0",
    "SCHEDULED": "#54b399",
}
OPENED: Json = {"term": {"event.action": "outlier.incident.opened"}}


def restarts(dialect: str) -> Json:
    causes = terms("outlier.incident.restart.cause", len(CAUSES), None, {"incidents": {"cardinality": {"field": "outlier.incident.id"}}})
    return picture(
        "Restarts by cause",
        "incidents that a restart opened, by what the kernel and the service manager say of it",
        data=[
            {
                "name": "times",
                "url": search(CHANGES, {"times": over_time(48, {"causes": causes})}, OPENED),
                "format": {"property": "aggregations.times.buckets"},
                "transform": [{"type": "formula", "as": "start", "expr": "datum.key"}],
            },
            {
                "name": "range",
                "source": "times",
                "transform": [{"type": "aggregate", "ops": ["min", "max", "count"], "fields": ["start", "start", "start"], "as": ["first", "last", "count"]}],
            },
            {
                "name": "restarts",
                "source": "times",
                "transform": [
                    {"type": "flatten", "fields": ["causes.buckets"], "as": ["c"]},
                    {"type": "filter", "expr": "isValid(datum.c)"},
                    {"type": "formula", "as": "cause", "expr": "datum.c.key"},
                    {"type": "formula", "as": "count", "expr": "datum.c.incidents.value"},
                    {"type": "stack", "groupby": ["start"], "field": "count", "sort": {"field": "cause"}},
                ],
            },
            limits("restarts", "y1"),
            {
                "name": "causes",
                "source": "restarts",
                "transform": [{"type": "aggregate", "groupby": ["cause"]}, {"type": "collect", "sort": {"field": "cause"}}],
            },
        ],
        signals=[
            {"name": "step", "update": "length(data('range')) && data('range')[0].count > 1 ? (data('range')[0].last - data('range')[0].first) / (data('range')[0].count - 1) : 60000"},
            {"name": "first", "update": "length(data('range')) ? data('range')[0].first : 0"},
            {"name": "last", "update": "length(data('range')) ? data('range')[0].last + step : 1"},
        ],
        scales=[
            {"name": "x", "type": "time", "domain": {"signal": "[first, last]"}, "range": "width"},
            {"name": "y", "type": "linear", "domain": {"signal": f"[0, {limit('greatest', ['y1'], 1)}]"}, "range": "height", "nice": True},
            {"name": "cause", "type": "ordinal", "domain": list(CAUSES), "range": list(CAUSES.values())},
        ],
        axes=[TIME_AXIS, {"scale": "y", "orient": "left", "grid": True, "format": "d", "tickCount": {"signal": "clamp(domain('y')[1], 1, 5)"}, "domain": False, "title": "restarts"}],
        legends=[{"fill": "cause", "orient": "right", "symbolType": "square", "labelLimit": 220, "values": {"signal": "pluck(data('causes'), 'cause')"}}],
        marks=[
            {
                "type": "rect",
                "name": "bar",
                "from": {"data": "restarts"},
                "encode": {
                    "update": {
                        "x": {"scale": "x", "field": "start"},
                        "x2": {"signal": "max(scale('x', datum.start + step) - 1, scale('x', datum.start) + 2)"},
                        "y": {"scale": "y", "field": "y0"},
                        "y2": {"scale": "y", "field": "y1"},
                        "fill": {"scale": "cause", "field": "cause"},
                        "tooltip": {"signal": "{cause: datum.cause, restarts: datum.count, from: timeFormat(datum.start, '%Y-%m-%d %H:%M')}"},
                    }
                },
            },
            nothing("restarts", "no restarts"),
        ],
    )


def budgets(dialect: str) -> Json:
    latest = {"top_hits": {"size": 1, "sort": [{"@timestamp": "desc"}], "_source": ["outlier.budget"]}}
    measures = [("false alarms", "false_alarms_per_week", "a week"), ("CPU", "cpu_percent", "% of a core"), ("memory", "memory_bytes", "bytes")]
    measured = "[" + ", ".join(f"{{name: '{name}', unit: '{unit}', of: datum.budget.{field}}}" for name, field, unit in measures) + "]"
    return picture(
        "Budgets: achieved as a share of what was promised",
        "for each host the newest of each budget; the line at false alarms is their 95 % interval. Red: more than promised (false alarms: "
        "even the lower end)",
        data=[
            {
                "name": "budgets",
                "url": search(HOSTS, {"hosts": terms("host.name", MOST_HOSTS, None, {"latest": latest})}),
                "format": {"property": "aggregations.hosts.buckets"},
                "transform": [
                    {"type": "formula", "as": "budget", "expr": "datum.latest.hits.hits[0]._source.outlier.budget"},
                    {"type": "filter", "expr": "isValid(datum.budget)"},
                    {"type": "formula", "as": "measured", "expr": measured},
                    {"type": "flatten", "fields": ["measured"], "as": ["m"]},
                    {"type": "filter", "expr": "isValid(datum.m.of) && datum.m.of.promised > 0"},
                    {"type": "formula", "as": "row", "expr": f"truncate(datum.key, {LONGEST}) + '  ·  ' + datum.m.name"},
                    {"type": "formula", "as": "share", "expr": "datum.m.of.achieved / datum.m.of.promised"},
                    {"type": "formula", "as": "lower", "expr": "isValid(datum.m.of.lower) ? datum.m.of.lower / datum.m.of.promised : datum.share"},
                    {"type": "formula", "as": "upper", "expr": "isValid(datum.m.of.upper) ? datum.m.of.upper / datum.m.of.promised : datum.share"},
                ],
            },
            limits("budgets", "upper"),
        ],
        scales=[
            {"name": "x", "type": "linear", "domain": {"signal": f"[0, max(1.2, ({limit('greatest', ['upper'], 0)}))]"}, "range": "width", "nice": True},
            {"name": "y", "type": "point", "domain": {"data": "budgets", "field": "row"}, "range": "height", "padding": 0.6},
        ],
        axes=[{"scale": "x", "orient": "bottom", "format": "%", "grid": True, "title": "share of the promise", "tickCount": 6, "labelOverlap": True}, text_axis(LONGEST + 20, grid=True)],
        marks=[
            {
                "type": "rule",
                "encode": {"update": {"x": {"scale": "x", "value": 1}, "y": {"value": 0}, "y2": {"signal": "height"}, "stroke": {"value": INK}, "strokeWidth": {"value": 1.5}}},
            },
            {
                "type": "rule",
                "from": {"data": "budgets"},
                "encode": {
                    "update": {
                        "x": {"scale": "x", "field": "lower"},
                        "x2": {"scale": "x", "field": "upper"},
                        "y": {"scale": "y", "field": "row"},
                        "stroke": {"signal": "datum.lower > 1 ? '#fe5050' : '#69707d'"},
                        "strokeWidth": {"value": 2},
                    }
                },
            },
            {
                "type": "symbol",
                "from": {"data": "budgets"},
                "encode": {
                    "update": {
                        "x": {"scale": "x", "field": "share"},
                        "y": {"scale": "y", "field": "row"},
                        "size": {"value": 70},
                        "fill": {"signal": f"datum.lower > 1 ? '#fe5050' : '{ACTUAL}'"},
                        "tooltip": {
                            "signal": "{host: datum.key, budget: datum.m.name + ', ' + datum.m.unit, promised: format(datum.m.of.promised, '.4~s'), "
                            "achieved: format(datum.m.of.achieved, '.4~s')}"
                        },
                    }
                },
            },
            nothing("budgets", "no host"),
        ],
    )


def open_incidents(dialect: str) -> Json:
    """Of now: the time range does not touch it."""
    aggs = {"severities": terms("outlier.incident.severity", len(SEVERITIES), None, {})}
    url = {"index": CURRENT, "body": {"size": 0, "query": query({"term": {"outlier.incident.state": "OPEN"}}), "aggs": aggs}}
    middle = {"signal": "scale('x', datum.severity) + bandwidth('x') / 2"}
    return picture(
        "Open incidents",
        "how many incidents are open now, by severity, whatever the time range",
        data=[
            {"name": "counts", "url": url, "format": {"property": "aggregations.severities.buckets"}},
            {
                "name": "tiles",
                "values": [{"severity": name} for name in reversed(SEVERITIES)],
                "transform": [
                    {"type": "lookup", "from": "counts", "key": "key", "fields": ["severity"], "values": ["doc_count"], "as": ["count"], "default": 0}
                ],
            },
        ],
        scales=[
            {"name": "x", "type": "band", "domain": {"data": "tiles", "field": "severity"}, "range": "width", "padding": 0.06},
            severity_scale(),
        ],
        marks=[
            {
                "type": "rect",
                "from": {"data": "tiles"},
                "encode": {
                    "update": {
                        "x": {"scale": "x", "field": "severity"},
                        "width": {"scale": "x", "band": 1},
                        "y": {"value": 0},
                        "y2": {"signal": "height"},
                        "fill": {"scale": "severity", "field": "severity"},
                        "fillOpacity": {"signal": "datum.count ? 1 : 0.2"},
                    }
                },
            },
            {
                "type": "text",
                "from": {"data": "tiles"},
                "encode": {
                    "update": {
                        "x": middle,
                        "y": {"signal": "height * 0.45"},
                        "text": {"signal": "format(datum.count, ',d')"},
                        "fontSize": {"signal": "min(height * 0.5, 40)"},
                        "fontWeight": {"value": "bold"},
                        "align": {"value": "center"},
                        "baseline": {"value": "middle"},
                        "fill": {"value": INK},
                    }
                },
            },
            {
                "type": "text",
                "from": {"data": "tiles"},
                "encode": {
                    "update": {
                        "x": middle,
                        "y": {"signal": "height * 0.85"},
                        "text": {"field": "severity"},
                        "fontSize": {"value": 11},
                        "align": {"value": "center"},
                        "fill": {"value": INK},
                    }
                },
            },
        ],
    )


# Name -> (title, picture). The name is also that of the saved object.
PICTURES = {
    "swim-lane": ("Anomaly swim lane by workload and host", swim_lane),
    "single-metric": ("Single metric: actual, expected, band", single_metric),
    "influencers": ("Top influencers", influencers),
    "restarts": ("Restarts by cause", restarts),
    "budgets": ("Host budgets: achieved as a share of the promise", budgets),
    "open-incidents": ("Open incidents now", open_incidents),
}
