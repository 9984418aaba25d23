"""Figures of an account: performance and risk from its daily returns, what its curve says now, and its limits.

Those of daily returns change when a day is over; until then they are remembered at the curve, so that asking every few
seconds costs next to nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from trader_monitor.core.figure import Figure, Interval, Pairs, exact, missing, sampled
from trader_monitor.core.trading.accounts.accounts import AccountKey, Accounts, account_labels
from trader_monitor.core.trading.accounts.curve import DAY, WINDOWS, Curve, date_of
from trader_monitor.core.trading.accounts.drawdown import DRAWDOWNS, Reading, drawdowns
from trader_monitor.core.trading.accounts.estimate import Estimate
from trader_monitor.core.trading.accounts.limits import limit_figures
from trader_monitor.core.trading.accounts.performance import performance
from trader_monitor.core.trading.accounts.returns import daily_returns
from trader_monitor.core.trading.accounts.risk import CONFIDENCES, historical, normal
from trader_monitor.core.trading.accounts.sums import Exposure
from trader_monitor.core.trading.accounts.terms import Sessions, Terms

__all__ = ["TermsOf", "account_figures", "exposed", "figures", "known", "standing"]

TermsOf: TypeAlias = Callable[[AccountKey], tuple[Terms, Sessions | None]]
"""The conventions and the sessions (None: every day) of an account."""

_FROM = "simple returns from close to close"


class _Loss(NamedTuple):
    """A loss as a ratio of equity, and its figure's name and labels without the unit."""

    name: str
    labels: Pairs
    estimate: Estimate
    convention: str


class _Remembered(NamedTuple):
    of: tuple[object, ...]
    figures: tuple[Figure, ...]
    losses: tuple[_Loss, ...]


def account_figures(accounts: Accounts, terms_of: TermsOf, now: float) -> Iterator[Figure]:
    """What depends on conventions, of every account: `figures`, and the use of its limits. `now` is Unix time."""
    left = dict(accounts.exposures.holders())
    for key, curve in accounts.curves.items():
        terms, sessions = terms_of(key)
        yield from figures(key, curve, terms, now, sessions)
        held = key if key in left or not accounts.alone(key) else (key[0], key[1], None)
        yield from limit_figures(key, curve, left.pop(held, None), _var(key, curve, terms, now, sessions), terms, now)
    for key, exposure in left.items():
        terms, _ = terms_of(key)
        yield from limit_figures(key, None, exposure, None, terms, now)


def figures(
    key: AccountKey, curve: Curve, terms: Terms, now: float, sessions: Sessions | None = None
) -> Iterator[Figure]:
    """Performance and risk of one account from the daily returns up to `now` (Unix time).

    Sharpe and so on, value at risk as a ratio and, at the newest equity, in the account's currency.
    """
    remembered = _statistics(key, curve, terms, now, sessions)
    yield from remembered.figures
    equity = float(curve.equity.newest)
    for name, labels, estimate, convention in remembered.losses:
        if estimate.value is None or equity <= 0.0:
            yield missing(name, labels, estimate.n, convention, estimate.reason or "equity is zero or below")
            continue
        interval = estimate.interval
        if interval is not None:
            interval = Interval(interval.low * equity, interval.high * equity, interval.method)
        yield sampled(name, labels, estimate.value * equity, estimate.n, convention, interval, open=estimate.open)


def _var(key: AccountKey, curve: Curve, terms: Terms, now: float, sessions: Sessions | None) -> Estimate:
    """The historical value at risk at 95 %, which `max_var` is about."""
    return _statistics(key, curve, terms, now, sessions).losses[0].estimate


def known(key: AccountKey, curve: Curve) -> Iterator[Figure]:
    """What the fold has written of the account's curve, with the convention and, where there is nothing, the reason.

    It is for who reads: as series these exist already.
    """
    labels, state = account_labels(key), curve.equity
    late = f"; {state.late_flows} flows came too late and count as gain or loss" if state.late_flows else ""
    how = f"time-weighted: the chain of growth between reports, each less the flow reported with it{late}"
    for window, value in zip(WINDOWS, curve.returns(), strict=True):
        named = (*labels, ("window", window))
        if value is None:
            yield missing("account_return_ratio", named, 0, how, curve.why(window))
        else:
            yield exact("account_return_ratio", named, value, 1, how)
    now = Reading(state.drawdown, "" if state.began else "equity has not been above zero yet")
    how = f"of the index of growth with flows removed, below its peak; it begins at the first report{late}"
    for name, (value, reason) in zip(("account_drawdown_ratio", *DRAWDOWNS), (now, *drawdowns(state)), strict=True):
        yield missing(name, labels, 0, how, reason) if value is None else exact(name, labels, value, 1, how)


