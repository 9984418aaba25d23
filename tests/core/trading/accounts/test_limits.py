"""Limits: how much is used, how much is left, and when nobody can say."""

from __future__ import annotations

from typing import Any

import pytest

from trader_monitor.core.figure import Figure, Interval
from trader_monitor.core.trading.accounts.curve import Curve
from trader_monitor.core.trading.accounts.estimate import Estimate, unknown
from trader_monitor.core.trading.accounts.limits import limit_figures
from trader_monitor.core.trading.accounts.sums import Exposure
from trader_monitor.core.trading.accounts.terms import LIMITS, Limits, Terms

NOON = 1_772_625_600.0
KEY = ("bot", "main", "USD")
EXPOSURE = Exposure(
    gross=400.0, net=-100.0, long=150.0, short=250.0, positions=3, unpriced=0, largest=0.5, herfindahl=0.4
)
UNPRICED = EXPOSURE._replace(unpriced=1)
VAR = Estimate(0.03, 250, Interval(0.02, 0.05, "order statistics"))


def curve_of(*equities: float, margin_use: float | None = 0.3) -> Curve:
    curve = Curve()
    for hour, equity in enumerate(equities):
        curve.report(NOON - 3600.0 * (len(equities) - hour), equity, None)
    curve.margin_use = margin_use
    return curve


CURVE = curve_of(100.0, 125.0, 100.0)


def limits_of(**values: Any) -> Limits:
    return Limits(**values)


def figures_of(
    limits: Limits,
    curve: Curve | None = CURVE,
    exposure: Exposure | None = EXPOSURE,
    var: Estimate | None = VAR,
    now: float = NOON,
) -> list[Figure]:
    return list(limit_figures(KEY, curve, exposure, var, Terms(limits=(limits,)), now))


@pytest.mark.parametrize(
    ("sentence", "limit", "value", "usage"),
    [
        ("Gross exposure adds up.", "max_gross_exposure", 800.0, 0.5),
        ("A short net counts like a long one.", "max_net_exposure", 200.0, 0.5),
        ("Leverage is gross exposure by equity.", "max_leverage", 2.0, 2.0),
        ("The largest position.", "max_position_share", 0.25, 2.0),
        ("The number of positions.", "max_positions", 6, 0.5),
        ("Margin as it was reported.", "max_margin_use", 0.6, 0.5),
        ("The drawdown now.", "max_drawdown", 0.8, 0.25),
        ("A day that is not lost uses nothing.", "max_daily_loss", 0.1, 0.0),
        ("Value at risk.", "max_var", 0.04, 0.75),
    ],
)
def test_what_is_used(sentence: str, limit: str, value: float, usage: float) -> None:
    used, left = figures_of(limits_of(**{limit: value}))
    assert (used.name, left.name) == ("limit_usage_ratio", "limit_headroom_ratio")
    assert dict(used.labels) == {"source": "bot", "account": "main", "currency": "USD", "limit": limit}
    assert used.value == pytest.approx(usage), sentence
    assert left.value == pytest.approx(1.0 - usage), sentence
    assert used.measured == (limit != "max_var")
    assert f"{value:g}" in used.convention


def test_a_lost_day_is_used() -> None:
    used, left = figures_of(Limits(max_daily_loss=0.1), curve_of(100.0, 80.0))
    assert used.value == pytest.approx(2.0)
    assert left.value == pytest.approx(-1.0)


def test_the_interval_of_value_at_risk_is_that_of_its_use() -> None:
    used, left = figures_of(Limits(max_var=0.04))
    assert used.interval is not None
    assert left.interval is not None
    assert used.interval[:2] == pytest.approx((0.5, 1.25))
    assert left.interval[:2] == pytest.approx((-0.25, 0.5))
    assert used.interval[2:] == left.interval[2:] == ("order statistics",)
    (used, left) = figures_of(Limits(max_var=0.04), var=VAR._replace(interval=None, open="too few"))
    assert (used.interval, used.reason_open, left.reason_open) == (None, "too few", "too few")


NO_EQUITY = "no equity is reported in this currency"
BEFORE = curve_of(0.0)
RUINED = Curve()
RUINED.report(NOON - 90_000.0, 100.0, None)
RUINED.report(NOON - 80_000.0, -10.0, None)
RUINED.report(NOON - 10.0, -5.0, None)


@pytest.mark.parametrize(
    ("limit", "given", "reason"),
    [
        ("max_gross_exposure", {"exposure": UNPRICED}, "1 of 3 positions have no known price"),
        ("max_leverage", {"exposure": UNPRICED}, "1 of 3 positions have no known price"),
        ("max_leverage", {"curve": None}, NO_EQUITY),
        ("max_leverage", {"curve": RUINED}, "equity is zero or below"),
        ("max_drawdown", {"curve": None}, NO_EQUITY),
        ("max_drawdown", {"curve": BEFORE}, "equity has not been above zero yet"),
        ("max_margin_use", {"curve": curve_of(100.0, margin_use=None)}, "no margin has been reported"),
        ("max_daily_loss", {"now": NOON + 86_400.0}, "nothing has been reported today (UTC)"),
        ("max_daily_loss", {"curve": RUINED}, "equity was zero or below when the window began"),
        ("max_var", {"var": None}, NO_EQUITY),
        (
            "max_var",
            {"var": unknown(3, "3 daily returns are known, 30 are needed")},
            "3 daily returns are known, 30 are needed",
        ),
    ],
)
def test_when_nobody_can_say(limit: str, given: dict[str, Any], reason: str) -> None:
    for figure in figures_of(limits_of(**{limit: 1.0}), **given):
        assert (figure.value, figure.reason) == (None, reason)


def test_a_limit_of_zero_has_no_share() -> None:
    assert {figure.reason for figure in figures_of(Limits(max_positions=0.0))} == {
        "a limit of zero or below has no share"
    }


def test_an_account_that_is_flat_uses_nothing() -> None:
    limits = Limits(max_gross_exposure=1.0, max_net_exposure=1.0, max_positions=1, max_position_share=0.5)
    found = figures_of(limits, None, None)
    assert [figure.value for figure in found] == [0.0, 1.0] * 4


def test_what_is_not_limited_is_not_told() -> None:
    assert figures_of(Limits()) == []
    assert len(figures_of(limits_of(**dict.fromkeys(LIMITS, 1.0)))) == 2 * len(LIMITS)
