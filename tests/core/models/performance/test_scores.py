"""F1, precision and recall beside scikit-learn; their intervals beside the definition and the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.models.answers import answers
from trader_monitor.core.models.performance.scores import BinaryCounts, Confusion


def table(case: dict[str, Any]) -> Confusion:
    return Confusion(np.array(case["actual"]), np.array(case["predicted"]), case["labels"])


@pytest.mark.parametrize("case", answers()["classifiers"], ids=lambda case: f"{case['labels']}x{len(case['actual'])}")
def test_the_scores_are_scikit_learns(case: dict[str, Any]) -> None:
    for name in ("f1", "precision", "recall"):
        if case["labels"] == 2:
            counts = table(case).binary(1)
            assert getattr(counts, name) == pytest.approx(case[f"binary_{name}"], abs=1e-12)
            assert counts == BinaryCounts.of(np.array(case["actual"]) == 1, np.array(case["predicted"]) == 1)
        else:
            for average in ("macro", "weighted"):
                found = getattr(table(case), name)(average)
                assert found.value == pytest.approx(case[f"{average}_{name}"], abs=1e-12)


@given(st.lists(st.integers(0, 40), min_size=9, max_size=9), st.sampled_from(["f1", "precision", "recall"]))
def test_the_variance_of_an_average_is_that_of_the_delta_method(cells: list[int], name: str) -> None:
    """The gradient over the cells' shares by finite differences, with the multinomial covariance."""
    counts = np.array(cells).reshape(3, 3) + 1
    n = int(counts.sum())
    shares = counts.ravel() / n

    def score(p: np.ndarray, average: str) -> float:
        p = p.reshape(3, 3)
        rows, columns, right = p.sum(1), p.sum(0), np.diagonal(p)
        each = {"f1": 2 * right / (rows + columns), "precision": right / columns, "recall": right / rows}[name]
        return float(each.mean() if average == "macro" else rows @ each / rows.sum())

    actual, predicted = (np.repeat(np.indices((3, 3))[axis].ravel(), counts.ravel()) for axis in (0, 1))
    for average in ("macro", "weighted"):
        found = getattr(Confusion(actual, predicted, 3), name)(average)
        steps = 1e-6 * np.eye(9)
        gradient = np.array([(score(shares + h, average) - score(shares - h, average)) / 2e-6 for h in steps])
        variance = gradient @ (np.diag(shares) - np.outer(shares, shares)) @ gradient / n
        assert found.value == pytest.approx(score(shares, average), abs=1e-12)
        assert found.interval is not None
        if found.interval.low > 0.0:
            half = found.value - found.interval.low
            assert half == pytest.approx(1.959963984540054 * np.sqrt(variance), rel=1e-4)


@pytest.mark.parametrize(("rows", "prevalence"), [(100, 0.5), (100, 0.1), (1000, 0.3)])
def test_the_interval_of_f1_holds_the_true_value_in_95_percent_of_samples(rows: int, prevalence: float) -> None:
    random = np.random.default_rng(11)
    shares = np.array([prevalence * 0.7, (1 - prevalence) * 0.2, prevalence * 0.3, (1 - prevalence) * 0.8])
    true = 2 * shares[0] / (2 * shares[0] + shares[1] + shares[2])
    held, samples = 0, 2000
    for tp, fp, fn, tn in random.multinomial(rows, shares, samples).tolist():
        interval = BinaryCounts(tp, fp, fn, tn).f1_interval()
        assert interval is not None
        held += interval.low <= true <= interval.high
    assert 0.935 <= held / samples <= 0.975


@pytest.mark.parametrize(
    ("sentence", "counts", "expected"),
    [
        ("Nothing positive, nothing predicted positive: no interval.", BinaryCounts(0, 0, 0, 9), (0, 0, 0, 1)),
        ("Nothing predicted positive: precision counts as 0.", BinaryCounts(0, 0, 4, 6), (0, 0, 0, 0.6)),
        ("All right.", BinaryCounts(4, 0, 0, 6), (1, 1, 1, 1)),
        ("No row at all.", BinaryCounts(0, 0, 0, 0), (0, 0, 0, 0)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_edges_of_binary_scores(sentence: str, counts: BinaryCounts, expected: tuple[float, ...]) -> None:
    assert (counts.f1, counts.precision, counts.recall, counts.accuracy) == expected, sentence
    assert (counts.f1_interval() is None) == (counts.tp + counts.fp + counts.fn == 0)
    assert (counts.precision_interval() is None) == (counts.tp + counts.fp == 0)
    assert (counts.recall_interval() is None) == (counts.tp + counts.fn == 0)


def test_labels_that_were_never_predicted_or_never_seen_are_named() -> None:
    confusion = Confusion(np.array([0, 0, 1, 1]), np.array([1, 2, 1, 2]), 4)
    assert (confusion.never_predicted(), confusion.never_seen(), confusion.right) == ([0], [2], 1)


def test_without_rows_or_without_an_error_there_is_no_interval() -> None:
    nothing = Confusion(np.zeros(0, int), np.zeros(0, int), 2)
    assert nothing.f1("macro") == (0.0, None)
    perfect = Confusion(np.array([0, 1, 2] * 5), np.array([0, 1, 2] * 5), 3)
    assert perfect.f1("macro") == (1.0, None), "a sample without an error does not prove that there will be none"
