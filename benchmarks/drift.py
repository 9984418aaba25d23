"""Kolmogorov-Smirnov and population stability of 100 features, 10,000 rows against 10,000, beside three libraries.

The baseline is ready (ordered, its bins fixed), as NannyML's calculator is fitted; one thread each. The statistics are
those of scipy to 1e-12, or this does not run. Memory is the peak of a process of its own beyond what it held when the
window was loaded and the references made.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import environments
from benchmarks.table import Row
from trader_monitor.core.models.drift.baseline import Baseline, baseline_of
from trader_monitor.core.models.drift.distances import ks_and_psi, reference_of
from trader_monitor.core.models.drift.drift import drift

ROWS, FEATURES = 10_000, 100
ROUNDS = 15
SCRIPT = Path(__file__).with_name("drift_peers.py")
MOST_MIB = 80.0


def tables() -> tuple[Any, Any]:
    """Baseline and window: half of the features quiet, half moved by up to one deviation; some in ticks."""
    random = np.random.default_rng(42)
    before, after = random.normal(size=(2, ROWS, FEATURES))
    after[:, FEATURES // 2 :] += np.linspace(0.05, 1.0, FEATURES - FEATURES // 2)
    before[:, ::10], after[:, ::10] = np.round(before[:, ::10], 2), np.round(after[:, ::10], 2)
    return before, after


def peer(name: str, environment: str, file: Path, rounds: int) -> tuple[float, dict[str, Any]]:
    """The median of its seconds, and all that it said."""
    said = json.loads(environments.run(environment, SCRIPT, name, str(file), str(rounds)).splitlines()[-1])
    return statistics.median(said["seconds"]), said


def ours(before: Any, after: Any) -> tuple[float, Any, Any]:
    references = [reference_of(one) for one in baselines(before)]
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        ks, psi = ks_and_psi(references, after)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), ks, psi


def baselines(before: Any) -> list[Baseline]:
    return [baseline_of(f"f{column}", before[:, column], calibrated=False) for column in range(before.shape[1])]


def whole(before: Any, after: Any) -> float:
    """Seconds of everything: all distances, calibrated evidence, histograms, verdicts."""
    one = baseline_of("f", before[:, 1])
    names = [f"f{column}" for column in range(FEATURES)]
    known = dict.fromkeys(names, one)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        drift(known, after, names)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def memory(file: Path) -> float:
    """MiB at the peak beyond what stands, in a process of its own."""
    script = f"from benchmarks.drift import peak; peak({str(file)!r})"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return float(done.stdout)


def peak(file: str) -> None:
    """Runs in that process: prints by how many MiB its peak grew."""
    after = np.load(file)["after"]
    before = np.load(file)["before"]
    references = [reference_of(one) for one in baselines(before)]
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    stands = _kib("VmRSS")
    ks_and_psi(references, after)
    print((_kib("VmHWM") - stands) / 1024)


def _kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def rows(folder: Path) -> list[Row]:
    before, after = tables()
    file = folder / "tables.npz"
    np.savez(file, before=before, after=after)
    took, ks, _ = ours(before, after)
    found = []
    for name, environment, rounds, goal in (
        ("scipy", "science", 7, 10.0),
        ("nannyml", "nannyml", 7, 6.0),
        ("evidently", "evidently", 1, 300.0),
    ):
        theirs, said = peer(name, environment, file, rounds)
        if name == "scipy":
            worst = float(np.abs(np.array(said["ks"]) - ks).max())
            if worst > 1e-12:
                raise RuntimeError(f"the Kolmogorov-Smirnov statistics differ from scipy's by {worst:g}")
        found.append(
            Row(
                f"drift, {ROWS:,} x {FEATURES} against {ROWS:,} x {FEATURES}: KS + PSI, exact",
                f"{took * 1000:.1f} ms",
                f"{name} {theirs * 1000:,.0f} ms ({said['what']})",
                f"{theirs / took:.0f}",
                f">= {goal:g}",
                theirs >= goal * took,
            )
        )
    used = memory(file)
    work = "  peak memory beside the window and the baselines"
    found.append(Row(work, f"{used:.1f} MiB", "", "", f"< {MOST_MIB:g} MiB", used < MOST_MIB))
    everything = whole(before, after)
    found.append(Row("  all distances, evidence and verdicts of the same", f"{everything * 1000:.0f} ms"))
    return found
