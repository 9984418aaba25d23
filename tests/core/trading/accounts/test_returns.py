"""Daily returns: which days they are of."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_monitor.core.trading.accounts.curve import DAY, Curve
from trader_monitor.core.trading.accounts.returns import daily_returns

MONDAY = (date(2026, 3, 2) - date(1970, 1, 1)).days


def weekday(day: date) -> bool:
    return day.weekday() < 5


def curve_of(closes: dict[int, float], start: float = 100.0) -> Curve:
    """A starting balance on Monday, and the equity at the end of days from then."""
    curve = Curve()
    curve.report(MONDAY * DAY + 10.0, start, None)
    for day, equity in closes.items():
        curve.report((MONDAY + day) * DAY + 80_000.0, equity, None)
    return curve


CASES: list[tuple[str, dict[int, float], int, Any, Literal["merged", "flat"], dict[int, float], int]] = [
    (
        "Each day has its return, the first from the starting balance.",
        {0: 90, 1: 99},
        9,
        None,
        "merged",
        {0: 0.9, 1: 1.1},
        0,
    ),
    ("The day that is not over has none.", {0: 90, 1: 99}, 1, None, "merged", {0: 0.9}, 0),
    ("A first report alone is a balance and no return.", {}, 9, None, "merged", {}, 0),
    ("A day without a report is merged into the next.", {0: 90, 3: 99}, 9, None, "merged", {0: 0.9, 3: 1.1}, 1),
    (
        "Or it counts as one on which nothing happened.",
        {0: 90, 3: 99},
        5,
        None,
        "flat",
        {0: 0.9, 1: 1, 2: 1, 3: 1.1, 4: 1},
        0,
    ),
    ("What happens on a Sunday is Monday's.", {4: 110, 6: 99, 7: 198}, 9, weekday, "merged", {4: 1.1, 7: 1.8}, 0),
    ("A Sunday waits for Monday.", {4: 110, 6: 99}, 7, weekday, "merged", {4: 1.1}, 0),
    (
        "Nothing happened between the starting balance and the first change.",
        {3: 90},
        5,
        None,
        "flat",
        {1: 1, 2: 1, 3: 0.9, 4: 1},
        0,
    ),
    ("Which need not report.", {4: 110, 6: 99}, 8, weekday, "merged", {4: 1.1, 7: 0.9}, 0),
    ("With sessions only they count as merged.", {3: 110, 7: 220}, 9, weekday, "merged", {3: 1.1, 7: 2.0}, 1),
    ("Only sessions are flat.", {3: 110, 6: 220}, 9, weekday, "flat", {1: 1, 2: 1, 3: 1.1, 4: 1, 7: 2, 8: 1}, 0),
    ("Sessions that began with a closed day.", {5: 110, 7: 121}, 9, weekday, "merged", {7: 1.21}, 0),
]


@pytest.mark.parametrize(
    ("sentence", "closes", "today", "sessions", "silent", "growth", "merged"), CASES, ids=[c[0] for c in CASES]
)
def test_days(
    sentence: str,
    closes: dict[int, float],
    today: int,
    sessions: Any,
    silent: Literal["merged", "flat"],
    growth: dict[int, float],
    merged: int,
) -> None:
    daily = daily_returns(curve_of(closes), MONDAY + today, sessions, silent)
    assert dict(zip((daily.days - MONDAY).tolist(), (daily.returns + 1.0).tolist(), strict=True)) == {
        day: pytest.approx(value) for day, value in growth.items()
    }, sentence
    assert (daily.merged, daily.ruined) == (merged, None)


def test_returns_end_where_there_is_nothing_left() -> None:
    daily = daily_returns(curve_of({0: 90, 1: -9, 2: 50}), MONDAY + 9)
    assert daily.returns.tolist() == pytest.approx([-0.1, -1.1])
    assert daily.ruined == MONDAY + 1
    ruined = curve_of({0: 90})
    ruined.open = -1.0
    assert daily_returns(ruined, MONDAY + 9).ruined == MONDAY
    assert len(daily_returns(ruined, MONDAY + 9).returns) == 0


@given(
    st.dictionaries(st.integers(0, 800), st.floats(1.0, 1000.0), max_size=60),
    st.integers(1, 900),
    st.sampled_from(["merged", "flat"]),
    st.booleans(),
)
def test_days_one_by_one(
    closes: dict[int, float], today: int, silent: Literal["merged", "flat"], only_weekdays: bool
) -> None:
    """Against a plain walk through the calendar."""
    closes = dict(sorted(closes.items()))
    expected, balance, newest, heard = {}, 100.0, 100.0, False
    for day in range(today):
        if day in closes:
            newest, heard = closes[day], True
        if only_weekdays and not weekday(date(2026, 3, 2) + timedelta(day)):
            continue
        if heard or (silent == "flat" and closes and min(closes) < today and (day or 0 in closes)):
            expected[day], balance, heard = newest / balance - 1.0, newest, False
    daily = daily_returns(curve_of(closes), MONDAY + today, weekday if only_weekdays else None, silent)
    assert (daily.days - MONDAY).tolist() == list(expected)
    assert np.allclose(daily.returns, list(expected.values()), rtol=0, atol=1e-9)
