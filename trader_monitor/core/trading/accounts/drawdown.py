"""Drawdown: how deep an account is below its peak and the deepest it has been; how long, and how long to recover."""

from __future__ import annotations

from typing import NamedTuple

from trader_monitor.core.trading.accounts.equity import Equity

__all__ = ["DRAWDOWNS", "Reading", "drawdowns"]

DRAWDOWNS = {
    "account_drawdown_seconds": "Time since the peak, 0 at a peak.",
    "account_drawdown_peak_timestamp_seconds": "When the account was last at its peak.",
    "account_drawdown_trough_timestamp_seconds": "When it was lowest since, while it is below.",
    "account_drawdown_max_ratio": "Deepest fall of reported equity from a peak, flows removed.",
    "account_drawdown_max_seconds": "How long the deepest fall has lasted, from its peak to the new one.",
    "account_drawdown_max_peak_timestamp_seconds": "When the deepest fall began.",
    "account_drawdown_max_trough_timestamp_seconds": "When it was at its lowest.",
    "account_drawdown_recovery_seconds": "The deepest fall's time from trough to new peak.",
}
"""What is said besides `account_drawdown_ratio`."""

_NEVER = "there has been no drawdown"
_LOST = "it was before times were recorded"


class Reading(NamedTuple):
    """`value` is None where `reason` says why."""

    value: float | None
    reason: str = ""


def drawdowns(state: Equity) -> tuple[Reading, ...]:
    """The values of `DRAWDOWNS`, in their order."""
    if state.drawdown is None:
        return (Reading(None, "equity has not been above zero yet"),) * len(DRAWDOWNS)
    fall, worst = state.fall, state.worst
    trough = _time(fall.trough_at) if fall.depth else Reading(None, "the account is at its peak")
    if not worst.depth:
        never = Reading(None, _NEVER)
        return (_lasting(fall.duration(state.at)), _time(fall.peak_at), trough, Reading(0.0), *(never,) * 4)
    recovery = Reading(worst.recovery)
    if recovery.value is None:
        why = "it has not recovered" if worst.ended_at is None else "the account began anew after ruin"
        recovery = Reading(None, _LOST if worst.recovered or not worst.peak_at else why)
    return (
        _lasting(fall.duration(state.at)),
        _time(fall.peak_at),
        trough,
        Reading(worst.depth),
        _lasting(worst.duration(state.at)),
        _time(worst.peak_at),
        _time(worst.trough_at),
        recovery,
    )


def _lasting(seconds: float | None) -> Reading:
    return Reading(seconds, _LOST if seconds is None else "")


def _time(at: float) -> Reading:
    return Reading(at) if at else Reading(None, _LOST)
