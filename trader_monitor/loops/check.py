"""The loop of one check: ask, judge by the breaker, record.

While the breaker is open nobody is asked until `cooldown` is over, so that the patient has time to recover; after
an action the next question comes one interval later, so that it verifies the action.
"""

from __future__ import annotations

import math
import random
from functools import partial
from typing import TYPE_CHECKING

import anyio
import structlog

from trader_monitor.core import breaker as breakers
from trader_monitor.core.facts import ActionStep, Breaker, CheckResult, Now
from trader_monitor.runtime.delivery import redacted
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.probe import Probe
from trader_monitor.runtime.threads import StillRunning
from trader_monitor.runtime.waiting import first_of

if TYPE_CHECKING:
    from trader_monitor.config.tables import CheckTable

__all__ = ["check"]

JITTER_SECONDS = 1.0

log = structlog.get_logger("trader_monitor.check")


async def check(env: Env, name: str) -> None:
    """Asks for ever. The state is the newest result on the board, so that it survives a restart."""
    table = env.config().checks[name]
    policy = breakers.Policy(trip_after=table.trip_after, cooldown=table.cooldown, longest=max(3600.0, table.cooldown))
    acted = env.journal.wake_on(ActionStep)
    due = env.clock.now().mono + random.uniform(0.0, min(JITTER_SECONDS, table.every / 10))
    while True:
        while (wait := _due(env, table, due) - env.clock.now().mono) > 0:
            await first_of(acted.wait, partial(env.clock.sleep, wait))
        began = env.clock.now()
        before = _breaker(env, name)
        trial = breakers.attempt(before, began, policy)
        probe, asked = await _asked(env, table, began)
        ended = env.clock.now()
        after = _judged(trial, probe, ended, policy)
        env.meters.set("monitor_check_unasked", float(probe.ok is None), check=name)
        await env.journal.record(
            [
                CheckResult(
                    at=ended.wall,
                    check=name,
                    ok=probe.ok,
                    breaker=after,
                    seconds=ended.mono - asked,
                    message=probe.message,
                    value=probe.value,
                )
            ]
        )
        _tell(name, before, after, probe)
        due += table.every
        behind = env.clock.now().mono - due
        if behind > 0:
            due += math.ceil(behind / table.every) * table.every


def _breaker(env: Env, name: str) -> Breaker:
    result = env.board.checks.get(name)
    return Breaker() if result is None else result.breaker


def _due(env: Env, table: CheckTable, due: float) -> float:
    """When to ask next (monotonic seconds)."""
    breaker = _breaker(env, table.name)
    if breaker.state == "closed":
        return due
    steps = env.board.incidents.get(table.name, ())
    done = steps[-1].mono if steps and steps[-1].phase in {"succeeded", "failed"} else 0.0
    return min(breaker.retry_at, done + table.every) if done >= breaker.since else breaker.retry_at


def _judged(trial: Breaker, probe: Probe, now: Now, policy: breakers.Policy) -> Breaker:
    """The breaker after the answer; no answer leaves it as it was."""
    if probe.ok is None:
        return trial
    return breakers.succeed(trial, now, policy) if probe.ok else breakers.fail(trial, now, policy)


async def _asked(env: Env, table: CheckTable, began: Now) -> tuple[Probe, float]:
    """The answer, and when its question was put (monotonic seconds).

    None within the deadline is a bad one, unless it was this process that stood still. So is none to an earlier
    question; but that was put before whatever was done since, and proves nothing about it.
    """
    try:
        with anyio.fail_after(table.timeout):
            answer: Probe = await table.plugin.call(table.options, env)
    except TimeoutError:
        waited = env.clock.now().mono - began.mono
        if waited > 1.5 * table.timeout + 1.0:
            return Probe(None, f"could not ask: the monitor itself stood still for {waited:.1f} s"), began.mono
        return Probe(False, f"no answer within {table.timeout:g} s"), began.mono
    except StillRunning as running:
        return Probe(False, f"no answer: {running}"), began.mono - running.seconds
    except Exception as error:
        return Probe(None, redacted(f"could not ask: {error or type(error).__name__}", table.options)), began.mono
    if answer.value is not None and not math.isfinite(answer.value):
        answer = answer._replace(value=None)
    return answer._replace(message=redacted(answer.message, table.options)), began.mono


def _tell(name: str, before: Breaker, after: Breaker, probe: Probe) -> None:
    if before.state == "closed" and after.state == "open":
        log.error("check failed, breaker open", check=name, failures=after.failures, reason=probe.message)
    elif before.state != "closed" and after.state == "closed":
        log.info("check passed, breaker closed", check=name, reason=probe.message)
    elif probe.ok is False and before.state == "closed":
        log.warning("check failed", check=name, failures=after.failures, reason=probe.message)
