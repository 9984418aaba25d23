"""Whitening: a stream's values made independent and alike, by what its baseline was like.

A value is clipped to the baseline's range, standardised, freed of what its five predecessors foretold (an AR(5) filter
by least squares), and the rest is placed in one of 64 cells of equal mass of the baseline's own residuals. What a cell
is worth is its mean normal score (van der Waerden 1952): bounded, so that one bad tick of 1e4 counts no more than the
largest residual in 64; and of one law for every continuous distribution, so that one threshold serves them all.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from trader_monitor.core.samples import Floats

__all__ = ["CELLS", "DISTINCT", "FEWEST", "ORDER", "Cells", "Whitening", "cells_of", "residuals_of", "whitening_of"]

ORDER = 5
"""Of the autoregressive filter."""

CELLS = 64
"""A power of two: the cell is found in six halvings."""

FEWEST = 500
"""Finite baseline rows. With fewer the promise could not be kept, so there is no detector."""

DISTINCT = 20
"""Values a numeric stream has at least; one with fewer is a category, and its change is no shift of the mean."""

PENALTY = 0.5
"""On each coefficient of the filter, as a share of Schwarz's (1978): between his criterion and Akaike's, as a small
correlation that goes unseen costs more false alarms than a coefficient too many."""

UNIT_ROOT = 14.1
"""A random walk's n (1 - sum of the coefficients) is below it in 19 of 20 baselines (Dickey and Fuller 1979, with a
constant; Fuller, Introduction to Statistical Time Series, 1976, table 8.5.1)."""

RIDGE = 1e-9
"""Added to the filter's normal equations, as a share of the variance, so that they have one solution always."""

REACH = 3.0
"""The accepted range ends this many times as far from the median as the 0.5 % and 99.5 % quantiles do."""

Cells = NDArray[np.intp]

_NORMAL = NormalDist()


class Whitening(Struct, frozen=True, kw_only=True):
    """Of one feature, from `rows` finite baseline values.

    `coefficients` are the filter's, nearest predecessor first. `gain` is by how many standard deviations of the
    residual the residual moves for good when the level moves by one standard deviation of the values: 1 without
    memory, (1 - phi) / sqrt(1 - phi^2) for AR(1). `edges` are the 63 borders of the cells, a value on one belongs
    above it; `counts` is how many baseline residuals each cell had.
    """

    rows: int
    low: float
    high: float
    centre: float
    deviation: float
    coefficients: tuple[float, ...]
    gain: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def scores(self) -> Floats:
        """The mean normal score of each cell; their mean over the baseline is 0."""
        counts = np.asarray(self.counts, dtype=np.float64)
        n = counts.sum()
        below = np.cumsum(counts)[:-1] / n
        borders = [_NORMAL.inv_cdf(min(max(p, 0.5 / n), 1.0 - 0.5 / n)) for p in below]
        density = np.zeros(CELLS + 1)
        density[1:-1] = np.where((below > 0.0) & (below < 1.0), [_NORMAL.pdf(z) for z in borders], 0.0)
        middles = np.asarray([borders[0], *borders])  # of a cell without mass: where it is
        found: Floats = np.where(counts > 0, (density[:-1] - density[1:]) / (np.maximum(counts, 1.0) / n), middles)
        return found


def whitening_of(values: Floats) -> Whitening | str:
    """From a baseline's values in the order of time; or in words why there is none.

    What is not finite is left out, as it is left out of the stream. Float64, one dimension.
    """
    finite = values[np.isfinite(values)]
    rows = len(finite)
    if rows < FEWEST:
        return f"the baseline has {rows} finite rows, and at least {FEWEST} are needed"
    ordered = np.sort(finite)
    distinct = 1 + int(np.count_nonzero(ordered[1:] > ordered[:-1]))
    if distinct == 1:
        return "the feature is constant in the baseline"
    if distinct < DISTINCT:
        return f"the feature has {distinct} distinct values in the baseline; fewer than {DISTINCT} make a category"
    below, median, above = np.quantile(ordered, (0.005, 0.5, 0.995))
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = median - REACH * (median - below), median + REACH * (above - median)
        clipped = np.clip(finite, low, high)
        centre, deviation = float(clipped.mean()), float(clipped.std())
    if not math.isfinite(deviation):
        return "the baseline's values are too large to be squared"
    if deviation <= 1e-9 * max(abs(low), abs(high)):
        return "99 % of the baseline is one value, or too near to it to tell apart"
    standard = (clipped - centre) / deviation
    lagged = np.lib.stride_tricks.sliding_window_view(standard, ORDER + 1)
    target, past = lagged[:, ORDER], lagged[:, ORDER - 1 :: -1]
    normal = past.T @ past
    normal[np.diag_indices(ORDER)] += RIDGE * len(target)
    coefficients = _selected(normal, past.T @ target, float(target @ target), len(target))
    residuals = residuals_of(standard, coefficients)
    spread = float(residuals.std())
    if not spread > 1e-6:
        return "each baseline value follows from those before it without error"
    if len(target) * (1.0 - coefficients.sum()) < UNIT_ROOT * (1.0 + coefficients @ np.arange(ORDER)):
        return "the feature cannot be told from a random walk, which has no level: watch its changes instead"
    edges = np.quantile(residuals, np.arange(1, CELLS) / CELLS)
    counts = np.bincount(np.searchsorted(edges, residuals, side="right"), minlength=CELLS)
    return Whitening(
        rows=rows,
        low=float(low),
        high=float(high),
        centre=centre,
        deviation=deviation,
        coefficients=tuple(coefficients.tolist()),
        gain=float((1.0 - coefficients.sum()) / spread),
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )


def _selected(normal: Floats, moments: Floats, power: float, n: int) -> Floats:
    """The least-squares coefficients of the order 0 to 5 that an information criterion prefers, the rest 0.

    Five that are not needed would leave the residual's long-run variance wrong by a seventh at 1,000 rows.
    """
    best, found = math.log(power), np.zeros(ORDER)
    for order in range(1, ORDER + 1):
        coefficients = np.linalg.solve(normal[:order, :order], moments[:order])
        left = max(power - float(coefficients @ moments[:order]), 1e-12 * power)
        criterion = math.log(left) + PENALTY * order * math.log(n) / n
        if criterion < best:
            best, found = criterion, np.concatenate((coefficients, np.zeros(ORDER - order)))
    return found


def residuals_of(known: Floats, coefficients: Floats) -> Floats:
    """What the five predecessors did not foretell: of rows 5 on, along the first axis.

    `coefficients` are lags (x features). Baseline and stream go through the same operations, as a value that is often
    the same has to fall on the same side of a border to the last bit.
    """
    found = known[ORDER:].copy()
    for lag in range(1, ORDER + 1):
        found -= coefficients[lag - 1] * known[ORDER - lag : len(known) - lag]
    return found


def cells_of(residuals: Floats, edges: Floats) -> Cells:
    """Where each residual (rows x features) is among `edges` (features x 63), as an index into features x 64.

    Halves the range six times for all at once: a search per column costs five times as much, and forty with one row.
    """
    features = residuals.shape[1]
    flat = edges.ravel()
    before = np.arange(features, dtype=np.intp) * (CELLS - 1) - 1
    at = np.repeat(before[None, :], len(residuals), axis=0)
    step = CELLS // 2
    while step:
        at += (flat.take(at + step) <= residuals) * step
        step //= 2
    at += np.arange(1, features + 1, dtype=np.intp)
    return at
