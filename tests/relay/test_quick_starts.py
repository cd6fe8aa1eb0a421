"""Every quick start of docs/sinks.md, taken from the page and run: check, start, and an incident arrives. Replaced are names of hosts that are
not a vendor's own, accounts, and the folder of keys. A vendor's own names lead, within the relay's mount namespace, to the stand-in: by
/etc/hosts, port 443 and an authority of the test's, so that the addresses which the relay has built in are looked at, too."""

from __future__ import annotations

import os
import re
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from programs import BUILD, ROOT, Incident, Json, Relay, Source
from saas.certificates import Authority
from saas.client import Saas
from saas.fixtures import authority, saas, saas_server  # noqa: F401
from saas.vendors import azure
from servers.alertmanager import Alertmanager
from servers.base import wait_for
from servers.cloudwatch import CloudWatch
from servers.collector import Collector
from servers.elasticsearch import PASSWORD, Elasticsearch
from servers.opensearch import OpenSearch
from servers.pool import Pool
from servers.prometheus import Prometheus

PAGE = ROOT / "docs" / "sinks.md"
SINKS = ROOT / "userspace" / "sinks" / "sinks.def"
MOST_LINES = 10
KEYS = "/etc/outlierd/"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="takes root: serves port 443, and gives the relay a list of hosts of its own")


@dataclass
class QuickStart:
    name: str
    blocks: list[tuple[str, str]]  # language, text

    def of(self, language: str) -> list[str]:
        return [text for kind, text in self.blocks if kind == language]

    @property
    def lines(self) -> int:
        return sum(text.count("\n") for _, text in self.blocks)


def quick_starts() -> dict[str, QuickStart]:
    section = PAGE.read_text().partition("\n## Quick start\n")[2].partition("\n## ")[0]
    found: dict[str, QuickStart] = {}
    for part in section.split("\n### ")[1:]:
        name, _, body = part.partition("\n")
        found[name] = QuickStart(name, re.findall(r"^```(\w+)\n(.*?)^```$", body, re.MULTILINE | re.DOTALL))
    return found


class Doors(socketserver.ThreadingTCPServer):
    """TLS on port 443 for many hosts, told apart by the name that is asked for; each leads to a port of this machine."""

    daemon_threads = True
    allow_reuse_address = True
    names: dict[str, int] = {}

    def __init__(self, authority: Authority, names: Mapping[str, int]) -> None:
        self.names = dict(names)
        certificate = authority.server("vendors", names=list(self.names))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.certificate, certificate.key)
        self._context.sni_callback = self._note
        super().__init__(("127.0.0.1", 443), Door)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @staticmethod
    def _note(connection: Any, name: str | None, _: ssl.SSLContext) -> None:
        connection.asked_for = name

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, *_: Any) -> None:
        pass  # a peer that goes away is the relay's to tell of


