"""Calibration: how far quiet windows stray from the baseline by chance, so that only more than that is evidence.

Rows that follow one another resemble one another: of quiet windows of 1,000 rows at an autocorrelation of 0.9 the
textbook Kolmogorov-Smirnov test rejects 72 %. Here the null distribution is simulated from the baseline's own
dependence: paths of the fitted autoregression are cut into windows and baselines, both in the baseline's cells with
its ties, and the statistics are taken of each pair. A window or baseline longer than a path has that path's errors,
shrunk by the root of the lengths' ratio. Then contiguous blocks of the real baseline are held against the rest of
it: where they stray further than the simulation says (seasons, regimes, volatility that clusters) every quantile is
widened by that factor. The paths come from a seeded generator: the same baseline gives the same calibration.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from trader_monitor.core.models.columns import Ordered
from trader_monitor.core.models.drift.dependence import Dependence, dependence_of, normal_quantile, spectrum
from trader_monitor.core.samples import Floats

__all__ = [
    "BINS",
    "CELLS",
    "LENGTHS",
    "LEVELS",
    "Calibration",
    "PValues",
    "Refusal",
    "borders_of",
    "calibrate",
    "cells_of",
    "evidence",
]

BINS = 10
CELLS = 80
"""The cells in which evidence is measured: eight to each bin of the stability index."""

LENGTHS = (30, 50, 80, 125, 200, 320, 500, 800, 1250, 2000, 3200, 5000, 8000, 12500, 25000, 50000, 125000)
"""Of the windows that are simulated; between them quantiles are interpolated, beyond the last they shrink on."""

LEVELS = (0.9, 0.7, 0.5, 0.35, 0.25, 0.18, 0.13, 0.1, 0.075, 0.05, 0.035, 0.025, 0.015, 0.01, 0.005)
"""Shares of quiet windows that stray further than the quantile at the same place."""

LEAST_ROWS = 100
LEAST_EFFECTIVE = 30.0
"""A baseline of fewer rows, or worth fewer independent rows, carries no evidence."""

FEWEST_BLOCKS, MOST_BLOCKS = 8, 320
SURPRISING = 3.0
"""Standard errors by which blocks must stray further before quantiles are widened."""

_PATH = 1 << 20
_LONGEST = 1 << 21
_PAIRS = 4096
_SEED = 20171127


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a baseline has no calibration; `effective` is how many independent rows it is worth, where that is it."""

    reason: Literal["few_rows", "constant", "dependent", "uncalibrated"]
    effective: float | None = None


class PValues(Struct, frozen=True):
    """How often a quiet window strays at least as far: by either statistic, and by the further of the two."""

    ks: float
    psi: float
    either: float


class Calibration(Struct, frozen=True, kw_only=True):
    """Quantiles at `LEVELS` (float32, one row per length of `LENGTHS`) of quiet windows' statistics.

    `either` holds quantiles of the smaller of the two p-values. `widening` is by what factors (Kolmogorov-Smirnov,
    stability index) contiguous blocks of the baseline stray further than the simulation says (1: they do not); they
    are part of the quantiles.
    """

    dependence: Dependence
    ks: bytes
    psi: bytes
    either: bytes
    widening: tuple[float, float] = (1.0, 1.0)

    def critical(self, rows: int, level: float = 0.05) -> tuple[float, float]:
        """What share `level` of quiet windows of `rows` rows exceed: Kolmogorov-Smirnov statistic, stability index."""
        at = np.log(LEVELS)[::-1]
        ks, psi = (_at(self._table(raw), rows, power)[::-1] for raw, power in ((self.ks, 0.5), (self.psi, 1.0)))
        return float(np.interp(math.log(level), at, ks)), float(np.interp(math.log(level), at, psi))

    def p_values(self, ks: float, psi: float, rows: int) -> PValues:
        """Of the statistics of a window of `rows` finite rows, both measured in the calibration's cells."""
        by_ks = _exceeding(_at(self._table(self.ks), rows, 0.5) ** 2, ks * ks)
        by_psi = _exceeding(_at(self._table(self.psi), rows, 1.0), psi)
        least = min(by_ks, by_psi)
        logs = -np.log(_at(self._table(self.either), rows, 0.0))
        either = _exceeding(logs, -math.log(least)) if least >= LEVELS[-1] else 2.0 * least
        return PValues(by_ks, by_psi, min(max(either, least), min(1.0, 2.0 * least)))

    def _table(self, raw: bytes) -> Floats:
        return np.frombuffer(raw, dtype="<f4").astype(np.float64).reshape(len(LENGTHS), len(LEVELS))


