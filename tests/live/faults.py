"""The table of faults: what is injected into which service, and what a person must be told, how soon."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from host import Json, Seen, Watcher, seconds_of, unix_time

RESOLVED_WITHIN = 120.0
STILL_SAID_FOR = 3.0  # a fault lasts this much longer than it takes to find it


@dataclass(frozen=True)
class Fault:
    name: str
    workload: str
    begin: Callable[[], None]
    end: Callable[[], None]
    within: float
    onset_within: float = 3.0
    patterns: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()  # of the first contribution; one that ends in a dot is a prefix
    direction: str = "UP"
    attributes: dict[str, str] = field(default_factory=dict)
    cause: str | None = None
    wrong: Callable[[Json], str | None] = lambda incident: None  # whatever else must hold


def wrong_with(fault: Fault, seen: Seen, began: float) -> str | None:
    """What this incident gets wrong about the fault, or None."""
    incident = seen.incident
    if not incident["contributions"]:
        return "no contributions"
    first = incident["contributions"][0]
    if fault.cause is not None and incident.get("restart", {}).get("cause") != fault.cause:
        return f"restart {incident.get('restart')}, not {fault.cause}"
    if fault.patterns and incident["pattern"] not in fault.patterns:
        return f"pattern {incident['pattern']}, not {' or '.join(fault.patterns)}"
    if not any(first["signal"] == name or name.endswith(".") and first["signal"].startswith(name) for name in fault.signals):
        return f"first contribution {first['signal']} {first['attributes']}, not {' or '.join(fault.signals)}"
    if not fault.attributes.items() <= first["attributes"].items():
        return f"first contribution {first['signal']} of {first['attributes']}, not {fault.attributes}"
    if first["direction"] != fault.direction:
        return f"{first['signal']} {first['direction']}, not {fault.direction}"
    onset = unix_time(incident["onset_time"]) - began
    if abs(onset) > fault.onset_within:
        return f"onset {onset:+.1f} s from the truth"
    return fault.wrong(incident)


@dataclass
class Finding:
    """What became of one injected fault."""

    fault: Fault
    began: float
    ended: float = 0.0
    found_after: float | None = None
    opened_after: float | None = None
    onset_error: float | None = None
    incident_id: str | None = None
    resolved_after: float | None = None
    complaints: list[str] = field(default_factory=list)  # how the incident was wrong before it was right
    wrong_at_end: str | None = None

    def look(self, watcher: Watcher) -> None:
        """Takes in what has arrived; cheap enough to be called often."""
        self.complaints = []
        for seen in watcher.of(self.fault.workload):
            if seen.at < self.began:
                continue
            if seen.change["kind"] == "OPENED" and self.opened_after is None:
                self.opened_after = seen.at - self.began
            complaint = wrong_with(self.fault, seen, self.began)
            if complaint is None:
                if self.found_after is None:
                    self.found_after = seen.at - self.began
                    self.incident_id = seen.incident["id"]
                    self.onset_error = unix_time(seen.incident["onset_time"]) - self.began
                return
            if complaint not in self.complaints:
                self.complaints.append(complaint)

    def found_in_time(self) -> bool:
        return self.found_after is not None and self.found_after <= self.fault.within

    def look_at_end(self, watcher: Watcher) -> None:
        """While the fault goes on the incident must not come to say something else."""
        mine = [seen for seen in watcher.of(self.fault.workload) if seen.incident["id"] == self.incident_id]
        if mine:
            self.wrong_at_end = wrong_with(self.fault, mine[-1], self.began)

    def look_for_resolution(self, watcher: Watcher) -> bool:
        for seen in watcher.of(self.fault.workload):
            if seen.incident["id"] == self.incident_id and seen.change["kind"] == "RESOLVED":
                self.resolved_after = seen.at - self.ended
                return True
        return False


def inject(faults: list[Fault], watcher: Watcher, apart: float = 1.0) -> list[Finding]:
    """All of them side by side, `apart` seconds between two, each until it was found or is late."""
    under_way: list[Finding] = []
    done: list[Finding] = []
    for fault in faults:
        under_way.append(Finding(fault, began=time.time()))
        fault.begin()
        time.sleep(apart)
    while under_way:
        time.sleep(0.1)
        now = time.time()
        for finding in list(under_way):
            finding.look(watcher)
            after = now - finding.began
            if finding.found_after is not None:
                over = after > finding.found_after + STILL_SAID_FOR
            else:
                over = after > finding.fault.within + STILL_SAID_FOR
            if over:
                finding.look_at_end(watcher)
                finding.fault.end()
                finding.ended = time.time()
                under_way.remove(finding)
                done.append(finding)
    return done


def await_resolutions(findings: list[Finding], watcher: Watcher) -> None:
    """Each within its limit from its own end."""
    waiting = [finding for finding in findings if finding.incident_id is not None]
    while waiting:
        waiting = [
            finding
            for finding in waiting
            if not finding.look_for_resolution(watcher) and time.time() < finding.ended + RESOLVED_WITHIN
        ]
        time.sleep(0.1)


def seconds_text(value: float | None, form: str = ".1f") -> str:
    return "-" if value is None else format(value, form)


def table(findings: list[Finding]) -> list[str]:
    rows = [f"{'fault':<22} {'limit':>6} {'opened':>7} {'found':>7} {'onset':>7} {'resolved':>9}  what was wrong on the way"]
    for finding in findings:
        remarks = "; ".join(finding.complaints + ([f"AT END: {finding.wrong_at_end}"] if finding.wrong_at_end else []))
        rows.append(
            f"{finding.fault.name:<22} {finding.fault.within:>6g} {seconds_text(finding.opened_after):>7}"
            f" {seconds_text(finding.found_after):>7} {seconds_text(finding.onset_error, '+.1f'):>7}"
            f" {seconds_text(finding.resolved_after):>9}  {remarks}"
        )
    return rows


def leak_is_quantified(incident: Json) -> str | None:
    """5 MiB/s, and how long the memory lasts."""
    growth = float(incident["growth_per_second"]) / (5 << 20)
    if not 0.7 < growth < 1.3:
        return f"growth {growth * 5:.1f} MiB/s, not 5"
    if seconds_of(incident.get("time_to_exhaustion")) <= 0:
        return "no time to exhaustion"
    return None
