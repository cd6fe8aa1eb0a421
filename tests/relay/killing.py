"""The relay killed again and again while a source tells it of incidents; and what came where in the end."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from programs import Incident, Json, Relay, Source
from saas.client import Saas
from servers.base import wait_for

Told = tuple[str, str]  # incident, kind of change
APART = 0.01  # seconds between two changes


class Teller:
    """Opens, raises and resolves incidents, each of a workload of its own, until it is stopped; then resolves what is open."""

    def __init__(self, source: Source, seed: int) -> None:
        self.told: list[Told] = []
        self._source, self._chance = source, random.Random(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        open_now: list[Incident] = []
        number = 0
        while not self._stopping.is_set():
            if open_now and self._chance.random() < 0.45:
                incident, kind = open_now.pop(self._chance.randrange(len(open_now))), "RESOLVED"
            elif open_now and self._chance.random() < 0.3:
                incident, kind = self._chance.choice(open_now), "UPDATED"
                incident.severity = "CRITICAL"
            else:
                number += 1
                incident, kind = Incident(f"inc-{number}", workload=f"service-{number}.service"), "OPENED"
                open_now.append(incident)
            self._tell(incident, kind)
            time.sleep(APART)  # the load: so many changes a second
        for incident in open_now:
            self._tell(incident, "RESOLVED")

    def _tell(self, incident: Incident, kind: str) -> None:
        self._source.append(incident.change(kind))
        self.told.append((incident.id, kind))

    def stop(self) -> list[Told]:
        self._stopping.set()
        self._thread.join()
        return self.told


@dataclass
class Account:
    """What is wrong in the end; all counts of an honest relay are 0 but `repeated` and `only_in_digest`."""

    kills: int
    changes: int
    incidents: int
    lost: list[Told] = field(default_factory=list)  # in the search engine
    duplicated: list[Told] = field(default_factory=list)  # there
    lost_events: list[Told] = field(default_factory=list)  # at the webhook, which has no identity of its own
    repeated: int = 0  # there: at most one batch a crash
    disorder: list[str] = field(default_factory=list)  # incidents whose changes first came in another order
    paged: int = 0
    ghosts: list[str] = field(default_factory=list)  # paged, and not resolved
    second_pages: list[str] = field(default_factory=list)  # triggered after their resolve
    only_in_digest: int = 0  # opened and resolved while no relay ran
    violations: int = 0
    dead_letters: int = 0

    def faults(self) -> dict[str, int]:
        return {name: len(getattr(self, name)) for name in ("lost", "duplicated", "lost_events", "disorder", "ghosts", "second_pages")} | {
            "violations": self.violations, "dead_letters": self.dead_letters}  # fmt: skip


def kill_again_and_again(relay: Relay, source: Source, kills: int, seed: int, on_kill: Callable[[int], None] = lambda number: None) -> list[Told]:
    """The relay is running; what was told, when all of it has been dealt with."""
    chance = random.Random(f"{seed} moments")
    teller = Teller(source, seed)
    for number in range(kills):
        time.sleep(chance.uniform(0.02, 0.8))  # from before it is ready until it has worked for a while
        relay.stop(9)
        relay.start(ready=False)
        on_kill(number + 1)
    told = teller.stop()
    wait_for("relay ready", relay.is_ready)
    for sink in relay.configuration["sinks"]:
        relay.wait_until_delivered(sink["name"], len(told), timeout=120)
    return told


def account(told: Sequence[Told], kills: int, relay: Relay, server: Saas, documents: Sequence[Json]) -> Account:
    result = Account(kills, len(told), len({incident for incident, _ in told}))
    indexed = Counter((d["outlier"]["incident"]["id"], d["outlier"]["change"]["kind"]) for d in documents)
    wanted = Counter(told)
    result.lost, result.duplicated = list((wanted - indexed).elements()), list((indexed - wanted).elements())

    events: list[Told] = []
    for body in server.accepted("webhook"):
        for event in body if isinstance(body, list) else [body]:
            events.append((event["data"]["incident"]["id"], event["data"]["kind"]))
    result.lost_events = list((wanted - Counter(events)).elements())
    result.repeated = sum((Counter(events) - wanted).values())
    by_incident: dict[str, list[str]] = defaultdict(list)
    for incident, kind in events:
        if kind not in by_incident[incident]:
            by_incident[incident].append(kind)
    rank = {"OPENED": 0, "UPDATED": 1, "RESOLVED": 2}
    result.disorder = [incident for incident, kinds in by_incident.items() if [rank[kind] for kind in kinds] != sorted(rank[kind] for kind in kinds)]

    actions: dict[str, list[str]] = defaultdict(list)
    for body in server.accepted("pagerduty"):
        if "digest" not in body["dedup_key"]:
            actions[body["dedup_key"]].append(body["event_action"])
    result.paged = len(actions)
    result.ghosts = [key for key, said in actions.items() if said[-1] != "resolve"]
    result.second_pages = [key for key, said in actions.items() if "resolve" in said and "trigger" in said[said.index("resolve") :]]
    result.only_in_digest = result.incidents - result.paged
    result.violations = len(server.violations())
    result.dead_letters = sum(int(relay.sink(sink["name"])["dead_letters"]) for sink in relay.configuration["sinks"])
    return result


def file_with(folder: Path, name: str, content: str) -> str:
    path = folder / name
    path.write_text(content + "\n")
    return str(path)
