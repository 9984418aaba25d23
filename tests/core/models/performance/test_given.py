"""Baseline performance that is given as numbers."""

from __future__ import annotations

import pytest

from trader_monitor.core.figure import wilson
from trader_monitor.core.models.performance.given import Given
from trader_monitor.core.models.performance.scores import BinaryCounts


def test_numbers_without_a_sample_size_are_taken_as_exact() -> None:
    (score,) = Given(scores={"f1": 0.8}).for_task("binary")
    assert (score.low, score.value, score.high, score.n) == (0.8, 0.8, 0.8, 0)


@pytest.mark.parametrize(
    ("task", "of"), [("binary", (("average", "binary"),)), ("multiclass", (("average", "macro"),)), ("returns", ())]
)
def test_f1_is_the_average_that_the_task_has_and_accuracy_has_none(task: str, of: tuple[tuple[str, str], ...]) -> None:
    first, second = Given(scores={"f1": 0.8, "accuracy": 0.9}).for_task(task)  # type: ignore[arg-type]
    assert (first.name, first.of) == ("model_f1_ratio", of)
    assert (second.name, second.of) == ("model_accuracy_ratio", ())


def test_with_a_sample_size_they_have_the_interval_of_as_many_balanced_rows() -> None:
    f1, accuracy, area = Given(scores={"f1": 0.8, "accuracy": 0.75, "roc_auc": 0.8}, n=300).for_task("binary")
    # 100 of 150 in the positive label's cells are right: F1 is 2 * 100 / (2 * 100 + 50).
    assert (f1.low, f1.high) == pytest.approx(BinaryCounts(100, 25, 25, 150).f1_interval()[:2])  # type: ignore[index]
    assert (accuracy.low, accuracy.high) == pytest.approx(wilson(225, 300)[:2])
    # Hanley & McNeil 1982: Q1 = A / (2 - A) = 2/3, Q2 = 2 A^2 / (1 + A) = 0.7111, with 150 of each class.
    error = ((0.16 + 149 * (2 / 3 - 0.64) + 149 * (0.711111 - 0.64)) / 150**2) ** 0.5
    assert (area.low, area.high) == pytest.approx((0.8 - 1.96 * error, 0.8 + 1.96 * error), abs=1e-5)
    assert area.n == 300


def test_shares_at_the_edge_stay_within_0_and_1() -> None:
    for score in Given(scores={"f1": 1.0, "recall": 0.0, "roc_auc": 1.0}, n=50).for_task("binary"):
        assert 0.0 <= score.low <= score.value <= score.high <= 1.0
