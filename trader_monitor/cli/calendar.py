"""Market calendars: how each stands today, and the command that closes a day ("typhoon") or opens it again.

Without a word it asks the running daemon for the calendars that its configuration names; where none answers, it
shows those of the configuration, or the named ones, from their tables. `close` takes what is left of today's session,
or the whole of a day that is still to come, from every rule with `during` and from market time, at once and across
restarts. `update` makes a table anew from the library `holidays` (extra: trader-monitor[calendar]).
"""

from __future__ import annotations

import argparse
import getpass
import json
import time
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from trader_monitor.cli.door import Door, door_arguments, find_config
from trader_monitor.cli.outcome import Exit, Failure
from trader_monitor.cli.text import clean, duration, paint, table
from trader_monitor.config.values import ClockTime

EXAMPLES = """
  trader-monitor calendar
  trader-monitor calendar XTAI --date 2026-02-10
  trader-monitor calendar close XTAI --why typhoon
  trader-monitor calendar close XTAI --date 2026-10-02 --why "typhoon, announced by the exchange"
  trader-monitor calendar reopen XTAI
  trader-monitor calendar update XTAI --file calendars/XTAI.toml
"""
COMMANDS = ("close", "reopen", "update")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "trader-monitor calendar [close | reopen | update] [NAME …] [options]"
    parser.add_argument("words", nargs="*", metavar="NAME", help="calendars; before them close, reopen or update")
    parser.add_argument("--date", metavar="DAY", help="the market's local day, as 2026-01-31 (default today)")
    parser.add_argument("--why", default="", metavar="TEXT", help="of close and reopen: kept and shown")
    parser.add_argument(
        "--all-day", action="store_true", help="of close and reopen: what is past of the day too, as if always so"
    )
    parser.add_argument("--file", type=Path, metavar="FILE", help="of update: where the table is written")
    parser.add_argument("--until", type=int, metavar="YEAR", help="of update: the last year of the table")
    door_arguments(parser)


def run(args: argparse.Namespace) -> int:
    what = args.words[0] if args.words and args.words[0] in COMMANDS else "show"
    names = args.words[1:] if what != "show" else args.words
    day = _day(args.date)
    if what == "update":
        return _update(args, names)
    if what == "show":
        return _show(args, names, day)
    if len(names) != 1:
        raise Failure(f"say which calendar: trader-monitor calendar {what} NAME", Exit.USAGE)
    return _change(args, what, names[0], day)


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise Failure(f"--date {clean(text)!r} is not a day: write it as 2026-01-31", Exit.USAGE) from None


# --- close and reopen -------------------------------------------------------------------------------------------------


def _change(args: argparse.Namespace, what: str, name: str, day: date | None) -> int:
    ask = {"calendar": name, "why": args.why, "who": _who(), "all_day": args.all_day}
    with Door.of(args) as door:
        told = door.post(f"/v1/calendars/{what}", ask | ({"day": day.isoformat()} if day else {}))
    view = told["calendar"]
    if args.json:
        print(json.dumps(told, ensure_ascii=False))
    elif told["changed"]:
        hours = _hours(view) or "closed all day"
        print(f"{clean(name)} on {view['day']}: {paint(hours, 'good' if what == 'reopen' else 'warning')}")
        print(f"  next open {_moment(view['next_open'], view)}, next close {_moment(view['next_close'], view)}")
    else:
        state = "closed" if what == "close" else "open as ever"
        hint = "" if args.all_day else "; what is past of a day is changed with --all-day"
        print(f"{clean(name)} on {view['day']} was {state} already{hint}")
    return Exit.OK


def _who() -> str:
    try:
        return getpass.getuser()[:64]
    except (OSError, KeyError):  # a uid without a name
        return ""


# --- show -------------------------------------------------------------------------------------------------------------


def _show(args: argparse.Namespace, names: Sequence[str], day: date | None) -> int:
    views: list[dict[str, Any]] = []
    told: Failure | None = None
    try:
        with Door.of(args) as door:
            views = door.get("/v1/calendars", **({"day": day.isoformat()} if day else {}))["calendars"]
    except Failure as failure:
        if failure.code is not Exit.UNREACHABLE or args.url:
            raise
        told = failure
    if told is not None or any(name not in {view["name"] for view in views} for name in names):
        known = {view["name"] for view in views}
        views += [view for view in _from_tables(args, names, day) if view["name"] not in known]
    views = [view for view in views if not names or view["name"] in names]
    if args.json:
        print(json.dumps({"calendars": views}, ensure_ascii=False))
    else:
        print(_table(views) if views else "the configuration names no calendar: say which, as in `calendar XTAI`")
        for line in _remarks(views, told):
            print(line)
    return Exit.OK


