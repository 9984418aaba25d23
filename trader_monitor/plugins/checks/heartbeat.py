"""Watches the heartbeat of a bot."""

from __future__ import annotations

from msgspec import Struct

from trader_monitor.config.values import Duration
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.options import refuse, unless
from trader_monitor.runtime.probe import Probe
from trader_monitor.runtime.registry import check


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The bot is silent after `missed` intervals: its own, or `interval` where it promised none."""

    source: str
    missed: float = 3.0
    interval: Duration = Duration(30.0)

    def __post_init__(self) -> None:
        refuse(unless(self.missed >= 1, "missed", "expected at least 1"))


@check("heartbeat", Options)
async def heartbeat(options: Options, env: Env) -> Probe:
    """Watches a bot's heartbeat: how many it missed. One that never came is no data; one that says stopped is well."""
    beat = env.board.heartbeats.get(options.source)
    if beat is None:
        return Probe(None, f"no heartbeat of {options.source} has ever come")
    age = env.clock.now().wall - beat.at
    if beat.state == "stopped":
        return Probe(True, "stopped, as it said itself", age)
    interval = beat.interval_seconds or options.interval
    limit = options.missed * interval
    message = f"the last heartbeat came {age:.1f} s ago, wanted one every {interval:g} s"
    return Probe(age <= limit, message, age)
