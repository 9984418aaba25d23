"""What `holidays` and `exchange_calendars` say of each day of XTAI and XNYS: written to tests/data/calendars/.

Run in the environment of the two libraries, which the daemon never installs:

    python -c "from pathlib import Path; from benchmarks.environments import run; \
               print(run('calendars', Path('tests/oracles/calendars.py')))"
"""

from __future__ import annotations

import json
import warnings
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data" / "calendars"
FIRST, LAST = date(2015, 1, 1), date(2026, 12, 31)
ZONES = {"XTAI": "Asia/Taipei", "XNYS": "America/New_York"}


def days() -> list[date]:
    return [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]


def of_holidays(name: str) -> dict[str, Any]:
    """It knows holidays, weekdays are ours to add; half days are a category of their own."""
    import holidays

    years = range(FIRST.year, LAST.year + 1)
    closed = holidays.financial_holidays(name, years=years, language="en_US")
    half: dict[date, str] = {}
    if "half_day" in closed.supported_categories:
        half = dict(holidays.financial_holidays(name, years=years, language="en_US", categories=("half_day",)))
    return {
        "version": version("holidays"),
        "closed_weekdays": {str(day): closed[day] for day in days() if day.weekday() < 5 and day in closed},
        "weekend_sessions": [],
        "early_closes": {str(day): "13:00" for day in sorted(half) if day not in closed},
    }


def of_exchange_calendars(name: str) -> dict[str, Any]:
    """It knows sessions with their opening and close."""
    import exchange_calendars

    calendar = exchange_calendars.get_calendar(name, start=str(FIRST), end=str(LAST))
    sessions = {stamp.date(): stamp for stamp in calendar.sessions}
    local = {
        day: (
            f"{calendar.opens[stamp].tz_convert(ZONES[name]):%H:%M}",
            f"{calendar.closes[stamp].tz_convert(ZONES[name]):%H:%M}",
        )
        for day, stamp in sessions.items()
    }
    usual = max(set(local.values()), key=list(local.values()).count)
    return {
        "version": version("exchange_calendars"),
        "hours": usual,
        "closed_weekdays": {str(day): "" for day in days() if day.weekday() < 5 and day not in sessions},
        "weekend_sessions": [str(day) for day in sessions if day.weekday() > 4],
        "early_closes": {str(day): close for day, (_, close) in local.items() if close != usual[1]},
        "late_opens": {str(day): begin for day, (begin, _) in local.items() if begin != usual[0]},
        "utc": {
            str(day): [int(calendar.opens[sessions[day]].timestamp()), int(calendar.closes[sessions[day]].timestamp())]
            for day in sorted(sessions)[::5]
        },
    }


def main() -> None:
    warnings.simplefilter("ignore")  # of pandas, about a library that is not ours
    DATA.mkdir(parents=True, exist_ok=True)
    for name in ZONES:
        found = {
            "first": str(FIRST),
            "last": str(LAST),
            "holidays": of_holidays(name),
            "exchange_calendars": of_exchange_calendars(name),
        }
        path = DATA / f"{name}.json"
        path.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
