"""A day closed by command, folded on the board: what it takes, what it gives back, and that it is not forgotten."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest

from trader_monitor.core.board import Board
from trader_monitor.core.calendar.calendar import Calendar, OutsideTable, Span
from trader_monitor.core.calendar.closures import MAX_CLOSURES, Closures, close, reopen
from trader_monitor.core.calendar.facts import CalendarChanged
from trader_monitor.core.calendar.schedule import Schedule
from trader_monitor.core.facts import Now
from trader_monitor.core.series import SeriesStore
from trader_monitor.core.snapshot import SnapshotError

H = 3600
SCHEDULE = Schedule(
    name="TP",
    zone="Asia/Taipei",
    hours=((9 * H, 13 * H + 1800),),
    known_from=date(2026, 1, 1),
    known_until=date(2026, 12, 31),
)
CALENDAR = Calendar(SCHEDULE, ZoneInfo("Asia/Taipei"))
DAY = date(2026, 10, 2)
SUNDAY = date(2026, 10, 4)
MIDNIGHT, NEXT = CALENDAR.bounds(DAY)
OPEN, SHUT = MIDNIGHT + 9 * H, MIDNIGHT + 13.5 * H
ELEVEN = MIDNIGHT + 11 * H


def changed(closed: tuple[Span, ...], day: date = DAY, **more: str) -> CalendarChanged:
    return CalendarChanged(at=MIDNIGHT, calendar="TP", day=day, closed=closed, **more)


CASES = [
    ("before the session the whole day is closed", OPEN - H, False, ((MIDNIGHT, NEXT),)),
    ("at the opening, too", OPEN, False, ((MIDNIGHT, NEXT),)),
    ("in its midst what is left of it", ELEVEN, False, ((ELEVEN, NEXT),)),
    ("in its midst the whole day, if that is said", ELEVEN, True, ((MIDNIGHT, NEXT),)),
    ("after the close nothing that has been is rewritten", SHUT + H, False, ((SHUT + H, NEXT),)),
    ("a day that is over is not changed", NEXT + H, False, ()),
    ("unless that is said", NEXT + H, True, ((MIDNIGHT, NEXT),)),
]


@pytest.mark.parametrize(("now", "all_day", "wanted"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_closing_takes(now: float, all_day: bool, wanted: tuple[Span, ...]) -> None:
    assert close(CALENDAR, DAY, now, all_day=all_day) == wanted


def test_a_day_without_a_session_can_be_closed_and_reopened_in_vain() -> None:
    assert close(CALENDAR, SUNDAY, NEXT) == (CALENDAR.bounds(SUNDAY),)
    assert reopen(CALENDAR.closing({SUNDAY: (CALENDAR.bounds(SUNDAY),)}), SUNDAY, NEXT) == ()


def test_closing_twice_is_closing_once() -> None:
    closed = CALENDAR.closing({DAY: ((ELEVEN, NEXT),)})
    assert close(closed, DAY, ELEVEN + H) == ((ELEVEN, NEXT),)


REOPENED = [
    ("before the session it is whole again", OPEN - 60, False, ()),
    ("in its midst what was missed stays missed", OPEN + H, False, ((MIDNIGHT, OPEN + H),)),
    ("in its midst all of it, if that is said", OPEN + H, True, ()),
]


@pytest.mark.parametrize(("now", "all_day", "wanted"), [c[1:] for c in REOPENED], ids=[c[0] for c in REOPENED])
def test_what_reopening_gives_back(now: float, all_day: bool, wanted: tuple[Span, ...]) -> None:
    closed = CALENDAR.closing({DAY: ((MIDNIGHT, NEXT),)})
    assert reopen(closed, DAY, now, all_day=all_day) == wanted


def test_a_halt_and_another_in_one_session() -> None:
    """Closed at ten, reopened at eleven, closed again at noon: an hour and a half is lost, and the morning is not."""
    ten, noon = OPEN + H, MIDNIGHT + 12 * H
    first = CALENDAR.closing({DAY: close(CALENDAR, DAY, ten)})
    again = CALENDAR.closing({DAY: reopen(first, DAY, ELEVEN)})
    last = CALENDAR.closing({DAY: close(again, DAY, noon)})
    assert last.hours(DAY) == ((OPEN, ten), (ELEVEN, noon))
    assert reopen(last, DAY, noon + 60) == ((ten, ELEVEN), (noon, noon + 60))


def test_a_day_outside_the_table_cannot_be_closed() -> None:
    with pytest.raises(OutsideTable):
        close(CALENDAR, date(2027, 1, 4), OPEN)


def board_with(*facts: CalendarChanged) -> Board:
    board = Board(SeriesStore())
    for fact in facts:
        board.fold(fact, Now(fact.at, 1.0))
    return board


def test_the_board_closes_the_calendar_and_says_why() -> None:
    board = board_with()
    assert board.closures.of(CALENDAR) is CALENDAR
    board.fold(changed(((MIDNIGHT, NEXT),), why="typhoon"), Now(MIDNIGHT, 1.0))
    closed = board.closures.of(CALENDAR)
    assert not closed.is_session(DAY)
    assert board.closures.of(CALENDAR) is closed, "the same until something changes"
    assert board.closures.why(CALENDAR, OPEN) == "TP was closed by command: typhoon"
    assert board.closures.why(CALENDAR, OPEN - 86_400) == "outside TP hours"
    board.fold(changed(((MIDNIGHT, NEXT),)), Now(MIDNIGHT, 1.0))
    assert board.closures.why(CALENDAR, OPEN) == "TP was closed by command"
    board.fold(changed(()), Now(MIDNIGHT, 1.0))
    assert board.closures.of(CALENDAR) is CALENDAR
    assert not board.closures.days


def test_a_closure_is_of_one_calendar_alone() -> None:
    board = board_with(changed(((MIDNIGHT, NEXT),)))
    other = Calendar(Schedule(name="other", zone="Asia/Taipei", hours=((0, H),)), ZoneInfo("Asia/Taipei"))
    assert board.closures.of(other) is other


def test_another_calendar_of_the_same_name_after_a_reload_has_the_closures_too() -> None:
    board = board_with(changed(((MIDNIGHT, NEXT),)))
    assert not board.closures.of(CALENDAR).is_session(DAY)
    again = Calendar(SCHEDULE, ZoneInfo("Asia/Taipei"))
    assert not board.closures.of(again).is_session(DAY)


def test_a_snapshot_keeps_what_was_closed() -> None:
    board = board_with(changed(((ELEVEN, NEXT),), why="typhoon", who="amelie"))
    again = Board.load(board.dump(), SeriesStore())
    assert again.closures.days == board.closures.days
    assert again.closures.of(CALENDAR).hours(DAY) == ((OPEN, ELEVEN),)
    with pytest.raises(SnapshotError):
        Closures().load(b"\xff")


def test_days_closed_are_bounded_and_the_earliest_declared_go_first() -> None:
    first = date(2026, 1, 1)
    board = board_with(*(changed(((0.0, 1.0),), first + timedelta(days=n)) for n in range(MAX_CLOSURES + 5)))
    assert len(board.closures.days) == MAX_CLOSURES
    assert ("TP", first + timedelta(days=4)) not in board.closures.days
    assert ("TP", first + timedelta(days=5)) in board.closures.days
