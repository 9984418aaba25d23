"""The market calendars that the configuration names: how they stand, and the command that closes a day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from trader_monitor.core.calendar.calendar import Calendar, OutsideTable, Span
from trader_monitor.core.calendar.closures import close, reopen
from trader_monitor.core.calendar.facts import CalendarChanged
from trader_monitor.web.app import refusal
from trader_monitor.web.calendar_view import CalendarView, calendar_view

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

__all__ = ["routes"]

Words = Annotated[str, Meta(max_length=200)]


class Ask(Struct, forbid_unknown_fields=True):
    """Which day of which calendar; today where none is named. `all_day` takes, or gives back, what is past too."""

    calendar: str
    day: date | None = None
    why: Words = ""
    who: Words = ""
    all_day: bool = False


class Told(Struct, frozen=True):
    """`changed` is False where the day was so already."""

    changed: bool
    calendar: CalendarView


class Shown(Struct, frozen=True):
    calendars: list[CalendarView]


def routes(env: Env) -> list[web.RouteDef]:
    """GET /v1/calendars[?day=2026-02-10], POST /v1/calendars/close and /v1/calendars/reopen."""

    async def shown(request: web.Request) -> web.Response:
        """Every calendar that the configuration names, on one day."""
        asked = request.query.get("day")
        try:
            day = date.fromisoformat(asked) if asked else None
        except ValueError:
            return refusal(400, f"{asked[:40] if asked else ''!r} is not a day", "write it as 2026-01-31")
        now = env.clock.now().wall
        views = [calendar_view(one, env.board.closures, now, day) for one in env.config().calendars.values()]
        return _json(Shown(views))

    async def closing(request: web.Request) -> web.Response:
        return await _changed(request, close)

    async def reopening(request: web.Request) -> web.Response:
        return await _changed(request, reopen)

    async def _changed(request: web.Request, change: Callable[..., tuple[Span, ...]]) -> web.Response:
        """Records what is closed of the day from now on; whoever waits for the calendar hears of it at once."""
        try:
            ask = msgspec.json.decode(await request.read(), type=Ask)
        except msgspec.MsgspecError as error:
            return refusal(400, f'expected {{"calendar": NAME, "day": "2026-01-31", "why": TEXT}}: {error}')
        if not (ask.why + ask.who).isprintable():
            return refusal(400, "expected printable characters in `why` and `who`")
        calendar: Calendar | None = env.config().calendars.get(ask.calendar)
        if calendar is None:
            names = ", ".join(sorted(env.config().calendars)) or "none"
            return refusal(404, f"the configuration names no calendar {ask.calendar[:64]!r}", f"it names: {names}")
        now = env.clock.now().wall
        live = env.board.closures.of(calendar)
        day = ask.day or live.day_of(now)
        try:
            before = live.closed_spans(day)
            closed = change(live, day, now, all_day=ask.all_day)
        except OutsideTable as outside:
            return refusal(422, str(outside))
        if closed != before:
            fact = CalendarChanged(at=now, calendar=calendar.name, day=day, closed=closed, why=ask.why, who=ask.who)
            await env.journal.record([fact])
            await env.journal.tick()
        return _json(Told(closed != before, calendar_view(calendar, env.board.closures, now, day)))

    return [
        web.get("/v1/calendars", shown),
        web.post("/v1/calendars/close", closing),
        web.post("/v1/calendars/reopen", reopening),
    ]


def _json(body: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")
