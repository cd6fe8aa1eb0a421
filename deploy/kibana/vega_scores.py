"""The Vega pictures that follow numbers over time: the swim lane of scores, and one signal with its band."""

from __future__ import annotations

from vega_parts import (
    ACTUAL,
    BAND,
    CURRENT,
    EXPECTED,
    INK,
    Json,
    LONGEST,
    MOST_COLOURED,
    MOST_HOSTS,
    MOST_WORKLOADS,
    SCORES,
    SIGNALS,
    TIME_AXIS,
    add_filter,
    limit,
    limits,
    nothing,
    over_time,
    picture,
    search,
    search_all,
    severity_legend,
    severity_of,
    severity_scale,
    terms,
    text_axis,
)


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
