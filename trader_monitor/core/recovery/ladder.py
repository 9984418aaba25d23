"""The ladder: which step of a recovery is due, given the check, the steps taken so far and the present.

An outage of a check is an *incident*; its steps are facts in order, and they alone are the memory:

    started → succeeded | failed → (a probe) → verified                       the check is well again
                                             → not_verified → the next rung   it is not
    dry_run → (a probe) → the next rung          written down, not done: the action is not armed
    over_budget → … → started                    waits until the hour has room again
    … the last rung did not help → exhausted     a human is needed

Safety is what is *not* due. Without fresh proof that the check fails nothing is done: an unanswered probe, an old
one, one that began before the last action ended. A step that was started and has no outcome (the daemon died in
the middle) is taken as failed, and a probe decides what comes next; it is never simply run again. One action at
a time for a check, and one run of an action at a time for all.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from trader_monitor.core.budget import Budget, Stamps
from trader_monitor.core.facts import ActionStep, CheckResult, Now

__all__ = ["HOUR", "Incident", "Rung", "due"]

Phase: TypeAlias = Literal[
    "started", "succeeded", "failed", "dry_run", "over_budget", "verified", "not_verified", "exhausted"
]

HOUR = 3600.0
WHO = "recovery"
CLOCK_SLACK_SECONDS = 1.0
"""How far a result may lie in the future before it counts as old: the wall clock was set back."""


class Incident(Struct, frozen=True):
    """What an action is told: which outage it serves. `key` is the same however often it is told."""

    id: str
    check: str
    rung: int
    why: str

    @property
    def key(self) -> str:
        return f"{self.id}/{self.rung}"


class Rung(Struct, frozen=True):
    """One rung: an action by name, whether it may really act, and how often."""

    action: str
    armed: bool
    budget: Budget


def due(
    result: CheckResult | None,
    steps: tuple[ActionStep, ...],
    rungs: tuple[Rung, ...],
    *,
    spent: Mapping[str, Stamps],
    running: bool,
    busy: Container[str],
    fresh_for: float,
    now: Now,
) -> ActionStep | None:
    """The step that is due, or None: wait. `started` means: record it, then run it.

    `steps` are those of the check's newest incident, `spent` the starts of each action. `running` says that this
    very process has the check's action in hand, `busy` names the actions in hand for any check. `fresh_for` is
    how many seconds old a failed probe may be and still be proof.
    """
    last = steps[-1] if steps and steps[-1].phase != "verified" else None
    if last is not None and last.phase == "started":
        return None if running else _next(last, "failed", now, "unknown: interrupted before its end", last.why)
    if result is None:
        return None
    if last is not None and result.breaker.state == "closed" and result.ok:
        return _next(last, "verified", now, result.message, "the check is well again")
    if running or not rungs or not _proves(result, fresh_for, now):
        return None
    if last is None:
        return _climb(f"{result.check}-{int(now.wall * 1000)}", 0, None, result, rungs, spent, busy, now)
    if last.phase in {"succeeded", "failed", "dry_run"}:
        if _began(result) <= last.mono:
            return None
        if last.phase != "dry_run":
            return _next(last, "not_verified", now, result.message, "the check fails still")
    if last.phase == "exhausted":
        return None
    number = last.rung if last.phase == "over_budget" else last.rung + 1
    if number < len(rungs):
        return _climb(last.incident, number, last, result, rungs, spent, busy, now)
    if any(step.phase == "started" for step in steps):
        return _next(last, "exhausted", now, result.message, f"none of {len(rungs)} actions helped")
    return None  # all was rehearsed, nothing was tried


def _proves(result: CheckResult, fresh_for: float, now: Now) -> bool:
    """Whether this result is fresh proof that the check fails, beyond its threshold."""
    if result.breaker.state != "open" or result.ok is not False:
        return False
    return -CLOCK_SLACK_SECONDS <= now.wall - result.at <= fresh_for


def _began(result: CheckResult) -> float:
    """The monotonic time at which the probe began that opened the breaker, the first time or again."""
    return result.breaker.since - result.seconds


def _climb(
    incident: str,
    number: int,
    last: ActionStep | None,
    result: CheckResult,
    rungs: tuple[Rung, ...],
    spent: Mapping[str, Stamps],
    busy: Container[str],
    now: Now,
) -> ActionStep | None:
    """The first step on a rung: to act, to rehearse, or to wait for the budget."""
    rung = rungs[number]
    if rung.action in busy:
        return None
    phase: Phase = "started"
    outcome = ""
    if not rung.armed:
        phase, outcome = "dry_run", "not armed: nothing was done"
    elif not rung.budget.spend(spent.get(rung.action, ()), now)[1]:
        if last is not None and last.phase == "over_budget":
            return None
        phase, outcome = "over_budget", f"{rung.budget.limit} runs within {rung.budget.within:g} s are spent"
    return ActionStep(
        at=now.wall,
        incident=incident,
        check=result.check,
        action=rung.action,
        rung=number,
        phase=phase,
        who=WHO,
        why=f"the check failed {result.breaker.failures} times in a row: {result.message}",
        mono=now.mono,
        outcome=outcome,
    )


def _next(last: ActionStep, phase: Phase, now: Now, outcome: str, why: str) -> ActionStep:
    """The same rung of the same incident, one phase further."""
    return replace(last, at=now.wall, phase=phase, who=WHO, why=why, mono=now.mono, outcome=outcome, seconds=0.0)
