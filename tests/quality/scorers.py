"""Scores of an anomaly score against labels. Pure numpy; higher scores are more anomalous; labels are 0 or 1.

volume_pr       VUS-PR: area under the range-based precision-recall curve, averaged over buffers (Paparrizos et al. 2022; Liu & Paparrizos 2024)
period          the buffer length that goes with it: highest local maximum of the autocorrelation
found           labelled segments found, and false alarms, at a threshold
at_budget       the same at the lowest threshold with at most so many false alarms
nab             Numenta's benchmark score (Lavin & Ahmad 2015), one alert an incident
"""
import math

import numpy as np

THRESHOLDS = 250


def segments(labels):
    """[first, last] rows of every run of ones."""
    edges = np.diff(np.concatenate([[0], (np.asarray(labels) > 0).astype(np.int8), [0]]))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1], axis=1)


def period(values, least=3, most=400):
    x = np.asarray(values, float)[:20000]
    x = x - x.mean()
    spectrum = np.fft.rfft(x, 2 * len(x))
    correlation = np.fft.irfft(spectrum * np.conj(spectrum))[:most + 1]
    if correlation[0] <= 0:
        return 125
    tail = (correlation / correlation[0])[least:]
    peaks = np.flatnonzero((tail[1:-1] > tail[:-2]) & (tail[1:-1] > tail[2:])) + 1
    if len(peaks) == 0:
        return 125
    best = int(peaks[np.argmax(tail[peaks])])
    return best + least if 3 <= best <= 300 else 125


def volume_pr(labels, scores, buffer):
    labels, scores = np.asarray(labels) > 0, np.asarray(scores, float)
    rows, positives, runs = len(scores), float(labels.sum()), segments(labels)
    falling = -np.sort(-scores)
    thresholds = falling[np.linspace(0, rows - 1, THRESHOLDS).astype(int)]
    first_over = np.searchsorted(-thresholds, -scores, side="left")  # index of the highest threshold a row passes
    predicted = np.searchsorted(-falling, -thresholds, side="right").astype(float)
    core = np.cumsum(np.bincount(first_over[labels], minlength=THRESHOLDS)[:THRESHOLDS])
    total = 0.0
    for width in range(buffer + 1):
        half = width // 2
        weight = np.zeros(rows)
        for distance in range(1, half + 1):
            share = math.sqrt(1.0 - distance / width)
            for edge in (runs[:, 0] - distance, runs[:, 1] + distance):
                np.add.at(weight, edge[(edge >= 0) & (edge < rows)], share)
        weight = np.minimum(weight, 1.0)
        weight[labels] = 1.0
        low, high = np.maximum(runs[:, 0] - half, 0), np.minimum(runs[:, 1] + half, rows - 1)
        # Segments whose buffers touch are one zone.
        begins = np.concatenate([[True], runs[:-1, 1] + half < runs[1:, 0] - half])
        zones = np.cumsum(begins) - 1
        touched = np.flatnonzero(weight > 0)
        mass = np.cumsum(np.bincount(first_over[touched], weights=weight[touched], minlength=THRESHOLDS)[:THRESHOLDS])
        entered = np.full(zones[-1] + 1, THRESHOLDS)
        for zone, a, b in zip(zones, low, high):
            entered[zone] = min(entered[zone], first_over[a:b + 1].min())
        existence = np.cumsum(np.bincount(entered, minlength=THRESHOLDS)[:THRESHOLDS]) / len(entered)
        recall = np.minimum(mass / (positives + (mass - core) / 2.0), 1.0) * existence
        total += float(np.sum(np.diff(np.concatenate([[0.0], recall])) * mass / predicted))
    return total / (buffer + 1)


def episodes(over, gap, cap):
    """Runs of rows over a threshold: hits at most `gap` apart are one; one that lasts `cap` rows is cut, as an alert that fires again."""
    out = []
    for row in np.flatnonzero(over):
        if out and row - out[-1][1] <= gap and row - out[-1][0] < cap:
            out[-1][1] = row
        else:
            out.append([row, row])
    return np.array(out).reshape(-1, 2)


