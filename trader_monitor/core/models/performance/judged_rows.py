"""A model version's predictions beside what came true, read as labels or as numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trader_monitor.core.figure import Figure, Pairs
from trader_monitor.core.models.performance.classification import classification_figures
from trader_monitor.core.models.performance.outcomes import Outcomes, Predictions
from trader_monitor.core.models.performance.reading import Calls, Reading, numbers
from trader_monitor.core.models.performance.returns import returns_figures
from trader_monitor.core.samples import Bools, Floats

__all__ = ["Rows"]


class Rows(NamedTuple):
    """A version's rows, and of each what is known of it. `labelled`: due, and with an outcome that can be compared."""

    reading: Reading
    predictions: Predictions
    due: Floats
    known: Floats
    labelled: Bools
    unreadable: Bools
    calls: Calls | None
    scores: Floats
    output: Floats
    actual: Floats

    @classmethod
    def of(
        cls, mine: Predictions, outcome: NDArray[np.int64], outcomes: Outcomes, reading: Reading, now: float
    ) -> Rows:
        """`outcome` is the place of each row's outcome, -1 where it has none."""
        due, has = mine.due, (outcome >= 0) & (mine.due <= now)
        recorded = np.full(len(due), np.inf)
        recorded[has] = outcomes.recorded[outcome[has]]
        actual = [outcomes.actual[place] if there else None for place, there in zip(outcome, has, strict=True)]
        figures = numbers(["" if value is None else value for value in actual])
        calls, output = None, numbers(mine.output)
        if reading.task in ("binary", "multiclass"):
            calls = Calls.of(reading.labels(mine), actual, reading)
            labelled = calls.comparable
        else:
            labelled = np.isfinite(output) & np.isfinite(figures) & (reading.task == "returns")
        known = np.maximum(due, recorded)
        return cls(reading, mine, due, known, labelled, has & ~labelled, calls, reading.scores(mine), output, figures)

    def wrong(self, mask: Bools) -> Bools:
        """Of the labelled rows in the mask: whether the outcome proved them wrong; of numbers the sign counts."""
        found: Bools
        if self.calls is not None:
            found = self.calls.actual[mask] != self.calls.predicted[mask]
        else:
            found = np.sign(self.output[mask]) != np.sign(self.actual[mask])
        return found

    def figures(self, labels: Pairs, mask: Bools, period: float) -> list[Figure]:
        """Of the labelled rows in the mask."""
        if self.calls is not None:
            return list(classification_figures(labels, self.calls.within(mask), self.scores[mask], self.reading))
        horizon = np.nan_to_num(self.predictions.horizon[mask], nan=0.0)
        usual = float(np.median(horizon)) if len(horizon) else 0.0
        at = self.predictions.at[mask]
        return returns_figures(labels, at, self.output[mask], self.actual[mask], usual, period)
