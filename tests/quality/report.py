"""What tests/quality/run prints and writes. Run by it, in its environment."""
import argparse
import csv
import io
import os
import pathlib
import subprocess
import sys
import time

import numpy as np

import pictures
import scorers
import sets

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NAMES_AFTER = 5     # rows after the alarm at which the first named column is asked for
AROUND_LABELS = 1800  # seconds on each side of a label that are not called normal

# Published, or of public detectors run with the same scorers, on all tables of a set; see docs/detection-quality.md.
ELSEWHERE = {
    "SMD": "PCA .45, CNN .43, KMeansAD .33, OmniAnomaly .22, Anomaly Transformer .08",
    "NAB": "ARTime 74.9, HTM 70.1, CAD OSE 69.9, Skyline 58.2, Random Cut Forest 51.7, Windowed Gaussian 39.6",
}


# Detectors re-created in numpy and measured with the same scorers on the same tables: VUS-PR; share of incidents found at one false alarm a table and
# day; and week. Where the order of sets in a row is SMD, ASD, JumpStarter, KPI; None was not measured.
REFERENCES = {
    "numpy: EWMA z, maximum": ((.394, .153, .101), (.45, .31, .77), (.18, .08, .13)),
    "numpy: seasonal + difference, GPD, mean excess": ((.494, .552, .320), (.68, .90, .95), (.28, .39, .64)),
    "numpy: the same, mean of top 3": ((.479, .548, .358), (.68, .90, .90), (.31, .39, .77)),
    "numpy: the same + Mahalanobis": ((.474, .518, .294), (.82, .85, .95), (.43, .46, .80)),
    "numpy: best combination": ((.501, .624, .418, .470), (85 / 104, 36 / 39, 37 / 39), (.44, .54, .80, .70)),
    "Netdata's scheme, re-created, on all tables of the set": ((.25, .37, .31), (), ()),
}
REFERENCE_SETS = ("SMD", "ASD", "JumpStarter", "KPI")

# What was to be reached: (check, set, at least, aim). Shares are of incidents or rows.
WANTED = [
    ("VUS-PR", "SMD", .50, .56), ("VUS-PR", "ASD", .58, .64), ("VUS-PR", "JumpStarter", .40, .48), ("VUS-PR", "KPI", .45, .48),
    ("found at one a day", "SMD", 83, 92), ("found at one a day", "ASD", 35, 37), ("found at one a day", "JumpStarter", 36, 38),
    ("share found at one a week", "KPI", .55, .68), ("standard score", "NAB", 45, 55), ("share first named right", "SMD", .88, .93),
]
# Share of normal rows with p below: (level, from, to, aim).
WANTED_ROWS = [(1e-2, .003, .02, None), (1e-4, 0, 5e-4, 2e-4)]


def score(program, table):
    """(tail probabilities, first named column) of every row."""
    done = subprocess.run([program, "score", table.path, "--interval", f"{table.interval}s"], capture_output=True, text=True, check=True)
    rows = list(csv.reader(io.StringIO(done.stdout)))[1:]
    assert len(rows) == len(table.labels), table.path
    return np.array([float(r[1]) for r in rows]), [r[3].split(";")[0] for r in rows]


def ewma(table):
    """The plain detector to beat: largest |z| over columns against an exponentially weighted mean and variance of one day."""
    import gzip
    with gzip.open(table.path, "rt", newline="") as file:
        rows = csv.reader(file)
        header = [name.lower() for name in next(rows)]
        keep = [i for i, name in enumerate(header) if name not in ("timestamp", "label", "is_test")]
        x = np.array([[float(row[i] or "nan") for i in keep] for row in rows])
    x = np.column_stack([sets.filled(column) for column in x.T])
    low, high = x[0].copy(), x[0].copy()
    least = 1 - 0.5 ** (table.interval / 86400)
    mean, variance, out = x[0].copy(), np.zeros(x.shape[1]), np.zeros(len(x))
    for t in range(1, len(x)):
        error, floor = x[t] - mean, 0.01 * (high - low) + 1e-9
        out[t] = np.max(np.abs(error) / np.sqrt(variance + floor * floor))
        weight = max(least, 1 / (t + 1))
        np.minimum(low, x[t], out=low)
        np.maximum(high, x[t], out=high)
        mean += weight * error
        variance += weight * ((1 - weight) * error * error - variance)
    return out


