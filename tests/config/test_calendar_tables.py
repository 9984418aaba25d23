"""The shipped tables, day by day against two libraries, and against what the exchanges themselves said.

`tests/oracles/calendars.py` wrote what the libraries say (holidays 0.108, exchange_calendars 4.13.2).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trader_monitor.config.calendars import Calendars, shipped
from trader_monitor.config.convert import Converter
from trader_monitor.config.errors import Report
from trader_monitor.core.calendar.calendar import Calendar

DATA = Path(__file__).parents[1] / "data" / "calendars"


def load(*names: str) -> dict[str, Calendar]:
    report = Report()
    found = Calendars({}, Converter(report, Path("/"))).read([(name, ("here",)) for name in names])
    assert not report.found, [str(error) for _, error in report.found]
    return found


CALENDARS = load("XTAI", "XNYS")

TYPHOON = "the exchange closed for a typhoon: it follows the city of Taipei's suspension of work"
SATURDAY = "a made-up Saturday traded until 2018; LTN 2018-11-20 tells of the exchange's change from 2019 on"
DIFFERENCES: dict[tuple[str, str], dict[str, str]] = {
    ("XTAI", "holidays"): {
        "2015-07-10": f"{TYPHOON} (Chan-hom)",
        "2015-09-29": f"{TYPHOON} (Dujuan; Bloomberg 2015-09-28)",
        "2016-07-08": f"{TYPHOON} (Nepartak)",
        "2016-09-27": f"{TYPHOON} (Megi)",
        "2016-09-28": f"{TYPHOON} (Megi)",
        "2019-08-09": f"{TYPHOON} (Lekima; Central News Agency 2019-08-08)",
        "2019-09-30": f"{TYPHOON} (Mitag)",
        "2023-08-03": f"{TYPHOON} (Khanun; TWSE news ff80808189aab60c0189b642cff0008b)",
        "2024-07-24": f"{TYPHOON} (Gaemi; TWSE news 8a8216d6906d4d340190df84170b0173)",
        "2024-07-25": f"{TYPHOON} (Gaemi; TWSE news 8a8216d6906d4d340190e4a591190177)",
        "2024-10-02": f"{TYPHOON} (Krathon; Taipei Times 2024-10-02)",
        "2024-10-03": f"{TYPHOON} (Krathon; Money Weekly 154547 quotes the exchange)",
        "2024-10-31": f"{TYPHOON} (Kong-rey; Bloomberg 2024-10-31)",
        "2016-01-30": f"{SATURDAY}; for 2016-02-12 (LTN 2016-01-12)",
        "2016-06-04": f"{SATURDAY}; for 2016-06-10",
        "2016-09-10": f"{SATURDAY}; for 2016-09-16",
        "2017-02-18": f"{SATURDAY}; for 2017-02-27",
        "2017-06-03": f"{SATURDAY}; for 2017-05-29",
        "2017-09-30": f"{SATURDAY}; for 2017-10-09",
        "2018-03-31": f"{SATURDAY}; for 2018-04-06 (Economic Daily News 2017-11-09)",
        "2018-12-22": f"{SATURDAY}; for 2018-12-31 (Economic Daily News 2017-11-09)",
    },
    ("XTAI", "exchange_calendars"): {
        "2022-02-04": "a bridge day made up for on 2022-01-22: the exchange was closed, the library opens it",
        "2023-01-18": "a day that only settles (the exchange's schedule of 2023), the library opens it",
        "2024-10-31": f"{TYPHOON} (Kong-rey; Bloomberg 2024-10-31), the library knows all others and not this one",
        "2016-01-30": f"{SATURDAY}; for 2016-02-12 (LTN 2016-01-12)",
        "2016-06-04": f"{SATURDAY}; for 2016-06-10",
        "2016-09-10": f"{SATURDAY}; for 2016-09-16",
        "2017-02-18": f"{SATURDAY}; for 2017-02-27",
        "2017-06-03": f"{SATURDAY}; for 2017-05-29",
        "2017-09-30": f"{SATURDAY}; for 2017-10-09",
        "2018-03-31": f"{SATURDAY}; for 2018-04-06 (Economic Daily News 2017-11-09)",
        "2018-12-22": f"{SATURDAY}; for 2018-12-31 (Economic Daily News 2017-11-09)",
    },
    ("XNYS", "holidays"): {},
    ("XNYS", "exchange_calendars"): {},
}
"""Every day on which the table and a library differ: in each of them the table is right, and the sentence says why."""


def told(name: str) -> dict[str, Any]:
    return json.loads((DATA / f"{name}.json").read_text())  # type: ignore[no-any-return]


def days(first: str, last: str) -> Iterator[date]:
    day = date.fromisoformat(first)
    while day <= date.fromisoformat(last):
        yield day
        day += timedelta(days=1)


@pytest.mark.parametrize(("name", "library"), DIFFERENCES, ids=lambda word: str(word))
def test_each_day_is_as_the_library_says_or_the_difference_is_known(name: str, library: str) -> None:
    oracle = told(name)
    says = oracle[library]
    calendar = CALENDARS[name]
    found = {}
    for day in days(oracle["first"], oracle["last"]):
        weekday = day.weekday() < 5 and str(day) not in says["closed_weekdays"]
        open_there = weekday or str(day) in says["weekend_sessions"]
        if calendar.is_session(day) != open_there:
            found[str(day)] = calendar.is_session(day)
    assert sorted(found) == sorted(DIFFERENCES[name, library])
    assert all(open_here == (date.fromisoformat(day).weekday() == 5) for day, open_here in found.items())


@pytest.mark.parametrize("library", ["holidays", "exchange_calendars"])
def test_each_early_close_is_as_the_library_says(library: str) -> None:
    calendar = CALENDARS["XNYS"]
    early = {
        str(day)
        for day in calendar.sessions(date(2015, 1, 1), date(2026, 12, 31))
        if calendar.hours(day)[-1][1] - calendar.hours(day)[0][0] < 6.5 * 3600
    }
    assert early == set(told("XNYS")[library]["early_closes"])
    assert set(told("XNYS")[library]["early_closes"].values()) == {"13:00"}


@pytest.mark.parametrize("name", ["XTAI", "XNYS"])
def test_openings_and_closes_are_those_of_the_library_in_utc(name: str) -> None:
    """Every fifth session of twelve years, over 24 changes of New York's clocks."""
    utc = {day: span for day, span in told(name)["exchange_calendars"]["utc"].items() if day not in WRONG_THERE}
    assert len(utc) > 500
    assert told(name)["exchange_calendars"]["late_opens"] == {}
    for day, span in utc.items():
        (ours,) = CALENDARS[name].hours(date.fromisoformat(day))
        assert list(ours) == span, day


