"""Session: the rules that are judged only while one market is open, and when that changes.

What a rule with `during` raised ends with the session, at once and whatever `clear` and `keep_firing_for` say: what it
watches is not there any more. At the next opening its condition begins anew, and so does its `for`.

Where the calendar does not know the day, its rules are judged as if they had none, and say so as failures: an alert
too many is better than one that is missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from trader_monitor.core.alerts.lifecycle import retire
from trader_monitor.core.calendar.calendar import Calendar, OutsideTable
from trader_monitor.core.calendar.closures import Closures
from trader_monitor.core.facts import AlertChanged, Now

__all__ = ["Closing", "Session", "over"]


class Closing(Protocol):
    """What of the board a calendar is asked with."""

    @property
    def closures(self) -> Closures: ...


class Session:
    """The rules of one calendar, by their numbers, and whether the market was open when they were last judged."""

    __slots__ = ("calendar", "open", "rules")

    def __init__(self, calendar: Calendar, rules: Sequence[int]) -> None:
        self.calendar = calendar
        self.rules = tuple(rules)
        self.open: bool | None = None
        """None is not known."""

    def look(self, board: Closing, now: Now) -> bool:
        """Whether the market has opened or closed since the last look; by the clock, or because somebody said so."""
        before, self.open = self.open, self._open_at(board, now.wall)
        return self.open != before

    def next_due(self, board: Closing, now: Now) -> float:
        """The monotonic time of the next opening or close, as far as the wall clock is right."""
        if self._open_at(board, now.wall) != self.open:
            return now.mono
        change = board.closures.of(self.calendar).next_change(now.wall)
        return float("inf") if change is None else now.mono + change - now.wall

    def _open_at(self, board: Closing, t: float) -> bool | None:
        try:
            return board.closures.of(self.calendar).open_at(t)
        except OutsideTable:
            return None


def over(calendar: Calendar, active: Mapping[str, AlertChanged], now: Now) -> list[AlertChanged]:
    """Ends the alerts whose newest word is of an earlier session, or of none: the daemon may have been away when it
    closed."""
    ended = []
    for alert in active.values():
        at = min(alert.at, now.wall)
        within = calendar.knows(calendar.day_of(at)) and calendar.open_at(at)
        close = calendar.next_close(at) if within else at
        if close is not None and close <= now.wall:
            ended.append(retire(alert, now, f"{calendar.name} has closed since"))
    return ended
