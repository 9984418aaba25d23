"""The figures of a classifier over one window of outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from trader_monitor.core.figure import Figure, Interval, Pairs, exact, missing, sampled, wilson
from trader_monitor.core.models.performance.performance import MINIMUM
from trader_monitor.core.models.performance.ranks import area
from trader_monitor.core.models.performance.reading import Calls, Reading
from trader_monitor.core.models.performance.reliability import BINS, brier, reliability
from trader_monitor.core.models.performance.scores import AVERAGES, Average, Averaged, Confusion
from trader_monitor.core.samples import Bools, Floats

__all__ = ["classification_figures", "remarks", "too_few"]

_SCORES: Final = {
    "f1": "F1, the harmonic mean of precision and recall",
    "precision": "precision, the share of right ones among the predictions of a label",
    "recall": "recall, the share of a label's rows that was predicted so",
}
_ALONE: Final = "no interval: every row agrees, and a sample cannot show that the next will"


def too_few(n: int, of: str = "outcomes") -> str:
    """The reason of a figure that has no value for want of rows."""
    return f"insufficient_evidence: {n:,} of the {MINIMUM} {of} that it takes"


def classification_figures(labels: Pairs, calls: Calls, scores: Floats, reading: Reading) -> Iterator[Figure]:
    """`scores` belong to the rows of `calls`: probabilities of the positive label (binary) or of the predicted one
    (multiclass), NaN where none was given. Every figure comes, with a value or with the reason why it has none."""
    n = len(calls.actual)
    table = Confusion(calls.actual, calls.predicted, max(1, len(calls.names)))
    right = table.right
    words = "the share of rows whose label was predicted; Wilson's interval takes rows as independent"
    if n < MINIMUM:
        yield missing("model_accuracy_ratio", labels, n, words, too_few(n))
    else:
        yield sampled("model_accuracy_ratio", labels, right / n, n, words, wilson(right, n))
    if reading.task == "binary":
        yield from _binary(labels, table, calls, reading)
    else:
        for average in AVERAGES:
            yield from _averages(labels, table, average)
    yield from _probabilities(labels, calls, scores, reading)


def remarks(calls: Calls, scores: Floats) -> Iterator[str]:
    """What a reader of the scores has to know."""
    table = Confusion(calls.actual, calls.predicted, max(1, len(calls.names)))
    for code in table.never_predicted():
        yield f"the label {calls.names[code]} was seen and never predicted: its recall and F1 are 0"
    for code in table.never_seen():
        yield f"the label {calls.names[code]} was predicted and never seen: its precision and F1 are 0"
    if len(calls.actual) and len(np.unique(calls.actual)) == 1:
        yield f"all outcomes are {calls.names[int(calls.actual[0])]}: nothing is known of the other labels"
    given = scores[np.isfinite(scores)]
    if len(given) > 1 and (given == given[0]).all():
        yield f"all probabilities are {given[0]:g}: they order nothing"


def _binary(labels: Pairs, table: Confusion, calls: Calls, reading: Reading) -> Iterator[Figure]:
    n = table.n
    place = calls.names.index(reading.positive) if reading.positive in calls.names else None
    of = (*labels, ("average", "binary"))
    for name, what in _SCORES.items():
        series, words = f"model_{name}_ratio", f"{what}; {reading.words}; rows taken as independent"
        if n < MINIMUM:
            yield missing(series, of, n, words, too_few(n))
            continue
        counts = table.binary(place) if place is not None else None
        if counts is None:
            yield missing(series, of, n, words, f"the label {reading.positive} was neither predicted nor seen")
        elif name == "precision" and counts.tp + counts.fp == 0:
            yield missing(series, of, n, words, f"the label {reading.positive} was never predicted")
        elif name == "recall" and counts.tp + counts.fn == 0:
            yield missing(series, of, n, words, f"the label {reading.positive} was never seen")
        else:
            interval: Interval | None = getattr(counts, f"{name}_interval")()
            yield sampled(series, of, getattr(counts, name), n, words, interval)


def _averages(labels: Pairs, table: Confusion, average: Average) -> Iterator[Figure]:
    of = (*labels, ("average", average))
    how = "the mean over labels" if average == "macro" else "the mean over labels, weighted by how often each was seen"
    for name, what in _SCORES.items():
        series, words = f"model_{name}_ratio", f"{what}; {how}; 0/0 counts as 0; rows taken as independent"
        if table.n < MINIMUM:
            yield missing(series, of, table.n, words, too_few(table.n))
            continue
        averaged: Averaged = getattr(table, name)(average)
        yield sampled(series, of, averaged.value, table.n, words, averaged.interval, open=_ALONE)


def _probabilities(labels: Pairs, calls: Calls, scores: Floats, reading: Reading) -> Iterator[Figure]:
    given = np.isfinite(scores)
    said, n = scores[given], int(np.count_nonzero(given))
    positive = _came_true(calls, reading)[given]
    area_words = f"area under the ROC curve, ties counted half; {reading.words}; DeLong's interval"
    loss_words = "Brier score: the mean squared distance of the probability from what came true; 0.25 is a coin's"
    error_words = f"expected calibration error over {BINS} bins of equal width; a sample never shows 0"
    names = ("model_roc_auc_ratio", "model_brier_ratio", "model_calibration_error_ratio")
    reason = ""
    if not n:
        reason = "no probabilities were given"
    elif n < MINIMUM:
        reason = too_few(n, "outcomes with a probability")
    if reason:
        for name, words in zip(names, (area_words, loss_words, error_words), strict=True):
            yield missing(name, labels, n, words, reason)
        return
    yield _area(labels, positive, said, area_words, reading)
    value, interval = brier(said, positive)
    yield sampled(names[1], labels, value, n, loss_words, interval)
    found = reliability(said, positive)
    yield sampled(names[2], labels, found.error, n, error_words, found.interval)
    yield exact(
        "model_calibration_error_expected_ratio",
        labels,
        found.error_if_calibrated,
        n,
        "what the calibration error would be on average if the probabilities were right, with this many rows",
    )
    for each in found.bins:
        of = (*labels, ("bin", f"{each.low:.1f}-{each.high:.1f}"))
        words = "the share that came true among rows whose probability lies in the bin"
        yield sampled("model_reliability_ratio", of, each.came_true, each.n, words, each.interval)
        yield exact("model_reliability_said_ratio", of, each.said, each.n, "the mean probability in the bin")


def _came_true(calls: Calls, reading: Reading) -> Bools:
    """Per row what its probability was said of: the positive label (binary), or the predicted one."""
    place = calls.names.index(reading.positive) if reading.positive in calls.names else -1
    came_true: Bools = calls.actual == (place if reading.task == "binary" else calls.predicted)
    return came_true


def _area(labels: Pairs, positive: Bools, said: Floats, words: str, reading: Reading) -> Figure:
    name, n = "model_roc_auc_ratio", len(said)
    if reading.task != "binary":
        return missing(name, labels, n, words, "it takes the probability of every label, and one is given")
    found = area(positive, said)
    if found is None:
        which = "positive" if positive.all() else "negative"
        return missing(name, labels, n, words, f"all outcomes are {which}: there is nothing to tell apart")
    if found.distinct == 1:
        return missing(name, labels, n, words, "all probabilities are equal: they order nothing")
    return sampled(name, labels, found.value, n, words, found.interval(), open=_ALONE)