WRONG_THERE = {"2022-02-04", "2023-01-18", "2024-10-31"}


COUNTS = [
    ("244 were planned for 2019 (LTN 2018-11-20), two were lost to typhoons", "2019-01-01", "2019-12-31", 242),
    ("29 until 2018-02-09, said the exchange's weekly statistics", "2018-01-01", "2018-02-09", 29),
    ("15 in January 2025, said the exchange (Commercial Times 2024-11-22)", "2025-01-01", "2025-01-31", 15),
    ("19 in February 2025, said the exchange (Commercial Times 2024-11-22)", "2025-02-01", "2025-02-28", 19),
    ("11 until 2026-01-16, said the exchange's weekly statistics (udn 9270520)", "2026-01-01", "2026-01-16", 11),
]


@pytest.mark.parametrize(("first", "last", "wanted"), [c[1:] for c in COUNTS], ids=[c[0] for c in COUNTS])
def test_as_many_days_of_trading_as_the_exchange_counted(first: str, last: str, wanted: int) -> None:
    found = CALENDARS["XTAI"].sessions(date.fromisoformat(first), date.fromisoformat(last))
    assert len(found) == wanted


def test_2026_is_as_the_taiwan_exchange_announced_it_on_2025_10_29() -> None:
    calendar = CALENDARS["XTAI"]
    closed = [
        *("01-01", "02-16", "02-17", "02-18", "02-19", "02-20", "02-27", "04-03", "04-06", "05-01", "06-19"),
        *("09-25", "09-28", "10-09", "10-26", "12-25"),
    ]
    only_settle = [date(2026, 2, 12), date(2026, 2, 13)]
    for day in days("2026-01-01", "2026-12-31"):
        rests = day.weekday() > 4 or f"{day:%m-%d}" in closed
        assert calendar.is_session(day) == (not rests and day not in only_settle), day
        assert calendar.settles(day) == (not rests), day
    assert calendar.settlement(date(2026, 2, 10)) == date(2026, 2, 12)
    assert calendar.settlement(date(2026, 2, 11)) == date(2026, 2, 13)


