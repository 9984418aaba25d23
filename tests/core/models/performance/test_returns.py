"""Figures of predicted numbers, beside scipy, statsmodels and the definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.core.models.answers import answers
from trader_monitor.core.figure import Figure
from trader_monitor.core.models.performance.returns import DAY, coefficients, hac_interval, lags_for, returns_figures

LABELS = (("model", "m"), ("version", "1"), ("window", "30d"))


def figures(at: Any, output: Any, actual: Any, horizon: float = 0.0) -> dict[tuple[str, str], Figure]:
    found = list(returns_figures(LABELS, np.array(at), np.array(output), np.array(actual), horizon))
    for each in found:
        assert (each.value is None) == bool(each.reason)
    return {(each.name, "".join(value for _, value in each.labels[3:])): each for each in found}


def market(days: int, subjects: int, skill: float, seed: int = 1) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    at = np.repeat(np.arange(days) * DAY + 3600.0, subjects)
    actual = random.normal(0, 0.02, days * subjects)
    return at, skill * actual + random.normal(0, 0.02, len(at)), actual


@pytest.mark.parametrize("case", answers()["hac"], ids=lambda case: f"{case['lags']} lags")
def test_the_interval_of_a_mean_is_statsmodels_with_its_lags(case: dict[str, Any]) -> None:
    values = np.array(case["values"])
    interval = hac_interval(values, case["lags"])
    assert interval is not None
    assert (interval.high - interval.low) / 2 == pytest.approx(1.959963984540054 * case["error"], rel=1e-9)
    assert interval.method == f"Newey-West, {case['lags']} lags"


def test_one_value_or_equal_ones_have_no_interval() -> None:
    assert hac_interval(np.array([1.0]), 2) is None
    assert hac_interval(np.array([1.0, 1.0, 1.0]), 2) is None


def test_lags_follow_the_rule_of_thumb_and_span_the_horizon() -> None:
    assert [lags_for(n, 0.0, DAY) for n in (10, 100, 1000)] == [2, 4, 6]
    assert lags_for(100, 5 * DAY, DAY) == 4, "five days overlap with four others"
    assert lags_for(100, 20 * DAY, DAY) == 19


def test_each_days_coefficient_is_scipys_and_days_that_cannot_have_one_are_counted() -> None:
    at, output, actual = market(20, 12, 0.5)
    output[at < DAY] = 1.0  # the first day predicts the same for all
    at = np.append(at, [30 * DAY] * 4)  # and the last has four subjects
    output, actual = np.append(output, [1.0, 2, 3, 4]), np.append(actual, [1.0, 2, 3, 4])
    found = coefficients(at, output, actual)
    wanted = [
        stats.spearmanr(output[day * 12 : day * 12 + 12], actual[day * 12 : day * 12 + 12])[0] for day in range(1, 20)
    ]
    assert found.coefficients == pytest.approx(wanted, abs=1e-12)
    assert found.skipped == 2


def test_the_figures_of_a_model_with_skill() -> None:
    at, output, actual = market(25, 8, 0.7)
    found = figures(at, output, actual)
    coefficient = found["model_information_coefficient", "per_period"]
    assert coefficient.value == pytest.approx(float(coefficients(at, output, actual).coefficients.mean()))
    assert coefficient.n == 25
    pooled = found["model_information_coefficient", "pooled"]
    assert pooled.value == pytest.approx(stats.spearmanr(output, actual)[0], abs=1e-12)
    hit = found["model_hit_ratio", ""]
    hits = int((np.sign(output) == np.sign(actual)).sum())
    wilson = stats.binomtest(hits, 200).proportion_ci(method="wilson")
    assert hit.value == hits / 200
    assert hit.interval is not None
    assert hit.interval[:2] == pytest.approx((wilson.low, wilson.high), abs=1e-12)
    for strategy, weights in (("sign", np.sign(output)), ("proportional", output)):
        daily = (weights * actual).reshape(25, 8).mean(axis=1)
        sharpe = found["model_strategy_sharpe_ratio", strategy]
        value = daily.mean() / daily.std(ddof=1)
        assert sharpe.value == pytest.approx(value)
        assert sharpe.interval is not None
        assert sharpe.interval.high - value == pytest.approx(1.959963984540054 * np.sqrt((1 + value**2 / 2) / 25))
    errors = actual - output
    absolute, root = found["model_absolute_error_mean", ""], found["model_squared_error_root", ""]
    assert absolute.value == pytest.approx(np.abs(errors).mean())
    assert root.value == pytest.approx(np.sqrt((errors**2).mean()))
    for figure in found.values():
        assert figure.interval is not None
        assert figure.interval.low < figure.value < figure.interval.high  # type: ignore[operator]


def test_the_pooled_interval_holds_the_true_coefficient_in_95_percent_of_samples() -> None:
    """Of a bivariate normal with correlation r, Spearman's is 6 / pi asin(r / 2)."""
    random, held = np.random.default_rng(8), 0
    for _ in range(300):
        a = random.normal(size=120)
        b = 0.5 * a + np.sqrt(0.75) * random.normal(size=120)
        interval = figures(np.zeros(120), a, b)["model_information_coefficient", "pooled"].interval
        assert interval is not None
        held += interval.low <= 6 / np.pi * np.arcsin(0.25) <= interval.high
    assert 0.92 <= held / 300 <= 0.98


