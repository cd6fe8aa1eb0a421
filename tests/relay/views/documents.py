"""Documents as outlier-relay writes them, of six made-up hours on three hosts: what the tests of the views index, query and draw.

Everything follows from `end` and a fixed seed. The story: on web-1 the container `checkout` begins to spin at -110 min (a step of
CPU time, CRITICAL, resolved), is killed for its memory at -60 min, and rises again at -20 min (still open); PostgreSQL on db-1 drifts up
in memory; nginx falls silent for a while; a job is rolled out. The names of one workload are hostile.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

Json = dict[str, Any]
# What a stranger may call a process: quotes, markup, control characters, words that the dashboards themselves use; and a path longer
# than any term of an index may be.
HOSTILE = '"><script>alert(1)</script>\\{}%timefilter%\x01é' + "x" * 300
LONG = "/tmp/" + "y" * 40_000

SEVERITIES = ["WARNING", "MINOR", "MAJOR", "CRITICAL"]
SPAN = timedelta(hours=6)
SCORE_EVERY = timedelta(minutes=5)
SIGNAL_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Host:
    name: str

    @property
    def id(self) -> str:
        return f"{abs(hash_of(self.name)):032x}"

    @property
    def boot_id(self) -> str:
        return f"{abs(hash_of(self.name + '/boot')):032x}"

    @property
    def feed_id(self) -> str:
        return f"{abs(hash_of(self.name + '/feed')):032x}"


def hash_of(text: str) -> int:
    return random.Random(text).getrandbits(128)  # hash() differs from run to run


@dataclass(frozen=True)
class Workload:
    name: str
    kind: str
    executable: str = ""
    container_id: str = ""
    unit: str = ""
    pod: str = ""
    namespace: str = ""
    user: str = ""
    script: str = ""

    def body(self) -> Json:
        return {key: value for key, value in vars(self).items() if value}


WEB1, WEB2, DB1 = Host("web-1"), Host("web-2"), Host("db-1")
CHECKOUT = Workload("shop/checkout", "CONTAINER", "/app/checkout", "4f1d" * 16, pod="checkout-7d9f", namespace="shop", user="app")
NGINX = Workload("nginx.service", "SYSTEMD_UNIT", "/usr/sbin/nginx", unit="nginx.service", user="www-data")
POSTGRES = Workload("postgresql.service", "SYSTEMD_UNIT", "/usr/lib/postgresql/15/bin/postgres", unit="postgresql.service", user="postgres")
BACKUP = Workload("backup.py", "EXECUTABLE", "/usr/bin/python3.11", user="root", script="/opt/backup.py")
STRANGER = Workload(HOSTILE, "EXECUTABLE", LONG, user="nobody", script=LONG)
MACHINE = Workload("host", "HOST")
RUNS: dict[Host, list[Workload]] = {
    WEB1: [CHECKOUT, NGINX, BACKUP, MACHINE],
    WEB2: [CHECKOUT, NGINX, STRANGER, MACHINE],
    DB1: [POSTGRES, BACKUP, MACHINE],
}


@dataclass
class Incident:
    id: str
    host: Host
    workload: Workload
    pattern: str
    score: float
    summary: str
    opened: float  # minutes before the end
    resolved: float | None
    lead: Json
    suspects: list[tuple[Workload, float, str]] = field(default_factory=list)
    restart: Json | None = None
    silence: Json | None = None
    extra: Json = field(default_factory=dict)

    @property
    def severity(self) -> int:
        return severity_of(self.score)


def severity_of(score: float) -> int:
    return 1 + sum(score >= least for least in (25, 50, 75))


def contribution(signal: str, unit: str, direction: str, observed: float, expected: float, half: float, p: float, **attribute: str) -> Json:
    names = {key.strip("_").replace("_", "."): value for key, value in attribute.items()}
    series = signal + "".join(f"{{{key}={value}}}" for key, value in names.items())
    return {
        "signal": signal,
        "unit": unit,
        "series": series,
        "direction": direction,
        "attributes": names,
        "observed": observed,
        "expected": expected,
        "lower": max(expected - half, 0.0),
        "upper": expected + half,
        "tail_probability": p,
    }


CPU = contribution("process.cpu.utilization", "1", "UP", 0.97, 0.21, 0.08, 3e-9)
INCIDENTS = [
    Incident("01", WEB1, CHECKOUT, "STEP", 88.0, "shop/checkout uses 0.97 cores, 4.6 times what is usual", 110, 80, CPU, [(CHECKOUT, 0.92, "0.97 of one core since 10:10"), (NGINX, 0.08, "more requests")]),
    Incident("02", WEB1, CHECKOUT, "COUNT", 81.5, "shop/checkout was killed for its memory (exit 137)", 60, 55, contribution("workload.exits", "{process}/s", "UP", 1.0, 0.0, 0.0, 1e-7, reason="oom"), [(CHECKOUT, 1.0, "reached its limit of 512 MiB")], {"cause": "OUT_OF_MEMORY", "exit_code": 137, "signal": 9, "count": 1}),
    Incident("03", WEB1, CHECKOUT, "STEP", 77.0, "shop/checkout uses 0.90 cores, 4.3 times what is usual", 20, None, CPU | {"observed": 0.9}, [(CHECKOUT, 0.88, "0.90 of one core"), (BACKUP, 0.12, "reads beside it")]),
    Incident("04", DB1, POSTGRES, "DRIFT", 58.0, "postgresql.service grows by 42 MiB an hour", 170, None, contribution("process.memory.anonymous", "By", "UP", 1.9e9, 1.2e9, 1.1e8, 2e-6), [(POSTGRES, 1.0, "anonymous memory grows since the morning")], None, None, {"growth_per_second": 12233.4, "time_to_exhaustion_seconds": 41000.0}),
    Incident("05", WEB2, NGINX, "SILENCE", 74.0, "nginx.service makes no network calls", 230, 205, contribution("process.syscall.rate", "{call}/s", "DOWN", 0.0, 850.0, 240.0, 4e-5, syscall_class="network"), [(NGINX, 0.7, "no call for 20 s")], None, {"id": "s1", "author": "ops", "reason": "planned move of the balancer"}),
    Incident("06", WEB2, CHECKOUT, "COUNT", 12.0, "shop/checkout was rolled out", 280, 278, contribution("workload.process.started", "{process}/s", "UP", 2.0, 0.0, 1.0, 8e-4), [], {"cause": "ROLLOUT", "exit_code": 0, "signal": 0, "count": 1}),
    Incident("07", DB1, BACKUP, "SPIKE", 43.0, "backup.py reads 180 MB/s from disk", 320, 300, contribution("process.disk.io", "By/s", "UP", 1.8e8, 6e7, 3e7, 2e-5, direction_="read"), [(BACKUP, 0.81, "180 MB/s"), (POSTGRES, 0.19, "waits for the disk")]),
    Incident("08", WEB2, NGINX, "COUNT", 66.0, "nginx.service crashes in a loop", 140, 128, contribution("workload.exits", "{process}/s", "UP", 3.0, 0.0, 0.0, 5e-7, reason="signal"), [(NGINX, 1.0, "signal 11")], {"cause": "CRASH_LOOP", "exit_code": 139, "signal": 11, "count": 5}),
    Incident("09", WEB1, BACKUP, "COUNT", 4.5, "backup.py ended with exit code 1", 35, 34, contribution("workload.exits", "{process}/s", "UP", 1.0, 0.0, 0.0, 2e-3, reason="error"), [], {"cause": "EXITED", "exit_code": 1, "signal": 0, "count": 1}),
    Incident("10", WEB2, STRANGER, "SPIKE", 27.0, HOSTILE + LONG + " writes 40 MB/s", 90, 84, contribution("process.disk.io", "By/s", "UP", 4e7, 1e5, 9e4, 3e-5, direction_="write"), [(STRANGER, 1.0, LONG)]),
]  # fmt: skip


def stamp(time: datetime) -> str:
    return time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def about(host: Host, workload: Workload | None) -> Json:
    """The fields that say of which host and workload a document is, in ECS's words too."""
    body: Json = {
        "ecs": {"version": "8.17.0"},
        "host": {"id": host.id, "name": host.name, "boot": {"id": host.boot_id}},
        "outlier": {"source": {"host_id": host.id, "host_name": host.name, "boot_id": host.boot_id, "feed_id": host.feed_id}},
    }
    if workload is None:
        return body
    body["service"] = {"name": workload.name}
    if workload.container_id:
        body["container"] = {"id": workload.container_id}
    if workload.pod:
        body["orchestrator"] = {"namespace": workload.namespace, "resource": {"name": workload.pod}}
    if workload.executable:
        body["process"] = {"executable": workload.executable} | ({"name": workload.name} if workload.kind == "EXECUTABLE" else {})
    if workload.user:
        body["user"] = {"name": workload.user}
    body["outlier"]["workload"] = workload.body()
    return body


