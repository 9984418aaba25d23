"""`trader-monitor calendar`: what it asks, what it says, and what it says where no daemon answers."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.cli.stage import command, daemon
from trader_monitor.cli import main
from trader_monitor.cli.calendar_table import SOURCES, made, markets
from trader_monitor.config.calendars import SHIPPED

CLOSED = "http://127.0.0.1:9"
VIEW: dict[str, Any] = {
    "name": "XTAI",
    "zone": "Asia/Taipei",
    "day": "2026-10-01",
    "open": False,
    "session": True,
    "hours": [[1790816400.0, 1790823600.0]],
    "why": "XTAI was closed by command: typhoon",
    "next_open": 1790902800.0,
    "next_close": 1790919000.0,
    "settles": True,
    "settlement": "2026-10-05",
    "settlement_days": 2,
    "known_from": "2015-01-01",
    "known_until": "2027-12-31",
    "announced_until": "2026-12-31",
    "unknown": "",
    "closures": [{"day": "2026-10-01", "closed": [[1.0, 2.0]], "why": "typhoon", "who": "amelie", "at": 1.0}],
}


async def test_it_shows_what_the_daemon_says() -> None:
    async with daemon() as it:
        it.answers["/v1/calendars"] = (200, {"calendars": [VIEW]})
        told = await command("calendar", "--url", it.url, "--date", "2026-10-01")
        assert told.code == 0
        assert it.asked == [("/v1/calendars", {"day": "2026-10-01"})]
        head, row, *remarks = told.out.splitlines()
        assert head.split()[:4] == ["CALENDAR", "NOW", "DAY", "SESSION"]
        assert "XTAI" in row
        assert "09:00–11:00" in row
        assert "Fri 10-02 09:00" in row
        assert row.endswith("2026-10-05")
        assert remarks == ["XTAI was closed by command: typhoon", "XTAI 2026-10-01: closed by command (typhoon)"]
        assert (await command("calendar", "--url", it.url, "--json")).json == {"calendars": [VIEW]}


async def test_closing_and_reopening_ask_the_daemon_and_say_what_became_of_the_day() -> None:
    async with daemon() as it:
        it.answers["/v1/calendars/close"] = (200, {"changed": True, "calendar": VIEW})
        it.answers["/v1/calendars/reopen"] = (200, {"changed": False, "calendar": VIEW})
        told = await command("calendar", "close", "XTAI", "--why", "typhoon", "--url", it.url)
        assert told.code == 0
        assert told.out.startswith("XTAI on 2026-10-01: 09:00–11:00")
        told = await command("calendar", "reopen", "XTAI", "--date", "2026-10-02", "--all-day", "--url", it.url)
        assert told.out == "XTAI on 2026-10-01 was open as ever already\n"
        (_, close), (_, reopen) = it.asked
        assert (close["calendar"], close["why"], close["all_day"], "day" in close) == ("XTAI", "typhoon", False, False)
        assert (reopen["day"], reopen["all_day"]) == ("2026-10-02", True)
        assert (await command("calendar", "close", "XTAI", "--json", "--url", it.url)).json["changed"] is True


def test_where_no_daemon_answers_the_tables_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text(
        '[http]\nlisten = "127.0.0.1:9"\n[rules.r]\nexpr = "up"\nduring = "XNYS"\n'
        '[calendars.desk]\nlike = "XTAI"\nclosed = [2026-11-24]\n'
        '[trading]\ncalendar = "24/7"\n[[trading.accounts]]\nsource = "a"\ncalendar = "XNYS"\n'
    )
    monkeypatch.chdir(tmp_path)
    for name in ("TRADER_MONITOR_URL", "TRADER_MONITOR_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    def said(*words: str) -> str:
        assert main(["calendar", *words]) == 0
        return capsys.readouterr().out

    told = said("--date", "2026-11-24")
    rows = {line.split()[0]: line for line in told.splitlines()[1:4]}
    assert "no session" in rows["desk"]
    assert "09:30–16:00" in rows["XNYS"]
    assert "00:00–24:00" in rows["24/7"]
    assert "shown from the tables" in told
    row = said("XTAI", "--date", "2026-02-10").splitlines()[1]
    assert row.endswith("2026-02-12"), "a trade of that day settles on a day that only settles"
    told = said("24/7", "XNYS", "--date", "2029-01-02")
    assert "XNYS: days after 2028-12-31 are derived by rule, not announced" in told
    told = said("XTAI", "--date", "2031-01-02")
    assert "knows the days from 2015-01-01 to 2027-12-31, not 2031-01-02: trader-monitor calendar update" in told
    (tmp_path / "config.toml").unlink()
    assert said().startswith("the configuration names no calendar: say which")
    monkeypatch.setenv("TRADER_MONITOR_CONFIG", str(tmp_path / "no.toml"))
    assert main(["calendar"]) == 2
    assert "cannot read" in capsys.readouterr().err


USAGE = [
    ("a calendar that does not exist", ["XTAJ"], 2, 'calendar = "XTAJ": no such calendar; did you mean "XTAI"?'),
    ("a day that is none", ["--date", "31.1.2026"], 2, "is not a day"),
    ("closing nothing", ["close"], 2, "say which calendar: trader-monitor calendar close NAME"),
    ("closing without a daemon", ["close", "XTAI", "--url", CLOSED], 3, "no daemon answers"),
    ("an address where nobody answers", ["--url", CLOSED], 3, "no daemon answers"),
    ("a table for nowhere", ["update", "XTAI"], 2, "say which and where"),
    ("a table of an unknown market", ["update", "XTAJ", "--file", "x.toml"], 2, 'did you mean "XTAI"?'),
    (
        "a table without the library",
        ["update", "XTAI", "--file", "x.toml"],
        2,
        "pip install 'trader-monitor[calendar]'",
    ),
]


@pytest.mark.parametrize(("words", "code", "said"), [c[1:] for c in USAGE], ids=[c[0] for c in USAGE])
def test_wrong_usage_is_one_clear_line(
    words: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRADER_MONITOR_URL", CLOSED)
    monkeypatch.setitem(sys.modules, "holidays", None)
    assert main(["calendar", *words]) == code
    told = capsys.readouterr()
    assert said in told.err
    assert told.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def library(closed: dict[str, dict[Any, str]]) -> SimpleNamespace:
    """Stands for `holidays`, which the daemon's environment has not: the same answers, from the shipped table."""

    def financial_holidays(market: str, *, years: range, language: str, categories: tuple[str, ...] = ()) -> Any:
        return closed["half_day" if categories else "public"]

    return SimpleNamespace(financial_holidays=financial_holidays)