def found(labels, scores, threshold, gap, tolerance, cap):
    """(segments found, segments, false alarms)."""
    runs, alarms = segments(labels), episodes(scores >= threshold, gap, cap)
    touches = (runs[:, :1] - tolerance <= alarms[:, 1]) & (runs[:, 1:] + tolerance >= alarms[:, 0])  # segment x alarm
    return int(touches.any(axis=1).sum()), len(runs), int((~touches.any(axis=0)).sum())


def at_budget(tables, allowed):
    """tables: (labels, scores, (gap, tolerance, cap)). One threshold for all: (found, segments, false alarms, threshold)."""
    every = np.sort(np.concatenate([scores for _, scores, _ in tables]))[::-1]
    ranks = np.unique(np.geomspace(1, max(len(every) * 0.2, 1), 400).astype(int)) - 1
    candidates = np.unique(every[ranks])[::-1]

    def at(threshold):
        return np.sum([found(labels, scores, threshold, *shape) for labels, scores, shape in tables], axis=0)

    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if at(candidates[middle])[2] <= allowed:
            low = middle
        else:
            high = middle - 1
    # Episodes merge as the threshold falls, so the count may dip under the budget again a little lower.
    for lower in range(low + 1, min(low + 6, len(candidates))):
        if at(candidates[lower])[2] <= allowed:
            low = lower
    return (*(int(n) for n in at(candidates[low])), float(candidates[low]))


NAB_PROFILES = {"standard": (1.0, 0.11, 1.0), "low false positives": (1.0, 0.22, 1.0), "low false negatives": (1.0, 0.11, 2.0)}


def _sigmoid(x):
    return np.where(x > 3.0, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(x, 50.0))) - 1.0)


def _nab_rows(rows, windows, profile):
    """What an alert in each row earns, and the window it lies in (-1: none)."""
    hit, miss, _ = NAB_PROFILES[profile]
    earned, window = np.full(rows, -miss), np.full(rows, -1)
    for k, (a, b) in enumerate(windows):
        width = b - a + 1.0
        inside = np.arange(a, b + 1)
        earned[a:b + 1] = _sigmoid(-(b - inside + 1) / width) * hit / _sigmoid(np.array(-1.0))
        window[a:b + 1] = k
        after = np.arange(b + 1, windows[k + 1][0] if k + 1 < len(windows) else rows)
        earned[after] = _sigmoid((after - b) / (width - 1.0)) * miss
    return earned, window


def nab(files, profile="standard"):
    """files: (scores, windows as [first, last] rows, rows of a day). After an alert comes a day without one. Best threshold for all, 0-100
    (100 = every window at its start, no false alarm; 0 = silence)."""
    hit, _, missed = NAB_PROFILES[profile]
    every = np.concatenate([scores for scores, *_ in files])
    windows = sum(len(w) for _, w, _ in files)
    worth = [_nab_rows(len(scores), w, profile) for scores, w, _ in files]
    best = -math.inf
    for threshold in np.unique(np.quantile(every, 1.0 - np.geomspace(1e-5, 0.05, 100))):
        total = -missed * windows
        for (scores, _, rest), (earned, window) in zip(files, worth):
            probation = min(math.floor(0.15 * len(scores)), 750)
            last, gained = -rest, {}
            for row in np.flatnonzero(scores >= threshold):
                if row < probation or row - last < rest:
                    continue
                last = row
                if window[row] < 0:
                    total += earned[row]
                else:
                    gained[window[row]] = max(gained.get(window[row], -math.inf), earned[row])
            total += sum(g + missed for g in gained.values())
        best = max(best, total)
    return 100.0 * (best + missed * windows) / ((hit + missed) * windows)
