#!/usr/bin/env python3
"""How long a fault takes to be found in Elasticsearch: measure_end_to_end.py [--burns N] [--seconds N] [--raw FILE]

outlierd over this host's kernel, outlier-relay, real Elasticsearch, Alertmanager and OpenTelemetry Collector, all with what they are delivered
with (index refreshed each second, relay waits 200 ms for more). N services, each a workload of its own; one after the other burns a core until its
incident has come everywhere, and begins when at most one other incident is open: of several at once outlierd makes one of the host. Searches go on
all the time, 50 ms apart, and none asks for a refresh. Afterwards every incident has to be resolved in all three. Adds lines of JSON to FILE and
prints what all lines of it say, so that several runs make one result. Takes root, built programs, and a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from ground import Ground, wait_for  # noqa: E402
from host import Json, Seen, Watcher, unix_time  # noqa: E402
from services import Service  # noqa: E402
from whole_street import WholeStreet, opened_at, percentile  # noqa: E402

WARM_UP = 45
FOUND_WITHIN = 30.0
END_TAKES = 55.0  # seconds: one burn, until it is over everywhere
TIMES = ("burn_to_opened", "opened_to_feed", "opened_to_searchable", "burn_to_searchable", "burn_to_alert")


def first(watcher: Watcher, service: str, kind: str, since: float = 0) -> Seen | None:
    return watcher.first(lambda seen: seen.workload == service and seen.change["kind"] == kind and seen.at > since)


def open_now(watcher: Watcher) -> set[str]:
    states = {seen.incident["id"]: seen.incident["state"] for seen in watcher.seen()}
    return {incident for incident, state in states.items() if state == "OPEN"}


def burn(street: WholeStreet, watcher: Watcher, service: Service) -> Json:
    wait_for("at most one is open", lambda: len(open_now(watcher)) <= 1, timeout=120)
    began = time.time()
    service.order("burn")
    try:
        opened = wait_for(f"{service.name} is found", lambda: first(watcher, service.name, "OPENED", began), timeout=FOUND_WITHIN, poll=0.02)
    except TimeoutError:
        service.order("healthy")
        return {"service": service.name, "missed": True}
    incident = opened.incident["id"]
    searchable = wait_for("searchable", lambda: street.searchable(incident, "OPENED"), timeout=60, poll=0.02)
    wait_for("alert", lambda: street.alert(incident), timeout=60, poll=0.05)
    alerted = time.time()
    wait_for("collector", lambda: street.events(incident), timeout=60, poll=0.05)
    service.order("healthy")
    opening = opened_at(opened.change)
    return {"service": service.name, "incident": incident, "began": began, "burn_to_opened": opening - began, "opened_to_feed": opened.at - opening,
            "opened_to_searchable": searchable - opening, "burn_to_searchable": searchable - began, "burn_to_alert": alerted - began}  # fmt: skip


def measure(burns: int, seconds: float) -> tuple[list[Json], list[float]]:
    end = time.monotonic() + seconds
    ground = Ground()
    street: WholeStreet | None = None
    try:
        services = [Service(ground, f"burner-{number}") for number in range(burns)]
        street = WholeStreet(ground.folder / "street", f"detection.warm_up={WARM_UP}s")
        watcher = Watcher(street.daemon)
        street.open()
        street.daemon.wait_until_known({service.name for service in services}, timeout=4 * WARM_UP)
        time.sleep(3)  # what the servers' start disturbed is over
        results = []
        for service in services:
            if time.monotonic() + END_TAKES < end:
                results.append(burn(street, watcher, service))
        for result in results:
            if result.get("missed"):
                continue
            incident = result["incident"]
            wait_for(f"{result['service']} is over", lambda: first(watcher, result["service"], "RESOLVED"), timeout=120)
            wait_for("resolved in Elasticsearch", lambda: street.state_in_search(incident) == "RESOLVED", timeout=60)
            wait_for("resolved in Alertmanager", lambda: street.alert(incident) is None, timeout=60)
            wait_for("resolved in the collector's file", lambda: street.events(incident)[-1:] == ["outlier.incident.resolved"], timeout=60)
        last = watcher.stop()
        delays = []
        for seen in last:  # all kinds of changes of whatever workload
            kind, incident = seen.change["kind"], seen.incident["id"]
            at = street.searchable(incident, kind)
            if kind in ("OPENED", "RESOLVED") and at is not None:
                delays.append(at - unix_time(seen.change["time"]))
        return results, delays
    finally:
        if street is not None:
            street.close()
        ground.clear()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--burns", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=230, help="no burn begins that would end later")
    parser.add_argument("--raw", type=Path)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("measure_end_to_end.py loads BPF programs: it takes root")
    results, delays = measure(options.burns, options.seconds)
    if options.raw is not None:
        with options.raw.open("a") as raw:
            raw.writelines(json.dumps(line) + "\n" for line in [*results, *({"change_to_searchable": delay} for delay in delays)])
        lines = [json.loads(line) for line in options.raw.read_text().splitlines()]
        results = [line for line in lines if "service" in line]
        delays = [line["change_to_searchable"] for line in lines if "service" not in line]
    missed = sum(bool(result.get("missed")) for result in results)
    print(f"{len(results)} burns, {missed} not found within {FOUND_WITHIN:g} s; seconds")
    print(f"{'':<30} {'median':>7} {'95 %':>7} {'most':>7}")
    for name in TIMES:
        values = [result.get(name, math.inf) for result in results if name in result or name.startswith("burn")]
        if values:
            print(f"{name.replace('_', ' '):<30} {statistics.median(values):>7.2f} {percentile(values, 0.95):>7.2f} {max(values):>7.2f}")
    if delays:
        print(f"{len(delays)} openings and resolutions of any workload, change to searchable: median {statistics.median(delays):.2f}, 95 % {percentile(delays, 0.95):.2f},"
              f" most {max(delays):.2f}")  # fmt: skip
    print("every incident that was found was searchable, an alert and in the collector's file, and resolved in all three")


if __name__ == "__main__":
    main()
