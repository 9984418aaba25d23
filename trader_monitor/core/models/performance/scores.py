"""Scores of a classifier from its confusion matrix: F1, precision, recall and accuracy, with their intervals.

The average over labels is named: `binary` is of the positive label, `macro` the mean over all labels that were seen or
predicted, `weighted` the mean by how often a label was seen. 0/0 counts as 0, as in scikit-learn with
`zero_division=0`; which labels that concerns is said by `never_predicted` and `never_seen`.
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trader_monitor.core.figure import Interval, wilson
from trader_monitor.core.samples import Bools, Floats
from trader_monitor.core.statistics.intervals import around

__all__ = ["AVERAGES", "Average", "Averaged", "BinaryCounts", "Confusion"]

Average: TypeAlias = Literal["macro", "weighted"]
AVERAGES: Final[tuple[Average, ...]] = ("macro", "weighted")


class BinaryCounts(NamedTuple):
    """True and false positives and negatives of the positive label."""

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def of(cls, actual: Bools, predicted: Bools) -> BinaryCounts:
        """`actual` and `predicted` say of each row whether it is the positive label."""
        tp = int(np.count_nonzero(actual & predicted))
        fp = int(np.count_nonzero(predicted)) - tp
        fn = int(np.count_nonzero(actual)) - tp
        return cls(tp, fp, fn, len(actual) - tp - fp - fn)

    @property
    def n(self) -> int:
        return self.tp + self.fp + self.fn + self.tn

    @property
    def f1(self) -> float:
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        return _share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return _share(self.tp, self.tp + self.fn)

    @property
    def accuracy(self) -> float:
        return _share(self.tp + self.tn, self.n)

    def f1_interval(self) -> Interval | None:
        """F1 / (2 - F1) is the share of the true positives in tp + fp + fn, which are binomial; Wilson's interval of
        that share, carried back (the indirect method of Lam, Gopal & Qian 2023)."""
        trials = self.tp + self.fp + self.fn
        if not trials:
            return None
        low, high, _ = wilson(self.tp, trials)
        return Interval(2.0 * low / (1.0 + low), 2.0 * high / (1.0 + high), "Wilson, indirect")

    def precision_interval(self) -> Interval | None:
        return wilson(self.tp, self.tp + self.fp) if self.tp + self.fp else None

    def recall_interval(self) -> Interval | None:
        return wilson(self.tp, self.tp + self.fn) if self.tp + self.fn else None


class Averaged(NamedTuple):
    """A score averaged over labels, and its interval by the delta method."""

    value: float
    interval: Interval | None


class Confusion:
    """How often each label was seen (rows) and predicted (columns)."""

    __slots__ = ("_columns", "_rows", "_shares", "_true", "counts", "n")

    def __init__(self, actual: NDArray[np.integer], predicted: NDArray[np.integer], labels: int) -> None:
        """`actual` and `predicted` are codes from 0 to labels - 1."""
        k = labels
        cells = np.bincount(actual * k + predicted, minlength=k * k)
        self.counts: NDArray[np.int64] = cells.reshape(k, k).astype(np.int64)
        self.n = len(actual)
        self._shares: Floats = self.counts / max(1, self.n)
        self._rows: Floats = self._shares.sum(axis=1)
        self._columns: Floats = self._shares.sum(axis=0)
        self._true: Floats = np.diagonal(self._shares)

    def binary(self, positive: int) -> BinaryCounts:
        """The label of code `positive` against all others."""
        tp = int(self.counts[positive, positive])
        fp = int(self.counts[:, positive].sum()) - tp
        fn = int(self.counts[positive].sum()) - tp
        return BinaryCounts(tp, fp, fn, self.n - tp - fp - fn)

    @property
    def right(self) -> int:
        return int(np.trace(self.counts))

    def never_predicted(self) -> list[int]:
        """Labels that were seen and never predicted."""
        return [int(code) for code in np.flatnonzero((self._columns == 0.0) & (self._rows > 0.0))]

    def never_seen(self) -> list[int]:
        """Labels that were predicted and never seen."""
        return [int(code) for code in np.flatnonzero((self._rows == 0.0) & (self._columns > 0.0))]

    def f1(self, average: Average) -> Averaged:
        """Delta method over the multinomial table (Takahashi, Yamamoto, Kuchiba & Koyama 2022)."""
        size = self._rows + self._columns
        per_label = _ratio(2.0 * self._true, size)
        seen, right = _ratio(-per_label, size), _ratio(np.full(len(size), 2.0), size)
        return self._averaged(per_label, by_row=seen, by_column=seen, on_diagonal=right, average=average)

    def precision(self, average: Average) -> Averaged:
        per_label = _ratio(self._true, self._columns)
        lost, right = _ratio(-per_label, self._columns), _ratio(np.ones(len(per_label)), self._columns)
        return self._averaged(per_label, None, lost, right, average)

    def recall(self, average: Average) -> Averaged:
        per_label = _ratio(self._true, self._rows)
        lost, right = _ratio(-per_label, self._rows), _ratio(np.ones(len(per_label)), self._rows)
        return self._averaged(per_label, lost, None, right, average)

    def _averaged(
        self, per_label: Floats, by_row: Floats | None, by_column: Floats | None, on_diagonal: Floats, average: Average
    ) -> Averaged:
        """The weighted sum of the labels' scores. The other arguments are the derivatives of each label's score by
        one more row of a cell: in its row, in its column, and in its diagonal cell besides."""
        if self.n == 0:
            return Averaged(0.0, None)
        present = (self._rows > 0.0) | (self._columns > 0.0)
        weights = self._rows if average == "weighted" else present / np.count_nonzero(present)
        value = float(weights @ per_label)
        influence = np.zeros_like(self._shares)
        if by_row is not None:
            influence += (weights * by_row)[:, None]
        if by_column is not None:
            influence += (weights * by_column)[None, :]
        influence[np.diag_indices(len(weights))] += weights * on_diagonal
        if average == "weighted":
            influence += (per_label - value)[:, None]  # the weights are estimates too
        mean = float((self._shares * influence).sum())
        variance = float((self._shares * (influence - mean) ** 2).sum()) / self.n
        if variance <= 0.0:
            return Averaged(value, None)
        return Averaged(value, around(value, math.sqrt(variance), "delta method", 0.0, 1.0))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _ratio(part: Floats, whole: Floats) -> Floats:
    """0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0.0)
