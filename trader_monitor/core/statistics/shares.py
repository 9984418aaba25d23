"""Shares and means as figures, and cells that are added together."""

from __future__ import annotations

from collections.abc import Sequence

from trader_monitor.core.figure import Figure, Pairs, missing, sampled, wilson
from trader_monitor.core.statistics.intervals import Mean
from trader_monitor.core.statistics.rolling import Cell, add

__all__ = ["mean", "mean_of", "merged", "share"]


def share(name: str, labels: Pairs, hits: int, n: int, convention: str, empty: str) -> Figure:
    """`hits` of `n` with Wilson's interval; missing because of `empty` where n is 0."""
    if not n:
        return missing(name, labels, 0, convention, empty)
    return sampled(name, labels, hits / n, n, convention, wilson(hits, n))


def mean(name: str, labels: Pairs, sample: Mean, convention: str, empty: str) -> Figure:
    """A mean with Student's interval; missing because of `empty` where there is nothing to take it of."""
    if not sample.n:
        return missing(name, labels, 0, convention, empty)
    return sampled(name, labels, sample.value, sample.n, convention, sample.interval, open=sample.open)


def mean_of(cell: Cell, key: int) -> Mean:
    """The number, sum and sum of squares that stand at three keys in a row."""
    return Mean(int(cell.get(key, 0.0)), cell.get(key + 1, 0.0), cell.get(key + 2, 0.0))


def merged(cells: Sequence[Cell]) -> Cell:
    """The sum of cells; the only one itself, which then is not to be changed."""
    if len(cells) == 1:
        return cells[0]
    found: Cell = {}
    for cell in cells:
        add(found, cell)
    return found
