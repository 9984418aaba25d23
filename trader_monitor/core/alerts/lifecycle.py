"""Lifecycle: one alert's way from pending over firing to resolved, as a pure function of what was and what is.

::

                  holds, for = 0
          ┌──────────────────────────────────────┐
    nothing ── holds ──> pending ── for elapsed ─┴─> firing ── gone, keep_firing_for elapsed ──> resolved
                            └────────── does not hold ─────────────────────────────────────────────┘

*Gone* means: the condition is known not to hold, or, for a rule with `clear`, that `clear` yields a result for
these labels. No data changes nothing: a pending alert waits with it (its time goes on, but it fires only
when the condition is seen to hold), a firing one goes on firing.

Durations are differences of `now.mono`, so a step of the wall clock can neither shorten nor lengthen them;
what is shown (`active_at`, `fired_at`, `resolved_at`) is `now.wall`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from trader_monitor.core.alerts.rule import CompiledRule
from trader_monitor.core.facts import AlertChanged, Now

__all__ = ["Reading", "advance", "deadline", "retire"]


class Reading(NamedTuple):
    """What a rule says about one label set at one moment."""

    holds: bool | None
    """None is no data."""
    value: float | None = None
    cleared: bool = False
    """Whether the rule's `clear` yields a result; of no meaning for a rule without."""


def advance(
    compiled: CompiledRule,
    fingerprint: str,
    labels: Mapping[str, str],
    previous: AlertChanged | None,
    reading: Reading,
    now: Now,
) -> AlertChanged | None:
    """The alert's next state, or None where it stays as it is.

    The number `transition` grows by one with each change of `state`, and with nothing else. A life that nothing is
    remembered of begins at the Unix time, so that it never repeats the numbers of an earlier, pruned one: whoever
    was told of that has not been told of this.
    """
    if previous is None or previous.state == "resolved":
        return _begun(compiled, fingerprint, labels, previous, reading, now) if reading.holds else None
    if previous.state == "pending":
        if reading.holds:
            due = now.mono >= previous.mono + compiled.rule.for_
            return _fired(compiled, previous, reading, now) if due else None
        if reading.holds is False:
            return _resolved(previous, reading, now, "the condition went before it had held long enough")
        return None
    return _while_firing(compiled, previous, reading, now)


def deadline(compiled: CompiledRule, alert: AlertChanged) -> float | None:
    """The monotonic time at which time alone may move this alert on, or None."""
    if alert.state == "pending":
        return alert.mono + compiled.rule.for_
    if alert.state == "firing" and alert.cleared_mono is not None:
        return alert.cleared_mono + compiled.rule.keep_firing_for
    return None


def retire(previous: AlertChanged, now: Now, reason: str) -> AlertChanged:
    """Ends an alert whose rule is no more, so that whoever was told of it is told that it ended."""
    return _resolved(previous, Reading(None), now, reason)


def _begun(
    compiled: CompiledRule,
    fingerprint: str,
    labels: Mapping[str, str],
    previous: AlertChanged | None,
    reading: Reading,
    now: Now,
) -> AlertChanged:
    rule = compiled.rule
    pending = AlertChanged(
        at=now.wall,
        fingerprint=fingerprint,
        rule=rule.name,
        state="pending",
        transition=previous.transition + 1 if previous else max(1, int(now.wall)),
        severity=rule.severity,
        labels=dict(labels),
        summary=compiled.summary.render(reading.value, labels),
        active_at=now.wall,
        mono=now.mono,
        value=reading.value,
        fired_transition=previous.fired_transition if previous else 0,
        runbook=rule.runbook,
        reason="the condition holds",
    )
    if rule.for_ > 0:
        return pending
    return _fired(compiled, replace(pending, transition=pending.transition - 1), reading, now)


def _fired(compiled: CompiledRule, previous: AlertChanged, reading: Reading, now: Now) -> AlertChanged:
    held = compiled.rule.for_
    return replace(
        previous,
        at=now.wall,
        state="firing",
        transition=previous.transition + 1,
        summary=compiled.summary.render(reading.value, previous.labels),
        value=reading.value,
        fired_at=now.wall,
        fired_value=reading.value,
        fired_transition=previous.transition + 1,
        runbook=compiled.rule.runbook,
        reason=f"the condition has held for {held:g}s" if held else "the condition holds",
    )


def _while_firing(compiled: CompiledRule, previous: AlertChanged, reading: Reading, now: Now) -> AlertChanged | None:
    rule = compiled.rule
    if reading.holds:
        gone = False
    elif rule.clear is not None:
        # Only `clear` ends it; without a word from it, being gone is unknown, or not true any more.
        gone = reading.cleared
        if not gone and reading.holds is None:
            return None
    else:
        if reading.holds is None:
            return None
        gone = True
    if not gone:
        return replace(previous, at=now.wall, cleared_mono=None) if previous.cleared_mono is not None else None
    reason = "the clear expression holds" if rule.clear is not None else "the condition no longer holds"
    if rule.keep_firing_for <= 0:
        return _resolved(previous, reading, now, reason)
    if previous.cleared_mono is None:
        return replace(previous, at=now.wall, cleared_mono=now.mono)
    if now.mono >= previous.cleared_mono + rule.keep_firing_for:
        return _resolved(previous, reading, now, f"{reason}, for {rule.keep_firing_for:g}s")
    return None


def _resolved(previous: AlertChanged, reading: Reading, now: Now, reason: str) -> AlertChanged:
    return replace(
        previous,
        at=now.wall,
        state="resolved",
        transition=previous.transition + 1,
        value=reading.value,
        resolved_at=now.wall,
        resolved_value=reading.value,
        cleared_mono=now.mono,
        reason=reason,
    )