def _from_tables(args: argparse.Namespace, names: Sequence[str], day: date | None) -> list[dict[str, Any]]:
    """The calendars of the configuration and the named ones, without what was closed by command."""
    import msgspec
    import tomli

    from trader_monitor.config.calendars import Calendars
    from trader_monitor.config.convert import Converter
    from trader_monitor.config.errors import Report
    from trader_monitor.core.calendar.closures import Closures
    from trader_monitor.web.calendar_view import calendar_view

    path = find_config(args.config)
    raw: dict[str, Any] = {}
    if path is not None:
        try:
            raw = tomli.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise Failure(f"cannot read {path}: {error}", Exit.USAGE) from None
    report = Report()
    base = path.resolve().parent if path else Path.cwd()
    wanted = [(name, ("calendar",)) for name in names] if names else _named(raw)
    tables = {name: table for name, table in _tables(raw, "calendars") if isinstance(table, dict)}
    calendars = Calendars(tables, Converter(report, base)).read(wanted)
    if report.found:
        raise Failure("; ".join(str(error) for _, error in report.found), Exit.USAGE)
    now = time.time()
    return [msgspec.to_builtins(calendar_view(one, Closures(), now, day)) for one in calendars.values()]


def _named(raw: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """The calendars that rules, exchanges and the conventions of figures name, with where."""
    places = [(("rules", name, "during"), table) for name, table in _tables(raw, "rules")]
    places += [(("exchanges", name, "calendar"), table) for name, table in _tables(raw, "exchanges")]
    trading = raw.get("trading")
    if isinstance(trading, dict):
        own = trading.get("accounts")
        places += [(("trading", "", "calendar"), each) for each in (trading, *(own if isinstance(own, list) else ()))]
    names = [(table.get(place[-1]), place) for place, table in places if isinstance(table, dict)]
    return [(name, place) for name, place in names if isinstance(name, str)]


def _tables(raw: dict[str, Any], section: str) -> list[tuple[str, Any]]:
    tables = raw.get(section)
    return list(tables.items()) if isinstance(tables, dict) else []


def _table(views: Sequence[dict[str, Any]]) -> str:
    rows, tones = [], []
    for view in views:
        state = {True: "open", False: "closed", None: "not known"}[view["open"]]
        rows.append(
            (
                view["name"],
                state,
                view["day"],
                _hours(view) or ("not known" if view["session"] is None else "no session"),
                _moment(view["next_open"], view),
                _moment(view["next_close"], view),
                view["settlement"] or "–",
            )
        )
        tones.append({True: "good", False: "quiet", None: "bad"}[view["open"]])
    return table(("CALENDAR", "NOW", "DAY", "SESSION", "NEXT OPEN", "NEXT CLOSE", "A TRADE SETTLES"), rows, tones)


def _remarks(views: Sequence[dict[str, Any]], told: Failure | None) -> list[str]:
    lines = []
    for view in views:
        name = clean(view["name"])
        if view["why"].startswith(f"{view['name']} was closed"):
            lines.append(clean(view["why"]))
        lines += [
            f"{name} {one['day']}: closed by command ({clean(one['why'] or 'no reason given')})"
            for one in view["closures"]
        ]
        if view["unknown"]:
            lines.append(f"{clean(view['unknown'])}: trader-monitor calendar update {name} --file …")
        elif view["day"] > view["announced_until"]:
            lines.append(f"{name}: days after {view['announced_until']} are derived by rule, not announced")
    if told is not None:
        lines.append(f"({told}; shown from the tables, without what was closed by command)")
    return list(dict.fromkeys(lines))


def _hours(view: dict[str, Any]) -> str:
    return ", ".join(f"{_local(begin, view)}–{_local(end - 60, view, 60)}" for begin, end in view["hours"])


def _local(t: float, view: dict[str, Any], later: int = 0) -> str:
    """The time of day at t, and so many seconds later by the clock on the wall, so that midnight may be 24:00."""
    from zoneinfo import ZoneInfo

    local = datetime.fromtimestamp(t, ZoneInfo(view["zone"]))
    return str(ClockTime(local.hour * 3600 + local.minute * 60 + local.second + later))


def _moment(t: float | None, view: dict[str, Any]) -> str:
    """Local to the market, with how far away it is."""
    if t is None:
        return "–"
    from zoneinfo import ZoneInfo

    return f"{datetime.fromtimestamp(t, ZoneInfo(view['zone'])):%a %m-%d %H:%M} (in {duration(t - time.time())})"


# --- update -----------------------------------------------------------------------------------------------------------


def _update(args: argparse.Namespace, names: Sequence[str]) -> int:
    from trader_monitor.cli.calendar_table import written

    if len(names) != 1 or args.file is None:
        raise Failure("say which and where: trader-monitor calendar update XTAI --file calendars/XTAI.toml", Exit.USAGE)
    changes = written(names[0], args.file, args.until)
    if args.json:
        print(json.dumps({"file": str(args.file), **changes}, ensure_ascii=False))
        return Exit.OK
    name = clean(names[0])
    print(f"{args.file}: {name} from {changes['known_from']} to {changes['known_until']}")
    for word in ("closes", "opens"):
        for day in changes[word]:
            print(f"  {word} {day}, against the table before")
    print(f'  to use it: [calendars.{name}] file = "{args.file}"')
    return Exit.OK