MADE_UP = [
    "2019-01-19",
    "2019-10-05",
    "2020-06-20",
    "2021-02-20",
    "2022-01-22",
    "2023-01-07",
    "2023-02-04",
    "2025-02-08",
]


@pytest.mark.parametrize("day", MADE_UP)
def test_a_made_up_saturday_neither_trades_nor_settles_since_2019(day: str) -> None:
    calendar = CALENDARS["XTAI"]
    assert not calendar.is_session(date.fromisoformat(day))
    assert not calendar.settles(date.fromisoformat(day))


@pytest.mark.parametrize("day", ["2024-07-24", "2024-07-25", "2024-10-02", "2024-10-03", "2024-10-31"])
def test_on_a_day_of_a_typhoon_what_was_due_settles_later(day: str) -> None:
    calendar = CALENDARS["XTAI"]
    assert not calendar.settles(date.fromisoformat(day))
    before = date.fromisoformat(day) - timedelta(days=1)
    assert calendar.settlement(before, 1) > date.fromisoformat(day)


NYSE_2028 = ["01-17", "02-21", "04-14", "05-29", "06-19", "07-04", "09-04", "11-23", "12-25"]


def test_2028_is_as_the_new_york_exchange_announced_it_on_2025_12_23() -> None:
    calendar = CALENDARS["XNYS"]
    for day in days("2028-01-01", "2028-12-31"):
        rests = day.weekday() > 4 or f"{day:%m-%d}" in NYSE_2028
        assert calendar.is_session(day) == (not rests), day
    early = {day for day, at in calendar.schedule.early_closes.items() if day.year == 2028 and at == 13 * 3600}
    assert early == {date(2028, 7, 3), date(2028, 11, 24)}


SETTLES = [
    ("Columbus Day trades and does not settle", date(2025, 10, 10), date(2025, 10, 14)),
    ("its trades settle with Friday's", date(2025, 10, 13), date(2025, 10, 14)),
    ("so does Veterans Day", date(2025, 11, 10), date(2025, 11, 12)),
    ("one on a Sunday is kept on Monday", date(2029, 11, 9), date(2029, 11, 13)),
    ("one on a Saturday is not kept", date(2028, 11, 9), date(2028, 11, 10)),
]


@pytest.mark.parametrize(("day", "wanted"), [c[1:] for c in SETTLES], ids=[c[0] for c in SETTLES])
def test_when_a_trade_in_new_york_settles(day: date, wanted: date) -> None:
    assert CALENDARS["XNYS"].settlement(day) == wanted


def test_sessions_are_local() -> None:
    ((taipei, _),) = CALENDARS["XTAI"].hours(date(2026, 11, 20))
    assert datetime.fromtimestamp(taipei, UTC) == datetime(2026, 11, 20, 1, 0, tzinfo=UTC)


def test_three_calendars_are_shipped_and_none_says_more_than_it_knows() -> None:
    assert shipped() == ["24/7", "XNYS", "XTAI"]
    xtai, xnys = CALENDARS["XTAI"].schedule, CALENDARS["XNYS"].schedule
    assert (xtai.known_from, xtai.announced_until, xtai.known_until) == (
        date(2015, 1, 1),
        date(2026, 12, 31),
        date(2027, 12, 31),
    )
    assert (xnys.known_from, xnys.announced_until, xnys.known_until) == (
        date(2000, 1, 1),
        date(2028, 12, 31),
        date(2030, 12, 31),
    )