class Plain(socketserver.ThreadingTCPServer):
    """A port of the page that leads to another."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, to: int) -> None:
        self.names = {"": to}
        super().__init__(("127.0.0.1", port), Door)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Door(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        name = ""
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
            name = getattr(self.request, "asked_for", None) or ""
        with socket.create_connection(("127.0.0.1", self.server.names[name])) as behind:  # type: ignore[attr-defined]
            back = threading.Thread(target=self._carry, args=(behind, self.request), daemon=True)
            back.start()
            self._carry(self.request, behind)
            back.join()

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@dataclass
class Case:
    """What stands for the hosts and accounts of one quick start, and how it is seen that the incident came."""

    arrived: Callable[[str], Any]  # the incident's id
    replace: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)  # files that a person makes
    names: dict[str, int] = field(default_factory=dict)  # host -> port, by TLS
    plain: dict[int, int] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    trusted: Path | None = None  # an authority that the host trusts beside the vendors'
    made: Callable[[Path], None] = lambda keys: None  # after the commands of the page, with the folder of keys
    sampled: bool = False  # it takes no incidents


class House:
    def __init__(self, pool: Pool, saas: Saas, authority: Authority) -> None:  # noqa: F811
        self.pool, self.saas, self.authority = pool, saas, authority
        self.others: list[Any] = []

    def vendor(self, name: str, hosts: list[str], keys: dict[str, str], **more: Any) -> Case:
        names = {host: self.saas.ports[name] for host in hosts}
        return Case(lambda incident: [body for body in self.saas.accepted(name) if incident in str(body)], names=names, keys=keys, **more)

    def case(self, name: str) -> Case:
        key = self.saas.key
        match name:
            case "Elasticsearch":
                server = self.pool.running(Elasticsearch)
                return Case(lambda incident: [hit for hit in server.documents("logs-outlier.change-default") if incident in str(hit)],
                            replace={"https://es:9200": server.url}, environment={"ELASTIC_PASSWORD": PASSWORD, "CURL_CA_BUNDLE": str(server.ca_file)},
                            trusted=server.ca_file)  # fmt: skip
            case "OpenSearch":
                other = self.pool.running(OpenSearch)
                return Case(lambda incident: [hit for hit in other.documents("logs-outlier.change-default") if incident in str(hit)],
                            replace={"https://os:9200": other.url}, keys={"os.password": "whatever"})  # fmt: skip
            case "OpenTelemetry":
                collector = self.pool.running(Collector)
                return Case(lambda incident: [record for record in collector.log_records() if incident in str(record)],
                            replace={"http://collector:4318": collector.rest.url})  # fmt: skip
            case "Grafana Cloud":
                return Case(lambda incident: incident in str(self.saas.requests("grafana_cloud")), keys={"grafana.key": key("grafana_cloud")},
                            names={"otlp-gateway-zone.grafana.net": self.saas.ports["grafana_cloud"]})  # fmt: skip
            case "Prometheus, remote write":
                prometheus = self.pool.running(Prometheus)
                return Case(lambda _: prometheus.query("outlier_workload_score"), replace={"http://prometheus:9090": prometheus.rest.url}, sampled=True)
            case "Alertmanager":
                first, second = self.pool.running(Alertmanager), Alertmanager().start()
                self.others.append(second)
                return Case(lambda incident: all(any(incident in str(alert) for alert in one.alerts()) for one in (first, second)),
                            replace={"http://am-1:9093": first.rest.url, "http://am-2:9093": second.rest.url})  # fmt: skip
            case "PagerDuty":
                return self.vendor("pagerduty", ["events.pagerduty.com"], {"pd.key": key("pagerduty")})
            case "Opsgenie":
                return self.vendor("opsgenie", ["api.opsgenie.com"], {"og.key": key("opsgenie")})
            case "Jira Service Management":
                return self.vendor("jira_service_management", ["api.atlassian.com"], {"jsm.key": key("jira_service_management")})
            case "Splunk On-Call":
                return self.vendor("victorops", ["alert.victorops.com"], {"vo.key": key("victorops")})
            case "Slack":
                case = self.vendor("slack", ["hooks.slack.com"], {"slack.url": "https://hooks.slack.com/services/" + key("slack")})
                case.arrived = lambda _: self.saas.accepted("slack")
                return case
            case "Webhook":
                return self.vendor("webhook", ["hooks.example"], {}, replace={"hooks.example/outlier": "hooks.example/webhook/ops"},
                                   made=lambda keys: self.saas.configure("webhook", keys=[(keys / "hook.key").read_text().strip()]))  # fmt: skip
            case "Datadog":
                return self.vendor("datadog", ["event-management-intake.datadoghq.eu", "api.datadoghq.eu"], {"dd.key": key("datadog")})
            case "New Relic":
                return self.vendor("new_relic", ["insights-collector.eu01.nr-data.net"], {"nr.key": key("new_relic")})
            case "Dynatrace":
                return self.vendor("dynatrace", ["environment.live.dynatrace.com"], {"dt.token": key("dynatrace")})
            case "Instana":
                return self.vendor("instana", [], {}, plain={42699: self.saas.ports["instana"]})
            case "CloudWatch":
                cloud = self.pool.running(CloudWatch)
                reader = replace(cloud.reader, region="eu-west-1")
                wanted = {"logGroupName": "/outlier/incidents", "logStreamName": socket.gethostname()}
                return Case(lambda incident: incident in cloud.logs("GetLogEvents", reader, wanted).expect(200).body.decode(),
                            names={f"{service}.eu-west-1.amazonaws.com": cloud.port for service in ("logs", "monitoring")},
                            keys={"aws.id": cloud.writer.access_key, "aws.secret": cloud.writer.secret_key})  # fmt: skip
            case "Azure Monitor":
                case = self.vendor("azure", ["dce.ingest.monitor.azure.com"], {"azure.secret": key("entra").partition(":")[2]},
                                   replace={"dcr-0123": azure.RULE, "TENANT": azure.TENANT, "CLIENT": azure.CLIENT})  # fmt: skip
                case.names["login.microsoftonline.com"] = self.saas.ports["entra"]
                return case
            case _:
                raise AssertionError(f"no test runs the quick start {name}")

    def close(self) -> None:
        for other in self.others:
            other.close()


@pytest.fixture
def house(pool: Pool, saas: Saas, authority: Authority) -> Iterator[House]:  # noqa: F811
    house = House(pool, saas, authority)
    yield house
    house.close()


def replaced(text: str, case: Case, keys: Path) -> str:
    for ours, theirs in {**case.replace, KEYS: f"{keys}/"}.items():
        text = text.replace(ours, theirs)
    return text


RUN = [name for name in quick_starts() if name != "Prometheus, scraping"]


def test_there_is_a_quick_start_of_at_most_ten_lines_for_every_kind_of_sink() -> None:
    starts = quick_starts()
    kinds = set(re.findall(r"^OUTLIER_SINK\((\w+)", SINKS.read_text(), re.MULTILINE))
    shown = {kind for start in starts.values() for text in start.of("yaml") for sink in yaml.safe_load(text).get("sinks", []) for kind in sink if kind != "name"}
    assert shown == kinds
    assert {start.name: start.lines for start in starts.values() if start.lines > MOST_LINES} == {}


@pytest.mark.parametrize("name", RUN)
def test_a_quick_start_does_what_it_says_as_it_is_written(name: str, house: House, source: Source, tmp_path: Path) -> None:
    start, case = quick_starts()[name], house.case(name)
    keys = tmp_path / "keys"
    keys.mkdir()
    for file, content in case.keys.items():
        (keys / file).write_text(content + "\n")
    authorities = [file for file in (house.authority.ca, case.trusted) if file is not None]
    (tmp_path / "authorities.crt").write_text("".join(file.read_text() for file in authorities))
    (tmp_path / "hosts").write_text("127.0.0.1 localhost " + " ".join(case.names) + "\n")
    configuration: Json = yaml.safe_load(replaced(start.of("yaml")[0], case, keys))
    relay = Relay(tmp_path / "relay", [source], configuration["sinks"], {"signals": {"resolution": "1s"}} if case.sampled else None)
    binds = {"hosts": "/etc/hosts", "authorities.crt": "/etc/ssl/certs/ca-certificates.crt"}
    inside = " && ".join(f"mount --bind {tmp_path}/{ours} {theirs}" for ours, theirs in binds.items())
    relay.wrapper = ("unshare", "-m", "sh", "-c", inside + ' && exec "$@"', "sh")
    programs = tmp_path / "bin"  # what the page calls outlier-relay is that one, with the test's files
    programs.mkdir()
    relay.write_configuration()
    (programs / "outlier-relay").write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in (*relay.wrapper, *relay.command())) + ' "$@"\n')
    (programs / "outlier-relay").chmod(0o755)
    environment = {**os.environ, **case.environment, "PATH": f"{programs}:{BUILD}/bin:{os.environ['PATH']}"}

    def run(commands: str) -> str:
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", commands], capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    doors: list[socketserver.BaseServer] = [Doors(house.authority, case.names)] if case.names else []
    doors += [Plain(port, to) for port, to in case.plain.items()]
    try:
        for commands in start.of("sh"):
            run(replaced(commands, case, keys))
        case.made(keys)
        run("outlier-relay check")
        checked = house.saas.violations()
        assert not checked or name == "Slack", "only there a request that is refused is what shows that the key is good"
        relay.start()
        wait_for("connected", lambda: relay.ctl_json("sinks")[0]["sources"][0]["connected"])
        incident = Incident(f"quick-{source.feed_id[:12]}")
        sequence = source.append(incident.change("OPENED"))
        relay.wait_until_delivered(configuration["sinks"][0]["name"], sequence)

        def there() -> Any:
            if case.sampled:
                state = '{"workload": {"name": "billing.service", "kind": "SYSTEMD_UNIT"}, "score": 61.5}'
                source.say(f'sample {{"tick": "1", "time": "{incident.change("UPDATED")["time"]}", "workloads": [{state}]}}')
            return case.arrived(incident.id)

        wait_for(f"the incident at {name}", there, timeout=30, interval=0.2)
        assert house.saas.violations() == checked
    finally:
        relay.stop()
        for door in doors:
            door.shutdown()
            door.server_close()


def test_the_quick_start_of_prometheus_scrapes_a_relay_as_it_is_written(source: Source, tmp_path: Path) -> None:
    relay_yaml, prometheus_yaml = quick_starts()["Prometheus, scraping"].of("yaml")
    relay = Relay(tmp_path / "relay", [source], [])
    listen = yaml.safe_load(relay_yaml)["http"]["listen"]
    relay.configuration["http"] = {"listen": listen.replace("9464", str(relay.http_port))}
    job = yaml.safe_load(prometheus_yaml)["scrape_configs"][0]
    targets = [target.replace("relay:9464", f"127.0.0.1:{relay.http_port}") for target in job["static_configs"][0]["targets"]]
    relay.start()
    try:
        with Prometheus(tmp_path / "prometheus", scrape=targets) as prometheus:
            source.append(Incident("scraped").change("OPENED"))
            found = wait_for("the open incident", lambda: prometheus.query('outlier_incidents_open{severity="major"} == 1'))
            assert found[0]["metric"]["host"] == "web-1"
    finally:
        relay.stop()

