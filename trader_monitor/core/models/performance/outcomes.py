"""Outcomes joined to predictions: which outcome belongs to which prediction, and what went wrong on the way.

An outcome names its prediction by id, or by model, subject and the prediction's time (to the millisecond). One
outcome may hold for several versions, since what happened is the same for all: an outcome by subject and time that
names no version labels the predictions of all of them. Of one version there is one prediction per subject and time:
the first stands, a further one with the same key is `repeated` and left out, so that nothing counts twice.

The same outcome again is a duplicate and ignored. A different one for the same prediction takes its place, the latest
`at` wins: labels are restated (a corrected price, a late fill), and then the later word is the better one. It is
counted as corrected, so that a sender that contradicts itself is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trader_monitor.core.models.performance.performance import LabelCounts
from trader_monitor.core.samples import Bools, Floats

__all__ = ["LATE", "Joined", "Outcomes", "Predictions", "join"]

LATE: Final = 3600.0
"""An outcome is late when it comes more than one further horizon, and more than this many seconds, after it was due."""


class Predictions(NamedTuple):
    """Columns of one model's predictions, in the order in which they were recorded."""

    ids: Sequence[str | None]
    sources: Sequence[str | None]
    versions: Sequence[str]
    subjects: Sequence[str | None]
    at: Floats
    """Unix seconds."""
    horizon: Floats
    """Seconds; NaN where none was given: due at once."""
    output: Sequence[float | str]
    labels: Sequence[str | None]
    probability: Floats
    """NaN where none was given."""

    @property
    def due(self) -> Floats:
        return self.at + np.nan_to_num(self.horizon, nan=0.0)

    def take(self, places: NDArray[np.intp]) -> Predictions:
        """These rows, in this order."""
        wanted = places.tolist()
        return Predictions(
            [self.ids[place] for place in wanted],
            [self.sources[place] for place in wanted],
            [self.versions[place] for place in wanted],
            [self.subjects[place] for place in wanted],
            self.at[places],
            self.horizon[places],
            [self.output[place] for place in wanted],
            [self.labels[place] for place in wanted],
            self.probability[places],
        )


class Outcomes(NamedTuple):
    """Columns of outcomes that are or may be this model's, in the order in which they were recorded."""

    prediction_ids: Sequence[str | None]
    sources: Sequence[str | None]
    models: Sequence[str | None]
    versions: Sequence[str | None]
    subjects: Sequence[str | None]
    predicted_at: Floats
    """NaN where the prediction is named by its id."""
    at: Floats
    recorded: Floats
    """When it was recorded here, Unix seconds: `at` is what its sender says."""
    actual: Sequence[float | str]


class Joined(NamedTuple):
    """Per prediction: the place of its outcome (-1: none), how often that outcome came again or was corrected, and
    whether the prediction repeats an earlier one's key. Per outcome: whether it found a prediction."""

    outcome: NDArray[np.int64]
    duplicates: NDArray[np.int64]
    corrected: NDArray[np.int64]
    repeated: Bools
    found: Bools

    def counts(
        self, predictions: Predictions, outcomes: Outcomes, of: Bools, model: str, since: float, now: float
    ) -> LabelCounts:
        """Of the predictions in the mask `of` that were due after `since` and until `now`; orphans are those of the
        whole model that were reported in that time."""
        due = predictions.due
        counted = of & ~self.repeated
        inside = counted & (due > since) & (due <= now)
        joined = inside & (self.outcome >= 0)
        delay = self.delays(predictions, outcomes)
        patience = np.maximum(np.nan_to_num(predictions.horizon, nan=0.0), LATE)
        mine = np.fromiter((each == model for each in outcomes.models), np.bool_, len(outcomes.models))
        return LabelCounts(
            predictions=_count(inside),
            joined=_count(joined),
            pending=_count(counted & (due > now)),
            late=_count(joined & (delay > patience)),
            early=_count(joined & (delay < 0.0)),
            duplicates=int(self.duplicates[inside].sum()),
            corrected=int(self.corrected[inside].sum()),
            orphans=_count(mine & ~self.found & (outcomes.at > since)),
        )

    def delays(self, predictions: Predictions, outcomes: Outcomes) -> Floats:
        """Seconds from when a prediction was due to its outcome; NaN without one. Negative: before its horizon."""
        delay = np.full(len(self.outcome), np.nan)
        has = self.outcome >= 0
        delay[has] = outcomes.at[self.outcome[has]] - predictions.due[has]
        return delay


def join(predictions: Predictions, outcomes: Outcomes) -> Joined:
    """Joins in one pass, whichever came first. A prediction's id is its sender's: where two sources use the same id,
    an outcome's own source decides, and without one the prediction that was recorded last."""
    n = len(predictions.ids)
    by_id: dict[str, dict[str | None, int]] = {}
    by_key: dict[tuple[str, int], dict[str, int]] = {}
    repeated = np.zeros(n, np.bool_)
    moments = _milliseconds(predictions.at)
    for place, (id, source, version, subject) in enumerate(
        zip(predictions.ids, predictions.sources, predictions.versions, predictions.subjects, strict=True)
    ):
        if subject is not None:
            versions = by_key.setdefault((subject, moments[place]), {})
            if version in versions:
                repeated[place] = True
                continue
            versions[version] = place
        if id is not None:
            by_id.setdefault(id, {})[source] = place

    chosen = np.full(n, -1, np.int64)
    duplicates, corrected = np.zeros(n, np.int64), np.zeros(n, np.int64)
    found = np.zeros(len(outcomes.at), np.bool_)
    asked = _milliseconds(outcomes.predicted_at)
    for number in np.argsort(outcomes.at, kind="stable").tolist():
        for place in _targets(outcomes, number, asked[number], by_id, by_key):
            version = outcomes.versions[number]
            if version is not None and version != predictions.versions[place]:
                continue
            found[number] = True
            before = int(chosen[place])
            if before >= 0 and outcomes.actual[before] == outcomes.actual[number]:
                duplicates[place] += 1
                continue
            corrected[place] += before >= 0
            chosen[place] = number
    return Joined(chosen, duplicates, corrected, repeated, found)


def _targets(
    outcomes: Outcomes,
    number: int,
    moment: int,
    by_id: dict[str, dict[str | None, int]],
    by_key: dict[tuple[str, int], dict[str, int]],
) -> list[int]:
    """The predictions that an outcome names."""
    id, subject = outcomes.prediction_ids[number], outcomes.subjects[number]
    if id is not None:
        sources = by_id.get(id)
        if sources is None:
            return []
        own = sources.get(outcomes.sources[number])
        return [next(reversed(sources.values())) if own is None else own]
    if subject is None:
        return []
    return list(by_key.get((subject, moment), {}).values())


def _milliseconds(at: Floats) -> list[int]:
    rounded: list[int] = np.rint(np.nan_to_num(at, nan=-1.0) * 1000.0).astype(np.int64).tolist()
    return rounded


def _count(mask: Bools) -> int:
    return int(np.count_nonzero(mask))
