"""Figures of exchanges."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Reading
from trader_monitor.runtime.registry import collector

REPORTED = ("order", "trade", "request", "rate_limit", "connection", "market_data")


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose here: conventions and limits are in [trading]."""

    STAND: ClassVar[float] = 60.0


@collector("exchange_figures", Options)
async def exchange_figures(options: Options, env: Env) -> list[Reading]:
    """Fill rates, latencies, costs, error rates, headroom, time connected and the ages of market data."""
    if env.board.counts.keys().isdisjoint(REPORTED):
        return []
    from trader_monitor.runtime.figures import figured  # with all that it needs: not before there is something to say

    return await figured(env, "exchanges")
