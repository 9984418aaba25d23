"""What scikit-learn, statsmodels and NannyML said; see tests/oracles/performance.py."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trader_monitor.core.samples import Bools, Floats

FOLDER = Path(__file__).parents[2] / "data" / "models"


class Part(NamedTuple):
    """Rows of one of NannyML's data sets."""

    scores: Floats
    predicted: Bools
    actual: Bools


@cache
def answers() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "performance.json").read_text())
    return found


@cache
def part(name: str, which: str) -> Part:
    """`which` is reference or chunks."""
    with np.load(FOLDER / "cbpe.npz") as kept:
        scores, levels = kept[f"{name}_{which}_score"], kept[f"{name}_{which}_levels"]
        values = (levels[scores] if len(levels) else scores).astype(np.float64)
        predicted, actual = (np.unpackbits(kept[f"{name}_{which}_{each}"]) for each in ("predicted", "actual"))
    n = len(values)
    return Part(values, predicted[:n].astype(bool), actual[:n].astype(bool))