def calibrate(values: Ordered) -> Calibration | Refusal:
    """The calibration of a baseline's finite values in the order of time, or why there is none. Some 0.2 s."""
    n = len(values)
    if n < LEAST_ROWS:
        return Refusal(reason="few_rows")
    ordered = np.sort(values)
    if ordered[0] == ordered[-1]:
        return Refusal(reason="constant")
    dependence = dependence_of(values)
    if dependence.effective < LEAST_EFFECTIVE:
        return Refusal(reason="dependent", effective=dependence.effective)
    borders = borders_of(ordered)
    shares = np.diff(np.searchsorted(ordered, borders, side="right") / n, prepend=0.0, append=1.0)
    made, quiet = _simulated(dependence, shares, n)
    return _widened(made, *_widening(quiet, np.searchsorted(borders, values, side="left")))


def borders_of(ordered: Ordered) -> Ordered:
    """The borders between the cells: quantiles that were seen, repeated where values are."""
    ranks = np.ceil(np.arange(1, CELLS) * len(ordered) / CELLS).astype(np.int64) - 1
    found: Ordered = ordered[ranks]
    return found


def cells_of(ordered: Ordered, borders: Ordered) -> Floats:
    """The cumulated shares of `ordered` values at the borders and at the end."""
    return np.append(np.searchsorted(ordered, borders, side="right") / len(ordered), 1.0)


