"""Draws what detection_power --csv wrote: build/quality/bin/python tests/quality/power_picture.py CSV SVG

The interpreter is the one that tests/quality/run makes. Each world is a thin line, all together a thick one.
"""
import csv
import pathlib
import sys
from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np

import pictures

SHAPED = ("step", "ramp", "leak")  # their size is in sd


def read(path):
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            runs, found = int(row["runs"]), int(row["found"])
            yield row["world"], row["fault"], float(row["size"]), int(row["seconds"]), runs, found, row["median_delay_s"]


def length(seconds):
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min" if seconds < 3600 else f"{seconds // 3600} h"


def curves(axis, delays, rows, fault, seconds, color):
    by_world = defaultdict(list)
    found, runs, delay = defaultdict(int), defaultdict(int), defaultdict(list)
    for world, kind, size, lasted, n, hits, median in rows:
        if (kind, lasted) != (fault, seconds):
            continue
        by_world[world].append((size, hits / n))
        found[size] += hits
        runs[size] += n
        if median:
            delay[size].append(float(median))
    for points in by_world.values():
        axis.plot(*zip(*sorted(points)), lw=0.4, color=color, alpha=0.5)
    sizes = sorted(runs)
    axis.plot(sizes, [found[s] / runs[s] for s in sizes], lw=1.6, color=color, label=f"{fault}, {length(seconds)}")
    told = [s for s in sizes if delay[s]]
    if told:
        delays.plot(told, [np.median(delay[s]) for s in told], lw=1.2, marker=".", color=color, label=f"{fault}, {length(seconds)}")


def others(axis, rows):
    cases = defaultdict(lambda: [0, 0])
    for _, kind, size, seconds, n, hits, _ in rows:
        if kind not in SHAPED:
            cases[f"{kind} {size:g}, {length(seconds)}"][0] += hits
            cases[f"{kind} {size:g}, {length(seconds)}"][1] += n
    names = list(cases)[::-1]
    axis.barh(names, [cases[n][0] / cases[n][1] for n in names], color="tab:blue")
    axis.set(xlabel="share found", xlim=(0, 1))


def main(source, target):
    rows = list(read(source))
    unshaped = any(kind not in SHAPED for _, kind, *_ in rows)
    figure, axes = plt.subplots(1, 3 if unshaped else 2, figsize=(11 if unshaped else 7.5, 3.4))
    share, delays = axes[:2]
    shaped = sorted({(kind, seconds) for _, kind, _, seconds, *_ in rows if kind in SHAPED}, key=lambda c: (SHAPED.index(c[0]), c[1]))
    for i, (kind, seconds) in enumerate(shaped):
        curves(share, delays, rows, kind, seconds, f"C{i}")
    share.set(xlabel="size in sd", ylabel="share found", ylim=(0, 1.02))
    delays.set(xlabel="size in sd", ylabel="median seconds until told, of those found", yscale="log")
    if shaped:
        share.legend(frameon=False)
    if unshaped:
        others(axes[2], rows)
    pictures.save(figure, pathlib.Path(target))


if __name__ == "__main__":
    main(*sys.argv[1:])