def from_shipped(name: str) -> dict[str, dict[Any, str]]:
    import tomli

    text = (SHIPPED / f"{name}.toml").read_text()
    table = tomli.loads(text)
    names = {line.split(",")[0].strip(): line.partition("# ")[2] for line in text.splitlines() if line.startswith("  ")}
    public = [*table["holidays"], *table.get("settlement_only", [])]
    half = [day for days in table.get("early_closes", {}).values() for day in days]
    return {
        "public": {day: names[str(day)] for day in public},
        "half_day": {day: names[str(day)] for day in half},
    }


@pytest.mark.parametrize("name", ["XTAI", "XNYS"])
def test_the_shipped_table_is_what_update_makes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "holidays", library(from_shipped(name)))
    monkeypatch.setattr("trader_monitor.cli.calendar_table.version", lambda _: "0.108")
    file = tmp_path / "tables" / f"{name}.toml"
    assert main(["calendar", "update", name, "--file", str(file)]) == 0
    assert file.read_text() == (SHIPPED / f"{name}.toml").read_text()
    assert capsys.readouterr().out.endswith(f'to use it: [calendars.{name}] file = "{file}"\n')
    assert markets() == sorted(path.stem for path in SOURCES.glob("*.toml"))


def test_update_says_which_days_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    days = from_shipped("XTAI")
    first = min(days["public"])
    days["public"] = {day: why for day, why in days["public"].items() if day != first}
    days["public"][first.replace(day=6)] = "Another Day"
    monkeypatch.setitem(sys.modules, "holidays", library(days))
    monkeypatch.setattr("trader_monitor.cli.calendar_table.version", lambda _: "0.109")
    assert main(["calendar", "update", "XTAI", "--file", str(tmp_path / "x.toml"), "--json"]) == 0
    import json

    told = json.loads(capsys.readouterr().out)
    assert (told["closes"], told["opens"]) == (["2015-01-06"], ["2015-01-01"])
    assert main(["calendar", "update", "XTAI", "--file", str(tmp_path / "x.toml")]) == 0
    assert "closes 2015-01-06, against the table before" in capsys.readouterr().out


def test_a_table_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "holidays", library(from_shipped("XTAI")))
    monkeypatch.setattr("trader_monitor.cli.calendar_table.version", lambda _: "0.108")
    (tmp_path / "file").write_text("")
    assert main(["calendar", "update", "XTAI", "--file", str(tmp_path / "file" / "x.toml")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_the_last_year_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "holidays", library(from_shipped("XTAI")))
    monkeypatch.setattr("trader_monitor.cli.calendar_table.version", lambda _: "0.108")
    assert "known_until = 2020-12-31" in made("XTAI", 2020)
