"""Value at risk against scipy and against samples whose quantiles are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trader_monitor.core.trading.accounts.risk import historical, needed_for, normal


def returns(seed: int, n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return 0.0005 + 0.008 * np.random.default_rng(seed).standard_t(4, n)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(100, 600))
def test_the_quantile_is_numpys_and_the_normal_one_scipys(seed: int, n: int) -> None:
    sample = returns(seed, n)
    mean, sd = sample.mean(), sample.std(ddof=1)
    for confidence, empirical, fitted in zip((0.95, 0.99), historical(sample), normal(sample), strict=True):
        share = round(1 - confidence, 12)
        quantile = np.quantile(sample, share)
        assert empirical.var.value == pytest.approx(-quantile, rel=1e-12)
        if empirical.cvar.value is not None:
            assert empirical.cvar.value == pytest.approx(-sample[sample <= quantile].mean(), rel=1e-12)
        assert fitted.var.value == pytest.approx(-stats.norm.ppf(share, mean, sd), rel=1e-9)
        tail = stats.truncnorm.mean(-np.inf, stats.norm.ppf(share), mean, sd)
        assert fitted.cvar.value == pytest.approx(-tail, rel=1e-9)


FEW = "99 daily returns are known, 100 are needed"


@pytest.mark.parametrize(
    ("sentence", "n", "var", "cvar", "open"),
    [
        ("Without 100 days no day is beyond the 99 % quantile.", 99, FEW, FEW, ("", "")),
        ("One day in the tail is no mean.", 100, "", "fewer than 2 days are in the tail", ("368 daily returns", "")),
        ("Few days are values without intervals.", 250, "", "", ("368 daily returns", "5 days in the tail, not 3")),
        ("Enough days are enough.", 500, "", "", ("", "")),
    ],
)
def test_too_few_days(sentence: str, n: int, var: str, cvar: str, open: tuple[str, str]) -> None:
    (risk,) = historical(returns(1, n), (0.99,))
    assert (risk.var.reason, risk.cvar.reason) == (var, cvar), sentence
    for estimate, why in zip(risk, open, strict=True):
        assert estimate.open == (f"an interval needs {why}" if why else ""), sentence
        assert (estimate.interval is None) == bool(why or estimate.reason), sentence


def test_a_gain_at_the_quantile_is_a_negative_loss() -> None:
    (risk, _) = historical(np.linspace(0.01, 0.02, 200))
    assert risk.var.value is not None
    assert risk.var.value < 0


def test_one_day_is_expected_beyond_the_quantile() -> None:
    assert [needed_for(confidence) for confidence in (0.9, 0.95, 0.975, 0.99)] == [10, 20, 40, 100]


def test_nothing_is_said_after_ruin() -> None:
    for risk in (*historical(returns(1, 200), reason="ruin"), *normal(returns(1, 200), reason="ruin")):
        assert (risk.var.reason, risk.cvar.reason) == ("ruin", "ruin")


def test_the_intervals_hold_what_they_promise() -> None:
    """Of normal returns, whose quantile and tail mean are known; in large samples for the tail's mean."""
    rng, rounds = np.random.default_rng(7), 400
    z = float(stats.norm.ppf(0.05))
    truth = (-0.01 * z, 0.01 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / 0.05)
    hits = {"historical var": 0, "historical cvar": 0, "normal var": 0, "normal cvar": 0}
    for _ in range(rounds):
        sample = 0.01 * rng.standard_normal(500)
        for name, (risk,) in (("historical", historical(sample, (0.95,))), ("normal", normal(sample, (0.95,)))):
            for estimate, value, kind in zip(risk, truth, ("var", "cvar"), strict=True):
                assert estimate.interval is not None
                hits[f"{name} {kind}"] += estimate.interval.low <= value <= estimate.interval.high
    assert all(0.9 <= number / rounds <= 0.99 for number in hits.values()), hits
