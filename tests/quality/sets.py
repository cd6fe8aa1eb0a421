"""Labelled tables: where they lie in the data folder, and what is known of them. Nothing here reaches the engine but the interval."""
import csv
import datetime
import gzip
import json
import pathlib
from dataclasses import dataclass, field

import numpy as np

MULTIVARIATE = {"SMD": 60, "ASD": 300, "JumpStarter": 300}  # seconds from row to row


@dataclass
class Table:
    path: pathlib.Path
    interval: int
    labels: np.ndarray          # one a row; NAB: 0 everywhere
    test: np.ndarray            # bool: scored; the rest only teaches
    first: np.ndarray           # first feature, test rows: what the buffer of VUS is derived from
    causes: list = field(default_factory=list)   # (first, last, column numbers from 1), test rows
    windows: list = field(default_factory=list)  # NAB

    @property
    def shape(self):
        """Gap that joins hits, tolerance, longest episode, in rows."""
        return (10, 5, 60) if self.interval <= 60 else (2, 1, 12)

    @property
    def days(self):
        return int(self.test.sum()) * self.interval / 86400


def _columns(path):
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.reader(file)
        header = [name.lower() for name in next(rows)]
        return dict(zip(header, zip(*rows)))


def _causes(path, inclusive):
    out = []
    for line in path.read_text().split():
        rows, columns = line.split(":")
        first, last = (int(n) for n in rows.split("-"))
        out.append((first, last if inclusive else last - 1, [int(c) for c in columns.split(",")]))
    return out


def _multivariate(folder, name, interval):
    for path in sorted((folder / name).glob("*.csv.gz")):
        columns = _columns(path)
        test = np.array(columns["is_test"], int) > 0
        first = np.array(next(v for k, v in columns.items() if k not in ("is_test", "label")), float)[test]
        table = Table(path, interval, np.array(columns["label"], int), test, first)
        causes = folder / name / "interpretation_label" / path.name.replace(".csv.gz", ".txt")
        if causes.exists():
            table.causes = _causes(causes, inclusive=name == "ASD")
        yield table


def _curves(folder):
    for path in sorted((folder / "KPI").glob("*.csv.gz")):
        columns = _columns(path)
        test = np.array(columns["is_test"], int) > 0
        interval = int(np.median(np.diff(np.array(columns["timestamp"], int))))
        yield Table(path, interval, np.array(columns["label"], int), test, np.array(columns["value"], float)[test])


def filled(values):
    """The value before, where there is none."""
    last = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))
    return np.nan_to_num(values[last])


def _services(folder):
    """Curves of cloud services, from one a minute to one an hour. None says where it is to be scored: after its first third."""
    for path in sorted((folder / "MSCloud").glob("*/*.csv.gz")):
        columns = _columns(path)
        times = np.array([datetime.datetime.fromisoformat(t.replace("Z", "")).timestamp() for t in columns["timestamp"]])
        test = np.arange(len(times)) >= len(times) // 3
        values = filled(np.array([float(v or "nan") for v in columns["value"]]))
        yield Table(path, int(np.median(np.diff(times))), np.array(columns["label"], int), test, values[test])


def _nab(folder):
    labels = json.loads((folder / "NAB" / "labels" / "combined_windows.json").read_text())
    for name, windows in sorted(labels.items()):
        path = folder / "NAB" / "data" / (name + ".gz")
        columns = _columns(path)
        times = np.array([datetime.datetime.fromisoformat(t).timestamp() for t in columns["timestamp"]])
        ends = [[datetime.datetime.fromisoformat(t).timestamp() for t in pair] for pair in windows]
        rows = [np.flatnonzero((times >= a) & (times <= b)) for a, b in ends]
        yield Table(path, int(np.median(np.diff(times))), np.zeros(len(times), int), np.ones(len(times), bool), np.array(columns["value"], float),
                    windows=[(int(r[0]), int(r[-1])) for r in rows])


def load(folder):
    """Name -> tables, of the sets that are there."""
    folder, out = pathlib.Path(folder), {}
    for name, interval in MULTIVARIATE.items():
        if (folder / name).is_dir():
            out[name] = list(_multivariate(folder, name, interval))
    if (folder / "KPI").is_dir():
        out["KPI"] = list(_curves(folder))
    if (folder / "MSCloud").is_dir():
        out["MSCloud"] = list(_services(folder))
    if (folder / "NAB").is_dir():
        out["NAB"] = list(_nab(folder))
    return {name: tables for name, tables in out.items() if tables}
