"""The detectors' promise, simulated in full: false alarms per 10,000 samples of streams that do not drift.

`python -m benchmarks.false_alarms` writes tests/data/models/false_alarms.json, with which the suite compares what it
simulates itself. Every stream has a baseline of its own; after a gap of 1,000 rows it runs on, and starts from zero
after an alarm. `watched` are the streams that have a detector. The interval is the normal one of the mean over streams,
since what a stream gives too many or too few of comes from its baseline. Some twenty minutes on one processor.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.streams import LAWS, deviation, law
from trader_monitor.core.models.streaming.detector import Detectors

RESULTS = Path(__file__).parents[1] / "tests" / "data" / "models" / "false_alarms.json"
GAP = 1_000
CHUNK = 500
TOGETHER = 500
"""Streams in one `Detectors`."""
SEED = 20_240_817
SHIFT = 0.5
PATIENCE = 20_000
"""Samples after which a delay is no longer waited for."""


class Case(NamedTuple):
    """`samples` per stream; `every` is what is promised."""

    law: str
    baseline: int
    every: int = 10_000
    streams: int = 2_000
    samples: int = 100_000


PROMISED = [Case(name, rows) for rows in (1_000, 10_000) for name in LAWS]
FEWER = [Case(name, rows) for rows in (500, 700) for name in ("normal", "ar 0.07", "ar 0.9")]
RARER = [Case(name, 1_000, every) for every in (100_000, 1_000_000) for name in ("normal", "ar 0.9")]
NOT_PROMISED = [Case(name, rows, streams=500) for name in ("ar 0.98", "garch") for rows in (1_000, 10_000)]


def rate(case: Case) -> dict[str, float]:
    """Alarms per `every` samples, with the 95 % interval of the mean over streams."""
    each: list[np.ndarray] = []
    for part, seed in enumerate(
        np.random.SeedSequence([SEED, case.baseline, case.every]).spawn(-(-case.streams // TOGETHER))
    ):
        streams = min(TOGETHER, case.streams - part * TOGETHER)
        take = law(case.law, streams, np.random.default_rng(seed))
        detectors = _detectors(take(case.baseline), case.every)
        for _ in range(GAP // CHUNK):
            take(CHUNK)
        alarms = np.zeros(streams)
        for _ in range(case.samples // CHUNK):
            for alarm in detectors.update(take(CHUNK)):
                alarms[int(alarm.feature)] += 1
        watched = np.asarray([not why for why in detectors.why])
        each.append(alarms[watched] / case.samples * case.every)
    rates = np.concatenate(each)
    mean, error = float(rates.mean()), 1.96 * float(rates.std(ddof=1)) / math.sqrt(len(rates))
    return {
        "rate": round(mean, 3),
        "low": round(mean - error, 3),
        "high": round(mean + error, 3),
        "watched": len(rates),
        "worst_decile": round(float(np.quantile(rates, 0.9)), 2),
    }


def delay(case: Case, streams: int = 1_000, quiet: int = 500) -> dict[str, float | None]:
    """Samples from a shift by 0.5 sd, after a quiet period, to the first alarm; None: more than were waited for."""
    take = law(case.law, streams, np.random.default_rng([SEED, case.baseline, case.every, 1]))
    detectors = _detectors(take(case.baseline), case.every)
    take(GAP)
    detectors.update(take(quiet))
    first: dict[str, int] = {}
    while len(first) < streams and detectors.row < quiet + PATIENCE:
        for alarm in detectors.update(take(CHUNK) + SHIFT * deviation(case.law)):
            first.setdefault(alarm.feature, alarm.row - quiet + 1)
    waits = np.sort([first.get(name, math.inf) for name in detectors.state])
    told = (float(waits[round(share * (len(waits) - 1))]) for share in (0.5, 0.9))
    return dict(zip(("median", "ninth_decile"), (each if math.isfinite(each) else None for each in told), strict=True))


def _detectors(rows: np.ndarray, every: int) -> Detectors:
    return Detectors.of(rows, [str(at) for at in range(rows.shape[1])], every=every)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.false_alarms", description=__doc__)
    groups = {"promised": PROMISED, "fewer_rows": FEWER, "rarer": RARER, "not_promised": NOT_PROMISED}
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"which of {', '.join(groups)} (all)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results are written")
    options = parser.parse_args()
    results: dict[str, list[dict[str, object]]] = json.loads(options.out.read_text()) if options.out.exists() else {}
    for group in options.groups or groups:
        results[group] = []
        for case in groups[group]:
            began = time.monotonic()
            result = {**case._asdict(), **rate(case), "delay": delay(case)}
            results[group].append(result)
            print(f"{result} ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(
        f'"{group}": [\n' + ",\n".join(json.dumps(each) for each in found) + "\n]" for group, found in results.items()
    )
    options.out.write_text("{\n" + lines + "\n}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
