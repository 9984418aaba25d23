"""Ranks and the area under the curve, beside scipy and beside their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trader_monitor.core.models.performance.ranks import Area, area, average_ranks, spearman

pairs = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=4, max_size=60)


def by_definition(positive: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """The area and DeLong's variance over all pairs of a positive and a negative."""
    wins = np.heaviside(scores[positive][:, None] - scores[~positive][None, :], 0.5)
    of_positives, of_negatives = wins.mean(axis=1), wins.mean(axis=0)
    variance = of_positives.var(ddof=1) / len(of_positives) + of_negatives.var(ddof=1) / len(of_negatives)
    return float(wins.mean()), float(variance)


@given(pairs)
def test_the_area_is_the_share_of_pairs_in_order_and_its_variance_is_delongs(rows: list[tuple[bool, int]]) -> None:
    positive, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], float)
    found = area(positive, scores)
    p = int(positive.sum())
    if p in (0, len(rows)):
        assert found is None, "one class alone has no order"
        return
    assert found is not None
    if p == 1 or len(rows) - p == 1:
        assert np.isnan(found.variance), "one row of a class has no variance"
        assert found.interval() is None
        return
    value, variance = by_definition(positive, scores)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.variance == pytest.approx(variance, abs=1e-12)
    assert found.value == pytest.approx(
        stats.mannwhitneyu(scores[positive], scores[~positive]).statistic / (p * (len(rows) - p)), abs=1e-12
    )
    assert found.distinct == len(set(scores.tolist()))


@pytest.mark.parametrize("digits", [3, 4, 17])
def test_many_scores_are_counted_in_slices_and_come_to_the_same(digits: int) -> None:
    """DeLong's placements by ranks: those among all less those among one's own class (Sun & Xu 2014)."""
    random = np.random.default_rng(9)
    positive = random.random(30_000) < 0.3
    scores = np.round(random.normal(positive * 0.8, 1.0), digits)
    found = area(positive, scores)
    assert found is not None
    p, q = int(positive.sum()), int((~positive).sum())
    ranks = stats.rankdata(scores)
    of_positives = (ranks[positive] - stats.rankdata(scores[positive])) / q
    of_negatives = 1.0 - (ranks[~positive] - stats.rankdata(scores[~positive])) / p
    assert found.value == pytest.approx(of_positives.mean(), abs=1e-13)
    assert found.variance == pytest.approx(of_positives.var(ddof=1) / p + of_negatives.var(ddof=1) / q, rel=1e-10)
    assert found.distinct == len(set(scores.tolist()))


def test_full_separation_has_no_interval_since_a_sample_cannot_prove_it() -> None:
    found = area(np.array([False, False, True, True]), np.array([0.1, 0.2, 0.8, 0.9]))
    assert found is not None
    assert (found.value, found.interval()) == (1.0, None)


def test_the_interval_stays_within_0_and_1() -> None:
    interval = Area(0.97, 0.01, 50).interval()
    assert interval is not None
    assert (interval.high, interval.method) == (1.0, "DeLong")
    assert interval.low == pytest.approx(0.97 - 0.196, abs=1e-3)


def test_delongs_interval_holds_the_true_area_in_95_percent_of_samples() -> None:
    random = np.random.default_rng(5)
    true = stats.norm.cdf(1.0 / np.sqrt(2.0))
    held = 0
    for _ in range(600):
        positive = np.arange(150) < 60
        interval = area(positive, random.normal(positive * 1.0, 1.0)).interval()  # type: ignore[union-attr]
        assert interval is not None
        held += interval.low <= true <= interval.high
    assert 0.925 <= held / 600 <= 0.975


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=50))
def test_ranks_are_scipys_within_each_period(rows: list[tuple[int, int]]) -> None:
    period = np.array([row[0] for row in rows], np.int64)
    values = np.array([row[1] for row in rows], float)
    found = average_ranks(values, period)
    for each in set(period.tolist()):
        assert found[period == each].tolist() == stats.rankdata(values[period == each]).tolist()
    assert average_ranks(values).tolist() == stats.rankdata(values).tolist()


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=3, max_size=40))
def test_the_rank_correlation_is_scipys(rows: list[tuple[int, int]]) -> None:
    a, b = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows], float)
    if len(set(a.tolist())) == 1 or len(set(b.tolist())) == 1:
        assert np.isnan(spearman(a, b)), "a constant has no order"
    else:
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
