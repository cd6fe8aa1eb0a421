#!/usr/bin/env python3
"""How fast outlier-relay fills Elasticsearch, beside a loader that only sends: measure_search.py [--changes N] [--rounds N].

Both bring the same changes as the same bulk bodies (those that the relay makes, caught beforehand, packed by the same code), with the
same headers, over one TLS connection, to the same server, in turns, each into a fresh stream and a fresh index of incidents. The relay
reads them from a source's journal, writes and packs them, and keeps its cursors. The loader's time begins before it connects, the relay's
before its process is started; both end with the answer to the last request. Afterwards both must hold every change once.

Prints one line of JSON a round, and the ratio. Needs `ninja -C build outlier-relay outlierctl feed_source null_sink packed`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from measure import NullSink, arrived, seconds_of, sequences_of, wait_until_delivered  # noqa: E402
from programs import BUILD, Json, Relay, Source  # noqa: E402
from servers.elasticsearch import PASSWORD, Elasticsearch  # noqa: E402
from servers.rest import basic  # noqa: E402

PACKED = BUILD / "tests" / "packed"
INCIDENTS = "outlier-incidents"
WARM_UP = 2  # rounds: the server's compiler is at work
# As the relay asks.
BULK = "/_bulk?filter_path=errors,items.*.status,items.*.failure_store,items.*.error.type,items.*.error.reason,error.type,error.reason,status"
HEADERS = {"Accept": "application/json", "Accept-Encoding": "deflate, gzip, br, zstd", "Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}


def packed(texts: list[bytes]) -> list[bytes]:
    """By the relay's own packer, one after the other."""
    frames = b"".join(len(text).to_bytes(8, "little") + text for text in texts)
    out = subprocess.run([PACKED], input=frames, stdout=subprocess.PIPE, check=True).stdout
    bodies: list[bytes] = []
    at = 0
    while at < len(out):
        size = int.from_bytes(out[at : at + 8], "little")
        bodies.append(out[at + 8 : at + 8 + size])
        at += 8 + size
    return bodies


class Round:
    """One source with a new journal; what it says, as the relay sends it."""

    def __init__(self, folder: Path, server: Elasticsearch, changes: int) -> None:
        self.folder = folder
        self.server = server
        self.namespace = f"relay{uuid.uuid4().hex[:12]}"
        (folder / "password").parent.mkdir(parents=True, exist_ok=True)
        (folder / "password").write_text(PASSWORD)
        self.source = Source(folder / "source").start()
        self.cost: Json = {}
        self.last = self.source.say(f"day {changes}")

    def relay(self, name: str, urls: list[str]) -> Relay:
        sink: Json = {"urls": urls, "username": "elastic", "password_file": str(self.folder / "password"), "namespace": self.namespace}
        connection = {"ca_file": str(self.server.ca_file)}
        return Relay(self.folder / name, [self.source], [{"name": "search", "elasticsearch": sink, "connection": connection}])

    def set_up(self) -> None:
        self.server.rest.request("DELETE", f"/{INCIDENTS}")
        done = self.relay("setup", [self.server.rest.url]).run("setup", "search")
        assert done.returncode == 0, done.stdout + done.stderr

    def bodies(self) -> list[bytes]:
        """Of another feed and another stream, so that the relay's own find an empty place."""
        null = NullSink(self.folder / "kept")
        relay = self.relay("catcher", [f"http://127.0.0.1:{null.port}"]).start(ready=False)
        wait_until_delivered(relay, [{"name": "search"}], self.last)
        relay.stop()
        null.stop()
        sequences, _ = arrived(null, "elasticsearch")
        assert sequences == list(range(1, self.last + 1))
        feed, namespace = uuid.uuid4().hex.encode(), self.namespace.replace("relay", "loads").encode()
        bodies = sorted(null.bodies(), key=lambda body: sequences_of(body, "elasticsearch"))
        return packed([body.replace(self.source.feed_id.encode(), feed).replace(self.namespace.encode(), namespace) for body in bodies])

    def load(self, bodies: list[bytes]) -> float:
        self.set_up()
        url = urllib.parse.urlsplit(self.server.rest.url)
        assert url.hostname is not None
        connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=120, context=self.server.rest._tls)
        headers = {**basic("elastic", PASSWORD), **HEADERS}
        began = time.monotonic()
        for body in bodies:
            connection.request("POST", BULK, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200 and b'"errors":false' in text, text[:500]
        took = time.monotonic() - began
        connection.close()
        self.check(self.namespace.replace("relay", "loads"))
        return took

    def deliver(self) -> float:
        self.set_up()
        relay = self.relay("relay", [self.server.rest.url])
        before = seconds_of(self.source.pid)
        began = time.time()
        relay.start(ready=False)
        wait_until_delivered(relay, [{"name": "search"}], self.last)
        spent = {"relay": seconds_of(relay.pid), "source": seconds_of(self.source.pid) - before}
        self.cost = {f"{who}_cpu_us": round(1e6 * seconds / self.last) for who, seconds in spent.items()}
        took = datetime.fromisoformat(relay.sink("search")["last_success_time"]).timestamp() - began
        relay.stop()
        self.check(self.namespace)
        return took

    def check(self, namespace: str) -> None:
        for index in (f"logs-outlier.change-{namespace}", INCIDENTS):
            self.server.rest.post(f"/{index}/_refresh").expect(200)
        found = self.server.rest.get(f"/logs-outlier.change-{namespace}/_count").expect(200).json()["count"]
        assert found == self.last, f"{found} of {self.last} changes are there"
        assert self.server.rest.get(f"/{INCIDENTS}/_count").expect(200).json()["count"] > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory(prefix="outlier-measure-") as name, Elasticsearch(quick=False) as server:
        for number in range(-WARM_UP, options.rounds):
            one = Round(Path(name) / str(number), server, options.changes)
            bodies = one.bodies()
            # Who is second finds a server that is busy with what the first one left: they take turns.
            times = {"load": 0.0, "deliver": 0.0}
            for what in ("load", "deliver") if number % 2 == 0 else ("deliver", "load"):
                times[what] = one.load(bodies) if what == "load" else one.deliver()
            one.source.stop()
            rates = {what: options.changes / seconds for what, seconds in times.items()}
            ratio = rates["deliver"] / rates["load"]
            if number >= 0:
                ratios.append(ratio)
            print(json.dumps({"round": number, "changes": one.last, "requests": len(bodies), "loader_per_second": round(rates["load"]),
                              "relay_per_second": round(rates["deliver"]), "ratio": round(ratio, 3), **one.cost}), flush=True)  # fmt: skip
    print(json.dumps({"rounds": len(ratios), "mean_ratio": round(statistics.mean(ratios), 3), "median_ratio": round(statistics.median(ratios), 3)}))


if __name__ == "__main__":
    main()
