"""Standard errors against numpy's covariance, sums by hand and the tables of papers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trader_monitor.core.statistics.standard_errors import delta, lags, long_run, mean_error, sharpe_iid


@given(st.integers(0, 1_000), st.integers(2, 50))
def test_without_lags_it_is_the_covariance(seed: int, n: int) -> None:
    moments = np.random.default_rng(seed).normal(size=(n, 2))
    moments -= moments.mean(axis=0)
    np.testing.assert_allclose(long_run(moments, 0), np.cov(moments.T, ddof=0), atol=1e-12)


def test_a_lag_counts_twice_by_its_weight() -> None:
    moments = np.array([[1.0], [2.0], [-1.0], [-2.0]])
    squares, one, two = 1 + 4 + 1 + 4, 1 * 2 - 2 * 1 + 1 * 2, 1 * -1 + 2 * -2
    assert long_run(moments, 1)[0, 0] == pytest.approx((squares + 2 * one / 2) / 4)
    assert long_run(moments, 2)[0, 0] == pytest.approx((squares + 2 * (one * 2 / 3 + two / 3)) / 4)


def test_there_are_no_more_lags_than_steps() -> None:
    assert long_run(np.array([[1.0], [-1.0]]), 5)[0, 0] == pytest.approx((2 - 2 * 5 / 6) / 2)


@pytest.mark.parametrize(("n", "most"), [(1, 1), (99, 3), (100, 4), (252, 4), (300, 5), (1000, 6)])
def test_lags_by_the_rule_of_thumb(n: int, most: int) -> None:
    assert lags(n) == most


def test_a_function_s_error_is_that_of_its_linear_part() -> None:
    assert delta(np.diag([4.0, 9.0]), np.array([2.0, 1.0]), 25) == pytest.approx(1.0)
    assert delta(np.array([[-1e-18]]), np.array([1.0]), 25) == 0.0, "rounding makes no variance negative"


def test_a_mean_s_error_is_scipy_s() -> None:
    values = np.array([1.0, 4.0, 2.0, 8.0])
    assert mean_error(values) == pytest.approx(stats.sem(values), rel=1e-14)


@pytest.mark.parametrize(("ratio", "n", "error"), [(0.5, 12, 0.306), (1.0, 60, 0.158), (3.0, 24, 0.479)])
def test_lo_s_table(ratio: float, n: int, error: float) -> None:
    """Lo (2002), table 1, to the digits that are printed there."""
    assert sharpe_iid(ratio, n) == pytest.approx(error, abs=5e-4)
