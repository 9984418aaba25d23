"""Figures of an account: names, labels, conventions; and that they are made once a day."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import numpy as np
import pytest

from trader_monitor.core.facts import Account, Position
from trader_monitor.core.figure import Figure, points
from trader_monitor.core.series import SeriesStore
from trader_monitor.core.tally import Tally
from trader_monitor.core.trading.accounts.accounts import AccountKey, Accounts
from trader_monitor.core.trading.accounts.curve import DAY, Curve
from trader_monitor.core.trading.accounts.figures import account_figures, exposed, figures, known, standing
from trader_monitor.core.trading.accounts.performance import performance
from trader_monitor.core.trading.accounts.sums import Exposure
from trader_monitor.core.trading.accounts.terms import Limits, Sessions, Terms

FIRST = 20_000
KEY: AccountKey = ("bot", "main", "USD")
RETURNS = 0.001 + 0.01 * np.random.default_rng(5).standard_normal(300)


def curve_of(returns: Any = RETURNS) -> Curve:
    curve = Curve()
    curve.report(FIRST * DAY, 1_000.0, None)
    for day, equity in enumerate((1_000.0 * np.cumprod(1.0 + np.asarray(returns))).tolist()):
        curve.report((FIRST + day) * DAY + 80_000.0, equity, None)
    return curve


NOW = (FIRST + len(RETURNS)) * DAY + 10.0


def named(found: Any) -> dict[tuple[str, ...], Figure]:
    """By name and the labels that say how."""
    how = ("annualisation", "confidence", "method", "window", "limit")
    return {(f.name, *(value for label, value in f.labels if label in how)): f for f in found}


def test_the_statistics_of_an_account() -> None:
    found = named(figures(KEY, curve_of(), Terms(annualisation=252, risk_free=0.02), NOW))
    expected = performance(RETURNS, annualisation=252, risk_free=0.02)
    for name, estimate in {
        ("account_sharpe_ratio", "252"): expected.sharpe,
        ("account_sharpe_standard_error", "252", "iid"): expected.sharpe_iid,
        ("account_sharpe_standard_error", "252", "gmm"): expected.sharpe_gmm,
        ("account_sortino_ratio", "252"): expected.sortino,
        ("account_calmar_ratio", "252"): expected.calmar,
        ("account_volatility_ratio", "252"): expected.volatility,
        ("account_cagr_ratio", "252"): expected.cagr,
        ("account_daily_drawdown_max_ratio",): expected.drawdown,
        ("account_daily_return_best_ratio",): expected.best,
        ("account_daily_return_worst_ratio",): expected.worst,
        ("account_daily_positive_ratio",): expected.positive,
    }.items():
        figure = found[name]
        assert figure.value == pytest.approx(estimate.value, rel=1e-9), name
        assert figure.n == 300
        assert (figure.interval is None) == (estimate.interval is None)
        assert dict(figure.labels)["source"] == "bot"
    assert "risk-free 0.02 a year" in found["account_sharpe_ratio", "252"].convention
    assert "252 days a year" in found["account_sharpe_ratio", "252"].convention


def test_value_at_risk_as_a_share_and_in_money() -> None:
    found = named(figures(KEY, curve_of(), Terms(var_window_days=200), NOW))
    equity = 1_000.0 * float(np.prod(1.0 + RETURNS))
    share = found["account_var_ratio", "0.95", "historical", "200d"]
    money = found["account_var", "0.95", "historical", "200d"]
    assert share.value == pytest.approx(-np.quantile(RETURNS[-200:], 0.05), rel=1e-9)
    assert money.value == pytest.approx(equity * (share.value or 0.0), rel=1e-9)
    assert money.interval is not None
    assert share.interval is not None
    assert money.interval.low == pytest.approx(equity * share.interval.low, rel=1e-9)
    open = found["account_var", "0.99", "historical", "200d"]
    assert (open.interval, open.reason_open) == (None, "an interval needs 368 daily returns")
    assert {name[1:] for name in found if name[0] == "account_cvar"} == {
        (confidence, method, "200d") for confidence in ("0.95", "0.99") for method in ("historical", "normal")
    }


def test_every_figure_has_its_convention_and_its_interval_or_says_why_not() -> None:
    for curve in (curve_of(), curve_of(RETURNS[:5]), curve_of(np.zeros(50)), curve_of([-1.5, 0.1])):
        for figure in (*figures(KEY, curve, Terms(), NOW), *known(KEY, curve)):
            assert len(figure.convention) > 20
            assert (figure.value is None) == bool(figure.reason)
            assert figure.value is None or figure.measured or figure.interval or figure.reason_open
            assert all(math.isfinite(point.value) for point in points([figure]))


@pytest.mark.parametrize(
    ("sentence", "curve", "reason"),
    [
        ("A young account.", curve_of(RETURNS[:5]), "5 daily returns are known, 30 are needed"),
        ("One that does nothing.", curve_of(np.zeros(50)), "all daily returns are equal"),
        ("One that was ruined.", curve_of([0.1, -1.5, 0.1]), "equity was zero or below at the close of 2024-10-05"),
    ],
)
def test_why_there_is_no_sharpe_ratio(sentence: str, curve: Curve, reason: str) -> None:
    figure = named(figures(KEY, curve, Terms(), NOW))["account_sharpe_ratio", "365"]
    assert (figure.value, figure.reason) == (None, reason), sentence


def test_without_equity_a_loss_has_no_money() -> None:
    curve = curve_of()
    curve.report(NOW, -5.0, None)
    found = named(figures(KEY, curve, Terms(), NOW))
    assert found["account_var_ratio", "0.95", "normal", "250d"].value is not None
    assert found["account_var", "0.95", "normal", "250d"].reason == "equity is zero or below"


def test_statistics_are_made_once_a_day_and_again_when_anything_that_they_rest_on_changes() -> None:
    curve, terms = curve_of(), Terms()

    def sharpe(now: float = NOW, terms: Terms = terms, sessions: Sessions | None = None) -> Figure:
        return next(iter(figures(KEY, curve, terms, now, sessions)))

    first = sharpe()
    assert sharpe(NOW + 60.0) is first
    assert sharpe(NOW, Terms()) is first, "the same terms, read again"
    curve.report(NOW + 70.0, 900.0, None)
    assert sharpe(NOW + 80.0) is first, "today is not over"
    assert sharpe(NOW, Terms(annualisation=252)) is not first
    first = sharpe()
    assert sharpe(NOW + DAY).n == first.n + 1, "the day is over"
    first = sharpe()
    curve.closes[-2] *= 2.0
    assert sharpe() is not first, "yesterday's close came late"
    weekdays = sharpe(NOW, terms, lambda day: day.weekday() < 5)
    assert weekdays.n < first.n
    assert "each session" in weekdays.convention


def test_silent_days_are_told() -> None:
    curve = Curve()
    for day in range(0, 200, 2):
        curve.report((FIRST + day) * DAY + 5.0, 100.0 + day % 7, None)
    now = (FIRST + 199) * DAY + 1.0
    merged = next(iter(figures(KEY, curve, Terms(), now)))
    assert (merged.n, "98 of them cover more than one day" in merged.convention) == (99, True)
    flat = next(iter(figures(KEY, curve, Terms(silent_days="flat"), now)))
    assert (flat.n, "days without a report count as 0" in flat.convention) == (198, True)


def test_what_the_fold_has_written_is_told_with_reasons() -> None:
    curve = Curve()
    curve.report(1_000.0, 100.0, None)
    curve.report(4_000.0, 80.0, None)
    curve.report(2_000.0, 500.0, 50.0)
    found = named(known(KEY, curve))
    assert found["account_return_ratio", "day"].value == pytest.approx(-0.2)
    assert found["account_return_ratio", "7d"].reason == "the curve reaches back 50 min, 7d are needed"
    assert "1 flows came too late" in found["account_return_ratio", "day"].convention
    assert found["account_drawdown_ratio",].value == pytest.approx(0.2)
    assert found["account_drawdown_recovery_seconds",].reason == "it has not recovered"
    empty = named(known(KEY, Curve()))
    assert {figure.value for figure in empty.values()} == {None}


def test_exposure_is_told_with_what_is_missing_from_it() -> None:
    exposure = Exposure(400.0, -100.0, 150.0, 250.0, 3, 1, 0.5, 0.4)
    found = named(exposed(KEY, exposure, 200.0))
    assert {name: figure.value for (name,), figure in found.items()} == {
        "exposure_gross": 400.0,
        "exposure_net": -100.0,
        "exposure_long": 150.0,
        "exposure_short": 250.0,
        "exposure_positions": 3.0,
        "exposure_unpriced_positions": 1.0,
        "exposure_largest_ratio": 0.5,
        "exposure_herfindahl_ratio": 0.4,
        "exposure_leverage_ratio": 2.0,
    }
    assert all("1 without a known price are left out" in figure.convention for figure in found.values())
    for equity, reason in ((None, "no equity is reported in this currency"), (0.0, "equity is zero or below")):
        *_, leverage = exposed(KEY, exposure._replace(unpriced=0), equity)
        assert (leverage.value, leverage.reason) == (None, reason)


class Desk:
    def __init__(self) -> None:
        self.tally = Tally(SeriesStore())
        self.accounts = Accounts(self.tally)

    def fold(self, *facts: Account | Position) -> None:
        for fact in facts:
            fold: Any = self.accounts.fold if isinstance(fact, Account) else self.accounts.fold_position
            fold(fact, int(fact.at * 1000))
        self.tally.settle()

    def usage(self, limits: Limits) -> dict[tuple[str, ...], float | None]:
        terms = Terms(limits=(limits,))
        return {
            tuple(value for _, value in figure.labels[:3]): figure.value
            for figure in account_figures(self.accounts, lambda key: (terms, None), NOW)
            if figure.name == "limit_usage_ratio"
        }


def held(symbol: str, value: float, **rest: Any) -> Position:
    return Position(at=NOW, source="bot", account="main", symbol=symbol, quantity=1.0, mark_price=value, **rest)


def equity(currency: str | None) -> Account:
    return Account(at=NOW, source="bot", account="main", equity=100.0, currency=currency)


@pytest.mark.parametrize(
    ("sentence", "facts", "usage"),
    [
        ("Equity and positions in one currency.", [equity("USD"), held("A", 50.0, currency="USD")], {"USD": 0.5}),
        ("Positions that name no currency are the account's.", [equity("USD"), held("A", 50.0)], {"USD": 0.5}),
        (
            "Unless it has two.",
            [equity("USD"), equity("EUR"), held("A", 50.0)],
            {"USD": 0.0, "EUR": 0.0, "": None},
        ),
        (
            "Positions in a currency without equity have no leverage.",
            [equity("USD"), held("A", 50.0, currency="EUR")],
            {"USD": 0.0, "EUR": None},
        ),
        ("Nor have those without an account.", [held("A", 50.0, currency="USD")], {"USD": None}),
    ],
)
def test_the_limits_of_every_account(sentence: str, facts: list[Any], usage: dict[str, float | None]) -> None:
    desk = Desk()
    desk.fold(*facts)
    found = desk.usage(Limits(max_leverage=1.0))
    assert found == {("bot", "main", currency): value for currency, value in usage.items()}, sentence


def test_the_limit_of_value_at_risk_is_about_the_historical_one_at_95_percent() -> None:
    desk = Desk()
    desk.accounts.load(desk.accounts.dump())
    for day, value in enumerate((1_000.0 * np.cumprod(1.0 + RETURNS)).tolist()):
        at = (FIRST + day) * DAY + 80_000.0
        desk.fold(Account(at=at, source="bot", account="main", equity=value, currency="USD"))
    (usage,) = desk.usage(Limits(max_var=0.05)).values()
    assert usage == pytest.approx(-np.quantile(RETURNS[-250:], 0.05) / 0.05, rel=1e-9)


def test_all_that_stands_is_told() -> None:
    desk = Desk()
    desk.fold(equity("USD"), held("A", 50.0, currency="USD"), held("B", 20.0, currency="EUR"))
    told = list(standing(desk.accounts))
    assert {figure.value for figure in told if figure.name == "exposure_gross"} == {50.0, 20.0}
    assert sum(figure.name == "account_drawdown_ratio" for figure in told) == 1
    written = {dict(desk.tally.series.labels_of(sid))["__name__"] for sid in desk.tally.series.sids()}
    assert {figure.name for figure in told if figure.value is not None} <= written, "nothing that is not a series"


def test_the_days_are_those_of_the_calendar() -> None:
    assert date(1970, 1, 1).toordinal() + FIRST + 1 == date(2024, 10, 5).toordinal()
