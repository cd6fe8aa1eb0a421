"""TLS end to end: a source behind a real proxy with mutual TLS, sinks whose certificates end or name another, names that do not resolve. What is
wrong is said in words, nothing is lost, and it goes on when it was mended."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Incident, Json, Relay, Source
from saas.certificates import Authority, Certificate
from saas.client import Saas
from saas.fixtures import authority, saas, saas_server  # noqa: F401
from saas_sinks import sink_of
from servers.base import free_port, wait_for
from servers.nginx import Nginx
from servers.pool import obtain

QUICK = {"first_backoff": "50ms", "max_backoff": "300ms", "suspended_retry": "300ms"}


def place(certificate: Certificate, folder: Path, name: str) -> None:
    """At once, so that nobody reads half of it."""
    for source, ending in ((certificate.key, "key"), (certificate.certificate, "pem")):
        shutil.copy(source, folder / f"{name}.new")
        (folder / f"{name}.new").replace(folder / f"{name}.{ending}")


def key_file(folder: Path) -> object:
    def write(name: str, content: str) -> str:
        (folder / name).write_text(content + "\n")
        return str(folder / name)

    return write


@pytest.fixture
def relays() -> Iterator[list[Relay]]:
    started: list[Relay] = []
    yield started
    for relay in started:
        relay.stop()


@pytest.fixture
def proxy(source: Source, tmp_path: Path, authority: Authority) -> Iterator[Nginx]:  # noqa: F811
    obtain(Nginx)
    proxy = Nginx(source.folder / "feed.sock", tmp_path / "nginx")
    place(authority.server(), proxy.folder, "server")
    shutil.copy(authority.ca, proxy.folder / "relays-ca.pem")
    proxy.start()
    yield proxy
    proxy.close()


class Far:
    """A relay that reads its source through the proxy; its own certificate lies in `folder` as relay.pem."""

    def __init__(self, proxy: Nginx, folder: Path, authority: Authority, server: Saas, address: str = "", **tls: str) -> None:  # noqa: F811
        self.folder = folder
        self.proxy = proxy
        self.server = server
        source = Source(folder)  # only its address is used
        source.address = address or proxy.address
        place(authority.client(), folder, "relay")
        self.relay = Relay(folder / "far", [source], [{"name": "hook", **sink_of("webhook", server, key_file(folder)), "delivery": QUICK}], {
            "source_tls": {"ca_file": str(authority.ca), "certificate_file": f"{folder}/relay.pem", "key_file": f"{folder}/relay.key", **tls}})  # fmt: skip

    def message(self) -> str:
        sources = self.relay.sink("hook")["sources"]
        return str(sources[0]["message"]) if sources else ""

    def connected(self) -> bool:
        return bool(self.relay.sink("hook")["sources"][0]["connected"])

    def wait_for_words(self, *words: str) -> str:
        return wait_for(f"the words {words}; {self.message()}", lambda: all(word in self.message() for word in words) and self.message(), timeout=30)


@pytest.fixture
def far(proxy: Nginx, tmp_path: Path, authority: Authority, saas: Saas) -> Iterator[Far]:  # noqa: F811
    far = Far(proxy, tmp_path, authority, saas)
    yield far
    far.relay.stop()


def test_a_source_behind_a_proxy_with_mutual_tls_is_read_like_its_socket(far: Far, source: Source) -> None:
    checked = far.relay.run("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    far.relay.start()
    last = source.say("burst 200")
    far.relay.wait_until_delivered("hook", last)
    far.relay.wait_until_delivered("hook", source.append(Incident("through").change("OPENED")))
    assert far.server.violations() == []


def test_a_foreign_client_certificate_is_refused_in_words_and_the_right_one_put_in_its_place_goes_on(
    far: Far, source: Source, tmp_path: Path, authority: Authority  # noqa: F811
) -> None:
    place(Authority(tmp_path / "foreign", "foreign").client("stranger"), far.folder, "relay")
    checked = far.relay.run("check")
    assert checked.returncode == 1 and "client certificate" in checked.stdout, checked.stdout
    far.relay.start()
    last = source.append(Incident("waits").change("OPENED"))
    far.wait_for_words("client certificate", "authority")
    assert not [request for request in far.server.requests("webhook") if request["processed"] and request["method"] == "POST"]
    place(authority.client("again"), far.folder, "relay")
    far.relay.wait_until_delivered("hook", last)


def test_without_a_client_certificate_the_configuration_is_refused_and_says_what_is_missing(far: Far) -> None:
    for missing in ("certificate_file", "key_file"):
        far.relay.configuration["source_tls"] = {k: v for k, v in far.relay.configuration["source_tls"].items() if k != missing}
        checked = far.relay.run("check")
        assert checked.returncode == 2 and f"source_tls.{missing} is needed" in checked.stderr, checked.stderr
        far.relay.configuration["source_tls"][missing] = f"{far.folder}/relay.{'pem' if missing == 'certificate_file' else 'key'}"


def test_an_expired_certificate_of_the_source_is_told_as_that_and_a_new_one_goes_on(far: Far, proxy: Nginx, source: Source, authority: Authority) -> None:  # noqa: F811
    far.relay.start()
    far.relay.wait_until_delivered("hook", source.append(Incident("before").change("OPENED")))
    place(authority.expired(), proxy.folder, "server")
    proxy.stop()
    proxy.start()
    last = source.append(Incident("meanwhile").change("OPENED"))
    far.wait_for_words("expired", "it needs a new one")
    checked = far.relay.run("check")
    assert checked.returncode == 1 and "expired" in checked.stdout
    place(authority.server("renewed"), proxy.folder, "server")
    proxy.reload()
    far.relay.wait_until_delivered("hook", last)
    told = [body["data"]["incident"]["id"] for body in far.server.accepted("webhook") if isinstance(body, dict)]
    assert told == ["before", "meanwhile"]


def test_a_certificate_of_another_name_is_told_with_both_names_and_server_name_settles_it(
    proxy: Nginx, source: Source, relays: list[Relay], tmp_path: Path, authority: Authority, saas: Saas  # noqa: F811
) -> None:
    last = source.append(Incident("named").change("OPENED"))
    wrong = Far(proxy, tmp_path, authority, saas, server_name="db-1.example")
    relays.append(wrong.relay.start())
    wrong.wait_for_words("is for 127.0.0.1, localhost, not for db-1.example", "server_name")
    wrong.relay.stop()
    right = Far(proxy, tmp_path, authority, saas, address=f"127.0.0.2:{proxy.port}", server_name="localhost")
    assert right.relay.run("check").returncode == 1, "nobody listens there: the name is of the certificate, not of the way"
    right = Far(proxy, tmp_path, authority, saas, server_name="localhost")
    relays.append(right.relay.start())
    right.relay.wait_until_delivered("hook", last)


def test_a_server_of_an_authority_that_is_not_ours_is_not_believed(
    proxy: Nginx, source: Source, relays: list[Relay], tmp_path: Path, authority: Authority, saas: Saas  # noqa: F811
) -> None:
    far = Far(proxy, tmp_path, authority, saas)
    place(Authority(tmp_path / "foreign", "foreign").server(), proxy.folder, "server")
    proxy.stop()
    proxy.start()
    relays.append(far.relay.start())
    far.wait_for_words("not trusted", str(authority.ca))
    place(authority.server("ours"), proxy.folder, "server")
    proxy.reload()
    far.relay.wait_until_delivered("hook", source.append(Incident("believed").change("OPENED")))


def test_a_proxy_whose_outlierd_is_gone_says_so(far: Far, source: Source) -> None:
    far.relay.start()
    wait_for("connected", far.connected)
    source.stop()
    far.wait_for_words("outlierd behind it does not answer")
    source.start()
    far.relay.wait_until_delivered("hook", source.append(Incident("back").change("OPENED")))


# Sinks.


@pytest.mark.parametrize("vendor", ["webhook", "pagerduty"])
def test_a_sink_whose_certificate_expired_is_suspended_with_that_reason_its_cursor_held_until_it_has_a_new_one(
    source: Source, relays: list[Relay], tmp_path: Path, authority: Authority, saas: Saas, vendor: str  # noqa: F811
) -> None:
    try:
        saas.open(vendor, tls=authority.server())
        sink = {"name": "sink", **sink_of(vendor, saas, key_file(tmp_path)), "connection": {"ca_file": str(authority.ca)}, "delivery": QUICK}
        relay = Relay(tmp_path / "relay", [source], [sink]).start()
        relays.append(relay)
        wait_for("connected", lambda: relay.sink("sink")["sources"][0]["connected"])
        before = source.append(Incident("before").change("OPENED"))
        relay.wait_until_delivered("sink", before)
        saas.close(vendor)
        saas.open(vendor, tls=authority.expired())
        last = source.append(Incident("meanwhile").change("OPENED"))
        told = relay.wait_for_state("sink", "SUSPENDED")
        assert "certificate has expired" in told["message"], told["message"]
        assert int(told["sources"][0]["sequence"]) == before
        assert "certificate has expired" in relay.ctl("sinks").stdout
        saas.close(vendor)
        saas.open(vendor, tls=authority.server("renewed"))
        relay.wait_until_delivered("sink", last)
        assert [request["effects"] for request in saas.requests(vendor) if request["processed"]] and relay.sink("sink")["dead_letters"] == "0"
        assert len([request for request in saas.requests(vendor) if request["processed"]]) == 2
    finally:
        saas.close(vendor)
        saas.open(vendor)


def test_server_name_of_an_http_sink_is_the_name_that_its_certificate_is_held_to(
    source: Source, relays: list[Relay], tmp_path: Path, authority: Authority, saas: Saas  # noqa: F811
) -> None:
    try:
        saas.open("webhook", tls=authority.server())
        kind = sink_of("webhook", saas, key_file(tmp_path))
        connection = {"ca_file": str(authority.ca), "server_name": "hooks.example"}
        relay = Relay(tmp_path / "relay", [source], [{"name": "sink", **kind, "connection": connection, "delivery": QUICK}]).start()
        relays.append(relay)
        last = source.append(Incident("named").change("OPENED"))
        told = relay.wait_for_state("sink", "SUSPENDED")
        assert "hooks.example" in told["message"], told["message"]
        relay.stop()
        relay.configuration["sinks"][0]["connection"]["server_name"] = "localhost"
        relay.start()
        relay.wait_until_delivered("sink", last)
        request = saas.requests("webhook")[-1]
        assert request["processed"] and {name.lower(): value for name, value in request["headers"].items()}["host"].startswith("localhost")
    finally:
        saas.close("webhook")
        saas.open("webhook")


def test_a_server_name_that_is_none_is_refused_by_check(source: Source, tmp_path: Path, saas: Saas) -> None:  # noqa: F811
    sink = {"name": "sink", **sink_of("webhook", saas, key_file(tmp_path)), "connection": {"server_name": "https://hooks.example"}}
    checked = Relay(tmp_path / "relay", [source], [sink]).run("check")
    assert checked.returncode == 2 and "connection.server_name" in checked.stderr, checked.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root: gives the relay a list of hosts of its own in a mount namespace")
def test_a_sink_whose_name_does_not_resolve_is_tried_again_with_that_reason_and_nothing_is_lost(
    source: Source, relays: list[Relay], tmp_path: Path, saas: Saas  # noqa: F811
) -> None:
    hosts, switch = tmp_path / "hosts", tmp_path / "nsswitch.conf"
    hosts.write_text("127.0.0.1 localhost\n")
    switch.write_text("hosts: files\n")  # and nobody else is asked
    sinks: list[Json] = []
    for vendor in ("webhook", "pagerduty"):
        sink = sink_of(vendor, saas, key_file(tmp_path))
        for settings in sink.values():
            settings["url"] = settings["url"].replace("127.0.0.1", f"{vendor}.outlier.test")
        sinks.append({"name": vendor, **sink, "delivery": QUICK})
    relay = Relay(tmp_path / "relay", [source], sinks)
    relay.wrapper = ("unshare", "-m", "sh", "-c", f'mount --bind {hosts} /etc/hosts && mount --bind {switch} /etc/nsswitch.conf && exec "$@"', "sh")
    relays.append(relay.start())
    wait_for("connected", lambda: all(sink["sources"][0]["connected"] for sink in relay.ctl_json("sinks")))
    last = source.append(Incident("unresolved").change("OPENED"))
    for vendor in ("webhook", "pagerduty"):
        told = relay.wait_for_state(vendor, "BACKING_OFF")
        assert "resolve host" in told["message"] and f"{vendor}.outlier.test" in told["message"], told["message"]
        assert int(told["sources"][0]["sequence"]) < last
        assert "resolve host" in relay.ctl("sinks").stdout
    hosts.write_text("127.0.0.1 localhost webhook.outlier.test pagerduty.outlier.test\n")
    for vendor in ("webhook", "pagerduty"):
        relay.wait_until_delivered(vendor, last)
        assert len([request for request in saas.requests(vendor) if request["processed"]]) == 1


def test_nobody_at_a_sinks_port_is_told_as_that(source: Source, relays: list[Relay], tmp_path: Path, saas: Saas) -> None:  # noqa: F811
    relay = Relay(tmp_path / "relay", [source], [{"name": "hook", "webhook": {"url": f"http://127.0.0.1:{free_port()}/"}, "delivery": QUICK}]).start()
    relays.append(relay)
    source.append(Incident("nobody").change("OPENED"))
    assert "connect" in relay.wait_for_state("hook", "BACKING_OFF")["message"].lower()
