"""Streaming drift, beside river at its defaults: processor time per value, and how soon a shift by 0.5 sd is told.

A delay means nothing without the false alarms, so both are of the same streams: standard normal, 300 of them, quiet
for 5,000 rows, of which ours has seen 1,000 or 10,000 more as its baseline. A detector that always fires has the
shortest delay of all. The full count of false alarms is `benchmarks/false_alarms.py`.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import run
from benchmarks.false_alarms import SHIFT
from benchmarks.table import Row
from trader_monitor.core.models.streaming.detector import Detectors
from trader_monitor.core.samples import Floats

FEATURES = 100
STREAMS, QUIET, SHIFTED = 300, 5_000, 2_000
BASELINES = (1_000, 10_000)
CHUNK, ROUNDS = 500, 7
COST_GOAL_NS, KSWIN_GOAL, DELAY_GOAL, FALSE_GOAL = 150.0, 2_000.0, 60.0, 1.0
SEED = 51


def cost(chunk: int, rows: int) -> float:
    """Nanoseconds per feature and row, the fastest of some rounds."""
    rng = np.random.default_rng(SEED)
    detectors = Detectors.of(rng.standard_normal((10_000, FEATURES)), [f"f{at}" for at in range(FEATURES)])
    values = rng.standard_normal((rows, FEATURES))
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for first in range(0, rows, chunk):
            detectors.update(values[first : first + chunk])
        taken.append((time.process_time() - began) / (rows * FEATURES) * 1e9)
    return min(taken)


def ours(baseline: Floats, streams: Floats) -> dict[str, Any]:
    """As `river_streams` has it of the others."""
    detectors = Detectors.of(baseline, [str(at) for at in range(streams.shape[1])])
    alarms, first = 0, dict.fromkeys(detectors.names, math.inf)
    for alarm in detectors.update(streams):
        if alarm.row < QUIET:
            alarms += 1
        else:
            first[alarm.feature] = min(first[alarm.feature], alarm.row - QUIET + 1)
    return {"alarms": alarms, "samples": QUIET * streams.shape[1], "delays": list(first.values())}


def told(found: dict[str, Any]) -> tuple[float, float]:
    """The median delay and the false alarms per 10,000 samples."""
    delays = [math.inf if each is None else each for each in found["delays"]]
    return statistics.median(delays), found["alarms"] / found["samples"] * 10_000


def rows(folder: Path) -> list[Row]:
    rng = np.random.default_rng(SEED)
    streams = rng.standard_normal((QUIET + SHIFTED, STREAMS))
    streams[QUIET:] += SHIFT
    kept = folder / "streams.npy"
    np.save(kept, streams)
    whole, single = cost(CHUNK, 4_000), cost(1, 300)
    found = json.loads(run("science", Path(__file__).with_name("river_streams.py"), str(kept), str(QUIET)))
    adwin, kswin = (found[name]["seconds"] * 1e9 for name in ("ADWIN", "KSWIN"))
    work = f"streaming drift, {FEATURES} features"
    table = [
        Row(
            f"{work}, per value, {CHUNK} rows at a time",
            f"{whole:.0f} ns",
            f"ADWIN {adwin:.0f} ns",
            f"{adwin / whole:.1f}x",
            f"<= {COST_GOAL_NS:.0f} ns",
            whole <= COST_GOAL_NS,
        ),
        Row(
            f"{work}, per value, {CHUNK} rows at a time",
            f"{whole:.0f} ns",
            f"KSWIN {kswin / 1000:.0f} us",
            f"{kswin / whole:,.0f}x",
            f">= {KSWIN_GOAL:,.0f}x",
            kswin / whole >= KSWIN_GOAL,
        ),
        Row(
            f"{work}, per value, one row at a time",
            f"{single:.0f} ns",
            f"ADWIN {adwin:.0f} ns",
            f"{adwin / single:.1f}x",
        ),
    ]
    beside = ", ".join(f"{name} {delay:.0f} ({false:.1f})" for name in found for delay, false in (told(found[name]),))
    for size in BASELINES:
        delay, false = told(ours(rng.standard_normal((size, STREAMS)), streams))
        table.append(
            Row(
                f"samples to tell a shift by {SHIFT} sd, median (false alarms per 10,000), baseline of {size:,} rows",
                f"{delay:.0f} ({false:.1f})",
                beside,
                "",
                f"<= {DELAY_GOAL:.0f} ({FALSE_GOAL:.0f})",
                delay <= DELAY_GOAL and false <= FALSE_GOAL,
            )
        )
    return table
