"""kill -9 at random moments: what a subscriber was told stays told."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from ground import MEMORY_CGROUPS, Ground, wait_for
from host import Daemon, Json, Seen, Watcher, parse_changes, unix_time
from services import Service

KILLS = 50
MOMENTS = (0.2, 3.0)  # seconds
NURSERIES = 6
SEED = 20240229
WARM_UP = 10


class Subscriber:
    """Follows the feed across the daemon's deaths, always from where it was. Remembers every defect it sees in passing."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.defects: list[str] = []
        self._watcher: Watcher | None = None

    def follow(self, daemon: Daemon) -> None:
        self._watcher = Watcher(daemon, start_after=self.seen[-1].sequence if self.seen else 0)

    def reached(self, sequence: int) -> bool:
        assert self._watcher is not None
        return [*self.seen, *self._watcher.seen()][-1].sequence >= sequence

    def daemon_died(self) -> None:
        """Also where the daemon died before it served anybody."""
        if self._watcher is None:
            return
        for change in self._watcher.stop():
            expected = self.seen[-1].sequence + 1 if self.seen else 1
            if change.sequence != expected:
                self.defects.append(f"change {change.sequence} came where {expected} was due")
            self.seen.append(change)
        self._watcher = None


@dataclass
class Ordeal:
    """What fifty deaths left behind."""

    subscriber: Subscriber
    feed: list[Seen]  # the whole feed afterwards
    steadfast: list[Seen]  # what one `outlierctl watch` saw that went on across all deaths
    incidents: list[Json]
    feed_ids: set[str] = field(default_factory=set)
    deaths_before_serving: int = 0
    forgotten: set[str] = field(default_factory=set)  # warm before, warming up after


def serving(daemon: Daemon, until: float) -> bool:
    while time.monotonic() < until:
        if daemon.ctl_run("status").returncode == 0:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="module")
def ordeal(ground: Ground, report: list[str]) -> Iterator[Ordeal]:
    if MEMORY_CGROUPS is None:
        pytest.skip("this kernel has no memory cgroups, whose kills make the changes of this test")
    # A child killed for memory is told within a tick, whatever was learned: each nursery brings changes between two deaths.
    nurseries = [Service(ground, f"nursery-{number}", memory_limit=32 << 20) for number in range(NURSERIES)]
    crasher = Service(ground, "crasher", supervised=True)
    services = [*nurseries, crasher, Service(ground, "steady")]
    names = {service.name for service in services}
    daemon = Daemon(ground.folder / "ordeal", f"detection.warm_up={WARM_UP}s", "state.snapshot_interval=5s").start()
    daemon.wait_until_known(names, timeout=4 * WARM_UP)
    chance = random.Random(SEED)
    ordeal = Ordeal(Subscriber(), [], [], [], {daemon.status()["source"]["feed_id"]})
    ordeal.subscriber.follow(daemon)
    steadfast = Watcher(daemon)
    crasher.order("exit")
    # Seen by the watch itself: one that had not yet connected when the daemon died would rightly give up.
    wait_for("the first incident, seen by the steadfast watch", steadfast.seen, timeout=30)
    for round_number in range(KILLS):
        daemon.kill()
        ordeal.subscriber.daemon_died()
        launched = time.monotonic()
        daemon.launch()
        # Every third death is counted from the launch, and may come before the daemon serves or while it recovers.
        if round_number % 3 == 0:
            death = launched + chance.uniform(*MOMENTS)
            serves = serving(daemon, until=death)
        else:
            serves = serving(daemon, until=launched + 30)
            death = time.monotonic() + chance.uniform(*MOMENTS)
        if serves:
            ordeal.subscriber.follow(daemon)
            nurseries[round_number % NURSERIES].order("grow-child")
        else:
            ordeal.deaths_before_serving += 1
        time.sleep(max(0.0, death - time.monotonic()))
    daemon.kill()
    ordeal.subscriber.daemon_died()
    daemon.start()
    ordeal.forgotten = {name for name, state in daemon.workloads().items() if name in names and state["warming_up"]}
    ordeal.subscriber.follow(daemon)
    missed = int(daemon.status()["last_sequence"])
    wait_for("the subscriber told of what it missed", lambda: ordeal.subscriber.reached(missed), timeout=20)
    ordeal.subscriber.daemon_died()  # for it: what comes from here on, the feed that is read now need not hold
    last = daemon.status()
    ordeal.feed_ids.add(last["source"]["feed_id"])
    ordeal.incidents = daemon.incidents()
    everything = Watcher(daemon)
    wait_for("the feed read again", lambda: len(everything.seen()) >= int(last["last_sequence"]), timeout=20)
    ordeal.feed = everything.stop()
    wait_for("the steadfast watch caught up", lambda: len(steadfast.seen()) >= len(ordeal.feed), timeout=20)
    ordeal.steadfast = steadfast.stop()
    report.append(
        f"kill -9: {KILLS} deaths (seed {SEED}), {ordeal.deaths_before_serving} before serving; {len(ordeal.feed)} changes,"
        f" {len(ordeal.incidents)} incidents, {len(ordeal.subscriber.seen)} changes seen by the subscriber"
    )
    daemon.terminate()
    yield ordeal
    for service in services:
        service.stop()


