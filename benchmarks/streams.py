"""Streams without drift, of the laws for which the detectors' promise is made and of two for which it is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from trader_monitor.core.samples import Floats

__all__ = ["LAWS", "Take", "deviation", "law"]

Take: TypeAlias = Callable[[int], Floats]
"""The next rows (n x streams) of the same streams."""

LAWS = ("normal", "t3", "uniform", "lognormal", "ar 0.07", "ar 0.5", "ar 0.9", "ar 0.9 t3")
"""`ar PHI` is AR(1) with normal innovations, or with Student's t with 3 degrees of freedom; 0.07 is what a baseline of
1,000 rows can hardly tell from 0. Besides there are `ar 0.98` and `garch`."""


def deviation(name: str) -> float:
    """The standard deviation of the law's values."""
    iid = {"t3": math.sqrt(3.0), "uniform": math.sqrt(1 / 12), "lognormal": math.sqrt((math.e - 1) * math.e)}
    return iid.get(name, math.sqrt(3.0) if name.endswith(" t3") else 1.0)


def law(name: str, streams: int, rng: np.random.Generator) -> Take:
    """Stationary from the first row."""
    shape: dict[str, Callable[[tuple[int, int]], Floats]] = {
        "normal": lambda size: rng.standard_normal(size),
        "t3": lambda size: rng.standard_t(3, size),
        "uniform": lambda size: rng.random(size),
        "lognormal": lambda size: np.exp(rng.standard_normal(size)),
    }
    if name in shape:
        return lambda rows: shape[name]((rows, streams))
    if name == "garch":
        return _garch(streams, rng)
    _, phi, *innovations = name.split()
    return _autoregressive(float(phi), shape["t3" if innovations else "normal"], streams)


def _autoregressive(phi: float, innovations: Callable[[tuple[int, int]], Floats], streams: int) -> Take:
    scale = math.sqrt(1.0 - phi * phi)
    last = np.zeros(streams)

    def take(rows: int) -> Floats:
        nonlocal last
        found = innovations((rows, streams)) * scale
        for row in found:
            row += phi * last
            last = row
        last = last.copy()
        return found

    take(1 + math.ceil(12.0 / (1.0 - phi)))  # to forget that it began at 0
    return take


def _garch(streams: int, rng: np.random.Generator) -> Take:
    """GARCH(1, 1) of daily returns, as they are: 0.08 and 0.87."""
    variance = np.ones(streams)

    def take(rows: int) -> Floats:
        nonlocal variance
        found = rng.standard_normal((rows, streams))
        for row in found:
            row *= np.sqrt(variance)
            variance = 0.05 + 0.08 * row * row + 0.87 * variance
        return found

    take(500)
    return take
