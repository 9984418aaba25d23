"""A calendar's table out of the library `holidays`, with the corrections that come with the program.

Run by `trader-monitor calendar update`, never by the daemon: the library takes 27 MB of memory and a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tomli

from trader_monitor.cli.outcome import Exit, Failure
from trader_monitor.config.calendars import SHIPPED, Calendars
from trader_monitor.config.convert import Converter
from trader_monitor.config.errors import Report, among

__all__ = ["SOURCES", "made", "markets", "written"]

SOURCES = SHIPPED / "sources"
"""What is added to the library and corrected in it, a file for each market."""

Named = dict[date, str]
"""Days with what they are."""


def markets() -> list[str]:
    """The calendars that can be made anew."""
    return sorted(path.stem for path in SOURCES.glob("*.toml"))


def made(name: str, last_year: int | None = None) -> str:
    """The table as TOML, until the end of `last_year`. Raises Failure where the library is not installed."""
    try:
        from holidays import financial_holidays
    except ImportError:
        hint = "install it with: pip install 'trader-monitor[calendar]'"
        raise Failure(f"the library `holidays` is not installed; {hint}", Exit.USAGE) from None
    source = tomli.loads(Path(SOURCES / f"{name}.toml").read_text(encoding="utf-8"))
    first, last = source["years"][0], last_year or source["years"][1]
    years = range(first, last + 1)
    found: Named = dict(financial_holidays(source["market"], years=years, language="en_US").items())
    words = source.get("settlement_only", [])
    only = {day: why for day, why in found.items() if any(word in why for word in words)}
    lists = {
        "holidays": {day: why for day, why in found.items() if day not in only},
        "settlement_only": only,
        "closed": _corrections(source, "closed"),
        "no_settlement": dict(_bank_holidays(years)) if "no_settlement" in source else {},
        "extra_sessions": _corrections(source, "extra_sessions"),
    }
    for shut in ("holidays", "settlement_only", "no_settlement"):
        lists[shut] = {day: why for day, why in lists[shut].items() if day.weekday() < 5 and day.year in years}
    lists["no_settlement"] = {d: why for d, why in lists["no_settlement"].items() if d not in lists["holidays"]}
    early: Named = {}
    if "early_close" in source:
        half = financial_holidays(source["market"], years=years, language="en_US", categories=("half_day",))
        early = {day: why.partition(" (")[0] for day, why in half.items() if day not in lists["holidays"]}
    return "\n".join(_lines(name, source, first, last, lists, early)) + "\n"


def written(name: str, file: Path, last_year: int | None = None) -> dict[str, Any]:
    """Writes the table, once it has proved readable, and tells what differs from the shipped one. Raises Failure."""
    if name not in markets():
        raise Failure(
            f"there is no source for {name!r}; {among(name, markets(), 'calendars')}: any other market is a calendar"
            " of its own, in [calendars.NAME]",
            Exit.USAGE,
        )
    text = made(name, last_year)
    fresh = file.with_name(file.name + ".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text, encoding="utf-8")
        report = Report()
        new = Calendars({name: {"file": fresh.name}}, Converter(report, fresh.parent)).read([])
        old = Calendars({}, Converter(report, fresh.parent)).read([(name, ())])
        if report.found:
            raise Failure("; ".join(str(error) for _, error in report.found), Exit.USAGE)
        fresh.replace(file)
    except OSError as error:
        raise Failure(f"cannot write {file}: {error.strerror}", Exit.USAGE) from None
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
    made_of, before = new[name].schedule, old[name].schedule
    first, last = max(made_of.known_from, before.known_from), min(made_of.known_until, before.known_until)
    now_open = set(new[name].sessions(first, last)) if first <= last else set()
    was_open = set(old[name].sessions(first, last)) if first <= last else set()
    return {
        "known_from": made_of.known_from.isoformat(),
        "known_until": made_of.known_until.isoformat(),
        "closes": [day.isoformat() for day in sorted(was_open - now_open)],
        "opens": [day.isoformat() for day in sorted(now_open - was_open)],
    }


def _corrections(source: dict[str, Any], key: str) -> Named:
    return {one["day"]: one["why"] for one in source.get(key, [])}


def _bank_holidays(years: Iterable[int]) -> Iterator[tuple[date, str]]:
    """Days on which the Federal Reserve rests and the exchange does not; one that falls on a Sunday is kept on
    Monday, one on a Saturday not at all (5 U.S.C. 6103; the Reserve Banks' schedule)."""
    for year in years:
        october = date(year, 10, 1)
        yield october + timedelta(days=(-october.weekday()) % 7 + 7), "Columbus Day"
        veterans = date(year, 11, 11)
        yield veterans + timedelta(days=veterans.weekday() == 6), "Veterans Day"


def _lines(
    name: str, source: dict[str, Any], first: int, last: int, lists: dict[str, Named], early: Named
) -> Iterator[str]:
    yield f"# {name}, {source['title']}: made by `trader-monitor calendar update {name}` from"
    yield f"# holidays {version('holidays')} and the program's corrections. To change it, write [calendars.{name}]."
    yield ""
    for key in ("zone", "open", "close"):
        yield f'{key} = "{source[key]}"'
    yield f"settlement_days = {source['settlement_days']}"
    yield f"known_from = {first}-01-01"
    yield f"known_until = {last}-12-31"
    yield f"announced_until = {source['announced_until']} # what follows is derived by the rules of the years before"
    for key, days in lists.items():
        if days:
            yield ""
            yield from _array(f"{key} = [", days, "]")
    if early:
        yield ""
        yield "[early_closes]"
        yield from _array(f'"{source["early_close"]}" = [', early, "]")


def _array(head: str, days: Named, foot: str) -> Iterator[str]:
    yield head
    for day, why in sorted(days.items()):
        yield f"  {day}, # {why}"
    yield foot
