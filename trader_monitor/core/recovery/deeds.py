"""Deeds: what was done about an outage, in one line for whoever is woken by its alert."""

from __future__ import annotations

from collections.abc import Iterable

from trader_monitor.core.facts import ActionStep

__all__ = ["deeds"]

_WORDS = {
    "started": "under way",
    "succeeded": "done",
    "failed": "failed",
    "dry_run": "rehearsed only, it is not armed",
    "over_budget": "not done, its budget is spent",
    "verified": "the check passes",
    "not_verified": "it did not help",
    "exhausted": "nothing is left to try",
}


def deeds(steps: Iterable[ActionStep], since: float) -> str:
    """The steps of a check's newest incident; empty where that was over before `since` (Unix seconds).

    "restart_bot: done, it did not help; restart_host: under way"
    """
    told: dict[str, list[str]] = {}
    last: ActionStep | None = None
    for step in steps:
        phases = told.setdefault(step.action or "ladder", [])
        if phases and phases[-1] == _WORDS["started"]:
            phases.pop()
        reason = f" ({step.outcome})" if step.phase == "failed" and step.outcome else ""
        phases.append(_WORDS[step.phase] + reason)
        last = step
    if last is None or (last.phase == "verified" and last.at < since):
        return ""
    return "; ".join(f"{action}: {', '.join(phases)}" for action, phases in told.items())
