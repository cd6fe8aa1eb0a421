#!/usr/bin/env python3
"""What outlier-relay costs: measure.py [--kind otlp|webhook|elasticsearch]... [--changes N] [--shape burst|day], or measure.py --day.

From a journal that holds N changes to a local server that takes everything (`null_sink`): changes a second from the relay's start to
the last body, processor time of relay, source and server for a change, and the relay's highest resident set. Bodies are gzipped
(level 1) where the sink does so, cursors are durable. What arrived is unpacked and counted afterwards: every change, once, in order
(of Elasticsearch's bodies, which come over two connections, within each).

--day: five sinks of three kinds at different places of a day's backlog (50,000 changes of 3 to 7 kB), one of them at a server that
never answers.

Prints one line of JSON a run. Needs `ninja -C build outlier-relay outlierctl feed_source null_sink`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from programs import BUILD, Json, Relay, Source  # noqa: E402

KINDS = ("otlp", "webhook", "elasticsearch")
# Where a body says the sequence of a change: once for each change, twice in Elasticsearch's two documents.
SEQUENCE = {
    "otlp": re.compile(rb"outlier\.change\.sequence\x12.\x18([\x80-\xff]*[\x00-\x7f])", re.DOTALL),
    "webhook": re.compile(rb'"data":\{"sequence":"(\d+)"'),
    "elasticsearch": re.compile(rb'"change":\{"sequence":(\d+)'),
}


class NullSink:
    """Keeps what it is sent in a file."""

    def __init__(self, kept: Path) -> None:
        self.kept = kept
        self._process = subprocess.Popen([BUILD / "tests" / "null_sink", kept], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline().split()[1])

    @property
    def pid(self) -> int:
        return self._process.pid

    def bodies(self) -> Iterator[bytes]:
        with self.kept.open("rb") as file:
            while length := file.read(8):
                body = file.read(int.from_bytes(length, "little"))
                yield zlib.decompress(body, 31) if body.startswith(b"\x1f\x8b") else body

    def stop(self) -> None:
        self._process.communicate()


def varint(data: bytes) -> int:
    return sum((byte & 0x7F) << (7 * i) for i, byte in enumerate(data))


def arrived(server: NullSink, kind: str) -> tuple[list[int], int]:
    """The sequences in the order they came, and the bytes before compression."""
    bodies, size = [], 0
    for body in server.bodies():
        size += len(body)
        bodies.append(sequences_of(body, kind))
    if kind == "elasticsearch":
        bodies.sort()  # over two connections one may overtake another
    return [sequence for body in bodies for sequence in body], size


def sequences_of(body: bytes, kind: str) -> list[int]:
    found = SEQUENCE[kind].findall(body)
    sequences = [varint(one) for one in found] if kind == "otlp" else [int(one) for one in found]
    return sequences[::2] if kind == "elasticsearch" else sequences


def seconds_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    return next(int(line.split()[1]) / 1024 for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))


def sink_of(kind: str, name: str, port: int) -> Json:
    url = f"http://127.0.0.1:{port}"
    settings: dict[str, Json] = {
        "otlp": {"endpoint": url},
        "webhook": {"url": f"{url}/hook", "mode": "batch"},
        "elasticsearch": {"urls": [url]},
    }
    return {"name": name, kind: settings[kind]}


def wait_until_delivered(relay: Relay, sinks: list[Json], last: int) -> None:
    """Until each has had so many changes, over all its runs. A look at /metrics costs a millisecond."""
    names = [sink["name"] for sink in sinks]
    while True:
        try:
            _, text = relay.get("/metrics")
        except OSError:
            text = ""
        delivered = {}
        for line in text.splitlines():
            if line.startswith("outlier_sink_delivered_total{"):
                delivered.update({name: float(line.split()[-1]) for name in names if f'"{name}"' in line})
        if all(delivered.get(name, 0) >= last for name in names):
            return
        time.sleep(0.1)


def last_body(servers: list[NullSink]) -> float:
    return max(server.kept.stat().st_mtime for server in servers)


def measure(kind: str, changes: int, sinks: int, shape: str) -> Json:
    with tempfile.TemporaryDirectory(prefix="outlier-measure-") as name, contextlib.ExitStack() as ends:
        folder = Path(name)
        source = Source(folder / "source").start()
        ends.callback(source.stop)
        last = source.say(f"burst {changes // 2}" if shape == "burst" else f"day {changes}")
        servers = [NullSink(folder / f"kept-{i}") for i in range(sinks)]
        for server in servers:
            ends.callback(server.stop)
        configured = [sink_of(kind, f"sink-{i}", server.port) for i, server in enumerate(servers)]
        relay = Relay(folder / "relay", [source], configured)
        before = seconds_of(source.pid)
        began = time.time()
        relay.start(ready=False)
        ends.callback(relay.stop)
        wait_until_delivered(relay, configured, last)
        took = last_body(servers) - began
        carried = last * sinks
        served = sum(seconds_of(server.pid) for server in servers)
        cost = {"relay": seconds_of(relay.pid), "source": seconds_of(source.pid) - before, "server": served}
        peak = peak_mib(relay.pid)
        cursors = [int(sink["sources"][0]["sequence"]) for sink in relay.ctl_json("sinks")]
        size = 0
        for server in servers:
            sequences, size = arrived(server, kind)
            assert sequences == list(range(1, last + 1)), f"{len(sequences)} of {last} changes arrived, or out of order"
        assert cursors == [last] * sinks, f"cursors stand at {cursors}, not at {last}"
        return {
            "kind": kind,
            "shape": shape,
            "sinks": sinks,
            "changes": last,
            "body_bytes_per_change": round(size / last),
            "seconds": round(took, 2),
            "changes_per_second": round(carried / took),
            **{f"{who}_us_per_change": round(1e6 * spent / carried, 1) for who, spent in cost.items()},
            "relay_peak_mib": round(peak, 1),
        }


def measure_day(changes: int) -> Json:
    """Two sinks begin alone, with a third of the day; then all five, one of which hears nothing from its server."""
    kinds = ["otlp", "elasticsearch", "webhook", "otlp"]
    with tempfile.TemporaryDirectory(prefix="outlier-measure-") as name, contextlib.ExitStack() as ends:
        folder = Path(name)
        source = Source(folder / "source").start()
        ends.callback(source.stop)
        servers = [NullSink(folder / f"kept-{i}") for i in range(len(kinds))]
        for server in servers:
            ends.callback(server.stop)
        silent = ends.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        sinks = [sink_of(kind, f"{kind}-{i}", server.port) for i, (kind, server) in enumerate(zip(kinds, servers))]
        sinks.append(sink_of("elasticsearch", "stuck", silent.getsockname()[1]))
        third = source.say(f"day {changes // 3}")
        early = Relay(folder / "relay", [source], sinks[:2]).start(ready=False)
        wait_until_delivered(early, sinks[:2], third)
        early.stop()
        last = source.say(f"day {changes - changes // 3}")
        relay = Relay(folder / "relay", [source], sinks).start(ready=False)
        ends.callback(relay.stop)
        wait_until_delivered(relay, sinks[:-1], last)
        peak = peak_mib(relay.pid)
        for server, kind in zip(servers, kinds):
            sequences, _ = arrived(server, kind)
            assert sequences == list(range(1, last + 1)), f"{kind}: {len(sequences)} of {last} changes arrived, or out of order"
        stuck = relay.sink("stuck")
        assert int(stuck["delivered"]) == 0
        return {"day": True, "sinks": len(sinks), "changes": last, "relay_peak_mib": round(peak, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--sinks", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--shape", choices=("burst", "day"), default="burst")
    parser.add_argument("--day", action="store_true")
    options = parser.parse_args()
    for _ in range(options.rounds):
        if options.day:
            print(json.dumps(measure_day(min(options.changes, 50_000))), flush=True)
        for kind in [] if options.day else options.kind or KINDS:
            print(json.dumps(measure(kind, options.changes, options.sinks, options.shape)), flush=True)


if __name__ == "__main__":
    main()