@pytest.mark.parametrize(
    ("sentence", "days", "change", "name", "reason"),
    [
        ("Few rows.", 12, None, ("model_hit_ratio", ""), "insufficient_evidence: 96 of the 100 outcomes"),
        ("Few rows.", 12, None, ("model_squared_error_root", ""), "insufficient_evidence: 96 of the 100 outcomes"),
        ("Few rows.", 12, None, ("model_information_coefficient", "pooled"), "insufficient_evidence: 96 of"),
        ("Few rows.", 12, None, ("model_strategy_sharpe_ratio", "sign"), "insufficient_evidence: 96 of"),
        (
            "Few periods.",
            20,
            lambda at, output, actual: (at % DAY, output, actual),
            ("model_information_coefficient", "per_period"),
            "insufficient_evidence: 1 of the 10 periods with 5 pairs that it takes",
        ),
        (
            "Few periods.",
            20,
            lambda at, output, actual: (at % DAY, output, actual),
            ("model_strategy_sharpe_ratio", "sign"),
            "insufficient_evidence: 1 of the 10 periods that it takes",
        ),
        (
            "Zeros have no sign.",
            20,
            lambda at, output, actual: (at, output * 0, actual),
            ("model_hit_ratio", ""),
            "insufficient_evidence: 0 of the 100 outcomes with a sign that it takes",
        ),
        (
            "Equal predictions have no order.",
            20,
            lambda at, output, actual: (at, output * 0, actual),
            ("model_information_coefficient", "pooled"),
            "all predictions or all outcomes are equal: there is no order",
        ),
        (
            "A strategy that earns the same every day has no Sharpe ratio.",
            20,
            lambda at, output, actual: (at, np.sign(output), np.sign(output) * 0.1),
            ("model_strategy_sharpe_ratio", "sign"),
            "all periods have the same return",
        ),
        (
            "Errors beyond the range of numbers have no mean.",
            20,
            lambda at, output, actual: (at, output, actual + 1e308),
            ("model_squared_error_root", ""),
            "the computation left the range of numbers",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_has_no_value_says_why(sentence: str, days: int, change: Any, name: Any, reason: str) -> None:
    at, output, actual = market(days, 8, 0.5)
    if change is not None:
        at, output, actual = change(at, output, actual)
    assert figures(at, output, actual)[name].reason.startswith(reason), sentence


def test_a_perfect_order_has_a_coefficient_and_no_interval() -> None:
    at, output, _ = market(20, 8, 0.5)
    found = figures(at, output, output)
    for method in ("per_period", "pooled"):
        figure = found["model_information_coefficient", method]
        assert figure.value == pytest.approx(1.0)
        assert figure.interval is None
        assert figure.reason_open
    root = found["model_squared_error_root", ""]
    assert root.value == 0.0
