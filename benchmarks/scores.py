"""F1, precision, recall and the area under the ROC curve of 100,000 rows, beside scikit-learn.

Both get arrays that are ready: labels, predicted labels and scores; ours gives the intervals besides. Scores are
random (all different) and rounded to two digits (tied); every figure has to be equal to 1e-12.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import run
from benchmarks.table import Row
from trader_monitor.core.models.performance.ranks import area
from trader_monitor.core.models.performance.scores import BinaryCounts
from trader_monitor.core.samples import Bools, Floats

ROWS = 100_000
ROUNDS = 3
RUNS = 7
GOAL = 5.0
TOLERANCE = 1e-12
SCRIPT = Path(__file__).with_name("scores_peer.py")


def table(seed: int, digits: int | None) -> tuple[Bools, Bools, Floats]:
    """Actual and predicted labels and scores; `digits` to which the scores are rounded, None: not at all."""
    random = np.random.default_rng(seed)
    actual = random.random(ROWS) < 0.4
    scores = 1.0 / (1.0 + np.exp(-(random.normal(0.0, 1.5, ROWS) + actual)))
    if digits is not None:
        scores = np.round(scores, digits)
    return actual, scores > 0.5, scores


def scored(actual: Bools, predicted: Bools, scores: Floats) -> tuple[float, float, float, float]:
    """F1, precision, recall, area; their intervals are made and dropped."""
    counts, found = BinaryCounts.of(actual, predicted), area(actual, scores)
    assert found is not None
    intervals = (counts.f1_interval(), counts.precision_interval(), counts.recall_interval(), found.interval())
    assert all(intervals)
    return counts.f1, counts.precision, counts.recall, found.value


def median_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000.0)
    return statistics.median(times)


def beside(
    folder: Path, tables: dict[str, tuple[Bools, Bools, Floats]], runs: int = RUNS
) -> dict[str, tuple[float, list[float]]]:
    """scikit-learn's median milliseconds and figures for each table."""
    kept = folder / "tables.npz"
    columns: dict[str, Any] = {
        f"{name}_{n}": column for name, columns in tables.items() for n, column in enumerate(columns)
    }
    np.savez(kept, **columns)
    answer: dict[str, tuple[float, list[float]]] = json.loads(run("science", SCRIPT, str(kept), str(runs)))
    return answer


def rows(folder: Path) -> list[Row]:
    tables = {"all different": table(1, None), "tied": table(2, 2)}
    ours: dict[str, list[float]] = {name: [] for name in tables}
    peers: dict[str, list[float]] = {name: [] for name in tables}
    apart = 0.0
    for _ in range(ROUNDS):  # in turn, so that a slow minute of the machine is everybody's
        answers = beside(folder, tables)
        for name, columns in tables.items():
            scored(*columns)
            ours[name].append(median_ms(lambda columns=columns: scored(*columns)))  # type: ignore[misc]
            taken, figures = answers[name]
            peers[name].append(taken)
            apart = max(apart, *(abs(a - b) for a, b in zip(scored(*columns), figures, strict=True)))
    found = []
    for name in tables:
        ratio = min(peers[name]) / min(ours[name])
        found.append(
            Row(
                f"F1, precision, recall, AUC of {ROWS:,} rows, scores {name}",
                f"{min(ours[name]):.1f} ms with intervals",
                f"scikit-learn {min(peers[name]):.1f} ms",
                f"{ratio:.1f}x",
                f">= {GOAL:g}x",
                ratio >= GOAL,
            )
        )
    goal = f"<= {TOLERANCE:g}"
    found.append(Row("the same, largest difference", f"{apart:.1e}", "scikit-learn", "", goal, apart <= TOLERANCE))
    return found
