"""Two independent books of the same host: the kernel's own total of CPU time, and the sum over the daemon's workloads."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from host import Daemon, Json


@dataclass(frozen=True)
class HostCpu:
    """The kernel's total over all tasks, and how exact this kernel's is."""

    source: str
    tolerance: float

    def seconds(self) -> float:
        if self.source == "cpuacct":
            return int(Path("/sys/fs/cgroup/cpuacct/cpuacct.usage").read_text()) / 1e9
        user, nice, system, _, _, irq, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
        return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


HOST_CPU = HostCpu("cpuacct", 0.01) if Path("/sys/fs/cgroup/cpuacct/cpuacct.usage").exists() else HostCpu("/proc/stat", 0.03)


@dataclass(frozen=True)
class Measurement:
    host_seconds: float
    workloads: list[Json]
    losses: dict[str, int]


def measure(daemon: Daemon) -> Measurement:
    """Right after a tick: the daemon answers with the last tick's sums, so the host is read in the moment they change."""

    def total(states: list[Json]) -> float:
        return sum(state["cpu_seconds"] for state in states)

    previous = total(daemon.ctl("workloads"))
    for _ in range(200):
        before = HOST_CPU.seconds()
        states = daemon.ctl("workloads")
        if total(states) != previous:
            losses = {loss["name"]: int(loss["count"]) for loss in daemon.status()["losses"]}
            # The tick fell between the last answer and this one.
            return Measurement(before, states, losses)
        time.sleep(0.01)
    raise AssertionError("the sums do not change: the daemon has stopped ticking")


class Balance:
    """What happened between two measurements."""

    def __init__(self, before: Measurement, after: Measurement):
        self._before, self._after = before, after
        self.host_seconds = after.host_seconds - before.host_seconds
        self.accounted_seconds = self._sum("cpu_seconds")
        self.error = self.accounted_seconds / self.host_seconds - 1
        self.unattributed_share = self._sum("cpu_seconds", "unattributed") / self.host_seconds
        self.workloads_before, self.workloads_after = len(before.workloads), len(after.workloads)
        self.losses = {name: count - before.losses.get(name, 0) for name, count in after.losses.items()}

    def _sum(self, field: str, name: str | None = None) -> float:
        def total(measurement: Measurement) -> float:
            return sum(float(state[field]) for state in measurement.workloads if name in (None, state["workload"]["name"]))

        return total(self._after) - total(self._before)

    def of(self, name: str) -> dict[str, int]:
        return {
            "started": round(self._sum("processes_started", name)),
            "ended": round(self._sum("processes_ended", name)),
            "living": round(self._sum("processes", name)),
        }

    def imbalance(self) -> list[str]:
        """Starts - ends must be the change in living processes, over the host: a process may change its workload by exec."""
        started, ended = self._sum("processes_started"), self._sum("processes_ended")
        living = self._sum("processes")
        lost = sum(self.losses.values())
        if abs(started - ended - living) <= lost + 2:  # one may be between its fork and the tick's scan
            return []
        return [f"{started:.0f} started - {ended:.0f} ended is not {living:+.0f} living, {lost} lost"]
