"""What was decided about a market's day by command: the one fact that is not in `core.facts`, which bots import."""

from __future__ import annotations

from datetime import date

from trader_monitor.core.facts import Own

__all__ = ["CalendarChanged"]


class CalendarChanged(Own, frozen=True, kw_only=True, tag="calendar_changed"):
    """The spans (Unix seconds) in which a calendar's day is closed besides its own hours; all of them, so that the
    newest fact of a day stands alone. None of them: the day is as the calendar says."""

    calendar: str
    day: date
    closed: tuple[tuple[float, float], ...]
    why: str = ""
    who: str = ""
