"""Intervals of means and percentiles against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trader_monitor.core.statistics.intervals import Mean, around, exact_ranks, ranks, student


def test_student_is_scipy_s() -> None:
    for freedom in (*range(1, 200), 1_000, 100_000):
        assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=5e-5)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=60))
@settings(max_examples=80, deadline=None)
def test_a_mean_has_the_interval_of_student(values: list[float]) -> None:
    sample = Mean(len(values), sum(values), sum(value * value for value in values))
    spread = float(np.std(values, ddof=1))
    if spread < 1e-4 * max(abs(value) for value in values) or spread == 0.0:
        return
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert sample.interval is not None
    half = float(high - low) / 2
    assert sample.interval.low == pytest.approx(low, abs=1e-4 * half)
    assert sample.interval.high == pytest.approx(high, abs=1e-4 * half)


@pytest.mark.parametrize(
    ("sentence", "values", "open"),
    [
        ("one observation", [3.0], "one observation has no spread"),
        ("the same thing again and again", [0.1] * 7, "all observations are equal: their spread is not known"),
        ("only zeros", [0.0] * 7, "all observations are equal: their spread is not known"),
    ],
)
def test_a_mean_without_an_interval_says_why(sentence: str, values: list[float], open: str) -> None:
    sample = Mean(len(values), sum(values), sum(value * value for value in values))
    assert (sample.interval, sample.open) == (None, open), sentence
    assert sample.value == pytest.approx(values[0])


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.95, 0.99])
def test_the_order_statistics_enclose_the_quantile_in_95_of_100_samples_and_not_in_many_more(share: float) -> None:
    for n in (*range(1, 400), 500, 2_499, 2_500, 2_501, 10_000, 123_457, 10_000_000):
        low, high = ranks(n, share)
        below, above = stats.binom.cdf(low - 1, n, share), stats.binom.sf(high - 1, n, share)
        assert below <= 0.025 + 1e-9, (n, low)
        assert above <= 0.025 + 1e-9, (n, high)
        if low >= 1:
            wider = 3 if n * share * (1 - share) > 24 else 1
            assert stats.binom.cdf(low - 1 + wider, n, share) > 0.025, (n, low, "narrower would do")
        if high <= n:
            wider = 3 if n * share * (1 - share) > 24 else 1
            assert stats.binom.sf(high - 1 - wider, n, share) > 0.025, (n, high, "narrower would do")


@pytest.mark.parametrize("share", [0.01, 0.05, 0.95])
@pytest.mark.parametrize("n", [50, 71, 72, 250, 367, 368, 1000, 3650])
def test_exact_ranks_are_those_of_the_binomial_distribution(n: int, share: float) -> None:
    low, high = exact_ranks(n, share)
    assert (low >= 1) == ((1 - share) ** n <= 0.025)
    assert (high <= n) == (share**n <= 0.025)
    if low >= 1:
        assert stats.binom.cdf(low - 1, n, share) <= 0.025 < stats.binom.cdf(low, n, share)
    if high <= n:
        assert stats.binom.sf(high - 1, n, share) <= 0.025 < stats.binom.sf(high - 2, n, share)


def test_what_is_too_improbable_for_a_number_has_the_ranks_of_the_normal_distribution() -> None:
    assert exact_ranks(20_000, 0.05) == ranks(20_000, 0.05)


def test_an_estimate_s_interval_stays_in_its_range() -> None:
    low, high, method = around(0.5, 0.1, "delta method")
    assert (low, high) == pytest.approx(stats.norm.interval(0.95, 0.5, 0.1))
    assert method == "delta method"
    assert around(0.1, 0.1, "", 0.0, 1.0).low == 0.0
    assert around(0.9, 0.1, "", 0.0, 1.0).high == 1.0


def test_how_many_it_takes_to_bound_a_percentile() -> None:
    """From the binomial itself: 1 - q^n has to reach 97.5 %."""
    for share, fewest in ((0.5, 6), (0.95, 72), (0.99, 368)):
        assert fewest == math.ceil(math.log(0.025) / math.log(share))
        assert ranks(fewest - 1, share).high == fewest, "one more than there are"
        assert ranks(fewest, share).high == fewest
