"""A classifier's figures: each comes with a value and an interval, or with the reason why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.core.models.answers import answers
from trader_monitor.core.figure import Figure
from trader_monitor.core.models.performance.classification import classification_figures, remarks
from trader_monitor.core.models.performance.reading import Calls, Reading

LABELS = (("model", "m"), ("version", "1"), ("window", "7d"))
BINARY = Reading(task="binary", positive="up", probability_of="positive")


def figures(
    predicted: list[str], actual: list[str], scores: list[float] | None = None, reading: Reading = BINARY
) -> dict[tuple[str, str], Figure]:
    """By name and by the label that is theirs besides."""
    calls = Calls.of(predicted, actual, reading)
    given = np.full(len(actual), np.nan) if scores is None else np.array(scores)
    found = list(classification_figures(LABELS, calls, given, reading))
    keyed = {(each.name, "".join(value for pair in each.labels[3:] for value in pair[1:])): each for each in found}
    assert len(keyed) == len(found), "no two figures of one name and labels"
    for each in found:
        assert each.labels[:3] == LABELS
        assert each.convention
        assert (each.value is None) == bool(each.reason)
    return keyed


@pytest.mark.parametrize(
    "case",
    [case for case in answers()["classifiers"] if len(case["actual"]) >= 100],
    ids=lambda case: f"{case['labels']}x{len(case['actual'])}",
)
def test_the_figures_are_scikit_learns_and_lie_in_their_intervals(case: dict[str, Any]) -> None:
    names = ["down", "up"] if case["labels"] == 2 else [str(code) for code in range(case["labels"])]
    predicted, actual = [names[code] for code in case["predicted"]], [names[code] for code in case["actual"]]
    reading = BINARY if case["labels"] == 2 else Reading(task="multiclass")
    found = figures(predicted, actual, case.get("scores"), reading)
    for average in ("binary",) if case["labels"] == 2 else ("macro", "weighted"):
        for name in ("f1", "precision", "recall"):
            figure = found[f"model_{name}_ratio", average]
            assert figure.value == pytest.approx(case[f"{average}_{name}"], abs=1e-12)
            assert figure.value is not None
            assert figure.interval is not None
            assert figure.interval.low < figure.value < figure.interval.high
    if case["labels"] == 2:
        assert found["model_roc_auc_ratio", ""].value == pytest.approx(case["roc_auc"], abs=1e-12)
        assert found["model_brier_ratio", ""].value == pytest.approx(case["brier"], abs=1e-12)
    accuracy = found["model_accuracy_ratio", ""]
    right = sum(p == a for p, a in zip(predicted, actual, strict=True))
    wilson = stats.binomtest(right, len(actual)).proportion_ci(method="wilson")
    assert accuracy.value == pytest.approx(right / len(actual))
    assert accuracy.interval is not None
    assert accuracy.interval[:2] == pytest.approx((wilson.low, wilson.high), abs=1e-12)


def test_fewer_than_100_outcomes_are_too_few_for_all_of_them() -> None:
    for reading in (BINARY, Reading(task="multiclass", probability_of="label")):
        found = figures(["up", "down"] * 49, ["up"] * 98, [0.5] * 98, reading)
        for figure in found.values():
            assert figure.reason.startswith("insufficient_evidence: 98 of the 100 outcomes")
            assert figure.n == 98
        assert len(found) == (7 if reading is BINARY else 10)


@pytest.mark.parametrize(
    ("sentence", "predicted", "actual", "scores", "name", "reason"),
    [
        (
            "A label never predicted has no precision.",
            ["down"] * 100,
            ["up", "down"] * 50,
            None,
            ("model_precision_ratio", "binary"),
            "the label up was never predicted",
        ),
        (
            "A label never seen has no recall.",
            ["up", "down"] * 50,
            ["down"] * 100,
            None,
            ("model_recall_ratio", "binary"),
            "the label up was never seen",
        ),
        (
            "A label neither predicted nor seen has no F1.",
            ["down"] * 100,
            ["down"] * 100,
            None,
            ("model_f1_ratio", "binary"),
            "the label up was neither predicted nor seen",
        ),
        (
            "Without probabilities there is no area.",
            ["up", "down"] * 50,
            ["up", "down"] * 50,
            None,
            ("model_roc_auc_ratio", ""),
            "no probabilities were given",
        ),
        (
            "With one class alone there is no area.",
            ["up", "down"] * 50,
            ["up"] * 100,
            [0.1, 0.2] * 50,
            ("model_roc_auc_ratio", ""),
            "all outcomes are positive: there is nothing to tell apart",
        ),
        (
            "With the other class alone too.",
            ["up", "down"] * 50,
            ["down"] * 100,
            [0.1, 0.2] * 50,
            ("model_roc_auc_ratio", ""),
            "all outcomes are negative: there is nothing to tell apart",
        ),
        (
            "With a label that nobody named too.",
            ["down"] * 100,
            ["down"] * 100,
            [0.1, 0.2] * 50,
            ("model_roc_auc_ratio", ""),
            "all outcomes are negative: there is nothing to tell apart",
        ),
        (
            "Equal probabilities order nothing.",
            ["up", "down"] * 50,
            ["up", "down"] * 50,
            [0.5] * 100,
            ("model_roc_auc_ratio", ""),
            "all probabilities are equal: they order nothing",
        ),
        (
            "Fewer than 100 of them with a probability are too few.",
            ["up", "down"] * 50,
            ["up", "down"] * 50,
            [0.5] * 99 + [float("nan")],
            ("model_brier_ratio", ""),
            "insufficient_evidence: 99 of the 100 outcomes with a probability that it takes",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(".") else "",
)
def test_what_has_no_value_says_why(
    sentence: str, predicted: list[str], actual: list[str], scores: Any, name: tuple[str, str], reason: str
) -> None:
    assert figures(predicted, actual, scores)[name].reason == reason, sentence


def test_of_several_labels_the_area_takes_more_than_one_probability() -> None:
    reading = Reading(task="multiclass", probability_of="label")
    random = np.random.default_rng(1)
    actual = random.choice(["a", "b", "c"], 300).tolist()
    said = random.random(300)
    predicted = [each if right else "a" for each, right in zip(actual, random.random(300) < said, strict=True)]
    found = figures(predicted, actual, said.tolist(), reading)
    assert found["model_roc_auc_ratio", ""].reason.startswith("it takes the probability of every label")
    right = np.array(predicted) == np.array(actual)
    assert found["model_brier_ratio", ""].value == pytest.approx(float(np.mean((said - right) ** 2)))


def test_full_separation_has_an_area_and_no_interval() -> None:
    figure = figures(["up", "down"] * 50, ["up", "down"] * 50, [0.9, 0.1] * 50)["model_roc_auc_ratio", ""]
    assert (figure.value, figure.interval) == (1.0, None)
    assert figure.reason_open.startswith("no interval: every row agrees")


def test_the_bins_say_what_came_true() -> None:
    found = figures(["up"] * 100, ["up"] * 75 + ["down"] * 25, [0.85] * 100)
    share, said = found["model_reliability_ratio", "0.8-0.9"], found["model_reliability_said_ratio", "0.8-0.9"]
    assert (share.value, share.n) == (0.75, 100)
    assert said.value == pytest.approx(0.85)
    assert found["model_calibration_error_ratio", ""].value == pytest.approx(0.1)
    assert found["model_calibration_error_expected_ratio", ""].measured


def test_remarks_name_what_a_reader_has_to_know() -> None:
    reading = Reading(task="multiclass")
    said = list(remarks(Calls.of(["a", "b"], ["c", "c"], reading), np.array([0.5, 0.5])))
    assert said == [
        "the label c was seen and never predicted: its recall and F1 are 0",
        "the label a was predicted and never seen: its precision and F1 are 0",
        "the label b was predicted and never seen: its precision and F1 are 0",
        "all outcomes are c: nothing is known of the other labels",
        "all probabilities are 0.5: they order nothing",
    ]
    assert list(remarks(Calls.of(["a", "b"], ["a", "b"], reading), np.array([0.1, 0.2]))) == []
    assert list(remarks(Calls.of([], [], reading), np.zeros(0))) == []
