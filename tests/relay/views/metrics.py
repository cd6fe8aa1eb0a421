"""The metrics of outlier-relay with their labels, and an exposition of them for Prometheus."""

from __future__ import annotations

import re

# Name as it is queried -> labels.
METRICS = {
    "outlier_workload_score": {"host", "workload", "kind"},
    "outlier_incident_score": {"host", "workload", "severity", "pattern"},
    "outlier_incidents_open": {"host", "severity"},
    "outlier_incident_changes_total": {"host", "kind"},
    "outlier_false_alarms_per_week": {"host", "of"},
    "outlier_overhead_cpu_percent": {"host", "of"},
    "outlier_overhead_memory_bytes": {"host", "of"},
    "outlier_losses_total": {"host", "counter"},
    "outlier_workloads_not_shown": {"host"},
    "outlier_source_up": {"source", "host"},
    "outlier_source_gaps_total": {"source"},
    "outlier_samples_lost_total": {"source"},
    "outlier_sink_delivered_total": {"sink"},
    "outlier_sink_retries_total": {"sink"},
    "outlier_sink_refused_total": {"sink"},
    "outlier_sink_expired_total": {"sink"},
    "outlier_sink_dead_letters": {"sink"},
    "outlier_sink_lag_changes": {"sink", "source"},
    "outlier_sink_lag_seconds": {"sink", "source"},
    "outlier_sink_suspended": {"sink"},
    "outlier_sink_stalled": {"sink"},
    "outlier_sink_last_success_timestamp_seconds": {"sink"},
    "outlier_silences_active": set(),
}
VALUES = {
    "host": ["web-1", "db-1"],
    "workload": ["nginx.service", 'a "quoted" \\ name'],
    "kind": ["systemd_unit"],
    "severity": ["critical", "major", "minor", "warning"],
    "pattern": ["step"],
    "of": ["promised", "achieved", "expected", "lower", "upper"],
    "counter": ["identity_gone", "ring_full_exec"],
    "source": ["unix:///run/outlierd/outlierd.sock"],
    "sink": ["elasticsearch", "pager"],
}
OVERHEAD = {"outlier_overhead_cpu_percent", "outlier_overhead_memory_bytes"}
# What differs from 1: name -> what is told of it -> value.
SPECIAL = {
    ("outlier_false_alarms_per_week", "db-1", "lower"): 2.2,
    ("outlier_false_alarms_per_week", "web-1", "lower"): 0.2,
    ("outlier_incidents_open", "db-1", "critical"): 0,
    ("outlier_sink_suspended", "elasticsearch"): 0,
    ("outlier_sink_stalled", "elasticsearch"): 0,
    ("outlier_sink_stalled", "pager"): 0,
}


def label_sets(name: str) -> list[dict[str, str]]:
    sets: list[dict[str, str]] = [{}]
    for label in sorted(METRICS[name]):
        values = ["opened", "updated", "resolved"] if name == "outlier_incident_changes_total" and label == "kind" else VALUES[label]
        values = values[:2] if name in OVERHEAD and label == "of" else values[:1] if name == "outlier_incident_score" else values
        sets = [one | {label: value} for one in sets for value in values]
    if name == "outlier_source_up":
        sets = [one | {"source": f"{one['source']}/{number}"} for number, one in enumerate(sets)]
    return sets


def exposition(seconds: float) -> str:
    """As OpenMetrics; counters grow by two a second."""
    lines = []
    for name in METRICS:
        counter = name.endswith("_total")
        lines.append(f"# TYPE {name.removesuffix('_total')} {'counter' if counter else 'gauge'}")
        for labels in label_sets(name):
            shown = ",".join(f'{label}="{escaped(value)}"' for label, value in labels.items())
            value = 2 * seconds if counter else SPECIAL.get((name, *(labels[label] for label in sorted(labels))), 1)
            lines.append(f"{name}{{{shown}}} {value:.3f}" if shown else f"{name} {value:.3f}")
    return "\n".join([*lines, "# EOF", ""])


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def unknown_in(expression: str, recorded: set[str]) -> list[str]:
    """Metrics, and labels in their selectors, that the relay does not have."""
    wrong = []
    for name in re.findall(r"\b[\w]*(?::?outlier_)[\w:]*|\b\w+:outlier_[\w:]*", expression):
        if name not in METRICS and name not in recorded:
            wrong.append(name)
    for name, selector in re.findall(r"\b(outlier_\w+)\{([^}]*)\}", expression):
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', selector)):
            if name in METRICS and label not in METRICS[name]:
                wrong.append(f"{name}{{{label}}}")
    return wrong