def exposed(key: AccountKey, exposure: Exposure, equity: float | None) -> Iterator[Figure]:
    """What the fold has written of the account's exposure in one currency; for who reads, as `known`.

    `equity` is the account's in that currency, None where none is reported.
    """
    labels, n = account_labels(key), exposure.positions
    how = "open positions at their marks by quantity and multiplier, as reported, else as from fills"
    if exposure.unpriced:
        how += f"; {exposure.unpriced} without a known price are left out"
    for name, value in (
        ("exposure_gross", exposure.gross),
        ("exposure_net", exposure.net),
        ("exposure_long", exposure.long),
        ("exposure_short", exposure.short),
        ("exposure_positions", float(n)),
        ("exposure_unpriced_positions", float(exposure.unpriced)),
        ("exposure_largest_ratio", exposure.largest),
        ("exposure_herfindahl_ratio", exposure.herfindahl),
    ):
        yield exact(name, labels, value, n, how)
    name, how = "exposure_leverage_ratio", f"gross exposure by equity; {how}"
    if equity is None or equity <= 0.0:
        why = "no equity is reported in this currency" if equity is None else "equity is zero or below"
        yield missing(name, labels, n, how, why)
    else:
        yield exact(name, labels, exposure.gross / equity, n, how)


def standing(accounts: Accounts) -> Iterator[Figure]:
    """What the fold has written of every account: `known` and `exposed`."""
    for key, curve in accounts.curves.items():
        yield from known(key, curve)
    for key, exposure in accounts.exposures.holders():
        yield from exposed(key, exposure, accounts.equity_of(*key))


def _statistics(key: AccountKey, curve: Curve, terms: Terms, now: float, sessions: Sessions | None) -> _Remembered:
    """What follows from the days that are over."""
    today = int(now // DAY)
    over = bisect_left(curve.days, today)
    of = (today, over, curve.closes[over - 1] if over else 0.0, curve.open, curve.equity.began, terms, sessions)
    remembered = curve.remembered
    if not isinstance(remembered, _Remembered) or remembered.of != of:
        remembered = curve.remembered = _compute(of, account_labels(key), curve, today, terms, sessions)
    return remembered


def _compute(
    of: tuple[object, ...], labels: Pairs, curve: Curve, today: int, terms: Terms, sessions: Sessions | None
) -> _Remembered:
    daily = daily_returns(curve, today, sessions, terms.silent_days)
    ruin = ""
    if daily.ruined is not None:
        ruin = f"equity was zero or below at the close of {date_of(daily.ruined)}"
    of_what = f"{_FROM} (UTC, flows removed) of {'each day' if sessions is None else 'each session'}"
    of_what += ", days without a report count as 0" if terms.silent_days == "flat" else ""
    of_what += f"; {daily.merged} of them cover more than one day" if daily.merged else ""
    annual = (*labels, ("annualisation", str(terms.annualisation)))
    found = performance(
        daily.returns,
        annualisation=terms.annualisation,
        risk_free=terms.risk_free,
        minimum=terms.minimum_days,
        reason=ruin,
    )
    year = f"{terms.annualisation} days a year"
    free = f"risk-free {terms.risk_free:.4g} a year, by day geometrically"
    rows = [
        ("account_sharpe_ratio", annual, found.sharpe, f"mean by standard deviation (ddof 1), {free}, {year}"),
        *(
            (
                "account_sharpe_standard_error",
                (*annual, ("method", method)),
                error,
                f"of the Sharpe ratio, {how}, {year}",
            )
            for method, error, how in (
                ("iid", found.sharpe_iid, "Lo (2002) for iid normal returns"),
                ("gmm", found.sharpe_gmm, "Lo (2002) by GMM, Newey-West"),
            )
        ),
        ("account_sortino_ratio", annual, found.sortino, f"mean by downside deviation over all days, {free}, {year}"),
        ("account_calmar_ratio", annual, found.calmar, f"compound annual growth by maximum drawdown, {year}"),
        ("account_volatility_ratio", annual, found.volatility, f"standard deviation (ddof 1), {year}"),
        ("account_cagr_ratio", annual, found.cagr, f"compound annual growth, {year}"),
        ("account_daily_drawdown_max_ratio", labels, found.drawdown, "deepest fall of the daily curve, positive"),
        ("account_daily_return_best_ratio", labels, found.best, "the best day"),
        ("account_daily_return_worst_ratio", labels, found.worst, "the worst day"),
        ("account_daily_positive_ratio", labels, found.positive, "days above zero in all days"),
    ]
    losses = []
    window, days = daily.returns[-terms.var_window_days :], f"{terms.var_window_days}d"
    for method, risk, how in (
        ("historical", historical, "historical, linear interpolation"),
        ("normal", normal, "parametric normal with the sample's mean and standard deviation (ddof 1)"),
    ):
        for confidence, one in zip(
            CONFIDENCES, risk(window, CONFIDENCES, minimum=terms.minimum_days, reason=ruin), strict=True
        ):
            by = (*labels, ("confidence", f"{confidence:g}"), ("method", method), ("window", days))
            share = f"{how}, {confidence:.0%}, one day, loss positive, the newest {terms.var_window_days} days at most"
            for name, estimate in (("account_var", one.var), ("account_cvar", one.cvar)):
                rows.append((f"{name}_ratio", by, estimate, share))
                losses.append(_Loss(name, by, estimate, f"{share}, at the newest equity; {of_what}"))
    made = tuple(estimate.figure(name, named, f"{how}; {of_what}") for name, named, estimate, how in rows)
    return _Remembered(of, made, tuple(losses))