def change_body(incident: Incident, kind: str, sequence: int, time: datetime, end: datetime, score: float) -> Json:
    opened = end - timedelta(minutes=incident.opened)
    onset = opened - timedelta(seconds=12)
    resolved = time if kind == "RESOLVED" else None
    severity = SEVERITIES[severity_of(score) - 1]
    body = about(incident.host, incident.workload)
    body |= {
        "@timestamp": stamp(time),
        "message": incident.summary,
        "event": {
            "kind": "alert",
            "category": ["host" if incident.workload.kind == "HOST" else "process"],
            "type": [{"OPENED": "start", "RESOLVED": "end"}.get(kind, "info")],
            "action": f"outlier.incident.{kind.lower()}",
            "id": f"{incident.host.feed_id}:{sequence}",
            "sequence": sequence,
            "module": "outlier",
            "dataset": "outlier.change",
            "severity": severity_of(score),
            "risk_score": score,
            "start": stamp(onset),
            "created": stamp(time + timedelta(milliseconds=700)),
            "reason": incident.summary,
        }
        | ({"end": stamp(resolved)} if resolved else {}),
    }
    body["outlier"] |= {
        "change": {"sequence": sequence, "kind": kind},
        "incident": {
            "id": incident.id,
            "state": "RESOLVED" if resolved else "OPEN",
            "severity": severity,
            "pattern": incident.pattern,
            "feedback": "",
            "score": score,
            "summary": incident.summary,
            "acknowledged": False,
            "onset_time": stamp(onset),
            "opened_time": stamp(opened),
            "updated_time": stamp(time),
            "recurrences_per_week": 0.0 if incident.restart else 0.05,
            "promised_per_week": 1.0,
            "feedback_factor": 1.0,
            "contributions": [incident.lead],
            "suspects": [
                {
                    "workload": workload.body(),
                    "process": {"pid": 4000 + index, "executable": workload.executable},
                    "share": share,
                    "evidence": [evidence],
                }
                for index, (workload, share, evidence) in enumerate(incident.suspects)
            ],
            "related_incident_ids": ["01"] if incident.id == "02" else [],
            "changes": [{"kind": "opened", "time": stamp(opened), "detail": incident.summary}],
            "coverage": {"events_lost": 0, "sampled_share": 1.0, "probes_missing": []},
        }
        | incident.extra
        | ({"resolved_time": stamp(resolved)} if resolved else {})
        | ({"restart": incident.restart} if incident.restart else {}),
        "lead": {key: value for key, value in incident.lead.items() if key != "attributes"},
        "influencers": [workload.name for workload, _, _ in incident.suspects],
    }
    if incident.silence:
        body["outlier"]["silence"] = incident.silence
    return body