def normal(table):
    reach = int(AROUND_LABELS / table.interval)
    labels = table.labels[table.test] > 0
    return np.convolve(labels, np.ones(2 * reach + 1), "same") < 0.5


def measure(tables, every):
    """Numbers of one set; `every`: scores of all rows of each table."""
    shown = [s[t.test] for s, t in zip(every, tables)]
    labelled = [(t.labels[t.test], s, t.shape) for s, t in zip(shown, tables)]
    days = sum(t.days for t in tables)
    # Where nothing is labelled there is no precision to speak of; its false alarms count all the same.
    return {"vus": np.mean([scorers.volume_pr(t.labels[t.test], s, scorers.period(t.first)) for s, t in zip(shown, tables)
                            if t.labels[t.test].any()]),
            "day": scorers.at_budget(labelled, days), "week": scorers.at_budget(labelled, days / 7)}


def calibration(tables, probabilities):
    return [np.mean([(p[t.test][normal(t)] < level).mean() for p, t in zip(probabilities, tables)]) for level in (1e-2, 1e-3, 1e-4)]


def first_named(tables, every, names, threshold):
    """(right, asked): is the first column named a few rows after the alarm one of the incident's?"""
    right = asked = 0
    for table, scores, named in zip(tables, every, names):
        start = int(np.argmax(table.test))
        for first, last, columns in table.causes:
            low = max(start + first - table.shape[1], start)
            over = np.flatnonzero(scores[low:start + last + table.shape[1] + 1] >= threshold)
            if len(over) == 0:
                continue
            row = min(low + int(over[0]) + NAMES_AFTER, len(named) - 1)
            asked += 1
            right += named[row] in {f"m{c}" for c in columns}
    return right, asked


