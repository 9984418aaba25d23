"""Sums that lose nothing on the way: Kahan's, as improved by Neumaier, over whole arrays at once.

Prometheus sums so, and a rule such as `sum(x) == 0.3` should come out the same here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from trader_monitor.core.order import elements
from trader_monitor.core.samples import Floats

__all__ = ["Kahan", "exact_mean", "exact_sum", "grouped_mean", "grouped_sum"]


class Kahan:
    """Many compensated sums side by side."""

    __slots__ = ("c", "s")

    def __init__(self, shape: int | tuple[int, ...]) -> None:
        self.s: Floats = np.zeros(shape)
        self.c: Floats = np.zeros(shape)

    def add(self, x: Floats) -> None:
        s = self.s
        t = s + x
        larger = np.abs(s) >= np.abs(x)
        self.c += np.where(larger, (s - t) + x, (x - t) + s)
        infinite = np.isinf(t)
        if infinite.any():
            self.c[infinite] = 0.0
        self.s = t

    def total(self) -> Floats:
        return np.where(np.isinf(self.s), self.s, self.s + self.c)


def exact_sum(values: list[float]) -> float:
    """The sum of Python numbers, correctly rounded; IEEE's answer where there are infinities."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return sum(values)


def exact_mean(values: list[float]) -> float:
    """The mean, also where the sum would overflow."""
    try:
        total = math.fsum(values)
    except ValueError:
        return math.nan
    except OverflowError:
        if not all(map(math.isfinite, values)):
            return sum(values)
        scale = 2.0**-64
        return math.fsum(value * scale for value in values) / len(values) / scale
    return total / len(values)


def grouped_sum(values: Floats, present: NDArray[np.bool_], groups: list[NDArray[np.int64]]) -> Floats:
    """Each group's sum over its rows at every step; `groups` holds row numbers."""
    steps = values.shape[1]
    largest = max((len(rows) for rows in groups), default=0)
    if len(groups) * steps <= 2 * largest:
        return _each(values, present, groups, exact_sum)
    sums = Kahan((len(groups), steps))
    for members, rows in _ranks(groups, largest):
        part = np.where(present[rows], values[rows], 0.0)
        if len(members) == len(groups):
            sums.add(part)
        else:
            whole = np.zeros((len(groups), steps))
            whole[members] = part
            sums.add(whole)
    return sums.total()


def grouped_mean(values: Floats, present: NDArray[np.bool_], groups: list[NDArray[np.int64]]) -> Floats:
    """Each group's mean over the rows that are present; 0 where none is."""
    steps = values.shape[1]
    counts = np.empty((len(groups), steps))
    for at, rows in enumerate(groups):
        counts[at] = present[rows].sum(axis=0)
    means = grouped_sum(values, present, groups) / np.maximum(counts, 1.0)
    for at, step in elements(np.argwhere(np.isinf(means))):
        rows = groups[at]
        means[at, step] = exact_mean(values[rows, step][present[rows, step]].tolist())
    return means


def _each(values: Floats, present: NDArray[np.bool_], groups: list[NDArray[np.int64]], function: object) -> Floats:
    """One exact sum per group and step: faster where there are few of them with many members."""
    steps = values.shape[1]
    out = np.empty((len(groups), steps))
    for at, rows in enumerate(groups):
        for step in range(steps):
            column = values[rows, step]
            mask = present[rows, step]
            out[at, step] = exact_sum((column if mask.all() else column[mask]).tolist())
    return out


def _ranks(groups: list[NDArray[np.int64]], largest: int) -> Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The first member of every group, then the second of those that have one, and so on."""
    sizes = np.array([len(rows) for rows in groups])
    padded = np.zeros((len(groups), largest), np.int64)
    for at, rows in enumerate(groups):
        padded[at, : len(rows)] = rows
    for rank in range(largest):
        members = np.flatnonzero(sizes > rank)
        yield members, padded[members, rank]
