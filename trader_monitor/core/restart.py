"""The restart decision: what becomes of a child that died, as a pure function of timestamps.

The first death is answered at once, those that follow in a row with a growing delay. Out of budget, an essential
child escalates; any other is parked for a cool-off and then tried once more: until it has lived for a whole
budget window it is on probation, and a death in that time parks it again.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

from trader_monitor.core.backoff import Backoff
from trader_monitor.core.budget import Budget, Stamps
from trader_monitor.core.facts import Now

__all__ = ["Choice", "Record", "Terms", "Verdict", "decide"]

Choice: TypeAlias = Literal["restart", "park", "escalate"]


class Terms(Struct, frozen=True):
    """On what terms a child is restarted; `park_for` is the cool-off in seconds."""

    budget: Budget
    backoff: Backoff
    essential: bool
    park_for: float


class Record(Struct, frozen=True):
    """A child's past: restarts that count against the budget, deaths in a row, restarts in all."""

    spent: Stamps = ()
    in_a_row: int = 0
    restarts: int = 0
    probation: bool = False


class Verdict(NamedTuple):
    """What to do, after how many seconds, and the record from then on."""

    decision: Choice
    delay: float
    record: Record


def decide(record: Record, lived: float, now: Now, terms: Terms, jitter: float) -> Verdict:
    """Judges a death after `lived` seconds; `jitter` is uniform in [0, 1)."""
    steady = lived >= terms.budget.within
    in_a_row = 1 if steady else record.in_a_row + 1
    spent, granted = terms.budget.spend(record.spent, now)
    if granted and (steady or not record.probation):
        delay = terms.backoff.delay(in_a_row - 1, jitter)
        return Verdict("restart", delay, Record(spent, in_a_row, record.restarts + 1))
    if terms.essential:
        return Verdict("escalate", 0.0, Record(spent, in_a_row, record.restarts))
    return Verdict("park", terms.park_for, Record((), in_a_row, record.restarts + 1, probation=True))