def changes(end: datetime) -> list[tuple[str, int, Json]]:
    """(feed id, sequence, body without data_stream) of every change, in order within a feed; a gap record among them."""
    moments: list[tuple[datetime, Incident, str, float]] = []
    for incident in INCIDENTS:
        opened = end - timedelta(minutes=incident.opened)
        moments.append((opened, incident, "OPENED", incident.score * 0.7))
        moments.append((opened + timedelta(seconds=40), incident, "UPDATED", incident.score))
        if incident.resolved is not None:
            moments.append((end - timedelta(minutes=incident.resolved), incident, "RESOLVED", incident.score))
    sequences: dict[str, int] = {}
    result = []
    for time, incident, kind, score in sorted(moments, key=lambda moment: moment[0]):
        feed = incident.host.feed_id
        sequences[feed] = sequences.get(feed, 0) + 1
        result.append((feed, sequences[feed], change_body(incident, kind, sequences[feed], time, end, score)))
    gap = about(DB1, None)
    number = sequences[DB1.feed_id] + 3
    when = stamp(end - timedelta(minutes=200))
    gap |= {"@timestamp": when, "message": "2 changes were compacted away before they were read"}
    gap["event"] = {"kind": "pipeline_error", "action": "outlier.feed.gap", "module": "outlier", "dataset": "outlier.change", "sequence": number, "id": f"{DB1.feed_id}:{number}", "created": when}  # fmt: skip
    gap["outlier"]["gap"] = {"first_sequence": number - 2, "last_sequence": number - 1, "lost": 2, "reason": "compacted"}
    return [*result, (DB1.feed_id, number, gap)]


