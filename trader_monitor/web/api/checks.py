"""`GET /v1/checks`: every check with its breaker, its ladder and the steps of its newest incident."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from msgspec import Struct

from trader_monitor.core.facts import ActionStep, Now
from trader_monitor.web.status import CheckView, check_view

if TYPE_CHECKING:
    from trader_monitor.config.tables import CheckTable
    from trader_monitor.runtime.env import Env

__all__ = ["routes"]

RECENT_STEPS = 100


class Rung(Struct, frozen=True):
    action: str
    armed: bool


class Shown(Struct, frozen=True, kw_only=True):
    """A configured check. `state` is None until it was asked for the first time; durations are seconds."""

    name: str
    type: str
    every: float
    timeout: float
    trip_after: int
    cooldown: float
    recover: list[Rung]
    state: CheckView | None
    incident: tuple[ActionStep, ...]


class Checks(Struct, frozen=True):
    checks: list[Shown]
    steps: list[ActionStep]


def routes(env: Env) -> list[web.RouteDef]:
    async def checks(request: web.Request) -> web.Response:
        """The checks in the configuration's order, and the newest steps of recovery, newest first."""
        now = env.clock.now()
        shown = [_shown(env, table, now) for table in env.config().checks.values()]
        steps = list(env.board.steps)[: -RECENT_STEPS - 1 : -1]
        body = msgspec.json.encode(Checks(shown, steps))
        return web.Response(body=body, content_type="application/json")

    return [web.get("/v1/checks", checks)]


def _shown(env: Env, table: CheckTable, now: Now) -> Shown:
    result = env.board.checks.get(table.name)
    actions = env.config().actions
    return Shown(
        name=table.name,
        type=table.plugin.name,
        every=float(table.every),
        timeout=float(table.timeout),
        trip_after=table.trip_after,
        cooldown=float(table.cooldown),
        recover=[Rung(name, actions[name].armed) for name in table.recover],
        state=None if result is None else check_view(result, table.plugin.name, now),
        incident=env.board.incidents.get(table.name, ()),
    )