def markdown(header, rows):
    cells = [[str(c) for c in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def referenced(kind, names):
    """Rows of REFERENCES under the columns of `names`; kind 0: VUS-PR, 1 and 2: shares found."""
    rows = []
    for label, numbers in REFERENCES.items():
        known = dict(zip(REFERENCE_SETS, numbers[kind]))
        if known:
            rows.append([label, *("" if n not in known else f"{known[n]:.3f}" if kind == 0 else f"{known[n]:.0%}" for n in names)])
    return rows


def reached(ours, calibrated, causes, nab):
    """One line a target: what, where, at least, aim, here, what is met."""
    here = {("VUS-PR", n): ours[n]["vus"] for n in ours}
    here |= {("found at one a day", n): ours[n]["day"][0] for n in ours}
    here |= {("share found at one a week", n): ours[n]["week"][0] / ours[n]["week"][1] for n in ours}
    here |= {("share first named right", n): r / max(a, 1) for n, (r, a) in causes}
    if nab is not None:
        here["standard score", "NAB"] = nab
    lines = []
    for check, name, least, aim in WANTED:
        value = here.get((check, name))
        if value is not None:
            lines.append([check, name, f"{least:g}", f"{aim:g}", f"{value:.3g}", "aim" if value >= aim else "least" if value >= least else "no"])
    for i, (level, low, high, aim) in ((0, WANTED_ROWS[0]), (2, WANTED_ROWS[1])):
        for name in calibrated:
            value = calibrated[name][i]
            met = "no" if not low <= value <= high else "aim" if aim is None or value <= aim else "least"
            lines.append([f"share of normal rows with p < {level:g}", name, f"{low:g} to {high:g}", "" if aim is None else f"{aim:g}", f"{value:.2g}", met])
    return lines


def share(found):
    return f"{found[0]} of {found[1]}"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--data", default=os.environ.get("OUTLIER_QUALITY_DATA", ROOT / ".." / "shared" / "data"), type=pathlib.Path)
    arguments.add_argument("--outlierctl", default=ROOT / "build" / "bin" / "outlierctl", type=pathlib.Path)
    arguments.add_argument("--write", action="store_true")
    given = arguments.parse_args()

    every = sets.load(given.data)
    ours, names, plain, noise, calibrated, seconds, values = {}, {}, {}, {}, {}, 0.0, 0
    random = np.random.default_rng(1)
    probabilities, scored = {}, {}
    for name, tables in every.items():
        started = time.monotonic()
        done = [score(given.outlierctl, t) for t in tables]
        seconds += time.monotonic() - started
        probabilities[name], names[name] = [d[0] for d in done], [d[1] for d in done]
        scored[name] = [-np.log10(p) for p in probabilities[name]]
        if name == "NAB":
            continue
        ours[name] = measure(tables, scored[name])
        plain[name] = measure(tables, [ewma(t) for t in tables])
        noise[name] = measure(tables, [random.random(len(t.labels)) for t in tables])
        calibrated[name] = calibration(tables, probabilities[name])
        print(f"{name}: {len(tables)} tables", flush=True)

    parts = {}
    detectors = [("outlierctl score", ours), ("plain EWMA z, maximum", plain), ("random", noise)]
    header = ["detector", *(f"{n} ({len(every[n])})" for n in ours)]
    parts["Area under the precision-recall volume (VUS-PR, mean over tables)"] = markdown(
        header, [[label, *(f"{r[n]['vus']:.3f}" for n in ours)] for label, r in detectors] + referenced(0, ours))
    parts["Incidents found at one false alarm a table and day"] = markdown(
        header, [[label, *(share(r[n]["day"]) for n in ours)] for label, r in detectors] + referenced(1, ours))
    parts["Incidents found at one false alarm a table and week"] = markdown(
        header, [[label, *(share(r[n]["week"]) for n in ours)] for label, r in detectors] + referenced(2, ours))
    parts["Normal rows with a tail probability below ... (mean over tables)"] = markdown(
        ["promised", *ours], [[f"{level:g}", *(f"{calibrated[n][i]:.2g}" for n in ours)] for i, level in enumerate((1e-2, 1e-3, 1e-4))])
    causes = [(n, first_named(every[n], scored[n], names[n], ours[n]["day"][3])) for n in ours if any(t.causes for t in every[n])]
    parts["First named column is one of the incident's"] = markdown(
        ["set", "right", "share"], [[n, f"{r} of {a}", f"{r / max(a, 1):.2f}"] for n, (r, a) in causes])
    standard = None
    if "NAB" in every:
        files = [(s, t.windows, 86400 // t.interval) for s, t in zip(scored["NAB"], every["NAB"])]
        scores = {p: scorers.nab(files, p) for p in scorers.NAB_PROFILES}
        standard = scores["standard"]
        parts["NAB, one alert an incident and then a day's rest"] = markdown(["profile", "score"], [[p, f"{v:.1f}"] for p, v in scores.items()])
    to_reach = reached(ours, calibrated, causes, standard)
    parts["What was to be reached"] = markdown(["check", "set", "at least", "aim", "here", "met"], to_reach)
    for title, table in parts.items():
        print(f"\n{title}\n\n{table}")
    print(f"\nscored in {seconds:.0f} s, reading and parsing included")
    if given.write:
        pictures.draw(ROOT / "docs", every, scored, ours, probabilities, normal)
        write(parts)
    missed = [f"{check} on {name}" for check, name, *_, met in to_reach if met == "no"]
    if missed:
        sys.exit(f"not reached: {', '.join(missed)}")


def write(parts):
    text = (pathlib.Path(__file__).resolve().parent / "page.md").read_text()
    tables = "\n\n".join(f"### {title}\n\n{table}" for title, table in parts.items())
    elsewhere = "\n".join(f"- {name}: {numbers}" for name, numbers in ELSEWHERE.items())
    page = ROOT / "docs" / "detection-quality.md"
    page.write_text(text.replace("@TABLES@", tables).replace("@ELSEWHERE@", elsewhere))
    print(f"written: {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
