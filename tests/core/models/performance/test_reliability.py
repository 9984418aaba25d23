"""Probabilities and what came true: beside scikit-learn and scipy."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from tests.core.models.answers import answers
from trader_monitor.core.models.performance.reliability import Isotonic, brier, reliability

BINARY = [case for case in answers()["classifiers"] if case["labels"] == 2]


@pytest.mark.parametrize("case", BINARY, ids=lambda case: str(len(case["actual"])))
def test_the_brier_score_and_the_isotonic_curve_are_scikit_learns(case: dict[str, Any]) -> None:
    said, actual = np.array(case["scores"]), np.array(case["actual"]) == 1
    value, interval = brier(said, actual)
    assert value == pytest.approx(case["brier"], abs=1e-12)
    assert interval.low < value < interval.high
    curve = Isotonic.of(said, actual)
    assert curve.probabilities(np.array(case["isotonic_at"])) == pytest.approx(np.array(case["isotonic"]), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=60))
def test_the_isotonic_curve_is_the_least_squares_one_that_never_falls(rows: list[tuple[int, bool]]) -> None:
    scores, hits = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows])
    curve = Isotonic.of(scores, hits)
    values = np.unique(scores)
    sizes = np.array([(scores == value).sum() for value in values])
    means = np.array([hits[scores == value].mean() for value in values])
    wanted = optimize.isotonic_regression(means, weights=sizes).x
    assert curve.probabilities(values) == pytest.approx(wanted, abs=1e-12)
    assert sum(curve.rows) == len(rows)
    assert (np.diff(curve.level) > 0.0).all(), "blocks of one level are one block"
    blocks = curve.blocks(values)
    assert np.asarray(curve.level)[blocks] == pytest.approx(wanted, abs=1e-12)
    assert curve.blocks(np.array([-1.0]))[0] == 0
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(curve), type=Isotonic) == curve


def test_the_calibration_error_of_two_bins_by_hand() -> None:
    said = np.array([0.2, 0.2, 0.2, 0.2, 1.0])
    found = reliability(said, np.array([True, False, False, False, True]))
    assert found.error == pytest.approx(0.8 * abs(0.25 - 0.2))
    assert [(each.low, each.high, each.n, each.said, each.came_true) for each in found.bins] == [
        (0.2, 0.3, 4, pytest.approx(0.2), 0.25),
        (0.9, 1.0, 1, 1.0, 1.0),
    ]


def test_a_calibrated_model_shows_the_error_that_is_expected_of_it_and_a_vain_one_more() -> None:
    random = np.random.default_rng(3)
    shown, expected = [], []
    for _ in range(200):
        said = random.random(500)
        found = reliability(said, random.random(500) < said)
        shown.append(found.error)
        expected.append(found.error_if_calibrated)
    assert np.mean(shown) == pytest.approx(np.mean(expected), rel=0.05)
    said = np.full(5000, 0.9)
    vain = reliability(said, random.random(5000) < 0.6)
    assert vain.interval.low <= 0.3 <= vain.interval.high
    assert vain.interval.low > vain.error_if_calibrated
