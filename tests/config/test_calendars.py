"""Calendars of one's own: what is taken, and what is refused with its place, all at once."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from trader_monitor.config import calendars as module
from trader_monitor.config.errors import ConfigErrors
from trader_monitor.config.load import parse
from trader_monitor.config.tables import Config
from trader_monitor.core.calendar.schedule import FIRST_DAY, LAST_DAY
from trader_monitor.runtime.registry import Registry

H = 3600
DESK = '[calendars.desk]\nzone = "Asia/Tokyo"\nopen = "09:00"\nclose = "15:30"\n'


def taken(text: str, registry: Registry, base: Path = Path("/base")) -> Config:
    return parse(text, registry, base=base)


def errors(text: str, registry: Registry, base: Path = Path("/base")) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        parse(text, registry, base=base)
    return [str(error) for error in raised.value.errors]


def test_only_what_is_named_is_read(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken("", registry).calendars == {}
    monkeypatch.setattr(module, "open_zone", lambda name: 1 / 0)
    taken("[http]\n", registry)


def test_a_rule_and_an_exchange_name_the_shipped_ones(registry: Registry) -> None:
    config = taken(
        '[rules.r]\nexpr = "up"\nduring = "XTAI"\n[exchanges.nyse]\ncalendar = "XNYS"\n[exchanges.binance]\n'
        'calendar = "24/7"\n',
        registry,
    )
    assert sorted(config.calendars) == ["24/7", "XNYS", "XTAI"]
    assert config.rules["r"].during == "XTAI"
    assert config.exchanges["nyse"].calendar == "XNYS"
    again = taken('[rules.r]\nexpr = "up"\nduring = "XTAI"\n', registry)
    assert again.calendars["XTAI"] == config.calendars["XTAI"], "equal by value, so that a reload sees what changed"


def test_the_conventions_of_figures_name_calendars_too(registry: Registry) -> None:
    config = taken(
        '[trading]\ncalendar = "XNYS"\n[[trading.accounts]]\nsource = "tw"\ncalendar = "XTAI"\n'
        '[[trading.accounts]]\nsource = "crypto"\nannualisation = 365\n',
        registry,
    )
    assert sorted(config.calendars) == ["XNYS", "XTAI"]
    assert config.trading.calendar_of("tw", None, None) == "XTAI"


def test_a_calendar_of_its_own(registry: Registry) -> None:
    config = taken(
        DESK
        + 'breaks = ["11:30-12:30"]\nweekdays = ["mon", "tue", "sat"]\nholidays = [2026-01-01, 2027-02-11]\n'
        + 'early_closes = { "13:00" = [2026-12-29] }\nsettlement_only = [2026-12-28]\nextra_sessions = [2026-07-05]\n'
        + "no_settlement = [2026-07-06]\nsettlement_days = 3\n",
        registry,
    )
    schedule = config.calendars["desk"].schedule
    assert schedule.hours == ((9 * H, int(11.5 * H)), (int(12.5 * H), int(15.5 * H)))
    assert schedule.weekdays == (0, 1, 5)
    assert schedule.early_closes == {date(2026, 12, 29): 13 * H}
    assert (schedule.known_from, schedule.known_until) == (date(2026, 1, 1), date(2027, 12, 31)), "the years it lists"
    assert schedule.settlement_days == 3
    assert config.calendars["desk"].is_session(date(2026, 7, 5))


def test_a_weekly_pattern_is_known_for_good(registry: Registry) -> None:
    schedule = taken(DESK, registry).calendars["desk"].schedule
    assert (schedule.known_from, schedule.known_until) == (FIRST_DAY, LAST_DAY)


def test_a_table_of_a_shipped_name_changes_that_one(registry: Registry) -> None:
    calendar = taken("[calendars.XTAI]\nclosed = [2026-11-24]\nextra_sessions = [2026-12-25]\n", registry).calendars[
        "XTAI"
    ]
    assert not calendar.is_session(date(2026, 11, 24))
    assert calendar.is_session(date(2026, 12, 25)), "a holiday of the table below trades again"
    assert not calendar.is_session(date(2026, 2, 12)), "the rest is as it was"


def test_one_like_another_with_changes(registry: Registry) -> None:
    config = taken(
        '[calendars.tpex]\nlike = "XTAI"\nclose = "13:45"\nclosed = [2026-02-12]\nsettlement_only = [2026-11-24]\n'
        '[calendars.night]\nlike = "tpex"\nopen = "15:00"\nclose = "23:00"\n[calendars.XNYS]\nlike = "XNYS"\n',
        registry,
    )
    tpex = config.calendars["tpex"]
    assert tpex.schedule.hours == ((9 * H, 13 * H + 2700),)
    assert not tpex.settles(date(2026, 2, 12)), "closed wins over a day that only settled below"
    assert tpex.settles(date(2026, 11, 24))
    assert not tpex.is_session(date(2026, 11, 24))
    assert config.calendars["night"].schedule.hours == ((15 * H, 23 * H),)
    assert config.calendars["night"].schedule.zone == "Asia/Taipei"
    assert config.calendars["XNYS"].schedule.early_closes


def test_breaks_below_go_on(registry: Registry) -> None:
    config = taken(
        DESK + 'breaks = ["11:30-12:30"]\n[calendars.other]\nlike = "desk"\nopen = "08:30"\n'
        '[calendars.through]\nlike = "desk"\nbreaks = []\n',
        registry,
    )
    assert config.calendars["other"].schedule.hours[0] == (8 * H + 1800, 11 * H + 1800)
    assert config.calendars["through"].schedule.hours == ((9 * H, 15 * H + 1800),)


def test_a_file_holds_a_calendar(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "jp.toml").write_text('zone = "Asia/Tokyo"\nopen = "09:00"\nclose = "15:30"\nholidays = [2026-01-01]\n')
    config = taken('[calendars.jp]\nfile = "jp.toml"\nclosed = [2026-01-02]\n', registry, tmp_path)
    assert not config.calendars["jp"].is_session(date(2026, 1, 2))
    assert not config.calendars["jp"].is_session(date(2026, 1, 1))
    shipped = (module.SHIPPED / "XTAI.toml").read_text()
    (tmp_path / "XTAI.toml").write_text(shipped.replace("  2026-12-25", "  2026-12-24"))
    config = taken('[calendars.XTAI]\nfile = "XTAI.toml"\n', registry, tmp_path)
    assert not config.calendars["XTAI"].is_session(date(2026, 12, 24)), "the file takes the place of the shipped table"


WRONG = [
    (
        "a rule's calendar that does not exist is named with the one that was meant",
        "[rules.r]\nexpr = 'up'\nduring = 'XTAJ'",
        ['line 3: rules.r.during = "XTAJ": no such calendar; did you mean "XTAI"?'],
    ),
    (
        "an exchange's too, with all that there are where none is near",
        "[exchanges.x]\ncalendar = 'moon'",
        ['line 2: exchanges.x.calendar = "moon": no such calendar; there are 24/7, XNYS, XTAI'],
    ),
    (
        "the calendars of figures' conventions are looked up as well",
        "[trading]\ncalendar = 'XNYSE'\n[[trading.accounts]]\nsource = 'a'\ncalendar = 'XTAJ'",
        [
            'line 2: trading.calendar = "XNYSE": no such calendar; did you mean "XNYS"?',
            'line 5: trading.accounts[0].calendar = "XTAJ": no such calendar; did you mean "XTAI"?',
        ],
    ),
    ("an exchange needs its calendar", "[exchanges.x]", ["line 1: exchanges.x.calendar: is missing"]),
    (
        "one that stands on nothing needs zone, open and close",
        "[calendars.x]\nweekdays = ['mon']",
        [
            "line 1: calendars.x.zone: is missing",
            "line 1: calendars.x.open: is missing",
            "line 1: calendars.x.close: is missing",
        ],
    ),
    (
        "a close before the opening",
        "[calendars.x]\nzone = 'UTC'\nopen = '16:00'\nclose = '09:00'",
        ["line 4: calendars.x.close: closes at 09:00, which is not after the opening at 16:00"],
    ),
    (
        "an opening after the close of what is below",
        "[calendars.x]\nlike = 'XTAI'\nopen = '14:00'",
        ["line 3: calendars.x.open: closes at 13:30, which is not after the opening at 14:00"],
    ),
    (
        "sessions that overlap",
        DESK + "breaks = ['11:00-12:00', '11:30-13:00']",
        ['line 5: calendars.desk.breaks[1] = "11:30-13:00": begins before the one before has ended'],
    ),
    (
        "a break outside the session",
        DESK + "breaks = ['08:00-12:00']",
        ['line 5: calendars.desk.breaks[0] = "08:00-12:00": does not lie within the session'],
    ),
    (
        "a break that is none",
        DESK + "breaks = ['noon']",
        ['line 5: calendars.desk.breaks[0] = "noon": expected a break such as "12:00-13:00"'],
    ),
    (
        "a break at no time of day",
        DESK + "breaks = ['11:60-12:99']",
        ['line 5: calendars.desk.breaks[0] = "11:60-12:99": expected a break such as "12:00-13:00"'],
    ),
    (
        "a zone that does not exist is named with the one that was meant",
        "[calendars.x]\nzone = 'Asia/Taipeh'\nopen = '09:00'\nclose = '13:30'",
        ['line 2: calendars.x.zone = "Asia/Taipeh": no such time zone; did you mean "Asia/Taipei"?'],
    ),
    (
        "a zone that is nothing like one",
        "[calendars.x]\nzone = '../../etc/passwd'\nopen = '09:00'\nclose = '13:30'",
        ['line 2: calendars.x.zone = "../../etc/passwd": no such time zone; expected an IANA name such as Asia/Taipei'],
    ),
    (
        "a time that is none",
        "[calendars.x]\nzone = 'UTC'\nopen = '9:00'\nclose = '25:00'",
        [
            'line 3: calendars.x.open = "9:00": expected a time of day such as "09:00"',
            'line 4: calendars.x.close = "25:00": expected a time of day such as "09:00"',
        ],
    ),
    (
        "a day in quotes is told how to be written",
        DESK + "holidays = ['2026-01-01', 2026]",
        [
            'line 5: calendars.desk.holidays[0] = "2026-01-01": expected a date such as 2026-01-31; write 2026-01-01'
            " without quotes",
            "line 5: calendars.desk.holidays[1] = 2026: expected a date such as 2026-01-31",
        ],
    ),
    (
        "a day outside the table",
        "[calendars.XTAI]\nclosed = [2028-01-03]",
        [
            'line 2: calendars.XTAI.closed[0] = "2028-01-03": is outside the days that are known, 2015-01-01 to'
            " 2027-12-31"
        ],
    ),
    (
        "an early close at no time of the session",
        DESK + "early_closes = { '16:00' = [2026-12-30], 'noon' = [2026-12-29] }",
        [
            'line 5: calendars.desk.early_closes."16:00": does not lie within the session, 09:00 to 15:30',
            'line 5: calendars.desk.early_closes.noon: expected a time of day such as "09:00"',
        ],
    ),
    (
        "a day that trades and rests",
        DESK + "holidays = [2026-01-01]\nclosed = [2026-01-03]\nextra_sessions = [2026-01-03]\n"
        "early_closes = { '12:00' = [2026-01-01] }\nsettlement_only = [2026-01-01]",
        [
            'line 7: calendars.desk.extra_sessions[0] = "2026-01-03": is in closed too',
            'line 8: calendars.desk.early_closes."12:00"[0] = "2026-01-01": is in settlement_only too',
            'line 9: calendars.desk.settlement_only[0] = "2026-01-01": is closed as well',
        ],
    ),
    (
        "no weekday at all, which would silence every rule that names it",
        DESK + "weekdays = []",
        ["line 5: calendars.desk.weekdays = []: must not be empty"],
    ),
    (
        "a weekday that is none",
        DESK + "weekdays = ['monday']",
        [
            'line 5: calendars.desk.weekdays[0] = "monday": expected one of mon, tue, wed, thu, fri, sat, sun; did you'
            ' mean "mon"?'
        ],
    ),
    (
        "an end before the beginning",
        DESK + "known_from = 2026-01-01\nknown_until = 2025-01-01",
        ['line 6: calendars.desk.known_until = "2025-01-01": lies before the first day that is known, 2026-01-01'],
    ),
    (
        "days of another century",
        DESK + "known_from = 1066-10-14",
        ["line 1: calendars.desk.known_until: expected days from 1970-01-01 to 2199-12-31"],
    ),
    (
        "a circle",
        "[calendars.a]\nlike = 'b'\n[calendars.b]\nlike = 'a'",
        ["line 4: calendars.b.like: goes round in a circle: a → b → a"],
    ),
    (
        "what it is like does not exist",
        "[calendars.a]\nlike = 'XNYSE'",
        ['line 2: calendars.a.like = "XNYSE": no such calendar; did you mean "XNYS"?'],
    ),
    (
        "like and file at once",
        "[calendars.a]\nlike = 'XNYS'\nfile = 'x.toml'",
        ["line 3: calendars.a.file: expected either `like` or `file`, not both"],
    ),
    (
        "a file that is not there",
        "[calendars.a]\nfile = 'none.toml'",
        ['line 2: calendars.a.file = "/base/none.toml": cannot be read: No such file or directory'],
    ),
    (
        "a settlement cycle of no sense",
        "[calendars.XTAI]\nsettlement_days = -1",
        ["line 2: calendars.XTAI.settlement_days = -1: expected at least 0"],
    ),
    (
        "an unknown key and a wrong like in one table",
        "[calendars.x]\nlike = 3\nholiday = []",
        [
            "line 2: calendars.x.like = 3: expected a string",
            'line 3: calendars.x.holiday: unknown key; did you mean "holidays"?',
        ],
    ),
    (
        "all of them at once",
        "[rules.r]\nexpr = 'up >'\nduring = 'XTAJ'\n[exchanges.e]\ncalendar = 'XNYZ'\n[calendars.c]\nlike = 'd'",
        [
            "line 2: rules.r.expr",
            'line 3: rules.r.during = "XTAJ"',
            'line 5: exchanges.e.calendar = "XNYZ"',
            'line 7: calendars.c.like = "d"',
        ],
    ),
]


@pytest.mark.parametrize(("text", "wanted"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_wrong_is_told_with_its_place(text: str, wanted: list[str], registry: Registry) -> None:
    found = errors(text, registry)
    if wanted[0].endswith("expr"):
        assert [one.startswith(start) for one, start in zip(found, wanted, strict=True)] == [True] * len(wanted), found
    else:
        assert found == wanted


FILES = [
    ("not TOML", "zone = ", "cannot be read: Invalid value (at end of document)"),
    ("wrong types", 'zone = 1\nopen = "09:00"\nclose = "15:30"', "zone = 1: expected a string"),
    ("a key that is not for files", 'like = "XTAI"', "like: unknown key"),
    ("no hours", 'zone = "UTC"', "open: is missing"),
    (
        "a day twice",
        'zone = "UTC"\nopen = "09:00"\nclose = "15:30"\nholidays = ["x"]',
        'holidays[0] = "x": expected a date',
    ),
    ("too large", "#" * (1 << 20) + "\n", "is larger than 1 MiB"),
]


@pytest.mark.parametrize(("content", "wanted"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
def test_what_is_wrong_in_a_file_is_told_at_the_key_that_names_it(
    content: str, wanted: str, registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text(content)
    found = errors('[calendars.c]\nfile = "c.toml"\n[http]\nlisten = 3\n', registry, tmp_path)
    assert found[0].startswith("line 2: calendars.c.file")
    assert str(tmp_path / "c.toml") in found[0]
    assert any(wanted in one for one in found), found
    assert found[-1].startswith("line 4: http.listen"), "and the rest is read on"


def test_a_bad_zone_in_a_file_or_below_is_told_where_the_file_is_named(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('zone = "Mars/Base"\nopen = "09:00"\nclose = "15:30"\n')
    found = errors('[calendars.c]\nfile = "c.toml"\n[calendars.d]\nlike = "c"\n', registry, tmp_path)
    assert [one.partition(" = ")[0] for one in found] == ["line 2: calendars.c.file", "line 4: calendars.d.like"]


def test_a_host_without_time_zones_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import zoneinfo

    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    with pytest.raises(module.NoZone, match="the host has no time zones: install tzdata"):
        module.open_zone("Nowhere/Here")
    assert module.open_zone("UTC").utcoffset(None) == timedelta(0)
