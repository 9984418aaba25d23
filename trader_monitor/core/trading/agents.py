"""Agents that decide: how often, how sure, how long it takes, and how often they fail or were right."""

from __future__ import annotations

from msgspec import Struct

from trader_monitor.core.facts import Decision
from trader_monitor.core.snapshot import pack, unpack
from trader_monitor.core.tally import Tally

__all__ = ["Agents"]


class AgentsKept(Struct):
    """What a snapshot keeps of the agents."""


class Agents:
    """Counts of decisions by agent."""

    def __init__(self, tally: Tally) -> None:
        self._decisions = tally.counter("agent_decisions_total", "Decisions.", "source", "action")
        self._failures = tally.counter("agent_failures_total", "Decisions that failed.", "source")
        self._outcomes = tally.counter("agent_outcomes_total", "Decisions judged later.", "source", "outcome")
        self._confidence = tally.report("agent_confidence", "Confidence of the last decision.", "source")
        self._consensus = tally.report("agent_consensus", "Agents agreeing in all that were asked.", "source")
        self._latency = tally.histogram("agent_latency_seconds", "Time to decide.", "source")

    def fold(self, decision: Decision, t_ms: int) -> None:
        agent = (decision.source,)
        self._decisions.add((decision.source, decision.action), t_ms)
        if decision.failed:
            self._failures.add(agent, t_ms)
        if decision.outcome is not None:
            self._outcomes.add((decision.source, decision.outcome), t_ms)
        self._confidence.place(agent, t_ms, decision.confidence)
        self._consensus.place(agent, t_ms, decision.consensus)
        self._latency.observe(agent, t_ms, decision.latency_seconds)

    def dump(self) -> bytes:
        return pack(AgentsKept())

    def load(self, raw: bytes) -> None:
        unpack(raw, AgentsKept)
