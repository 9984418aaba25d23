"""The loop of one collector: ask it at its interval, record what it said.

Collectors of one interval are asked at the same instants: their records then share a commit, and the host is woken
less often. Those that ask others (`SPREAD`) have each a phase of their own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import anyio
import structlog
from anyio import to_thread

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.readings import Partial, Reading
from trader_monitor.runtime.rounds import AT_ONCE, Rounds, in_parts
from trader_monitor.runtime.threads import StillRunning

if TYPE_CHECKING:
    from trader_monitor.config.tables import CollectorTable

__all__ = ["collect"]

JITTER_SECONDS = 1.0
"""Those that are spread begin within the first second (or tenth of an interval)."""
ROUNDING = 0.001
"""The next instant is at least this share of an interval away: floats fall short of whole numbers."""

log = structlog.get_logger("trader_monitor.collect")


async def collect(env: Env, name: str) -> None:
    """Collects for ever, at instants that do not drift; a collection that fails is a metric and a log line.

    Where a collection takes longer than the interval, the instants that it missed are left out and counted.
    """
    table = env.config().collectors[name]
    rounds = Rounds(name, own=getattr(table.options, "OWN", False), stand=getattr(table.options, "STAND", 0.0))
    trouble = ""
    env.meters.count("monitor_collections_failed_total", 0, collector=name)
    phase, due = 0.0, env.clock.now().mono
    if getattr(table.options, "SPREAD", False):
        phase = random.uniform(0.0, table.every)
        due += random.uniform(0.0, min(JITTER_SECONDS, table.every / 10))
    while True:
        await env.clock.sleep(due - env.clock.now().mono)
        began = env.clock.now()
        readings, problem = await _asked(env, table)
        ended = env.clock.now()
        refused = rounds.refused
        made = partial(rounds.samples, began.wall, readings, up=not problem, seconds=ended.mono - began.mono)
        samples = made() if len(readings) <= AT_ONCE else await to_thread.run_sync(made)
        for part in in_parts(samples):
            await env.journal.record([part])
        if rounds.refused > refused:
            env.meters.count("monitor_readings_refused_total", rounds.refused - refused, collector=name)
        if problem:
            env.meters.count("monitor_collections_failed_total", collector=name)
        if problem != trouble:
            if problem:
                log.warning("collection failed", collector=name, reason=problem)
            else:
                log.info("collection works again", collector=name)
            trouble = problem
        due = (math.floor((due - phase) / table.every + ROUNDING) + 1) * table.every + phase
        missed = math.ceil((env.clock.now().mono - due) / table.every)
        if missed > 0:
            env.meters.count("monitor_collections_missed_total", missed, collector=name)
            due += missed * table.every


async def _asked(env: Env, table: CollectorTable) -> tuple[Sequence[Reading], str]:
    """The readings, and what went wrong ("" where nothing did)."""
    try:
        with anyio.fail_after(table.timeout):
            return tuple(await table.plugin.call(table.options, env)), ""
    except TimeoutError:
        return (), f"no answer within {table.timeout:g} s"
    except Partial as partial:
        return partial.readings, str(partial)
    except StillRunning as running:
        return (), str(running)
    except Exception as error:
        return (), f"{type(error).__name__}: {error}"
