"""What the relay may hold of a backlog, and that nothing of it is lost on the way: measure.py at a size for every day."""

from __future__ import annotations

from measure import KINDS, measure, measure_day

MOST_MIB = 64


def test_five_sinks_and_a_backlog_of_a_day_fit_into_64_mib() -> None:
    day = measure_day(6_000)  # more does not weigh more: what waits, waits at its source
    assert day["relay_peak_mib"] <= MOST_MIB, day


def test_every_change_of_a_backlog_arrives_once_and_in_order_at_each_kind_of_sink() -> None:
    for kind in KINDS:
        done = measure(kind, 1_500, sinks=1, shape="day")  # it counts what arrived
        assert done["changes"] == 1_500
