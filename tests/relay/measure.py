#!/usr/bin/env python3
"""What outlier-relay costs: measure.py [--changes N] [--sinks N] [--kind otlp|webhook]

From a journal that holds N changes of about 2 KB to a local HTTP server that takes everything and keeps nothing: changes a second through each
sink, processor time of the relay and of the source for a change, and the relay's highest resident set. Bodies are gzipped (level 1) where the
sink does so, cursors are durable. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import http.server
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from programs import Json, Relay, Source  # noqa: E402


class Null(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", self.headers.get("Content-Type", "text/plain"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def serve(port: multiprocessing.Queue[int]) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Null)
    port.put(server.server_port)
    server.serve_forever()


def seconds_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--sinks", type=int, default=1)
    parser.add_argument("--kind", choices=("otlp", "webhook"), default="otlp")
    options = parser.parse_args()
    ports: multiprocessing.Queue[int] = multiprocessing.Queue()
    null = multiprocessing.Process(target=serve, args=(ports,), daemon=True)
    null.start()
    url = f"http://127.0.0.1:{ports.get()}"
    kind: Json = {"otlp": {"endpoint": url}} if options.kind == "otlp" else {"webhook": {"url": url + "/hook", "mode": "batch"}}
    with tempfile.TemporaryDirectory(prefix="outlier-measure-") as folder:
        source = Source(Path(folder) / "source").start()
        last = source.say(f"burst {options.changes // 2}")
        relay = Relay(Path(folder) / "relay", [source], [{"name": f"sink-{i}", **kind} for i in range(options.sinks)])
        source_before = seconds_of(source.pid)
        began = time.monotonic()
        relay.start(ready=False)
        while True:
            try:
                sinks = relay.ctl_json("sinks")
            except (AssertionError, json.JSONDecodeError):
                continue
            if sinks and all(s["sources"] and int(s["sources"][0]["sequence"]) >= last for s in sinks):
                break
            time.sleep(0.05)
        took = time.monotonic() - began
        peak = next(line.split()[1] for line in Path(f"/proc/{relay.pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
        carried = last * options.sinks
        print(json.dumps({
            "kind": options.kind, "sinks": options.sinks, "changes": last, "seconds": round(took, 2), "changes_per_second": round(carried / took),
            "relay_us_per_change": round(1e6 * seconds_of(relay.pid) / carried, 1),
            "source_us_per_change": round(1e6 * (seconds_of(source.pid) - source_before) / carried, 1), "relay_peak_mib": round(int(peak) / 1024, 1),
        }))  # fmt: skip
        relay.stop()
        source.stop()
    null.terminate()


if __name__ == "__main__":
    main()
