"""Every picture in Vega: its queries run on the servers, it is drawn without a warning, and shows what the documents say."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import documents
import pytest
from store import CONTEXT, END, Indexed
from documents import DB1, POSTGRES
from pictures import Context, Picture, draw
from project import Json, load, read_objects

VEGA, PARTS = load("kibana", "vega"), load("kibana", "vega_parts")
COLOUR = {"low": PARTS.LOW} | dict(zip(PARTS.SEVERITIES, PARTS.COLOURS, strict=True))
# The file whose pictures a server's dashboards show, and the size of each panel in pixels.
FILE = {"elasticsearch": "kibana/outlierd.ndjson", "opensearch": "opensearch-dashboards/outlierd.ndjson"}
SIZE = {"swim-lane": (1100, 340), "single-metric": (760, 320), "open-incidents": (540, 130)}
FIVE_MINUTES = timedelta(minutes=5)


def spec_of(name: str, dialect: str) -> Json:
    """As it stands in the file that is imported; those that Kibana shows as Lens panels, as they would be."""
    one = next((one for one in read_objects(FILE[dialect]) if one["id"] == f"outlier-{name}"), None)
    if one is None:
        made: Json = VEGA.PICTURES[name][1]("kibana")
        return made
    spec: Json = json.loads(json.loads(one["attributes"]["visState"])["params"]["spec"])
    return spec


def pictures_of(dialect: str) -> list[str]:
    shown = [one["id"].removeprefix("outlier-") for one in read_objects(FILE[dialect]) if one["type"] == "visualization"]
    return [name for name in shown if not name.startswith("controls-")]


def picture(name: str, indexed: Indexed, node_modules: Path, context: Context = CONTEXT, click: str = "") -> Picture:
    width, height = SIZE.get(name, (480, 260))
    drawn = draw(spec_of(name, indexed.dialect), context, indexed.search, node_modules, width, height, click)
    assert drawn.warnings == []
    return drawn


def moment(body: Json) -> datetime:
    return datetime.fromisoformat(body["@timestamp"].replace("Z", "+00:00"))


def band_of(score: float) -> str:
    return "low" if score < 3 else PARTS.SEVERITIES[documents.severity_of(score) - 1]


def bucket(time: datetime) -> datetime:
    return time - timedelta(seconds=time.timestamp() % FIVE_MINUTES.total_seconds())


def test_every_picture_is_drawn_without_a_warning_and_no_label_is_cut(indexed: Indexed, node_modules: Path) -> None:
    names = pictures_of(indexed.dialect)
    assert set(names) >= {"swim-lane", "single-metric"} and (indexed.dialect == "elasticsearch" or set(names) == set(VEGA.PICTURES))
    for name in names:
        drawn = picture(name, indexed, node_modules)
        assert not [mark["text"] for mark in drawn.marks if mark["cut"]], name
        assert not any("this time range" in text for text in drawn.texts()), name


def test_where_there_is_nothing_the_pictures_say_so(indexed: Indexed, node_modules: Path) -> None:
    before = replace(CONTEXT, begin=CONTEXT.begin - timedelta(days=9), end=CONTEXT.end - timedelta(days=8))
    for name in pictures_of(indexed.dialect):
        drawn = picture(name, indexed, node_modules, before)
        assert name == "open-incidents" or any(text.startswith("no ") for text in drawn.texts()), (name, drawn.texts())


def test_the_swim_lane_has_the_highest_score_of_each_workload_in_the_colour_of_its_band(indexed: Indexed, node_modules: Path) -> None:
    highest: dict[tuple[str, str, str], float] = defaultdict(float)
    for body in documents.scores(END):
        key = (body["outlier"]["workload"]["name"], body["host"]["name"], bucket(moment(body)).strftime("%Y-%m-%d %H:%M"))
        highest[key] = max(highest[key], body["outlier"]["score"])
    drawn = picture("swim-lane", indexed, node_modules)
    seen = {(cell["tooltip"]["workload"], cell["tooltip"]["host"], cell["tooltip"]["from"]): cell for cell in drawn.named("cell")}
    assert seen.keys() == highest.keys() and len(seen) == len(drawn.named("cell"))
    for key, score in highest.items():
        assert seen[key]["fill"] == COLOUR[band_of(score)] and abs(float(seen[key]["tooltip"]["score"]) - score) < 0.06, key
        assert seen[key]["x2"] - seen[key]["x"] > 3 and seen[key]["height"] > 10
    assert {cell["fill"] for cell in seen.values()} == set(COLOUR.values())

    overall = {cell["tooltip"]["from"]: cell["fill"] for cell in drawn.named("overall_cell")}
    for time in {time for _, _, time in highest}:
        assert overall[time] == COLOUR[band_of(max(score for key, score in highest.items() if key[2] == time))]


def test_the_most_unusual_lane_stands_first_below_overall_and_a_hostile_name_is_only_text(indexed: Indexed, node_modules: Path) -> None:
    drawn = picture("swim-lane", indexed, node_modules)
    labels = sorted((mark for mark in drawn.marks if mark["role"] == "axis-label" and not mark["text"][0].isdigit()), key=lambda mark: mark["y"])
    lanes = [mark["text"] for mark in labels if "·" in mark["text"] or mark["text"] == "overall"]
    assert lanes[:3] == ["overall", "shop/checkout  ·  web-1", "nginx.service  ·  web-2"]
    assert any(lane.startswith('"><script>') for lane in lanes)
    assert "<script>" not in drawn.svg


def test_a_click_on_a_cell_filters_the_dashboard_by_its_host_and_workload(indexed: Indexed, node_modules: Path) -> None:
    drawn = picture("swim-lane", indexed, node_modules, click="cell")
    function = {"elasticsearch": "kibanaAddFilter", "opensearch": "opensearchDashboardsAddFilter"}[indexed.dialect]
    assert len(drawn.filters) == 1 and drawn.filters[0]["name"] == function and drawn.filters[0]["index"] == PARTS.SCORES
    clauses = drawn.filters[0]["query"]["bool"]["must"]
    body = {"size": 1, "query": {"bool": {"filter": [*CONTEXT.filters, *clauses]}}}
    assert indexed.search(PARTS.SCORES, body)["hits"]["total"]["value"] > 0


def chosen_signals(series: str, host: str = "web-1") -> dict[datetime, dict[str, float]]:
    """Bucket -> mean of each number of the signal."""
    collected: dict[datetime, list[Json]] = defaultdict(list)
    for body in documents.signals(END):
        if body["outlier"]["signal"]["series"] == series and body["host"]["name"] == host:
            collected[bucket(moment(body))].append(body["outlier"]["signal"])
    return {time: {name: statistics.fmean(one[name] for one in listed) for name in ("value", "lower", "upper")} for time, listed in collected.items()}


def test_the_single_metric_view_draws_band_lines_incidents_and_coloured_points(indexed: Indexed, node_modules: Path) -> None:
    drawn = picture("single-metric", indexed, node_modules)
    assert "shop/checkout  ·  web-1" in drawn.texts() and "process.cpu.utilization" in drawn.texts()

    buckets = chosen_signals("process.cpu.utilization")
    band = [mark for mark in drawn.marks if mark["type"] == "area"]
    assert len(band) == len(buckets) and {mark["fill"] for mark in band} == {PARTS.BAND}
    assert all(mark["y2"] - mark["y"] > 15 for mark in band), "the band is too thin to be seen"
    lines = [mark for mark in drawn.marks if mark["type"] == "line"]
    assert {mark["stroke"] for mark in lines} == {PARTS.ACTUAL, PARTS.EXPECTED} and len(lines) == 2 * len(buckets)

    highest: dict[datetime, float] = defaultdict(float)
    for body in documents.scores(END):
        if body["outlier"]["workload"]["name"] == "shop/checkout" and body["host"]["name"] == "web-1":
            highest[bucket(moment(body))] = max(highest[bucket(moment(body))], body["outlier"]["score"])
    outside = {time: COLOUR[band_of(highest[time])] for time, of in buckets.items() if not of["lower"] <= of["value"] <= of["upper"]}
    points = {point["tooltip"]["time"]: point["fill"] for point in drawn.named("outside_point")}
    assert points == {time.strftime("%Y-%m-%d %H:%M:%S"): colour for time, colour in outside.items()}
    assert len(points) >= 10 and COLOUR["CRITICAL"] in points.values()

    incidents = {mark["tooltip"]["incident"]: mark for mark in drawn.named("incident")}
    assert incidents.keys() == {"01", "03"} and {mark["fill"] for mark in incidents.values()} == {COLOUR["CRITICAL"]}
    assert incidents["03"]["tooltip"]["to"] == "still open" and incidents["01"]["x2"] < incidents["03"]["x"]
    assert "4.6 times what is usual" in incidents["01"]["tooltip"]["summary"]


def test_the_single_metric_view_breaks_its_lines_where_nothing_was_measured(indexed: Indexed, node_modules: Path) -> None:
    drawn = picture("single-metric", indexed, node_modules)
    x = [mark["x"] for mark in drawn.marks if mark["type"] == "line" and mark["stroke"] == PARTS.ACTUAL]
    gaps = [later - earlier for earlier, later in zip(x, x[1:])]
    assert drawn.svg.count(f'stroke="{PARTS.ACTUAL}"') == 3, "one line before the gap, one after, and the legend's"
    assert max(gaps) > 4 * statistics.median(gaps)


def test_filters_choose_the_series_and_colours_survive_a_filter_on_the_series_alone(indexed: Indexed, node_modules: Path) -> None:
    series = "process.memory.anonymous"
    context = replace(CONTEXT, filters=(*CONTEXT.filters, {"term": {"outlier.signal.series": series}}))
    drawn = picture("single-metric", indexed, node_modules, context)
    assert f"{POSTGRES.name}  ·  {DB1.name}" in drawn.texts() and f"{series} in By" in drawn.texts()
    assert [mark["tooltip"]["incident"] for mark in drawn.named("incident")] == ["04"]
    points = drawn.named("outside_point")
    assert points and {point["fill"] for point in points} == {COLOUR["MAJOR"]}


def test_the_other_pictures_tell_suspects_causes_budgets_and_what_is_open(indexed: Indexed, node_modules: Path) -> None:
    bars = {bar["tooltip"]["workload"]: bar for bar in picture("influencers", indexed, node_modules).named("bar")}
    assert bars["shop/checkout"]["tooltip"] == {"workload": "shop/checkout", "highest score": "88.0", "incidents": 3}
    assert bars["shop/checkout"]["fill"] == COLOUR["CRITICAL"] and bars["postgresql.service"]["fill"] == COLOUR["MAJOR"]

    causes = {bar["tooltip"]["cause"]: bar for bar in picture("restarts", indexed, node_modules).named("bar")}
    assert causes.keys() == {"OUT_OF_MEMORY", "ROLLOUT", "CRASH_LOOP", "EXITED"}
    assert all(bar["fill"] == VEGA.CAUSES[cause] and bar["tooltip"]["restarts"] == 1 for cause, bar in causes.items())

    rows = {(mark["tooltip"]["host"], mark["tooltip"]["budget"]): mark for mark in picture("budgets", indexed, node_modules).marks if mark["type"] == "symbol" and mark["tooltip"]}
    assert len(rows) == 9
    red = {key for key, mark in rows.items() if mark["fill"] == "#fe5050"}
    assert red == {("db-1", "false alarms, a week")}, "web-1 achieved 0.9 of 1, and its upper end of 2.6 breaks nothing"

    tiles = picture("open-incidents", indexed, node_modules)
    numbers = [mark["text"] for mark in sorted((mark for mark in tiles.marks if mark["type"] == "text"), key=lambda mark: mark["x"]) if mark["text"].isdigit()]
    assert numbers == ["1", "1", "0", "0"], "CRITICAL, MAJOR, MINOR, WARNING"


def test_a_picture_that_is_wrong_is_told(indexed: Indexed, node_modules: Path) -> None:
    spec = spec_of("swim-lane", indexed.dialect)
    spec["marks"][0]["encode"]["update"]["fill"] = {"signal": "nosuch(datum.score)"}
    with pytest.raises(AssertionError, match="nosuch"):
        draw(spec, CONTEXT, indexed.search, node_modules)
    spec = spec_of("swim-lane", indexed.dialect)
    spec["data"][0]["url"]["body"]["aggs"]["hosts"]["terms"]["feild"] = "host.name"
    with pytest.raises(AssertionError, match="answered 400"):
        draw(spec, CONTEXT, indexed.search, node_modules)
