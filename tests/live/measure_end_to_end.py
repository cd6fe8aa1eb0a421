#!/usr/bin/env python3
"""How long a fault takes to be found in Elasticsearch: measure_end_to_end.py [--raw FILE]

outlierd over this host's kernel, outlier-relay, real Elasticsearch, Alertmanager and OpenTelemetry Collector, all with what they are delivered
with (index refreshed each second, relay waits 200 ms for more). Twelve services, each a workload of its own: three open files that are not there,
three hang, three crash in a loop, all side by side; then three burn a core, one after the other. No more of a kind: of a fourth that departs in the
same way within ten minutes outlierd makes one incident of the host. Searches go on all the time, 50 ms apart, and none asks for a refresh.
Afterwards every incident has to be resolved in all three. Adds lines of JSON to FILE and prints what all lines of it say, so that several runs make
one result. Takes root, built programs, and a quiet machine: about three minutes.
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
OVER_WITHIN = 100.0
OF_A_KIND = 3
GENTLE = {"misser": "missing", "hanger": "hang", "crasher": "exit"}  # service -> order; they leave one another alone
TIMES = ("burn_to_opened", "opened_to_feed", "opened_to_searchable", "burn_to_searchable", "burn_to_alert")


def first(watcher: Watcher, service: str, kind: str, since: float = 0) -> Seen | None:
    return watcher.first(lambda seen: seen.workload == service and seen.change["kind"] == kind and seen.at > since)


def burn(street: WholeStreet, watcher: Watcher, service: Service) -> Json:
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


def disturb(watcher: Watcher, services: dict[str, Service]) -> None:
    """The gentle ones, all at once, until each is told of or late."""
    for name, service in services.items():
        service.order(GENTLE[name.partition("-")[0]])
        time.sleep(0.5)  # what begins at once would be one incident of the host
    try:
        wait_for("all are told of", lambda: all(first(watcher, name, "OPENED") for name in services), timeout=FOUND_WITHIN)
    except TimeoutError:
        pass  # which are missing is counted
    for service in services.values():
        service.order("healthy")


def over_everywhere(street: WholeStreet, incident: str) -> bool:
    over = street.state_in_search(incident) == "RESOLVED" and street.alert(incident) is None
    return over and street.events(incident)[-1:] == ["outlier.incident.resolved"]


def measure() -> tuple[list[Json], list[Json]]:
    """Burns, and openings and resolutions of all services."""
    ground = Ground()
    street: WholeStreet | None = None
    try:
        burners = [Service(ground, f"burner-{number}") for number in range(OF_A_KIND)]
        gentle = {f"{kind}-{number}": Service(ground, f"{kind}-{number}", supervised=kind == "crasher") for kind in GENTLE for number in range(OF_A_KIND)}
        street = WholeStreet(ground.folder / "street", f"detection.warm_up={WARM_UP}s")
        watcher = Watcher(street.daemon)
        street.open()
        street.daemon.wait_until_known({*gentle, *(service.name for service in burners)}, timeout=4 * WARM_UP)
        time.sleep(3)  # what the servers' start disturbed is over
        disturb(watcher, gentle)
        burns = [burn(street, watcher, service) for service in burners]
        own = {*gentle, *(service.name for service in burners)}
        incidents = {seen.incident["id"] for seen in watcher.seen() if seen.workload in own}
        try:
            wait_for("all are over everywhere", lambda: all(over_everywhere(street, incident) for incident in incidents), timeout=OVER_WITHIN, poll=1)
        except TimeoutError:
            open_still = [seen.workload for seen in watcher.seen() if seen.incident["id"] in incidents and not over_everywhere(street, seen.incident["id"])]
            print(f"not over everywhere within {OVER_WITHIN:g} s: {sorted(set(open_still))}")
        changes = []
        for seen in watcher.stop():
            kind = seen.change["kind"]
            if kind not in ("OPENED", "RESOLVED") or seen.workload not in own:
                continue
            at = street.searchable(seen.incident["id"], kind)
            if at is None:
                print(f"{seen.workload}: {kind} has not come back from a search")
                continue
            changes.append({"workload": seen.workload, "kind": kind, "to_searchable": at - unix_time(seen.change["time"])})
        return burns, changes
    finally:
        if street is not None:
            street.close()
        ground.clear()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--raw", type=Path)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("measure_end_to_end.py loads BPF programs: it takes root")
    results, changes = measure()
    if options.raw is not None:
        with options.raw.open("a") as raw:
            raw.writelines(json.dumps(line) + "\n" for line in [*results, *changes])
        lines = [json.loads(line) for line in options.raw.read_text().splitlines()]
        results = [line for line in lines if "service" in line]
        changes = [line for line in lines if "workload" in line]
    missed = sum(bool(result.get("missed")) for result in results)
    print(f"{len(results)} burns, {missed} not found within {FOUND_WITHIN:g} s; seconds")
    print(f"{'':<30} {'median':>7} {'95 %':>7} {'most':>7}")
    for name in TIMES:
        values = [result.get(name, math.inf) for result in results if name in result or name.startswith("burn")]
        if values:
            print(f"{name.replace('_', ' '):<30} {statistics.median(values):>7.2f} {percentile(values, 0.95):>7.2f} {max(values):>7.2f}")
    for kind in ("OPENED", "RESOLVED"):
        delays = [change["to_searchable"] for change in changes if change["kind"] == kind]
        if delays:
            name = f"{kind.lower()} to searchable, {len(delays)}"
            print(f"{name:<30} {statistics.median(delays):>7.2f} {percentile(delays, 0.95):>7.2f} {max(delays):>7.2f}")


if __name__ == "__main__":
    main()
