#!/usr/bin/env python3
"""What outlierd costs on a host of 5,000 processes of 500 workloads, each waking once a second.

    tests/benchmarks/host_5000/measure.py [--seconds 60] [--workloads 500] [--each 10] [--exact] [--peer COMMAND]...

Prints the CPU time of outlierd's own threads, the time its BPF programs take inside other processes' calls, its resident set
and the memory of its maps, against the budgets; then the own CPU of each peer over the same processes. --exact turns the kernel's BPF
statistics on for another spell and reads every program's run time: it costs each run 45 ns, so it comes after the measurement.
Exit status 1 when a budget is exceeded. Needs root, gcc and bpftool.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "live"))

from ground import Ground, start, wait_for  # noqa: E402
from host import Daemon  # noqa: E402

CPU_BUDGET = 0.02  # of a core, at one tick a second
MEMORY_BUDGET = 128 << 20
SETTLE_SECONDS = 20
BPF_STATISTICS = Path("/proc/sys/kernel/bpf_stats_enabled")
APPS_PLUGIN = "/usr/libexec/netdata/plugins.d/apps.plugin"


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS")


def populate(ground: Ground, workloads: int, each: int) -> list[subprocess.Popen[bytes]]:
    program = ground.folder / "sleeper"
    source = Path(__file__).with_name("sleeper.c")
    subprocess.run(["gcc", "-O2", "-static", "-nostdlib", "-fno-stack-protector", "-o", program, source], check=True)
    processes = []
    for number in range(workloads):
        copy = ground.folder / f"service-{number:03}"
        shutil.copy2(program, copy)
        processes += [subprocess.Popen([copy]) for _ in range(each)]
    return processes


@dataclass
class Cost:
    own_cpu: float  # of a core
    kernel_cpu: float
    resident: int
    maps: int

    @property
    def cpu(self) -> float:
        return self.own_cpu + self.kernel_cpu

    @property
    def memory(self) -> int:
        return self.resident + self.maps


def measure_daemon(daemon: Daemon, seconds: float) -> Cost:
    assert daemon.process is not None
    pid = daemon.process.pid
    ticks, began, cpu = int(daemon.status()["ticks"]), time.monotonic(), cpu_seconds(pid)
    kernel, maps, resident = [], 0, 0
    while time.monotonic() < began + seconds:
        time.sleep(min(10.0, seconds))
        overhead = daemon.status()["overhead"]
        kernel.append(overhead["cpu_in_kernel_percent"] / 100)
        maps = max(maps, int(overhead["map_memory_bytes"]))
        resident = max(resident, resident_bytes(pid))
    took = time.monotonic() - began
    ticked = int(daemon.status()["ticks"]) - ticks
    print(f"{ticked} ticks in {took:.0f} s")
    return Cost((cpu_seconds(pid) - cpu) / took, statistics.fmean(kernel), resident, maps)


def programs() -> dict[int, tuple[str, int, int]]:
    """BPF programs of the host: name, nanoseconds run, runs, by the kernel's own statistics."""
    listed = json.loads(subprocess.run(["bpftool", "prog", "show", "-j"], capture_output=True, check=True).stdout)
    return {p["id"]: (p.get("name", "?"), p.get("run_time_ns", 0), p.get("run_cnt", 0)) for p in listed}


def print_exact_kernel_time(foreign: set[int], seconds: float) -> None:
    """Of every program that was loaded since `foreign` were."""
    before_setting = BPF_STATISTICS.read_text()
    BPF_STATISTICS.write_text("1")
    try:
        before = programs()
        time.sleep(seconds)
        after = {number: p for number, p in programs().items() if number not in foreign}
    finally:
        BPF_STATISTICS.write_text(before_setting)
    total = 0.0
    for number, (name, run_ns, runs) in sorted(after.items(), key=lambda entry: -entry[1][1]):
        _, ns_then, runs_then = before.get(number, ("", 0, 0))
        total += run_ns - ns_then
        if runs > runs_then:
            rate = (runs - runs_then) / seconds
            print(f"    {name:<24} {rate:>12.0f} runs/s {(run_ns - ns_then) / (runs - runs_then):>10.0f} ns each")
    print(f"    all programs, statistics on: {100 * total / 1e9 / seconds:.3f} % of a core")


def peer_cpu(command: list[str], seconds: float) -> float:
    with open(os.devnull, "wb") as nothing:
        process = start(command, stdout=nothing, stderr=nothing, stdin=subprocess.DEVNULL)
        time.sleep(5)  # its start is not its steady cost
        began, cpu = time.monotonic(), cpu_seconds(process.pid)
        time.sleep(seconds)
        used = (cpu_seconds(process.pid) - cpu) / (time.monotonic() - began)
        process.kill()
        process.wait()
    return used


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--workloads", type=int, default=500)
    arguments.add_argument("--each", type=int, default=10)
    arguments.add_argument("--exact", action="store_true", help="also the kernel's own BPF statistics")
    arguments.add_argument("--peer", action="append", default=[], help="a command to compare with; repeatable")
    options = arguments.parse_args()

    ground = Ground()
    processes = populate(ground, options.workloads, options.each)
    try:
        peers = [*options.peer, "top -b -d 1", *([f"{APPS_PLUGIN} 1"] if os.access(APPS_PLUGIN, os.X_OK) else [])]
        peer_costs = [(peer, peer_cpu(shlex.split(peer), min(30.0, options.seconds))) for peer in peers]

        foreign = set(programs()) if options.exact else set()
        daemon = Daemon(ground.folder / "daemon", "tick=1s").start()
        wait_for("all workloads known", lambda: daemon.status()["workloads"] >= options.workloads, timeout=120, poll=2)
        time.sleep(SETTLE_SECONDS)
        status = daemon.status()
        print(f"{status['processes']} processes, {status['workloads']} workloads, {status['series']} series, mode {status['mode']}")
        cost = measure_daemon(daemon, options.seconds)
        print(f"outlierd: CPU {100 * cost.cpu:.2f} % of a core: own {100 * cost.own_cpu:.2f}, in the kernel {100 * cost.kernel_cpu:.2f}")
        print(f"          memory {cost.memory / 2**20:.1f} MiB: resident {cost.resident / 2**20:.1f}, maps {cost.maps / 2**20:.1f}")
        print(f"          losses {[(loss['name'], loss['count']) for loss in status['losses'] if int(loss['count'])] or 'none'}")
        if options.exact:
            print_exact_kernel_time(foreign, 20)
        daemon.terminate()
        for peer, used in peer_costs:
            print(f"{peer}: own CPU {100 * used:.2f} % of a core")
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
        ground.clear()
    verdict = cost.cpu <= CPU_BUDGET and cost.memory <= MEMORY_BUDGET
    print(f"budgets: CPU {100 * CPU_BUDGET:g} %, memory {MEMORY_BUDGET >> 20} MiB: {'kept' if verdict else 'EXCEEDED'}")
    return 0 if verdict else 1


if __name__ == "__main__":
    sys.exit(main())
