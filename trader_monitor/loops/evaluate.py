"""The loop that judges what time alone can change: `for`, `keep_firing_for`, clocks and silence.

Samples are judged where they are recorded; this loop sleeps exactly until the next deadline, and looks again
when an alert changes, because that sets a new one, or when a market is closed by command.
"""

from __future__ import annotations

from functools import partial

import structlog

from trader_monitor.core.alerts.judge import RuleSet
from trader_monitor.core.alerts.notice import Route, prune
from trader_monitor.core.calendar.facts import CalendarChanged
from trader_monitor.core.facts import AlertChanged, Breaker, ChannelTried
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.waiting import first_of

__all__ = ["LONGEST", "evaluate"]

NAME = "evaluate"
LONGEST = 5.0
"""Seconds between two looks at the latest: the watchdog wants to see progress, and a reload brings other rules."""
SHORTEST = 0.01
PRUNE_EVERY = 30.0
FAILING_FOR = 60.0
"""Seconds after its last failure for which a rule counts as failing."""

log = structlog.get_logger(__name__)


async def evaluate(env: Env) -> None:
    """Judges for ever."""
    wake = env.journal.wake_on(AlertChanged, CalendarChanged)
    counted: dict[tuple[str, str], int] = {}
    pruned = env.clock.now().mono
    while True:
        now = env.clock.now()
        wait = env.journal.judge.next_due(env.board, now) - now.mono
        await first_of(wake.wait, partial(env.clock.sleep, min(max(wait, SHORTEST), LONGEST)))
        await env.journal.tick()
        now = env.clock.now()
        if now.mono >= pruned + PRUNE_EVERY:
            channels = env.config().channels.values()
            prune(env.board, [Route(one.name, one.min_severity) for one in channels], now)
            pruned = now.mono
        await _let_go(env)
        _count(env, counted)
        env.progress.beat(NAME)


async def _let_go(env: Env) -> None:
    """A channel that is no longer configured must not go on being reported as failing."""
    board, configured, now = env.board, env.config().channels, env.clock.now()
    gone = [name for name in board.channels if name not in configured]
    await env.journal.record(
        [ChannelTried(at=now.wall, channel=name, outcome="gone", breaker=Breaker(), mono=now.mono) for name in gone]
    )


def _count(env: Env, counted: dict[tuple[str, str], int]) -> None:
    """Makes rules that fail visible: a metric for each, and a log line when one begins to."""
    judge = env.journal.judge
    if not isinstance(judge, RuleSet):
        return
    now = env.clock.now()
    failing = {failure.rule for failure in judge.failures.values() if now.wall - failure.at < FAILING_FOR}
    env.meters.set("monitor_rules", float(len(judge.rules)))
    env.meters.set("monitor_rules_failing", float(len(failing)))
    for key, failure in judge.failures.items():
        before = counted.get(key, 0)
        if failure.count < before:  # other rules after a reload count from nothing
            before = 0
        if failure.count == before:
            continue
        env.meters.count("monitor_rule_failures_total", failure.count - before, rule=failure.rule, cause=failure.cause)
        if key not in counted:
            log.error("a rule cannot be judged", rule=failure.rule, cause=failure.cause, reason=failure.message)
        counted[key] = failure.count
