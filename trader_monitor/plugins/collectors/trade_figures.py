"""Figures of closed trades."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Reading
from trader_monitor.runtime.registry import collector

REPORTED = ("trade",)


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose here: conventions and limits are in [trading]."""

    STAND: ClassVar[float] = 60.0


@collector("trade_figures", Options)
async def trade_figures(options: Options, env: Env) -> list[Reading]:
    """Win rate, profit factor, expectancy, streaks and holding times of closed trades."""
    if env.board.counts.keys().isdisjoint(REPORTED):
        return []
    from trader_monitor.runtime.figures import figured  # with all that it needs: not before there is something to say

    return await figured(env, "trades")
