"""Schedule: what a market calendar is made of, as plain values that configuration can build and compare.

Days are local dates of the market, hours are seconds after its local midnight. A day is a session where the market
trades on it at all; `settlement_only` days have no trading but count when a trade settles, `no_settlement` days are
the other way round (on Columbus Day the NYSE trades and no bank settles).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from msgspec import Struct, field

__all__ = ["ALWAYS", "DAY", "FIRST_DAY", "LAST_DAY", "Hours", "Schedule"]

DAY = 86_400
"""Seconds: the end of a local day, "24:00"."""
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2199, 12, 31)
"""Between these any schedule is known that names no days of its own."""

Hours = tuple[tuple[int, int], ...]
"""Opening and closing, ascending, without overlap: two of them make a lunch break."""


class Schedule(Struct, frozen=True, kw_only=True):
    """The weekly pattern and the days that differ from it.

    `zone` is the IANA name of the market's time zone; `weekdays` count from Monday = 0. On an `early_closes` day the
    hours end at that second. `extra_sessions` trade although their weekday does not; `closed` wins over them. The
    days from `known_from` to `known_until` are known, those after `announced_until` derived and not yet announced.
    """

    name: str
    zone: str
    hours: Hours
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4)
    closed: frozenset[date] = frozenset()
    settlement_only: frozenset[date] = frozenset()
    no_settlement: frozenset[date] = frozenset()
    extra_sessions: frozenset[date] = frozenset()
    early_closes: Mapping[date, int] = field(default_factory=dict)
    settlement_days: int = 2
    known_from: date = FIRST_DAY
    known_until: date = LAST_DAY
    announced_until: date = LAST_DAY

    def hours_of(self, day: date) -> Hours:
        """The local hours of trading on a day; none where there is no session."""
        if day in self.closed or day in self.settlement_only:
            return ()
        if day.weekday() not in self.weekdays and day not in self.extra_sessions:
            return ()
        early = self.early_closes.get(day)
        if early is None:
            return self.hours
        return tuple((begin, min(end, early)) for begin, end in self.hours if begin < early)


ALWAYS = Schedule(name="24/7", zone="UTC", hours=((0, DAY),), weekdays=(0, 1, 2, 3, 4, 5, 6), settlement_days=0)
"""A market that never closes."""
