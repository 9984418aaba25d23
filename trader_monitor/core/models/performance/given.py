"""Baseline performance that somebody gives as numbers, from a validation or a paper."""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from trader_monitor.core.figure import Pairs, wilson_share
from trader_monitor.core.models.performance.degradation import Score
from trader_monitor.core.models.performance.reading import Task
from trader_monitor.core.statistics.intervals import around

__all__ = ["Given", "Name"]

Name: TypeAlias = Literal["f1", "precision", "recall", "accuracy", "roc_auc", "hit"]

_OF: Final[dict[Task, Pairs]] = {"binary": (("average", "binary"),), "multiclass": (("average", "macro"),)}
_AVERAGED: Final = frozenset({"f1", "precision", "recall"})


class Given(Struct, frozen=True, kw_only=True):
    """`scores` are shares, 0..1. `n` is how many rows they were taken from; 0: not known, they are taken as exact.

    Of such a number one knows no more than n, so the interval takes the classes as balanced: F1 rests on half of the
    rows, the area under the curve on half of them for each class (Hanley & McNeil 1982), the others on all.
    """

    scores: dict[Name, float]
    n: int = 0
    provenance: str = "given"

    def for_task(self, task: Task) -> tuple[Score, ...]:
        """As scores of a task; F1, precision and recall of several labels are macro averages."""
        return tuple(
            Score(
                f"model_{name}_ratio",
                _OF.get(task, ()) if name in _AVERAGED else (),
                value,
                *_interval(name, value, self.n),
                self.n,
            )
            for name, value in self.scores.items()
        )


def _interval(name: Name, value: float, n: int) -> tuple[float, float]:
    if n < 2:
        return value, value
    if name == "f1":
        low, high = _wilson(value / (2.0 - value), n / 2.0)
        return min(value, 2.0 * low / (1.0 + low)), max(value, 2.0 * high / (1.0 + high))
    if name == "roc_auc":
        half = n / 2.0
        both_above, both_below = value / (2.0 - value), 2.0 * value * value / (1.0 + value)
        spread = value * (1.0 - value) + (half - 1.0) * (both_above + both_below - 2.0 * value * value)
        low, high, _ = around(value, math.sqrt(max(0.0, spread)) / half, "", 0.0, 1.0)
        return low, high
    return _wilson(value, n)


def _wilson(share: float, n: float) -> tuple[float, float]:
    low, high, _ = wilson_share(share, n)
    # Rounding must not put the limit of a full or an empty share on its wrong side.
    return min(share, low), max(share, high)
