"""Writes tests/data/models/quiet_windows.json: how often drift is cried on windows in which nothing drifted.

    python -m tests.oracles.quiet_windows [BASELINES]

Each baseline has 10,000 rows; it and its windows are independent paths of the same process. `either` is the share of
windows whose calibrated p-value is at most 5 %, `error` its standard error (baselines are independent, windows of one
baseline are not). `ks_alone` is the textbook's Kolmogorov-Smirnov test at 5 %, `psi_alone` the rule of thumb PSI > 0.1.
`refused` baselines have no calibration and so no verdict. `drift` is the share of windows with the verdict itself.
Some 40 minutes on one processor for 600 baselines.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from trader_monitor.core.models.drift.baseline import baseline_of
from trader_monitor.core.models.drift.drift import drift

FILE = Path(__file__).parents[1] / "data" / "models" / "quiet_windows.json"
ROWS = 10_000
LENGTHS = (100, 1_000, 10_000)
WINDOWS = 4
PROCESSES = [
    *((f"AR(1), normal, phi {phi:g}", phi, "normal") for phi in (0.0, 0.5, 0.9, 0.98)),
    *((f"AR(1), Student t3, phi {phi:g}", phi, "t3") for phi in (0.0, 0.5, 0.9, 0.98)),
    ("AR(1) rounded to whole deviations, phi 0.9", 0.9, "rounded"),
    ("its sign alone, phi 0.9", 0.9, "sign"),
    ("AR(1) with phi 0.98 under as much noise", 0.98, "noise"),
    ("GARCH(1,1), persistence 0.95", 0.0, "garch"),
]


def paths(phi: float, kind: str, rows: int, count: int, seed: int) -> Any:
    """`count` independent stationary paths of `rows`, by the recursion itself."""
    random = np.random.default_rng([seed, rows])
    burn = int(20 / (1.0 - phi)) + 200
    drawn = np.empty((burn + rows, count), dtype=np.float32)
    state, variance = np.zeros(count), np.ones(count)
    for row in range(burn + rows):
        noise = random.standard_t(3, count) if kind == "t3" else random.standard_normal(count)
        if kind == "garch":
            variance = 0.05 + 0.1 * state**2 + 0.85 * variance
            state = np.sqrt(variance) * noise
        else:
            state = phi * state + noise
        drawn[row] = state
    found = drawn[burn:].T * math.sqrt(1.0 - phi * phi)
    if kind == "rounded":
        return np.round(found)
    if kind == "sign":
        return np.sign(found)
    return found + random.standard_normal(found.shape) if kind == "noise" else found


def critical(level: float, first: int, second: int) -> float:
    """The asymptotic quantile of the two-sample statistic for independent rows (Smirnov 1948)."""
    return math.sqrt(-0.5 * math.log(level / 2.0) * (first + second) / (first * second))


def measured(phi: float, kind: str, baselines: int, seed: int, lengths: tuple[int, ...] = LENGTHS) -> dict[str, Any]:
    """The rates of one process."""
    before = paths(phi, kind, ROWS, baselines, seed)
    after = {rows: paths(phi, kind, rows, baselines * WINDOWS, seed + 1) for rows in lengths}
    hits: dict[int, list[list[float]]] = {rows: [] for rows in lengths}
    refused = 0
    for number in range(baselines):
        baseline = baseline_of("f", before[number])
        if baseline.calibration is None:
            refused += 1
            continue
        for rows in lengths:
            for window in after[rows][number * WINDOWS : (number + 1) * WINDOWS]:
                (found,) = drift({"f": baseline}, window[:, None], ["f"]).features
                assert found.p is not None
                assert found.ks is not None
                assert found.psi is not None
                alone = found.ks > critical(0.05, ROWS, rows), found.psi > 0.1
                hits[rows].append([found.p <= 0.05, found.p <= 0.01, *alone, found.verdict == "drift"])
    rates = {}
    for rows, told in hits.items():
        table = np.array(told, dtype=np.float64).reshape(baselines - refused, WINDOWS, -1)
        mean = table.mean(axis=(0, 1)).round(4).tolist()
        rate = dict(zip(("either", "either_1_percent", "ks_alone", "psi_alone", "drift"), mean, strict=True))
        error = float(table[:, :, 0].mean(axis=1).std() / math.sqrt(len(table)))
        rates[str(rows)] = rate | {"error": round(error, 4)}
    return {"refused": refused, "windows": rates}


def main(baselines: int) -> None:
    found = {}
    for number, (name, phi, kind) in enumerate(PROCESSES):
        found[name] = measured(phi, kind, baselines, 1000 + 2 * number)
        print(name, json.dumps(found[name]), flush=True)
    FILE.write_text(json.dumps({"rows": ROWS, "baselines": baselines, "processes": found}, indent=1) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 600)
