"""A fault on this host, seen from its far end: the incident is in Elasticsearch, Alertmanager and the OpenTelemetry Collector, all of them real."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ground import Ground, wait_for
from host import Seen, Watcher
from services import Service

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "relay"))

from servers.alertmanager import Alertmanager  # noqa: E402
from servers.collector import Collector  # noqa: E402
from servers.elasticsearch import Elasticsearch  # noqa: E402
from servers.pool import obtain  # noqa: E402
from whole_street import CHANGES, WholeStreet, opened_at  # noqa: E402

WARM_UP = 45
FOUND_WITHIN = 20.0  # of a burn; how soon is test_session's to say
RESOLVED_WITHIN = 120.0
TICK = 1.0


@pytest.fixture(scope="module")
def street(ground: Ground) -> Iterator[WholeStreet]:
    if not (Path(os.environ.get("OUTLIER_BUILD_DIR", Path(__file__).resolve().parents[2] / "build")) / "bin/outlier-relay").exists():
        pytest.skip("outlier-relay is not built")
    for kind in (Elasticsearch, Alertmanager, Collector):
        obtain(kind)
    street = WholeStreet(ground.folder / "street", f"detection.warm_up={WARM_UP}s", quick=True)
    try:
        if street.daemon.status()["mode"] != "ebpf":
            pytest.skip(f"the daemon runs without BPF here: {street.daemon.status()['messages']}")
        yield street
    finally:
        street.close()


def test_a_burn_is_searchable_alerted_and_in_the_collectors_file_as_the_same_incident_and_resolves_in_all_three(
    street: WholeStreet, ground: Ground, report: list[str]
) -> None:
    burner = Service(ground, "far-burner")
    watcher = Watcher(street.daemon)
    street.open()  # meanwhile the service becomes known
    street.daemon.wait_until_known({"far-burner"}, timeout=3 * WARM_UP)

    def change(kind: str) -> Seen | None:
        return watcher.first(lambda seen: seen.workload == "far-burner" and seen.change["kind"] == kind)

    assert change("OPENED") is None, "nothing is wrong yet"
    began = time.time()
    burner.order("burn")
    opened = wait_for("the burn is found", lambda: change("OPENED"), timeout=FOUND_WITHIN)
    incident = opened.incident["id"]
    searchable = wait_for("searchable", lambda: street.searchable(incident, "OPENED"), timeout=60, poll=0.05)
    alert = wait_for("the alert", lambda: street.alert(incident), timeout=60)
    wait_for("in the collector's file", lambda: "outlier.incident.opened" in street.events(incident), timeout=60)
    assert wait_for("in the index of what is current", lambda: street.state_in_search(incident), timeout=60) == "OPEN"
    assert alert["labels"]["workload"] == "far-burner"
    assert alert["labels"]["incident"] == f"outlier/{opened.incident['source']['feed_id']}:{incident}"

    burner.order("healthy")
    wait_for("it is over at its source", lambda: change("RESOLVED"), timeout=RESOLVED_WITHIN)
    wait_for("the resolution is searchable", lambda: street.searchable(incident, "RESOLVED"), timeout=60, poll=0.05)
    wait_for("no longer open in the index", lambda: street.state_in_search(incident) == "RESOLVED", timeout=60)
    wait_for("no alert any more", lambda: street.alert(incident) is None, timeout=60)
    wait_for("the resolution in the collector's file", lambda: street.events(incident)[-1:] == ["outlier.incident.resolved"], timeout=60)
    assert street.events(incident)[0] == "outlier.incident.opened"
    assert street.events(incident).count("outlier.incident.opened") == street.events(incident).count("outlier.incident.resolved") == 1
    watcher.stop()

    # From the feed to searchable: the relay may wait for more (linger), and this server needs what it needs, as documents that nobody relayed show.
    assert street.eye is not None
    control = [took for written, took in street.eye.control if opened.at - 10 < written < searchable]
    assert control, "no document of comparison was written meanwhile"
    report.append(f"end to end: burn -> opened {opened_at(opened.change) - began:.1f} s -> in the feed {opened.at - began:.1f} s -> searchable {searchable - began:.1f} s;"
                  f" a document written straight into Elasticsearch took up to {max(control):.2f} s ({CHANGES})")  # fmt: skip
    linger = 0.2
    assert searchable - opened.at < linger + max(control) + TICK
