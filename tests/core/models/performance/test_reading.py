"""How outputs and outcomes are read: as labels with probabilities, or as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.core.models.rows import predictions, said
from trader_monitor.core.facts import Prediction
from trader_monitor.core.models.performance.reading import Calls, Reading, read


def texts(*labels: str, **more: Any) -> list[Prediction]:
    return [said(1, label, **more) for label in labels]


@pytest.mark.parametrize(
    ("sentence", "made", "actual", "expected"),
    [
        ("Nothing is unknown.", [], [], ("unknown", None, None)),
        ("Two texts are labels.", texts("a", "b"), ["a"], ("binary", "b", None)),
        ("A known word is the positive one.", texts("up", "zzz"), ["up"], ("binary", "up", None)),
        ("Two known words leave it to the alphabet.", texts("buy", "up"), ["up"], ("binary", "up", None)),
        ("One label is binary too: the other has not come.", texts("up"), [], ("binary", "up", None)),
        ("Three texts are several labels.", texts("a", "b", "c"), [], ("multiclass", None, None)),
        ("A label that is seen only counts.", texts("a", "b"), ["c"], ("multiclass", None, None)),
        ("The label is the field, where there is one.", [said(1, 0.3, label="up")], ["down"], ("binary", "up", None)),
        ("Whole numbers are labels beside texts.", texts("1", "0"), [1.0, 0.0], ("binary", "1", None)),
        ("Words beside fractions cannot be compared.", texts("up"), [0.013, -0.2], ("unknown", None, None)),
        ("Zeros and ones alone are labels.", [said(1, 0.0), said(1, 1.0)], [1.0, 0.0], ("binary", "1", None)),
        ("Zeros and ones with a probability.", [said(1, 1.0, probability=0.7)], [1.0], ("binary", "1", "positive")),
        (
            "Outputs within 0..1 beside words are probabilities.",
            [said(1, 0.3)],
            ["up", "dn"],
            ("binary", "up", "output"),
        ),
        ("Beside zeros and ones too.", [said(1, 0.3), said(1, 0.8)], [1.0, 0.0], ("binary", "1", "output")),
        ("Without an outcome they are numbers.", [said(1, 0.3)], [], ("returns", None, None)),
        ("Numbers beside numbers are returns.", [said(1, 0.3), said(1, -2.0)], [0.1], ("returns", None, None)),
        ("Numbers beyond 0..1 beside words are not known.", [said(1, 3.0)], ["up"], ("unknown", None, None)),
        (
            "Where the negative rows say little, it is the positive label's probability.",
            [said(1, "up", probability=0.9), said(1, "down", probability=0.2)],
            [],
            ("binary", "up", "positive"),
        ),
        (
            "Where they say much, it is the predicted label's.",
            [said(1, "up", probability=0.9), said(1, "down", probability=0.8), said(1, "down")],
            [],
            ("binary", "up", "label"),
        ),
        (
            "With positive rows alone both are the same.",
            texts("up", probability=0.9),
            ["down"],
            ("binary", "up", "positive"),
        ),
        (
            "Of several labels it is the predicted one's.",
            texts("a", "b", "c", probability=0.9),
            [],
            ("multiclass", None, "label"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_read(sentence: str, made: list[Prediction], actual: list[float | str], expected: tuple[Any, ...]) -> None:
    found = read(predictions(*made), actual)
    assert (found.task, found.positive, found.probability_of) == expected, sentence


@pytest.mark.parametrize(
    ("made", "actual"),
    [([said(1, "a")], ["b"]), ([said(1, 0.0)], [1.0]), ([said(1, 0.4)], ["b"])],
)
def test_the_positive_label_may_be_named(made: list[Prediction], actual: list[float | str]) -> None:
    assert read(predictions(*made), actual, "a").positive == "a"


def test_the_probability_is_turned_to_the_positive_label() -> None:
    made = predictions(said(1, "up", probability=0.9), said(1, "down", probability=0.8), said(1, "up"))
    of_label = Reading(task="binary", positive="up", probability_of="label")
    assert of_label.scores(made) == pytest.approx([0.9, 0.2, np.nan], nan_ok=True)
    of_positive = Reading(task="binary", positive="up", probability_of="positive")
    assert of_positive.scores(made) == pytest.approx([0.9, 0.8, np.nan], nan_ok=True)
    assert np.isnan(Reading(task="binary", positive="up").scores(made)).all()
    assert Reading(task="multiclass", probability_of="label").scores(made)[0] == 0.9
    assert of_label.positives(made).tolist() == [True, False, True]


def test_an_output_as_probability_means_the_positive_label_from_one_half_on() -> None:
    reading = Reading(task="binary", positive="up", probability_of="output")
    made = predictions(said(1, 0.5), said(1, 0.49), said(1, "down"))
    assert reading.labels(made) == ["up", "not up", "down"]
    assert reading.scores(made) == pytest.approx([0.5, 0.49, np.nan], nan_ok=True)


def test_how_it_was_read_is_said() -> None:
    assert Reading(task="returns").words == ""
    assert Reading(task="binary", positive="up").words == "positive label up"
    reading = Reading(task="binary", positive="up", probability_of="label")
    assert reading.words == "positive label up; probability read as the predicted label's"


def test_labels_become_codes_and_what_is_none_or_a_fraction_has_none() -> None:
    several = Reading(task="multiclass")
    calls = Calls.of(["a", "b", None, "a"], ["a", 2.0, "a", 0.5], several)
    assert calls.names == ("2", "a", "b")
    assert calls.comparable.tolist() == [True, True, False, False]
    assert (calls.actual.tolist(), calls.predicted.tolist()) == ([1, 0, 1, -1], [1, 2, -1, 1])
    assert calls.within(np.array([True, False, False, False])).actual.tolist() == [1]
    assert Calls.of([], [], several).names == ()


def test_a_third_word_in_a_binary_task_is_not_the_positive_one() -> None:
    calls = Calls.of(["up", "down", "flat"], ["flat", None, "up"], Reading(task="binary", positive="up"))
    assert calls.names == ("not up", "up")
    assert (calls.actual.tolist(), calls.predicted.tolist()) == ([0, -1, 1], [1, 0, 0])
