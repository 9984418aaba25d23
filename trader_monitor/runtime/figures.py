"""Figures: those of the board under the configuration's conventions, by room, for collectors and for the API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from trader_monitor.core.calendar.calendar import Calendar, OutsideTable
from trader_monitor.core.figure import Figure, Point, points
from trader_monitor.core.trading.accounts.figures import account_figures
from trader_monitor.core.trading.accounts.figures import standing as standing_figures
from trader_monitor.core.trading.positions.results import figures as trade_figures
from trader_monitor.runtime.readings import Metric, Reading, gauge

if TYPE_CHECKING:
    from trader_monitor.core.trading.accounts.accounts import AccountKey
    from trader_monitor.core.trading.accounts.terms import Sessions, Terms
    from trader_monitor.runtime.env import Env

__all__ = ["PAUSE_AFTER", "ROOMS", "SHOWN", "figured", "figures_of"]

PAUSE_AFTER = 100
"""Figures that are read in one go: a few milliseconds where those of an account are made anew."""


def accounts(env: Env) -> Iterator[Figure]:
    """Performance, risk and limits of accounts."""
    trading, calendars = env.config().trading, env.config().calendars

    def terms_of(key: AccountKey) -> tuple[Terms, Sessions | None]:
        name = trading.calendar_of(*key)
        calendar = calendars.get(name) if name is not None else None
        sessions = None if calendar is None else _sessions(env.board.closures.of(calendar))
        return trading.terms(*key), sessions

    return account_figures(env.board.accounts, terms_of, env.clock.now().wall)


def standing(env: Env) -> Iterator[Figure]:
    """What the fold writes of accounts by itself, for who asks: as series it is there already."""
    return standing_figures(env.board.accounts)


def trades(env: Env) -> Iterator[Figure]:
    """Closed trades of accounts and of strategies: win rate, profit factor, expectancy, streaks, holding times."""
    return trade_figures(env.board.trading.ledgers, env.board.trading.strategies)


def exchanges(env: Env) -> Iterator[Figure]:
    """Execution, exchanges and streams of market data."""
    config, closures = env.config(), env.board.closures
    market_time = {
        name: _market_time(closures.of(calendar))
        for name, table in config.exchanges.items()
        if (calendar := config.calendars.get(table.calendar)) is not None
    }
    return env.board.exchanges.figures(env.clock.now().wall, market_time)


def agents(env: Env) -> Iterator[Figure]:
    """How often agents are right, how sure they are, how long they take."""
    return env.board.agents.figures(env.clock.now().wall)


def models(env: Env) -> Iterator[Figure]:
    """Drift of models by their last runs, and what the streaming detectors see; the drift loop makes series of them."""
    return env.watched.figures()


Read: TypeAlias = Callable[["Env"], Iterator[Figure]]

ROOMS: Final[Mapping[str, Read]] = {
    "accounts": accounts,
    "trades": trades,
    "exchanges": exchanges,
    "agents": agents,
}
"""The figures of the present that collectors publish, by room."""

SHOWN: Final[Mapping[str, tuple[Read, ...]]] = {
    **{name: (read,) for name, read in ROOMS.items()},
    "accounts": (standing, accounts),
    "agents": (agents, lambda env: env.board.agents.standing()),
    "models": (models,),
}
"""All that there are, by room."""


async def figures_of(env: Env, room: str, *, published: bool = False) -> list[Figure]:
    """A room's figures at present, all or those that collectors publish.

    With pauses, in which nobody changes the board: a desk of a hundred bots has ten thousand figures.
    """
    found: list[Figure] = []
    async with env.journal.folding.turn:
        for read in (ROOMS[room],) if published else SHOWN[room]:
            for figure in read(env):
                found.append(figure)
                if len(found) % PAUSE_AFTER == 0:
                    await asyncio.sleep(0)
    return found


async def figured(env: Env, room: str) -> list[Reading]:
    """What a collector yields of a room: values, ends of intervals and numbers of observations."""
    readings: list[Reading] = []
    for number, figure in enumerate(await figures_of(env, room, published=True), 1):
        readings += map(_reading, points((figure,)))
        if number % PAUSE_AFTER == 0:
            await asyncio.sleep(0)
    return readings


def _reading(point: Point) -> Reading:
    told = dict(point.labels)
    name = told.pop("__name__")
    return Reading(name, told, point.value, _metric(name))


@lru_cache(maxsize=4096)
def _metric(name: str) -> Metric:
    """One help for all label sets of a metric; by which convention each is made, the API says."""
    for ending, help in _BESIDE.items():
        if name.endswith(ending):
            return gauge(name, f"{help} of {name.removesuffix(ending)}.")
    return gauge(name, "A figure; GET /v1/figures says its convention, sample size and interval.")


_BESIDE = {
    "_lower": "Lower end of the 95 % interval",
    "_upper": "Upper end of the 95 % interval",
    "_observations": "Number of observations",
}


@lru_cache(maxsize=64)
def _sessions(calendar: Calendar) -> Sessions:
    """The same function for the same calendar, so that what was worked out with it can be remembered."""

    def is_session(day: date) -> bool:
        try:
            return calendar.is_session(day)
        except OutsideTable:  # a day that nobody knows is counted rather than merged into another
            return True

    return is_session


@lru_cache(maxsize=64)
def _market_time(calendar: Calendar) -> Callable[[float, float], float]:
    def seconds_open(since: float, until: float) -> float:
        try:
            return calendar.seconds_open(since, until)
        except OutsideTable:  # all time counts where the calendar ends: too old is said too early, never too late
            return until - since

    return seconds_open
