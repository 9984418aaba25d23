"""A calendar against the clock on the wall, against itself day by day, and at the edges of what it knows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from trader_monitor.core.calendar.calendar import Calendar, OutsideTable, Span
from trader_monitor.core.calendar.schedule import ALWAYS, DAY, Schedule

H = 3600
NEW_YORK = ZoneInfo("America/New_York")
NYSE = Schedule(
    name="NY",
    zone="America/New_York",
    hours=((9 * H + 1800, 16 * H),),
    closed=frozenset({date(2026, 7, 3), date(2026, 11, 26)}),
    early_closes={date(2026, 11, 27): 13 * H},
    no_settlement=frozenset({date(2026, 10, 12)}),
    settlement_days=1,
    known_from=date(2025, 1, 1),
    known_until=date(2026, 12, 31),
    announced_until=date(2026, 12, 31),
)
TAIPEI = Schedule(
    name="TP",
    zone="Asia/Taipei",
    hours=((9 * H, 13 * H + 1800),),
    closed=frozenset({date(2026, 2, 16), date(2026, 2, 17), date(2026, 2, 18), date(2026, 2, 19), date(2026, 2, 20)}),
    settlement_only=frozenset({date(2026, 2, 12), date(2026, 2, 13)}),
    extra_sessions=frozenset({date(2026, 3, 7)}),
)
LUNCH = Schedule(name="HK", zone="Asia/Hong_Kong", hours=((9 * H + 1800, 12 * H), (13 * H, 16 * H)))
WEEK = Schedule(name="FX", zone="UTC", hours=((0, DAY),))


def made(schedule: Schedule, closures: dict[date, tuple[Span, ...]] | None = None) -> Calendar:
    return Calendar(schedule, ZoneInfo(schedule.zone), closures)


def at(text: str, zone: str = "America/New_York") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


OPEN = [
    ("a second before the opening it is closed", "2026-11-20 09:29:59", False),
    ("at the opening it is open", "2026-11-20 09:30:00", True),
    ("a second before the close it is open", "2026-11-20 15:59:59", True),
    ("at the close it is closed", "2026-11-20 16:00:00", False),
    ("on a Saturday it is closed", "2026-11-21 12:00:00", False),
    ("on a holiday it is closed", "2026-11-26 12:00:00", False),
    ("on an early close it is open until then", "2026-11-27 12:59:59", True),
    ("and closed from then on", "2026-11-27 13:00:00", False),
]


@pytest.mark.parametrize(("when", "wanted"), [case[1:] for case in OPEN], ids=[case[0] for case in OPEN])
def test_whether_it_is_open(when: str, wanted: bool) -> None:
    assert made(NYSE).open_at(at(when)) is wanted


def test_an_opening_is_the_local_one_on_both_sides_of_a_change_of_the_clocks() -> None:
    """2026-03-08 and 2026-11-01 are the Sundays on which New York changes its clocks."""
    calendar = made(NYSE)
    for day, hour in ((6, 14), (9, 13)):
        ((begin, end),) = calendar.hours(date(2026, 3, day))
        assert datetime.fromtimestamp(begin, UTC).hour == hour
        assert end - begin == 6.5 * H
    ((friday, _),) = calendar.hours(date(2026, 10, 30))
    ((monday, _),) = calendar.hours(date(2026, 11, 2))
    assert monday - friday == 3 * DAY + H


def test_a_session_across_a_change_of_the_clocks_is_as_long_as_it_really_is() -> None:
    all_day = Schedule(name="x", zone="America/New_York", hours=((0, DAY),), weekdays=(6,))
    calendar = made(all_day)
    lengths = [sum(end - begin for begin, end in calendar.hours(date(2026, m, d))) for m, d in ((3, 8), (11, 1))]
    assert lengths == [23 * H, 25 * H]


def test_a_time_that_the_clocks_skip_is_as_late_as_by_the_clock_before() -> None:
    early = Schedule(name="x", zone="America/New_York", hours=((2 * H + 1800, 10 * H),), weekdays=(6,))
    ((begin, _),) = made(early).hours(date(2026, 3, 8))
    assert begin == at("2026-03-08 03:30:00")


def test_a_lunch_break_is_closed_and_counts_no_time() -> None:
    calendar = made(LUNCH)
    noon, one = at("2026-11-20 12:00:00", "Asia/Hong_Kong"), at("2026-11-20 13:00:00", "Asia/Hong_Kong")
    assert not calendar.open_at(noon)
    assert calendar.open_at(one)
    assert calendar.seconds_open(noon - 60, one + 60) == 120
    assert (calendar.next_open(noon), calendar.next_close(noon)) == (one, one + 3 * H)


def test_an_early_close_before_the_afternoon_leaves_the_morning() -> None:
    early = replace(LUNCH, early_closes={date(2026, 12, 24): 12 * H})
    assert [end - begin for begin, end in made(early).hours(date(2026, 12, 24))] == [2.5 * H]


def test_market_time_over_a_weekend_is_what_friday_had_left_and_monday_has_had() -> None:
    calendar = made(NYSE)
    assert calendar.seconds_open(at("2026-11-20 15:00:00"), at("2026-11-23 10:00:00")) == H + 1800
    assert calendar.seconds_open(at("2026-11-23 10:00:00"), at("2026-11-20 15:00:00")) == 0


def test_market_time_over_years_is_the_sum_of_their_sessions() -> None:
    calendar = made(NYSE)
    begin, end = calendar.bounds(date(2025, 1, 1))[0], calendar.bounds(date(2026, 12, 31))[1] - 1
    sessions = calendar.sessions(date(2025, 1, 1), date(2026, 12, 31))
    assert calendar.seconds_open(begin, end) == len(sessions) * 6.5 * H - 3 * H
    always = made(ALWAYS)
    assert always.seconds_open(1.0, 1e9) == 1e9 - 1


def test_sessions_are_the_days_of_trading() -> None:
    found = made(TAIPEI).sessions(date(2026, 2, 10), date(2026, 3, 8))
    assert found[:3] == [date(2026, 2, 10), date(2026, 2, 11), date(2026, 2, 23)]
    assert found[-1] == date(2026, 3, 7), "a Saturday that is said to trade"
    assert not made(TAIPEI).is_session(date(2026, 2, 12))


SETTLEMENTS = [
    ("days that only settle count", TAIPEI, date(2026, 2, 10), None, date(2026, 2, 12)),
    ("holidays do not", TAIPEI, date(2026, 2, 11), None, date(2026, 2, 13)),
    ("a weekend does not", TAIPEI, date(2026, 3, 12), 2, date(2026, 3, 16)),
    ("T+0 is the day itself", TAIPEI, date(2026, 3, 12), 0, date(2026, 3, 12)),
    ("T+0 of a day that does not settle is the next that does", TAIPEI, date(2026, 2, 16), 0, date(2026, 2, 23)),
    ("a session on which no bank settles is passed over", NYSE, date(2026, 10, 9), None, date(2026, 10, 13)),
    ("its own trades settle with those of the day before", NYSE, date(2026, 10, 12), None, date(2026, 10, 13)),
]


@pytest.mark.parametrize(
    ("schedule", "day", "n", "wanted"), [case[1:] for case in SETTLEMENTS], ids=[case[0] for case in SETTLEMENTS]
)
def test_when_a_trade_settles(schedule: Schedule, day: date, n: int | None, wanted: date) -> None:
    assert made(schedule).settlement(day, n) == wanted


def test_the_next_opening_and_close() -> None:
    calendar = made(NYSE)
    wednesday = at("2026-11-25 12:00:00")
    assert calendar.next_close(wednesday) == at("2026-11-25 16:00:00")
    assert calendar.next_open(wednesday) == at("2026-11-27 09:30:00"), "Thanksgiving is passed over"
    evening = at("2026-11-25 20:00:00")
    assert calendar.next_close(evening) == at("2026-11-27 13:00:00"), "an early close"
    assert calendar.next_change(evening) == at("2026-11-27 09:30:00")


def test_what_never_closes_has_no_next_opening_and_no_next_close() -> None:
    calendar = made(ALWAYS)
    assert (calendar.next_open(1e9), calendar.next_close(1e9)) == (None, None)
    assert calendar.next_change(1e9) == calendar.bounds(ALWAYS.known_until)[1]


def test_a_week_without_pauses_is_one_session_to_the_next_close() -> None:
    calendar = made(WEEK)
    tuesday = at("2026-11-24 12:00:00", "UTC")
    assert calendar.next_close(tuesday) == at("2026-11-28 00:00:00", "UTC")
    assert calendar.next_open(tuesday) == at("2026-11-30 00:00:00", "UTC")
    new_year = at("2025-12-31 12:00:00", "UTC")
    assert calendar.next_close(new_year) == at("2026-01-03 00:00:00", "UTC"), "the turn of the year is no pause"


def test_what_it_does_not_know_is_neither_open_nor_closed() -> None:
    calendar = made(NYSE)
    for day in (date(2024, 12, 31), date(2027, 1, 4)):
        t = calendar.bounds(day)[0] + 12 * H
        for question in (
            lambda day=day: calendar.is_session(day),
            lambda day=day: calendar.sessions(day, day),
            lambda day=day: calendar.settles(day),
            lambda day=day: calendar.settlement(day),
            lambda t=t: calendar.open_at(t),
            lambda t=t: calendar.next_open(t),
            lambda t=t: calendar.next_close(t),
            lambda t=t: calendar.seconds_open(t, t + 1),
        ):
            with pytest.raises(OutsideTable, match=rf"knows the days from 2025-01-01 to 2026-12-31, not {day}"):
                question()
    with pytest.raises(OutsideTable, match="2027-01-01"):
        calendar.settlement(date(2026, 12, 31))
    for nonsense in (1e18, -1e18, float("nan")):
        with pytest.raises(OutsideTable):
            calendar.open_at(nonsense)


def test_the_ends_of_what_is_known_are_changes_too() -> None:
    calendar = made(NYSE)
    begin, end = calendar.bounds(date(2025, 1, 1))[0], calendar.bounds(date(2026, 12, 31))[1]
    assert calendar.next_change(begin - 1e6) == begin
    assert calendar.next_change(end - 1) == end
    assert calendar.next_change(end) is None
    assert (calendar.next_open(end - 1), calendar.next_close(end - 1)) == (None, None)


def test_closures_take_from_a_day_and_leave_the_others() -> None:
    calendar = made(NYSE)
    friday, monday = date(2026, 11, 20), date(2026, 11, 23)
    noon = at("2026-11-20 12:00:00")
    assert calendar.open_at(noon), "its year is worked out, so that it may be shared"
    half = calendar.closing({friday: ((noon, noon + H),)})
    assert [end - begin for begin, end in half.hours(friday)] == [2.5 * H, 3 * H]
    assert not half.open_at(noon)
    assert half.next_open(noon) == noon + H
    gone = calendar.closing({monday: (calendar.bounds(monday),)})
    assert gone.open_at(noon)
    assert not gone.is_session(monday)
    assert gone.settlement(friday) == date(2026, 11, 24), "a day without a session settles nothing"
    assert gone.closed_spans(monday) == (calendar.bounds(monday),)
    assert calendar.is_session(monday), "the calendar itself has not changed"
    assert gone.closing({}) == calendar


def test_a_year_without_closures_is_shared() -> None:
    calendar = made(NYSE)
    assert calendar.open_at(at("2025-06-03 12:00:00"))
    assert calendar.open_at(at("2026-06-03 12:00:00"))
    other = calendar.closing({date(2026, 6, 3): (calendar.bounds(date(2026, 6, 3)),)})
    assert other.open_at(at("2025-06-03 12:00:00"))
    assert not other.open_at(at("2026-06-03 12:00:00"))


def test_a_settlement_only_day_settles_unless_all_of_it_is_closed() -> None:
    day = date(2026, 2, 12)
    calendar = made(TAIPEI)
    begin, end = calendar.bounds(day)
    assert calendar.closing({day: ((begin, begin + H),)}).settles(day)
    assert not calendar.closing({day: ((begin, end),)}).settles(day)


def test_calendars_are_equal_by_value() -> None:
    assert made(NYSE) == made(NYSE)
    assert hash(made(NYSE)) == hash(made(NYSE))
    assert made(NYSE) != made(TAIPEI)
    assert made(NYSE) != made(NYSE, {date(2026, 11, 20): ((0.0, 1e10),)})
    assert made(NYSE) != "NY"
    assert repr(made(NYSE)) == "Calendar(NY)"


# --- against itself, day by day -------------------------------------------------------------------------------------

DAYS = st.dates(date(2025, 12, 1), date(2026, 12, 31))
CUTS = st.lists(st.integers(0, 96), min_size=2, max_size=6, unique=True).map(
    lambda cuts: tuple((a * 900, b * 900) for a, b in zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False))
)


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    zone = draw(st.sampled_from(("Asia/Taipei", "America/New_York", "Australia/Lord_Howe", "Europe/London", "UTC")))
    schedule = Schedule(
        name="any",
        zone=zone,
        hours=draw(CUTS),
        weekdays=tuple(draw(st.sets(st.integers(0, 6)))),
        closed=frozenset(draw(st.sets(DAYS, max_size=20))),
        extra_sessions=frozenset(draw(st.sets(DAYS, max_size=5))),
        settlement_only=frozenset(draw(st.sets(DAYS, max_size=5))),
        early_closes=draw(st.dictionaries(DAYS, st.integers(1, 95).map(lambda n: n * 900), max_size=5)),
        known_from=date(2025, 1, 1),
        known_until=date(2027, 12, 31),
    )
    calendar = Calendar(schedule, ZoneInfo(zone))
    closures = {}
    for day in draw(st.sets(DAYS, max_size=3)):
        begin, _ = calendar.bounds(day)
        closures[day] = tuple((begin + since, begin + until) for since, until in draw(CUTS))
    return calendar.closing(closures)


@settings(max_examples=60, deadline=None)
@given(calendars(), DAYS, st.floats(0, 86_400), st.floats(0, 40 * 86_400))
def test_a_binary_search_finds_what_counting_the_days_finds(
    calendar: Calendar, day: date, within: float, length: float
) -> None:
    """Market time is the sum of the days' spans, open is to lie in one, and between two changes nothing changes."""
    t0 = calendar.bounds(day)[0] + within
    t1 = t0 + length
    days = [day + timedelta(days=n) for n in range(-1, int(length / 86_400) + 3)]
    spans = [span for each in days for span in calendar.hours(each)]
    counted = sum(max(0.0, min(t1, end) - max(t0, begin)) for begin, end in spans)
    assert calendar.seconds_open(t0, t1) == pytest.approx(counted, abs=1e-3)
    assert calendar.open_at(t1) == any(begin <= t1 < end for begin, end in spans)
    change = calendar.next_change(t0)
    assert change is not None
    assert change > t0
    before = (t0 + change) / 2
    assert calendar.open_at(before) == calendar.open_at(t0)
    last = calendar.bounds(date(2027, 12, 31))[1]
    if change < last:
        assert calendar.open_at(change) != calendar.open_at(t0)