def evidence(baseline: Floats, window: Floats, rows: int) -> tuple[Floats, Floats]:
    """Both statistics in the cells; the last axis of the cumulated shares is that of the cells.

    An empty bin of the window counts as half a row.
    """
    ks = np.abs(window - baseline).max(axis=-1)
    p, q = (np.diff(each[..., CELLS // BINS - 1 :: CELLS // BINS], prepend=0.0) for each in (baseline, window))
    q = np.maximum(q, 0.5 / rows)
    held = p > 0.0
    safe = np.where(held, p, 1.0)
    psi = np.where(held, (q - safe) * np.log(q / safe), 0.0).sum(axis=-1)
    return ks, psi


class _Quiet(NamedTuple):
    """Mean and deviation of both statistics of the simulated windows of one length."""

    rows: int
    mean: tuple[float, float]
    deviation: tuple[float, float]


def _simulated(dependence: Dependence, shares: Floats, n: int) -> tuple[Calibration, list[_Quiet]]:
    tau = dependence.tau
    length = int(max(512, 50 * tau))
    total = min(max(_PATH, 1 << (400 * length - 1).bit_length()), _LONGEST)
    cells = _path(dependence, shares, total)
    expected = np.cumsum(shares)
    tables: list[list[Floats]] = [[], [], []]
    quiet = []
    # An autoregression fitted to few rows is too short of memory, by some 3 tau / n of its time (Kendall 1954).
    short = math.sqrt(1.0 + 3.0 * tau / n)
    longest = min(length, n)
    ours = _errors(cells, longest, expected) * (short * math.sqrt(longest / n))
    pairs = np.arange(_PAIRS)
    held, errors = 0, ours
    for rows in LENGTHS:
        if held < length:
            held = min(rows, length)
            errors = _errors(cells, held, expected)
        # Each window meets baselines from all over the path, hardly ever one that it is a part of.
        window = expected + errors[pairs * len(errors) // _PAIRS] * (short * math.sqrt(held / rows))
        window -= ours[(pairs * 7919 + len(ours) // 2) % len(ours)]
        ks, psi = evidence(expected, window, rows)
        quiet.append(_Quiet(rows, (float(ks.mean()), float(psi.mean())), (float(ks.std()), float(psi.std()))))
        ranks = [1.0 - (np.argsort(np.argsort(each)) + 0.5) / _PAIRS for each in (ks, psi)]
        for table, each in zip(tables, (ks, psi, -np.minimum(*ranks)), strict=True):
            table.append(np.quantile(each, 1.0 - np.array(LEVELS)))
    ks_raw, psi_raw, either = (np.abs(np.array(table)).astype("<f4").tobytes() for table in tables)
    return Calibration(dependence=dependence, ks=ks_raw, psi=psi_raw, either=either), quiet


def _path(dependence: Dependence, shares: Floats, total: int) -> NDArray[np.uint8]:
    """The cells of a stationary path of `total` rows: noise, coloured with the autoregression's spectrum."""
    noise = np.random.default_rng(_SEED).standard_normal(total, dtype=np.float32)
    if dependence.coefficients:
        density = spectrum(dependence.coefficients, total)
        whole = (2.0 * float(density.sum()) - float(density[0]) - float(density[-1])) / total
        noise = np.fft.irfft(np.fft.rfft(noise) * np.sqrt(density / whole), total).astype(np.float32)
    # A table of fine steps finds the cell: what it misplaces is far less than a cell.
    steps = np.linspace(-5.0, 5.0, 4097)[:-1] + 5.0 / 4096
    at = normal_quantile(np.clip(np.cumsum(shares)[:-1], 1e-12, 1.0 - 1e-12))
    cell = np.searchsorted(at, steps, side="left").astype(np.uint8)
    found: NDArray[np.uint8] = cell[np.clip((noise + np.float32(5.0)) * np.float32(409.6), 0, 4095).astype(np.int16)]
    return found


def _errors(cells: NDArray[np.uint8], rows: int, expected: Floats) -> Floats:
    """By how much the cumulated shares of consecutive windows differ from what is expected of them."""
    windows = min(len(cells) // rows, 2 * _PAIRS)
    every = (len(cells) // rows) // windows
    used = cells[: windows * every * rows].reshape(windows, every * rows)[:, :rows]
    flat = used.astype(np.int32) + (np.arange(windows, dtype=np.int32) * CELLS)[:, None]
    counts = np.bincount(flat.ravel(), minlength=windows * CELLS).reshape(windows, CELLS)
    found: Floats = np.cumsum(counts, axis=1) / rows - expected
    return found


def _widening(quiet: list[_Quiet], cell: NDArray[np.int64]) -> tuple[float, float]:
    """By what factors contiguous blocks stray further from the rest of the baseline than simulated windows do."""
    n = len(cell)
    whole = np.bincount(cell, minlength=CELLS)
    widening = [1.0, 1.0]
    for rows, means, deviations in quiet:
        blocks = n // rows
        if not FEWEST_BLOCKS <= blocks <= MOST_BLOCKS:
            continue
        flat = cell[: blocks * rows] + np.repeat(np.arange(blocks) * CELLS, rows)
        counts = np.bincount(flat, minlength=blocks * CELLS).reshape(blocks, CELLS)
        rest = np.cumsum(whole - counts, axis=1) / (n - rows)
        for which, strayed in enumerate(evidence(rest, np.cumsum(counts, axis=1) / rows, rows)):
            found, mean = float(strayed.mean()), means[which]
            if found - mean > SURPRISING * deviations[which] / math.sqrt(blocks):
                widening[which] = max(widening[which], found / mean)
    return widening[0], widening[1]


def _widened(made: Calibration, by_ks: float, by_psi: float) -> Calibration:
    ks = np.minimum(np.frombuffer(made.ks, dtype="<f4") * by_ks, 1.0).astype("<f4")
    psi = (np.frombuffer(made.psi, dtype="<f4") * by_psi).astype("<f4")
    return structs.replace(made, ks=ks.tobytes(), psi=psi.tobytes(), widening=(by_ks, by_psi))


def _at(table: Floats, rows: int, power: float) -> Floats:
    """The table's row at `rows`: linear between logarithms; beyond the ends it shrinks as rows to the -`power`."""
    if rows >= LENGTHS[-1]:
        return np.asarray(table[-1] * (LENGTHS[-1] / rows) ** power)
    if rows <= LENGTHS[0]:
        return np.asarray(table[0] * (LENGTHS[0] / rows) ** power)
    above = int(np.searchsorted(LENGTHS, rows, side="right"))
    a, b = math.log(LENGTHS[above - 1]), math.log(LENGTHS[above])
    weight = (math.log(rows) - a) / (b - a)
    return np.asarray(np.exp((1.0 - weight) * np.log(table[above - 1]) + weight * np.log(table[above])))


def _exceeding(quantiles: Floats, value: float) -> float:
    """The share of quiet windows with at least `value`; beyond the last quantile its logarithm goes on in a line."""
    logs = np.log(LEVELS)
    if value <= quantiles[-1]:
        if value < quantiles[0]:
            return 1.0 - (1.0 - LEVELS[0]) * max(value, 0.0) / float(quantiles[0])
        return math.exp(float(np.interp(value, quantiles, logs)))
    twentieth = LEVELS.index(0.05)
    rise = float(quantiles[-1] - quantiles[twentieth])
    slope = (logs[-1] - logs[twentieth]) / rise if rise > 0.0 else -math.inf
    return max(math.exp(logs[-1] + slope * (value - float(quantiles[-1]))), 1e-300)
