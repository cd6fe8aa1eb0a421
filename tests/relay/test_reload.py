"""SIGHUP: another configuration is taken up without a restart, and a bad one is not."""

from __future__ import annotations

import http.client
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from killing import file_with
from programs import Incident, Json, Relay, Source
from saas.client import Saas
from saas.fixtures import saas, saas_server  # noqa: F401
from servers.base import free_port, wait_for


@pytest.fixture
def relay(source: Source, tmp_path: Path, saas: Saas) -> Iterator[Relay]:  # noqa: F811
    relay = Relay(tmp_path / "relay", [source], [webhook_sink(saas, tmp_path, min_severity="critical")])
    relay.start()
    yield relay
    relay.stop()


def webhook_sink(saas: Saas, folder: Path, min_severity: str, name: str = "hook") -> Json:  # noqa: F811
    return {
        "name": name,
        "webhook": {"url": saas.url("webhook", "/webhook/ops"), "secret_file": file_with(folder, "hook.secret", saas.key("webhook"))},
        "delivery": {"first_backoff": "100ms", "max_backoff": "500ms"},
        "route": {"min_severity": min_severity},
    }


def reload(relay: Relay, says: str) -> str:
    """The line of the log that tells what became of it."""
    told = relay.log.stat().st_size
    relay.write_configuration()
    relay.send_signal(signal.SIGHUP)
    return wait_for(f"'{says}' in the log", lambda: next((line for line in relay.log.read_text()[told:].splitlines() if says in line), None))


def incidents_of(saas: Saas) -> list[str]:  # noqa: F811
    return [body["data"]["incident"]["id"] for body in saas.accepted("webhook")]


def test_a_route_that_was_widened_admits_what_comes_from_then_on_and_repeats_nothing(source: Source, relay: Relay, saas: Saas, tmp_path: Path) -> None:  # noqa: F811
    relay.wait_until_delivered("hook", source.append(Incident("too low").change("OPENED"), Incident("critical", severity="CRITICAL").change("OPENED")))
    relay.configuration["sinks"] = [webhook_sink(saas, tmp_path, min_severity="minor")]
    reload(relay, "configuration read again: 1 source, 1 sink")
    wait_for("ready", relay.is_ready)
    relay.wait_until_delivered("hook", source.append(Incident("now high enough").change("OPENED")))
    assert incidents_of(saas) == ["critical", "now high enough"]
    assert saas.violations("webhook") == []


def test_sinks_and_sources_come_and_go(source: Source, relay: Relay, saas: Saas, tmp_path: Path) -> None:  # noqa: F811
    other = Source(tmp_path / "other", host="web-2").start()
    try:
        relay.configuration["sources"].append(other.address)
        relay.configuration["sinks"] = [webhook_sink(saas, tmp_path, min_severity="minor", name="new")]
        reload(relay, "configuration read again: 2 sources, 1 sink")
        wait_for("ready", relay.is_ready)
        assert [sink["name"] for sink in relay.ctl_json("sinks")] == ["new"]
        source.append(Incident("here").change("OPENED"))
        other.append(Incident("there").change("OPENED"))
        saas.wait(lambda: sorted(incidents_of(saas)) == ["here", "there"], what="both")
    finally:
        other.stop()


def test_silences_alone_interrupt_nothing(source: Source, relay: Relay, saas: Saas, tmp_path: Path) -> None:  # noqa: F811
    client = http.client.HTTPConnection("127.0.0.1", relay.http_port, timeout=10)
    client.connect()
    client.auto_open = 0

    def is_ready() -> bool:
        client.request("GET", "/-/ready")
        return client.getresponse().read() == b"ready\n"

    assert is_ready()
    relay.configuration["silences"] = [{"match": {"workload": "billing*"}, "ends": "2099-01-01T00:00:00Z", "author": "ann", "reason": "move"}]
    reload(relay, "configuration read again")
    assert is_ready(), "over the connection of before"
    client.close()
    relay.wait_until_delivered("hook", source.append(Incident("quiet", severity="CRITICAL").change("OPENED")))
    assert [body["silencereason"] for body in saas.accepted("webhook")] == ["move"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"sinks": [{"name": "hook", "webhook": {"url": "no url"}}]}, "sinks[0] (hook)"),
        ({"surprise": 1}, "relay.yaml:"),
    ],
    ids=["sink", "key"],
)
def test_a_bad_configuration_leaves_the_old_one_in_force(source: Source, relay: Relay, saas: Saas, change: Json, why: str) -> None:  # noqa: F811
    relay.configuration.update(change)
    assert why in reload(relay, "the old configuration stays in force")
    relay.wait_until_delivered("hook", source.append(Incident("critical", severity="CRITICAL").change("OPENED")))
    assert incidents_of(saas) == ["critical"]


def test_a_port_that_is_taken_leaves_the_old_configuration_in_force(source: Source, relay: Relay, saas: Saas) -> None:  # noqa: F811
    taken = free_port()
    with socket.create_server(("127.0.0.1", taken)):
        relay.configuration["http"] = {"listen": f"127.0.0.1:{taken}"}
        assert str(taken) in reload(relay, "the old configuration stays in force")
    wait_for("ready, where it was", relay.is_ready)
    relay.wait_until_delivered("hook", source.append(Incident("critical", severity="CRITICAL").change("OPENED")))
    assert incidents_of(saas) == ["critical"]


def test_nothing_is_lost_when_it_is_taken_up_in_full_flow(source: Source, relay: Relay, saas: Saas, tmp_path: Path) -> None:  # noqa: F811
    sink = webhook_sink(saas, tmp_path, min_severity="minor")
    sink["webhook"]["mode"] = "batch"
    for reloads in range(5):
        relay.configuration["sinks"] = [{**sink, "delivery": {**sink["delivery"], "max_items": 50 + reloads}}]
        last = source.say("burst 1000")
        reload(relay, "configuration read again")
    wait_for("ready", relay.is_ready)
    relay.wait_until_delivered("hook", last)
    sequences = [int(body["data"]["sequence"]) for bodies in saas.accepted("webhook") for body in bodies]
    first_times = list(dict.fromkeys(sequences))
    assert first_times == list(range(first_times[0], last + 1)), "in order, and all since the route was widened"
    assert first_times[0] <= 1001
    assert len(sequences) - len(first_times) <= 5 * 54, "no more than the batch that was under way is sent again"


def test_where_neither_the_new_nor_the_old_configuration_can_be_taken_up_it_ends_with_the_reasons(relay: Relay, saas: Saas, tmp_path: Path) -> None:  # noqa: F811
    state = relay.folder / "state"
    shutil.rmtree(state)
    state.write_text("no folder")
    relay.configuration["sinks"] = [webhook_sink(saas, tmp_path, min_severity="minor")]
    reload(relay, "nor can the configuration before be taken up again")
    assert relay.wait() == 1
