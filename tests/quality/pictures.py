"""The pictures of docs/detection-quality.md. Deterministic: no dates, a fixed salt for identifiers."""
import csv
import gzip

import matplotlib
import numpy as np

import scorers

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

plt.rcParams.update({"svg.hashsalt": "outlierd", "font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"})


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _column(table, number):
    with gzip.open(table.path, "rt", newline="") as file:
        rows = csv.reader(file)
        header = [name.lower() for name in next(rows)]
        return np.array([float(row[header.index(f"m{number}")]) for row in rows])[table.test]


def _incidents(folder, tables, scores, threshold):
    """The two longest incidents found and the two longest missed, one a machine: the first column at fault above the score."""
    chosen = {True: [], False: []}
    for table, every in zip(tables, scores):
        shown = every[table.test]
        best = {}
        for first, last, columns in table.causes:
            low = max(first - table.shape[1], 0)
            hit = bool((shown[low:last + table.shape[1] + 1] >= threshold).any())
            if hit not in best or last - first > best[hit][2] - best[hit][1]:
                best[hit] = (table, first, last, columns[0], shown)
        for hit, incident in best.items():
            chosen[hit].append(incident)
    picked = [(hit, i) for hit in (True, False) for i in sorted(chosen[hit], key=lambda i: i[1] - i[2])[:2]]
    figure, axes = plt.subplots(2, len(picked), figsize=(2.6 * len(picked), 3), sharex="col", squeeze=False)
    for (hit, (table, first, last, column, shown)), (above, below) in zip(picked, axes.T):
        a, b = max(first - 120, 0), min(last + 120, len(shown))
        for axis, values, name in ((above, _column(table, column), f"m{column}"), (below, shown, "-log10 p")):
            axis.axvspan(first, last, color="tab:orange", alpha=0.25, lw=0)
            axis.plot(np.arange(a, b), values[a:b], lw=0.8, color="black" if axis is above else "tab:blue")
            axis.set_ylabel(name)
        below.axhline(threshold, color="tab:red", lw=0.8, ls="--")
        above.set_title(f"{'found' if hit else 'missed'}: {table.path.name[:-7]}")
        below.set_xlabel("row")
    save(figure, folder / "detection-incidents.svg")


def draw(folder, every, scored, ours, probabilities, normal):
    if "SMD" in every:
        _incidents(folder, every["SMD"], scored["SMD"], ours["SMD"]["day"][3])

    figure, axis = plt.subplots(figsize=(3.6, 3))
    levels = 10.0 ** -np.linspace(0, 5, 26)
    for name in ours:
        shares = [np.mean([(p[t.test][normal(t)] < level).mean() for p, t in zip(probabilities[name], every[name])]) for level in levels]
        axis.loglog(levels, np.maximum(shares, 1e-6), lw=1, label=name)
    axis.loglog(levels, levels, "k--", lw=0.8, label="promised")
    axis.set(xlabel="tail probability", ylabel="share of normal rows below it", ylim=(1e-6, 1.2))
    axis.legend(frameon=False)
    save(figure, folder / "detection-calibration.svg")

    figure, axis = plt.subplots(figsize=(3.6, 3))
    budgets = np.geomspace(1 / 7, 8, 10)  # a table and day
    for name in ours:
        tables = [(t.labels[t.test], s[t.test], t.shape) for s, t in zip(scored[name], every[name])]
        days = sum(t.days for t in every[name])
        recalls = [scorers.at_budget(tables, b * days)[:2] for b in budgets]
        axis.semilogx(budgets, [f / n for f, n in recalls], lw=1, marker=".", label=name)
    axis.axvline(1, color="gray", lw=0.6)
    axis.set(xlabel="false alarms a table and day allowed", ylabel="incidents found", ylim=(0, 1.02))
    axis.legend(frameon=False)
    save(figure, folder / "detection-recall.svg")
