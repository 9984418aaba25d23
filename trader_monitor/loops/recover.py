"""The loop of recovery: compares the checks' breakers with the steps taken, and takes the one that is due.

What is due is the ladder's judgement alone (`core.recovery.ladder`). This loop records a step before it acts,
runs the action beside the others, and records its outcome. While the store cannot keep what is recorded, no
action is begun: after a crash nobody would know of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import anyio
import structlog
from anyio.abc import TaskGroup
from msgspec.structs import replace

from trader_monitor.core.budget import Budget
from trader_monitor.core.facts import ActionStep, CheckResult
from trader_monitor.core.recovery.ladder import HOUR, Incident, Rung, due
from trader_monitor.runtime.delivery import redacted
from trader_monitor.runtime.env import Env

if TYPE_CHECKING:
    from trader_monitor.config.tables import ActionTable, CheckTable

__all__ = ["recover"]

NAME = "recover"
LONGEST_OUTCOME = 1000
LOUD = frozenset({"failed", "not_verified", "over_budget", "exhausted"})

log = structlog.get_logger("trader_monitor.recover")


async def recover(env: Env) -> None:
    """Recovers for ever; cancelled, it leaves a running action's step without an outcome, as a crash would."""
    wake = env.journal.wake_on(CheckResult, ActionStep)
    running: dict[str, str] = {}
    async with anyio.create_task_group() as tasks:
        while True:
            for table in tuple(env.config().checks.values()):
                await _advance(env, table, running, tasks, wake.set)
            env.progress.beat(NAME)
            await wake.wait()


async def _advance(
    env: Env, table: CheckTable, running: dict[str, str], tasks: TaskGroup, wake: Callable[[], None]
) -> None:
    """Takes every step of one check that is due now."""
    while (step := _due(env, table, running)) is not None:
        action = env.config().actions.get(step.action)
        if step.phase == "started" and action is None:
            return  # a reload took it away this very moment
        if step.phase == "started" and env.journal.degraded:
            log.error("action held back: the store cannot record it", check=step.check, action=step.action)
            return
        if step.phase == "started":
            running[step.check] = step.action
        await env.journal.record([step])
        _tell(step)
        if step.phase == "started" and action is not None:
            tasks.start_soon(_act, env, action, step, running, wake)
            return


def _due(env: Env, table: CheckTable, running: dict[str, str]) -> ActionStep | None:
    board = env.board
    actions = env.config().actions
    spent: defaultdict[str, tuple[float, ...]] = defaultdict(tuple)
    for step in board.steps:
        if step.phase == "started":
            spent[step.action] += (step.mono,)
    return due(
        board.checks.get(table.name),
        board.incidents.get(table.name, ()),
        tuple(Rung(name, actions[name].armed, Budget(actions[name].per_hour, HOUR)) for name in table.recover),
        spent=spent,
        running=table.name in running,
        busy=frozenset(running.values()),
        fresh_for=table.every + table.timeout,
        now=env.clock.now(),
    )


async def _act(
    env: Env, table: ActionTable, step: ActionStep, running: dict[str, str], wake: Callable[[], None]
) -> None:
    """Runs the action and records what became of it."""
    incident = Incident(step.incident, step.check, step.rung, step.why)
    phase: Literal["succeeded", "failed"] = "failed"
    try:
        with anyio.fail_after(table.timeout):
            outcome = str(await table.plugin.call(table.options, env, incident))
        phase = "succeeded"
    except TimeoutError:
        outcome = f"no end within {table.timeout:g} s"
    except Exception as error:
        outcome = str(error) or type(error).__name__
    now = env.clock.now()
    ended = replace(
        step,
        at=now.wall,
        mono=now.mono,
        phase=phase,
        outcome=redacted(outcome, table.options, LONGEST_OUTCOME),
        seconds=now.mono - step.mono,
    )
    await env.journal.record([ended])
    _tell(ended)
    running.pop(step.check, None)
    wake()


def _tell(step: ActionStep) -> None:
    say = log.warning if step.phase in LOUD else log.info
    say(
        "recovery " + step.phase.replace("_", " "),
        check=step.check,
        action=step.action,
        rung=step.rung,
        incident=step.incident,
        why=step.why,
        outcome=step.outcome,
    )