def is_on(incident: Incident, minutes: float) -> bool:
    return incident.opened >= minutes > (incident.resolved if incident.resolved is not None else -1)


def score_at(host: Host, workload: Workload, minutes: float, chance: random.Random) -> float:
    on = [i.score for i in INCIDENTS if i.host == host and i.workload == workload and is_on(i, minutes)]
    return max(on) * chance.uniform(0.9, 1.0) if on else chance.expovariate(1.6)


def scores(end: datetime) -> Iterator[Json]:
    chance = random.Random(7)
    steps = int(SPAN / SCORE_EVERY)
    for step in range(steps + 1):
        time = end - SPAN + step * SCORE_EVERY
        for host, workloads in RUNS.items():
            for workload in workloads:
                if workload is STRANGER and not 75 <= (end - time).total_seconds() / 60 <= 110:
                    continue  # it did not live long
                body = about(host, workload)
                body |= {"@timestamp": stamp(time), "event": {"kind": "metric", "dataset": "outlier.score", "module": "outlier"}}
                body["outlier"] |= {
                    "score": round(score_at(host, workload, (end - time).total_seconds() / 60, chance), 2),
                    "state": {
                        "processes": 4,
                        "restarts": 1,
                        "uptime_seconds": 9000.0 + step,
                        "cpu_utilization": 0.2,
                        "memory_bytes": 2**28,
                        "warming_up": step < 3 and workload is BACKUP,
                    },
                }
                yield body


def expected_of(incident: Incident, minutes: float) -> float:
    """What is usual swings by a fifth over three hours."""
    return incident.lead["expected"] * (1 + 0.2 * math.sin(minutes / 180 * 2 * math.pi))