def test_the_ordeal_was_one(ordeal: Ordeal) -> None:
    assert len(ordeal.feed) >= KILLS / 2, "too few changes to prove anything"
    assert ordeal.deaths_before_serving < KILLS / 2
    assert any("resolved_time" not in incident for incident in ordeal.incidents), "incidents were open when it was killed"


def test_a_resumed_watch_gives_exactly_what_was_missed(ordeal: Ordeal) -> None:
    assert ordeal.subscriber.defects == []
    assert len(ordeal.feed_ids) == 1


def test_a_watch_that_outlives_the_daemon_sees_each_change_once(ordeal: Ordeal) -> None:
    seen = [change.line for change in ordeal.steadfast]
    assert seen[: len(ordeal.feed)] == [change.line for change in ordeal.feed]
    assert len(set(seen)) == len(seen)


def test_no_change_that_a_subscriber_saw_is_gone_or_altered(ordeal: Ordeal) -> None:
    now = {change.sequence: change.line for change in ordeal.feed}
    altered = [change.line for change in ordeal.subscriber.seen if now.get(change.sequence) != change.line]
    assert altered == []
    assert [change.sequence for change in ordeal.feed] == list(range(1, len(ordeal.feed) + 1))


def test_no_incident_that_a_subscriber_saw_is_gone(ordeal: Ordeal) -> None:
    listed = {incident["id"] for incident in ordeal.incidents}
    assert {change.incident["id"] for change in ordeal.subscriber.seen} <= listed


def test_no_incident_is_told_twice_under_two_ids(ordeal: Ordeal) -> None:
    opened = [change.incident["id"] for change in ordeal.feed if change.change["kind"] == "OPENED"]
    assert len(opened) == len(set(opened)), "one OPENED for each"
    lives = sorted(
        (
            incident["workload"]["name"],
            unix_time(incident["opened_time"]),
            unix_time(incident["onset_time"]),
            unix_time(incident["resolved_time"]) if "resolved_time" in incident else float("inf"),
            incident["id"],
        )
        for incident in ordeal.incidents
    )
    twice = []
    for (workload, _, onset, resolved, first), (next_workload, opened, next_onset, _, second) in zip(lives, lives[1:]):
        if workload == next_workload and (opened < resolved or abs(onset - next_onset) < 0.5):
            twice.append(f"{workload}: {first} and {second}")
    assert twice == []


def test_learned_baselines_survive(ordeal: Ordeal) -> None:
    assert ordeal.forgotten == set()


def test_acknowledgement_and_feedback_survive_kill(ground: Ground) -> None:
    services = [Service(ground, "acknowledged", supervised=True)]
    daemon = Daemon(ground.folder / "acknowledgement", "detection.warm_up=5s").start()
    daemon.wait_until_known({"acknowledged"}, timeout=30)
    services[0].order("exit")
    incident = wait_for("an incident", lambda: next((i for i in daemon.incidents() if i["workload"]["name"] == "acknowledged"), None), 30)
    daemon.ctl("ack", incident["id"])
    daemon.ctl("feedback", incident["id"], "--false-alarm")
    daemon.kill()
    daemon.start()
    found = next(i for i in daemon.incidents() if i["id"] == incident["id"])
    assert found["acknowledged"] and found["feedback"] == "false_alarm"
    kinds = [change.change["kind"] for change in parse_changes(read_feed(daemon)) if change.incident["id"] == incident["id"]]
    assert kinds.count("ACKNOWLEDGED") == 1 and kinds.count("FEEDBACK") == 1
    daemon.terminate()
    services[0].stop()


def read_feed(daemon: Daemon) -> str:
    watcher = Watcher(daemon)
    last = int(daemon.status()["last_sequence"])
    wait_for("the feed", lambda: len(watcher.seen()) >= last, timeout=20)
    return "\n".join(change.line for change in watcher.stop())
