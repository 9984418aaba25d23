"""Calendar: when a market is open, in Unix time, and how much market time lies between two moments.

A year's sessions are worked out when the year is first asked for and kept as sorted arrays (6 KB for 250 sessions,
about a millisecond), so that a question costs a binary search. Daylight saving needs no care: each opening and
closing is the local one of its day. The time zone is an argument, because reading one from disk is not pure.

What lies outside the days that are known is never taken for open, nor for closed: `OutsideTable` is raised.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple, TypeAlias

from trader_monitor.core.calendar.schedule import Schedule

__all__ = ["Calendar", "OutsideTable", "Span"]

Span: TypeAlias = tuple[float, float]
"""From (included) and to (not included), Unix seconds."""

_ONE = timedelta(days=1)
_FAR = 400
"""Days within which the next session is sought: no market rests longer."""


class OutsideTable(LookupError):
    """A day that the calendar does not know, so that nobody may take it for open or closed."""

    def __init__(self, schedule: Schedule, day: date) -> None:
        known = f"{schedule.known_from} to {schedule.known_until}"
        super().__init__(f"the calendar {schedule.name} knows the days from {known}, not {day}")
        self.day = day


class _Year(NamedTuple):
    """Sorted openings and closings, and the open seconds before each opening; `total` are those of the year. What is
    known of it lies from `begin` to `end`."""

    begin: float
    end: float
    opens: array[float]
    closes: array[float]
    before: array[float]
    total: float

    def elapsed(self, t: float) -> float:
        """Open seconds of this year until t."""
        at = bisect_right(self.opens, t) - 1
        return 0.0 if at < 0 else self.before[at] + min(t, self.closes[at]) - self.opens[at]


class Calendar:
    """A schedule in its time zone, with the closures that were declared meanwhile. Immutable; equal by value.

    `closures` holds by day the spans of time that are closed besides (Unix seconds).
    """

    __slots__ = ("_closures", "_recent", "_years", "_zone", "schedule")

    def __init__(self, schedule: Schedule, zone: tzinfo, closures: Mapping[date, tuple[Span, ...]] | None = None):
        self.schedule = schedule
        self._zone = zone
        self._closures = dict(closures or {})
        self._years: dict[int, _Year] = {}
        self._recent: _Year | None = None
        """The year that was asked for last, which mostly is the next, too: it spares the way over the date."""

    @property
    def name(self) -> str:
        return self.schedule.name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Calendar):
            return NotImplemented
        return self.schedule == other.schedule and self._closures == other._closures

    def __hash__(self) -> int:
        return hash(self.schedule.name)

    def __repr__(self) -> str:
        return f"Calendar({self.schedule.name})"

    def closing(self, closures: Mapping[date, tuple[Span, ...]]) -> Calendar:
        """The same calendar with these closures in place of its own; years without any are shared."""
        other = Calendar(self.schedule, self._zone, closures)
        touched = {day.year for day in (*self._closures, *other._closures)}
        other._years.update((year, kept) for year, kept in self._years.items() if year not in touched)
        return other

    def closed_spans(self, day: date) -> tuple[Span, ...]:
        """What closures take of a day, in addition to its hours."""
        return self._closures.get(day, ())

    # --- days -------------------------------------------------------------------------------------------------

    def day_of(self, t: float) -> date:
        """The market's local date at t."""
        return datetime.fromtimestamp(t, self._zone).date()

    def bounds(self, day: date) -> Span:
        """The local day, from midnight to midnight."""
        return self._unix(day, 0), self._unix(day + _ONE, 0)

    def knows(self, day: date) -> bool:
        return self.schedule.known_from <= day <= self.schedule.known_until

    def hours(self, day: date) -> tuple[Span, ...]:
        """When the market is open on a day: nothing where it is no session. Raises OutsideTable."""
        self._know(day)
        return self._hours(day)

    def is_session(self, day: date) -> bool:
        """Whether the market trades on a day. Raises OutsideTable."""
        return bool(self.hours(day))

    def sessions(self, first: date, last: date) -> list[date]:
        """The days of trading from the first to the last, both included. Raises OutsideTable."""
        self._know(first)
        self._know(last)
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return [day for day in days if self._hours(day)]

    def settles(self, day: date) -> bool:
        """Whether trades settle on a day. Raises OutsideTable."""
        self._know(day)
        if day in self.schedule.no_settlement:
            return False
        if day in self.schedule.settlement_only:
            begin, end = self.bounds(day)
            return sum(until - since for since, until in self._closures.get(day, ())) < end - begin
        return bool(self._hours(day))

    def settlement(self, day: date, n: int | None = None) -> date:
        """The day on which a trade of `day` settles: the n-th after it on which trades settle (T+n).

        With n = 0 it is the day itself, or the next that settles; by default it is the schedule's own cycle of today,
        which markets change (XNYS: T+3 until 2017-09-01, T+2 until 2024-05-24, T+1 since). Raises OutsideTable.
        """
        left = self.schedule.settlement_days if n is None else n
        self._know(day)
        if left == 0 and self.settles(day):
            return day
        while True:
            day += _ONE
            if self.settles(day):
                left -= 1
                if left <= 0:
                    return day

    # --- time -------------------------------------------------------------------------------------------------

    def open_at(self, t: float) -> bool:
        """Whether the market is open at t; the opening belongs to the session, the close does not. Raises
        OutsideTable."""
        year = self._year_at(t)
        at = bisect_right(year.opens, t) - 1
        return at >= 0 and t < year.closes[at]

    def seconds_open(self, t0: float, t1: float) -> float:
        """Market time between two moments, in seconds; 0 where t1 is not after t0. Raises OutsideTable."""
        if t1 <= t0:
            return 0.0
        recent = self._recent
        if recent is not None and recent.begin <= t0 and t1 < recent.end:
            return recent.elapsed(t1) - recent.elapsed(t0)
        first, last = self._day(t0).year, self._day(t1).year
        if first == last:
            year = self._year_at(t1)
            return year.elapsed(t1) - year.elapsed(t0)
        between = sum(self._year(each).total for each in range(first + 1, last))
        year = self._year(first)
        return year.total - year.elapsed(t0) + between + self._year(last).elapsed(t1)

    def next_open(self, t: float) -> float | None:
        """The next opening after t; None where none is known. Raises OutsideTable."""
        for begin, _ in self._spans(t):
            if begin > t:
                return begin
        return None

    def next_close(self, t: float) -> float | None:
        """The next close after t, of the session that goes on or the next; None where none is known. Raises
        OutsideTable."""
        for _, end in self._spans(t):
            if end > t:
                return end
        return None

    def next_change(self, t: float) -> float | None:
        """When `open_at` changes next: an opening, a close, or an end of what is known; None for never."""
        begin = self.bounds(self.schedule.known_from)[0]
        end = self.bounds(self.schedule.known_until)[1]
        if t < begin:
            return begin
        if t >= end:
            return None
        edges = [edge for edge in (self.next_open(t), self.next_close(t)) if edge is not None]
        return min(edges, default=end)

    # --- how --------------------------------------------------------------------------------------------------

    def _know(self, day: date) -> None:
        if not self.knows(day):
            raise OutsideTable(self.schedule, day)

    def _day(self, t: float) -> date:
        try:
            day = self.day_of(t)
        except (ValueError, OverflowError, OSError):
            raise OutsideTable(self.schedule, date.max if t > 0 else date.min) from None
        self._know(day)
        return day

    def _unix(self, day: date, seconds: int) -> float:
        """A local time that a change of the clocks skips is as late as it would be by the clock before."""
        local = datetime.combine(day, time.min) + timedelta(seconds=seconds)
        return local.replace(tzinfo=self._zone).astimezone(UTC).timestamp()

    def _hours(self, day: date) -> tuple[Span, ...]:
        hours = self.schedule.hours_of(day)
        spans = tuple((self._unix(day, begin), self._unix(day, end)) for begin, end in hours)
        for since, until in self._closures.get(day, ()):
            spans = tuple(part for span in spans for part in _without(span, since, until))
        return spans

    def _year_at(self, t: float) -> _Year:
        recent = self._recent
        if recent is None or not recent.begin <= t < recent.end:
            recent = self._recent = self._year(self._day(t).year)
        return recent

    def _year(self, number: int) -> _Year:
        known = self._years.get(number)
        if known is None:
            known = self._years[number] = self._worked_out(number)
        return known

    def _worked_out(self, number: int) -> _Year:
        opens, closes, before = array("d"), array("d"), array("d")
        total = 0.0
        day = first = max(date(number, 1, 1), self.schedule.known_from)
        last = min(date(number, 12, 31), self.schedule.known_until)
        while day <= last:
            for begin, end in self._hours(day):
                if closes and closes[-1] == begin:  # one session to the next without a pause
                    closes[-1] = end
                else:
                    opens.append(begin)
                    closes.append(end)
                    before.append(total)
                total += end - begin
            day += _ONE
        return _Year(self.bounds(first)[0], self.bounds(last)[1], opens, closes, before, total)

    def _spans(self, t: float) -> list[Span]:
        """The spans that end after t, until there are two, or as far as is known within some months; those that
        follow without a pause are one, and one that does not end within that time is left out."""
        today = self._day(t)
        last = min(today + timedelta(days=_FAR), self.schedule.known_until)
        spans: list[Span] = []
        for number in range(today.year, last.year + 1):
            year = self._year(number)
            for at in range(max(0, bisect_right(year.opens, t) - 1), len(year.opens)):
                begin, end = year.opens[at], year.closes[at]
                if end <= t:
                    continue
                if spans and spans[-1][1] == begin:
                    spans[-1] = spans[-1][0], end
                elif len(spans) == 2:
                    return spans
                else:
                    spans.append((begin, end))
        edge = self.bounds(date(last.year, 12, 31))[1]
        return [span if span[1] < edge else (span[0], float("-inf")) for span in spans]


def _without(span: Span, since: float, until: float) -> list[Span]:
    begin, end = span
    if until <= begin or since >= end:
        return [span]
    parts = ((begin, since), (until, end))
    return [part for part in parts if part[0] < part[1]]