def signals(end: datetime) -> Iterator[Json]:
    """The leading signals of the incidents: CPU time of checkout on web-1 for all six hours, with a gap, the others around theirs."""
    chance = random.Random(11)
    seen: set[tuple[str, str, str]] = set()
    for incident in INCIDENTS:
        key = (incident.host.name, incident.workload.name, incident.lead["series"])
        if key in seen or incident.lead["expected"] == 0:
            continue
        seen.add(key)
        alike = [i for i in INCIDENTS if (i.host.name, i.workload.name, i.lead["series"]) == key]
        for step in range(int(SPAN / SIGNAL_EVERY) + 1):
            minutes = SPAN.total_seconds() / 60 - step
            if incident.lead is CPU and 250 > minutes > 225:
                continue  # outlierd was stopped
            around = 5 if incident.workload is STRANGER else 20
            if incident.lead is not CPU and not incident.opened + around >= minutes >= (incident.resolved or 0) - around:
                continue
            on = [i for i in alike if is_on(i, minutes)]
            expected = expected_of(incident, minutes)
            half = (incident.lead["upper"] - incident.lead["expected"]) * (1 + 0.2 * math.sin(minutes / 180 * 2 * math.pi))
            value = on[0].lead["observed"] * chance.uniform(0.97, 1.03) if on else expected + half * chance.gauss(0, 0.35)
            body = about(incident.host, incident.workload)
            body |= {"@timestamp": stamp(end - timedelta(minutes=minutes)), "event": {"kind": "metric", "dataset": "outlier.signal", "module": "outlier"}}
            body["outlier"]["signal"] = {
                "name": incident.lead["signal"],
                "unit": incident.lead["unit"],
                "series": incident.lead["series"],
                "attributes": incident.lead["attributes"],
                "value": max(value, 0.0),
                "expected": expected,
                "lower": max(expected - half, 0.0),
                "upper": expected + half,
                "tail_probability": on[0].lead["tail_probability"] if on else chance.uniform(0.02, 1.0),
            }
            yield body


def host_states(end: datetime) -> Iterator[Json]:
    """Every tenth of the minutes. db-1 breaks its promise: even the lower bound of what it achieved is above it."""
    achieved = {WEB1: (0.9, 0.2, 2.6), WEB2: (0.4, 0.02, 2.1), DB1: (4.1, 2.2, 7.0)}
    for step in range(0, int(SPAN.total_seconds() / 60) + 1, 10):
        time = end - SPAN + timedelta(minutes=step)
        for number, (host, (told, lower, upper)) in enumerate(achieved.items()):
            minutes = (end - time).total_seconds() / 60
            body = about(host, None)
            body |= {"@timestamp": stamp(time), "event": {"kind": "state", "dataset": "outlier.host", "module": "outlier"}}
            body["outlier"] |= {
                "budget": {
                    "false_alarms_per_week": {"promised": 1.0, "achieved": told, "lower": lower, "upper": upper, "expected": 0.95},
                    "cpu_percent": {"promised": 1.0, "achieved": round(0.31 + 0.2 * number + 0.05 * math.sin(step / 30), 3)},
                    "memory_bytes": {"promised": 64 * 2**20, "achieved": (31 + 6 * number) * 2**20 + step * 1000},
                },
                "host": {
                    "uptime_seconds": 90_000.0 + step * 60,
                    "ticks": 90_000 + step * 60,
                    "workloads": len(RUNS[host]),
                    "processes": 140,
                    "series": 70 * len(RUNS[host]),
                    "warming_up": 0,
                    "open_incidents": sum(i.host == host and is_on(i, minutes) for i in INCIDENTS),
                },
                "losses": {"identity_gone": step, "ring_full_exec": 0, "a_counter_of_a_later_version": 1},
            }
            yield body


CURRENT = "outlier-incidents"


def actions(end: datetime, namespace: str = "default") -> Iterator[tuple[Json, Json]]:
    """(action, body) of `_bulk`, of every document."""

    def streamed(body: Json, kind: str, dataset: str) -> Json:
        return body | {"data_stream": {"type": kind, "dataset": dataset, "namespace": namespace}}

    for feed, sequence, body in changes(end):
        yield (
            {"create": {"_index": f"logs-outlier.change-{namespace}", "_id": f"{feed}:{sequence}"}},
            streamed(body, "logs", "outlier.change"),
        )
        if "incident" in body["outlier"]:
            name = f"{feed}:{body['outlier']['incident']['id']}"
            yield {"index": {"_index": CURRENT, "_id": name, "version": sequence, "version_type": "external"}}, body
    for kind, bodies in (("score", scores(end)), ("signal", signals(end)), ("host", host_states(end))):
        for body in bodies:
            yield {"create": {"_index": f"metrics-outlier.{kind}-{namespace}"}}, streamed(body, "metrics", f"outlier.{kind}")
