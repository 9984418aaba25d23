"""Daily returns: simple returns from the close of one session to the close of the next, flows removed.

Days are UTC days that are over. A day that is no session has no return of its own: its change is part of the next
session's. A session on which nothing was reported is merged in the same way, or counts as a return of zero
(`Terms.silent_days`). The first return is from the starting balance.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from trader_monitor.core.samples import Bools, Floats, Times
from trader_monitor.core.trading.accounts.curve import Curve, date_of
from trader_monitor.core.trading.accounts.terms import Sessions

__all__ = ["Daily", "daily_returns"]


class Daily(NamedTuple):
    """Arrays of equal length, ascending; `merged` counts the returns that cover more than one session.

    `ruined` is the first day (from 1970-01-01) after whose close there was nothing to gain or lose from, or None:
    simple returns end there.
    """

    days: Times
    returns: Floats
    merged: int
    ruined: int | None = None


def daily_returns(
    curve: Curve, today: int, sessions: Sessions | None = None, silent_days: Literal["merged", "flat"] = "merged"
) -> Daily:
    """The returns of the days before `today` (days from 1970-01-01)."""
    reported, closes = curve.daily()
    over = int(np.searchsorted(reported, today))
    reported, closes = reported[:over], closes[:over]
    if not over:
        return Daily(reported, closes, 0)
    first = int(reported[0])
    if silent_days == "flat" and curve.opened is not None:
        first = min(first, curve.opened + 1)
    span = np.arange(first, today)
    if sessions is not None:
        span = span[_open(sessions, int(span[0]), int(span[-1]))]
    known = np.searchsorted(reported, span, side="right")
    heard = np.diff(known, prepend=0) > 0
    merged = 0
    if silent_days == "merged":
        places = np.flatnonzero(heard)
        merged = int(np.count_nonzero(np.diff(places, prepend=-1) > 1))
        span, known = span[places], known[places]
    index = np.concatenate([[curve.open], closes])[np.concatenate([[0], known])]
    bases = index[:-1]
    ruin = np.flatnonzero(index <= 0.0)
    if len(ruin):
        end = int(ruin[0])
        when = int(span[end - 1]) if end else first
        return Daily(span[:end], index[1 : end + 1] / bases[:end] - 1.0, merged, when)
    return Daily(span, index[1:] / bases - 1.0, merged)


def _open(sessions: Sessions, first: int, last: int) -> Bools:
    """Which of the days from `first` to `last` are sessions."""
    begin, end = date_of(first), date_of(last)
    years = np.concatenate([_year(sessions, year) for year in range(begin.year, end.year + 1)])
    offset = begin.timetuple().tm_yday - 1
    return years[offset : offset + last - first + 1]


@lru_cache(maxsize=64)
def _year(sessions: Sessions, year: int) -> Bools:
    first, after = date(year, 1, 1).toordinal(), date(year + 1, 1, 1).toordinal()
    return np.array([sessions(date.fromordinal(day)) for day in range(first, after)], np.bool_)
