"""Estimates before the labels: beside NannyML's, beside what came true, and blind where they say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.core.models.answers import answers, part
from trader_monitor.core.models.performance.estimates import BLIND, Estimate, estimate, estimate_figures
from trader_monitor.core.models.performance.ranks import area
from trader_monitor.core.models.performance.reliability import Isotonic
from trader_monitor.core.models.performance.scores import BinaryCounts

SETS = answers()["cbpe"]
LABELS = (("model", "m"),)


@pytest.mark.parametrize("case", SETS, ids=lambda case: str(case["name"]))
def test_nannyml_estimates_the_same_and_realised_scores_are_the_same(case: dict[str, Any]) -> None:
    """NannyML rounds its curve to five digits, so its area differs by some 1e-5; all else is equal to 1e-9."""
    assert case["calibrated"], "it found that the scores need recalibration, as is always done here"
    reference, chunks = part(case["name"], "reference"), part(case["name"], "chunks")
    curve = Isotonic.of(reference.scores, reference.actual)
    for number in range(len(case["estimated"]["f1"])):
        of = slice(number * case["size"], (number + 1) * case["size"])
        scores, predicted, actual = chunks.scores[of], chunks.predicted[of], chunks.actual[of]
        found = estimate(curve, scores, predicted)
        for name in ("f1", "precision", "recall", "accuracy", "roc_auc"):
            made = getattr(found, name)
            tolerance = 5e-5 if name == "roc_auc" else 1e-9
            assert made.value == pytest.approx(case["estimated"][name][number], abs=tolerance), name
        counts, curve_area = BinaryCounts.of(actual, predicted), area(actual, scores)
        assert curve_area is not None
        assert curve_area.value == pytest.approx(case["realised"]["roc_auc"][number], abs=1e-12)
        for name in ("f1", "precision", "recall", "accuracy"):
            assert getattr(counts, name) == pytest.approx(case["realised"][name][number], abs=1e-12)


def test_on_labels_that_come_late_the_estimate_is_near_what_is_realised() -> None:
    """The census: the chunk in which the model lost 14 points of F1 is seen to fall before its labels come."""
    (census,) = [case for case in SETS if case["name"] == "census"]
    estimated, realised = np.array(census["estimated"]["f1"]), np.array(census["realised"]["f1"])
    assert np.argmin(estimated) == np.argmin(realised) == 3
    assert np.abs(estimated - realised).max() < 0.025


def test_the_interval_holds_what_is_realised_in_95_percent_of_samples_while_the_concept_holds() -> None:
    random = np.random.default_rng(4)
    held = dict.fromkeys(("f1", "precision", "recall", "accuracy", "roc_auc"), 0)
    samples = 400
    for _ in range(samples):
        scores = random.random(900)
        actual = random.random(900) < scores**1.5  # not calibrated: what is said is more than what comes true
        curve = Isotonic.of(scores[:600], actual[:600])
        predicted = scores[600:] > 0.5
        counts, realised = BinaryCounts.of(actual[600:], predicted), area(actual[600:], scores[600:])
        found = estimate(curve, scores[600:], predicted)
        for name in held:
            made: Estimate = getattr(found, name)
            value = getattr(counts, name) if name != "roc_auc" else realised.value  # type: ignore[union-attr]
            held[name] += made.interval.low <= value <= made.interval.high
    for name, count in held.items():
        assert 0.92 <= count / samples <= 0.99, name


def test_it_is_blind_to_concept_drift_and_every_figure_says_so() -> None:
    random = np.random.default_rng(6)
    scores = random.random(2000)
    actual = random.random(2000) < scores
    curve = Isotonic.of(scores[:1000], actual[:1000])
    predicted = scores[1000:] > 0.5
    drifted = BinaryCounts.of(~actual[1000:], predicted)
    figures = {figure.name: figure for figure in estimate_figures(LABELS, curve, scores[1000:], predicted)}
    estimated = figures["model_f1_estimated_ratio"]
    assert estimated.value is not None
    assert estimated.value - drifted.f1 > 0.3, "the labels were turned round, the estimate cannot see it"
    assert len(figures) == 5
    for figure in figures.values():
        assert BLIND in figure.convention
        assert dict(figure.labels)["method"] == "cbpe"
        assert figure.interval is not None


@pytest.mark.parametrize(
    ("sentence", "level", "scores", "predicted", "missing"),
    [
        ("No positive is expected.", 0.0, [0.1, 0.2], [True, True], {"recall", "roc_auc"}),
        (
            "No positive is expected or predicted.",
            0.0,
            [0.1, 0.2],
            [False] * 2,
            {"f1", "precision", "recall", "roc_auc"},
        ),
        ("No negative is expected.", 1.0, [0.1, 0.2], [True, True], {"roc_auc"}),
        ("All scores are equal.", 0.5, [0.1, 0.1], [True, False], {"roc_auc"}),
        ("None is predicted positive.", 0.5, [0.1, 0.2], [False, False], {"precision"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_estimated(
    sentence: str, level: float, scores: list[float], predicted: list[bool], missing: set[str]
) -> None:
    curve = Isotonic((0.0,), (1.0,), (level,), (100,))
    found = estimate(curve, np.array(scores), np.array(predicted))
    assert {name for name, made in found._asdict().items() if made is None} == missing, sentence
    assert found.accuracy.interval.low < found.accuracy.value or found.accuracy.value == 0.0
    figures = list(estimate_figures(LABELS, curve, np.resize(scores, 100), np.resize(predicted, 100)))
    for figure in figures:
        name = figure.name.removeprefix("model_").removesuffix("_estimated_ratio")
        assert (figure.value is None) == (name in missing)


def test_few_rows_or_no_recalibration_are_said() -> None:
    few = np.full(99, 0.5)
    curve = Isotonic((0.0,), (1.0,), (0.5,), (100,))
    reasons = {figure.reason for figure in estimate_figures(LABELS, curve, few, few > 1)}
    assert reasons == {"insufficient_evidence: 99 of the 100 predictions with a probability that it takes"}
    reasons = {figure.reason for figure in estimate_figures(LABELS, None, few, few > 1)}
    assert reasons == {"no recalibration: the baseline has no probabilities with outcomes of both kinds"}
