"""Limits: how much of each an account uses, and how much is left."""

from __future__ import annotations

from collections.abc import Iterator

from trader_monitor.core.figure import Figure, Interval, Pairs, missing
from trader_monitor.core.trading.accounts.accounts import AccountKey, account_labels
from trader_monitor.core.trading.accounts.curve import DAY, WINDOWS, Curve
from trader_monitor.core.trading.accounts.estimate import Estimate, measured, unknown
from trader_monitor.core.trading.accounts.sums import Exposure
from trader_monitor.core.trading.accounts.terms import LIMITS, Terms

__all__ = ["limit_figures"]

_FLAT = Exposure(0.0, 0.0, 0.0, 0.0, 0, 0, 0.0, 0.0)
_NO_EQUITY = "no equity is reported in this currency"


def limit_figures(
    key: AccountKey, curve: Curve | None, exposure: Exposure | None, var: Estimate | None, terms: Terms, now: float
) -> Iterator[Figure]:
    """`limit_usage_ratio` and `limit_headroom_ratio` (1 less the usage) of every limit that is set for the account.

    `curve` is None where no equity is reported in the currency, `exposure` where nothing is held in it.
    """
    source, account, currency = key
    of = account_labels(key)
    for name in LIMITS:
        limit = terms.limit(name, source, account, currency)
        if limit is None:
            continue
        labels = (*of, ("limit", name))
        value = _value(name, curve, exposure or _FLAT, var, now)
        convention = f"{_MEANING[name]}, by the limit of {limit:g}"
        if value.value is None or limit <= 0.0:
            reason = value.reason or "a limit of zero or below has no share"
            yield missing("limit_usage_ratio", labels, value.n, convention, reason)
            yield missing("limit_headroom_ratio", labels, value.n, f"1 less {convention}", reason)
            continue
        usage = value.value / limit
        yield _figure("limit_usage_ratio", labels, value, usage, value.interval, limit, convention)
        left = value.interval and Interval(
            limit - value.interval.high, limit - value.interval.low, value.interval.method
        )
        yield _figure("limit_headroom_ratio", labels, value, 1.0 - usage, left, limit, f"1 less {convention}")


_MEANING = {
    "max_gross_exposure": "gross exposure",
    "max_net_exposure": "net exposure, whichever way",
    "max_leverage": "gross exposure by equity",
    "max_position_share": "the largest position in gross exposure",
    "max_positions": "open positions",
    "max_margin_use": "margin used by margin allowed",
    "max_drawdown": "equity below its peak, flows removed",
    "max_daily_loss": "the loss of the UTC day so far, flows removed",
    "max_var": "historical one-day value at risk at 95 %",
}


def _figure(
    name: str, labels: Pairs, value: Estimate, share: float, money: Interval | None, limit: float, convention: str
) -> Figure:
    interval = money and Interval(money.low / limit, money.high / limit, money.method)
    return value._replace(value=share, interval=interval).figure(name, labels, convention)


def _value(name: str, curve: Curve | None, exposure: Exposure, var: Estimate | None, now: float) -> Estimate:
    """What the limit is held against."""
    if name == "max_positions":
        return measured(float(exposure.positions), 1)
    if name in ("max_gross_exposure", "max_net_exposure", "max_position_share", "max_leverage") and exposure.unpriced:
        return unknown(1, f"{exposure.unpriced} of {exposure.positions} positions have no known price")
    if name == "max_gross_exposure":
        return measured(exposure.gross, 1)
    if name == "max_net_exposure":
        return measured(abs(exposure.net), 1)
    if name == "max_position_share":
        return measured(exposure.largest, 1)
    if curve is None:
        return unknown(0, _NO_EQUITY)
    if name == "max_var":
        return unknown(0, _NO_EQUITY) if var is None else var
    return _of_curve(name, curve, exposure, now)


def _of_curve(name: str, curve: Curve, exposure: Exposure, now: float) -> Estimate:
    state = curve.equity
    if name == "max_leverage":
        equity = float(state.newest)
        return measured(exposure.gross / equity, 1) if equity > 0.0 else unknown(1, "equity is zero or below")
    if name == "max_margin_use":
        use = curve.margin_use
        return unknown(0, "no margin has been reported") if use is None else measured(use, 1)
    if name == "max_drawdown":
        fall = state.drawdown
        return unknown(0, "equity has not been above zero yet") if fall is None else measured(fall, 1)
    if int(state.at // DAY) < int(now // DAY):
        return unknown(0, "nothing has been reported today (UTC)")
    day = curve.returns()[WINDOWS.index("day")]
    return unknown(0, curve.why("day")) if day is None else measured(max(0.0, -day), 1)
