"""The Vega pictures of the dashboards, for Kibana and OpenSearch Dashboards alike: complete Vega 5 specifications with their queries.

What stands between % signs is put in by the dashboard when it asks: its time range, its filters, a fitting interval. Expressions keep
to what Vega's interpreter knows, which both use where scripts are forbidden. Buckets are counted by the terms' `size`, so a
host with thousands of workloads costs no more than is drawn.
"""

from __future__ import annotations

from vega_parts import (
    ACTUAL,
    CHANGES,
    CURRENT,
    HOSTS,
    INK,
    Json,
    LONGEST,
    MOST_HOSTS,
    OPENED,
    SEVERITIES,
    TIME_AXIS,
    add_filter,
    limit,
    limits,
    nothing,
    over_time,
    picture,
    query,
    search,
    severity_of,
    severity_scale,
    terms,
    text_axis,
)
from vega_scores import single_metric, swim_lane


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
