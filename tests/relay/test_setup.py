"""`outlier-relay setup` against a server that keeps ISM policies as OpenSearch's published schema has it (the distribution for tests knows none), and
what `check` says of keys."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import Json, Relay

POLICIES = "/_plugins/_ism/policies/"


class Policies(http.server.ThreadingHTTPServer):
    """A policy is made where there is none, and replaced by one who names the numbers of the one that is there."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.kept: dict[str, tuple[int, Any]] = {}  # path -> sequence number, policy
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Policies

    def do_GET(self) -> None:
        if self.path == "/":
            return self._say(200, {"version": {"distribution": "opensearch", "number": "3.6.0"}, "tagline": "The OpenSearch Project"})
        if self.path not in self.server.kept:
            return self._say(404, {"error": "no such policy"})
        number, policy = self.server.kept[self.path]
        self._say(200, {"_id": self.path.rpartition("/")[2], "_version": number + 1, "_seq_no": number, "_primary_term": 1, "policy": policy})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say(200, {})

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path, _, query = self.path.partition("?")
        self.server.asked.append(self.path)
        if not path.startswith(POLICIES):
            return self._say(200, {"acknowledged": True})
        known, given = self.server.kept.get(path), dict(urllib.parse.parse_qsl(query))
        if known is not None and given != {"if_seq_no": str(known[0]), "if_primary_term": "1"}:
            return self._say(409, {"error": {"type": "version_conflict_engine_exception", "reason": "document already exists"}, "status": 409})
        self.server.kept[path] = (0 if known is None else known[0] + 1, body["policy"])
        self._say(201 if known is None else 200, {"_id": path.rpartition("/")[2]})

    def _say(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def policies() -> Iterator[Policies]:
    server = Policies()
    yield server
    server.shutdown()
    server.server_close()


def test_a_policy_that_is_there_is_replaced_by_what_the_configuration_says_now(policies: Policies, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{policies.server_address[1]}"
    relay = Relay(tmp_path / "relay", [], [{"name": "search", "opensearch": {"urls": [url], "retention": "30d"}}])
    first = relay.run("setup", "search")
    assert first.returncode == 0, first.stderr
    assert len(policies.kept) == 4 and all('"30d"' in json.dumps(policy) for _, policy in policies.kept.values())
    relay.configuration["sinks"][0]["opensearch"]["retention"] = "10d"
    second = relay.run("setup", "search")
    assert second.returncode == 0, second.stdout + second.stderr
    assert [number for number, _ in policies.kept.values()] == [1] * 4
    assert all('"10d"' in json.dumps(policy) and '"30d"' not in json.dumps(policy) for _, policy in policies.kept.values())


@pytest.mark.parametrize(
    ("kind", "name"),
    [("pagerduty", "routing_key_file"), ("new_relic", "license_key_file"), ("dynatrace", "token_file"), ("splunk_on_call", "api_key_file"), ("slack", "webhook_url_file")],
)
def test_a_key_file_that_is_not_there_fails_the_check_of_any_sink(tmp_path: Path, kind: str, name: str) -> None:
    needed: Json = {"new_relic": {"account_id": "1"}, "dynatrace": {"url": "http://127.0.0.1:9"}, "splunk_on_call": {"routing_key": "ops"}}
    relay = Relay(tmp_path / "relay", [], [{"name": "one", kind: {name: str(tmp_path / "absent"), **needed.get(kind, {})}}])
    done = relay.run("check")
    told = next(line for line in done.stdout.splitlines() if " one " in line)
    assert done.returncode == 1 and told.startswith("FAILED"), done.stdout + done.stderr
    assert f"{name}: cannot read secret {tmp_path / 'absent'}" in told, told


def test_the_check_asks_every_peer_of_an_alertmanager_and_names_the_one_that_fails(policies: Policies, tmp_path: Path) -> None:
    well = f"http://127.0.0.1:{policies.server_address[1]}"
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for urls, failed in (([well, well], []), ([well, dead], [dead]), ([dead, well], [dead])):
            done = Relay(tmp_path / "relay", [], [{"name": "one", "alertmanager": {"urls": urls}}]).run("check")
            told = next(line for line in done.stdout.splitlines() if " one " in line)
            assert told.startswith("FAILED" if failed else "ok"), done.stdout + done.stderr
            assert [url for url in {well, dead} if f"post no alerts to {url}" in told] == failed, told


def test_a_sink_that_cannot_be_asked_without_telling_it_something_is_not_said_to_be_reached(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef0123456789abcdef01234567\n")
    relay = Relay(tmp_path / "relay", [], [{"name": "one", "new_relic": {"account_id": "1", "license_key_file": str(tmp_path / "key")}}])
    told = next(line for line in relay.run("check").stdout.splitlines() if " one " in line)
    assert told.startswith("ok") and "its server was not asked" in told, told


@pytest.mark.parametrize("words", [(), ("check",), ("setup", "one")])
def test_a_wrong_configuration_is_told_with_file_line_and_column_whatever_was_asked(tmp_path: Path, words: tuple[str, ...]) -> None:
    relay = Relay(tmp_path / "relay", [], [])
    relay.write_configuration()
    file = next(tmp_path.glob("relay/*.yaml"))
    file.write_text("sinks:\n  - name: one\n    alertmanager:\n      urls: [ftp://nowhere]\n")
    done = subprocess.run(relay.command(*words), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and f"{file}:4:" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    file.write_text("http: { listen: nowhere }\n")
    done = subprocess.run(relay.command(*words), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and f"{file}:1:17: http.listen" in done.stderr, done.stderr
