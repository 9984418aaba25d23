"""Agents that decide: how often, how sure, how long it takes, and how often they fail or were right."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from trader_monitor.core.facts import Decision
from trader_monitor.core.figure import Figure, Pairs, exact
from trader_monitor.core.snapshot import pack, unpack
from trader_monitor.core.statistics.percentiles import CONVENTION, Sketches, bucket, sketch_key
from trader_monitor.core.statistics.rolling import DAY, HOURS_OF_A_MONTH, MONTH, Cell, Rolling, RollingKept
from trader_monitor.core.statistics.shares import mean, mean_of, share
from trader_monitor.core.tally import Tally
from trader_monitor.core.trading.agents.calibration import calibration_figures, judge

__all__ = ["Agents", "Streak"]

DECISIONS, FAILED, CORRECT, WRONG, FULL = range(5)
CONFIDENCE, CONSENSUS = 8, 12
LATENCY = 1

MOST_AGENTS = 256

_LATENCY = sketch_key(LATENCY)
_NONE = "no decision in this window"
_IN_ROW = "decisions that failed one after another, {}"


class Streak(Struct, array_like=True):
    """Failures in a row; a decision older than the newest changes nothing."""

    at_ms: int = 0
    current: int = 0
    longest: int = 0
    decisions: int = 0

    def take(self, t_ms: int, failed: bool) -> bool:
        """Takes a decision; whether that changed a row, or is the first of all."""
        self.decisions += 1
        if t_ms < self.at_ms:
            return False
        self.at_ms = t_ms
        before = self.current
        self.current = self.current + 1 if failed else 0
        if self.current > self.longest:
            self.longest = self.current
        return self.current != before or self.decisions == 1


class AgentsKept(Struct):
    """What a snapshot keeps of the agents."""

    agents: list[tuple[str, RollingKept, Streak]] = []


class Agents:
    """Decisions by agent, over a day and over thirty.

    Memory: at most 256 agents; one that decides every ten minutes takes some 600 KB, because thirty days are kept by
    the hour.
    """

    def __init__(self, tally: Tally) -> None:
        self._agents: dict[str, tuple[Rolling, Streak]] = {}
        self._decisions = tally.counter("agent_decisions_total", "Decisions.", "source", "action")
        self._failures = tally.counter("agent_failures_total", "Decisions that failed.", "source")
        self._outcomes = tally.counter("agent_outcomes_total", "Decisions judged later.", "source", "outcome")
        self._confidence = tally.report("agent_confidence", "Confidence of the last decision.", "source")
        self._consensus = tally.report("agent_consensus", "Agents agreeing in all that were asked.", "source")
        self._latency = tally.histogram("agent_latency_seconds", "Time to decide.", "source")
        self._in_row = tally.state("agent_failures_in_row", "Newest decisions that failed in a row.", "source")
        self._most_in_row = tally.state("agent_failures_in_row_max", "Most decisions that failed in a row.", "source")

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
        known = self._agents.get(decision.source)
        if known is None:
            if len(self._agents) >= MOST_AGENTS:
                return
            known = self._agents[decision.source] = (Rolling(HOURS_OF_A_MONTH), Streak())
        rolling, streak = known
        if streak.take(t_ms, bool(decision.failed)):
            self._in_row.write(agent, t_ms, float(streak.current))
            self._most_in_row.write(agent, t_ms, float(streak.longest))
        _count(rolling.cell(t_ms), decision)

    def figures(self, now: float) -> Iterator[Figure]:
        """Every figure of every agent at `now` (Unix seconds), but those that the fold itself writes as series."""
        now_ms = int(now * 1000.0)
        for source, (rolling, _) in self._agents.items():
            for window in (DAY, MONTH) if not rolling.asleep(now_ms) else ():
                labels: Pairs = (("source", source), ("window", window.name))
                yield from _figures(labels, rolling.total(window, now_ms))

    def standing(self) -> Iterator[Figure]:
        """What the fold writes of agents by itself, for who asks: as series it is there already."""
        for source, (_, streak) in self._agents.items():
            of: Pairs = (("source", source),)
            n = streak.decisions
            yield exact("agent_failures_in_row", of, float(streak.current), n, _IN_ROW.format("up to the newest"))
            yield exact("agent_failures_in_row_max", of, float(streak.longest), n, _IN_ROW.format("at most so far"))

    def dump(self) -> bytes:
        return pack(AgentsKept([(name, rolling.dump(), streak) for name, (rolling, streak) in self._agents.items()]))

    def load(self, raw: bytes) -> None:
        kept: AgentsKept = unpack(raw, AgentsKept)
        for name, rolling, streak in kept.agents:
            self._agents[name] = (Rolling.load(rolling, HOURS_OF_A_MONTH), streak)


def _count(cell: Cell, decision: Decision) -> None:
    def add(key: int, by: float = 1.0) -> None:
        cell[key] = cell.get(key, 0.0) + by

    add(DECISIONS)
    if decision.failed:
        add(FAILED)
    confidence, consensus, outcome = decision.confidence, decision.consensus, decision.outcome
    if confidence is not None:
        add(CONFIDENCE)
        add(CONFIDENCE + 1, confidence)
        add(CONFIDENCE + 2, confidence * confidence)
    if consensus is not None:
        add(CONSENSUS)
        add(CONSENSUS + 1, consensus)
        add(CONSENSUS + 2, consensus * consensus)
        if consensus >= 1.0:
            add(FULL)
    if outcome is not None:
        right = outcome == "correct"
        add(CORRECT if right else WRONG)
        if confidence is not None:
            judge(cell, confidence, right)
    if decision.latency_seconds is not None:
        add(_LATENCY + bucket(decision.latency_seconds))


def _figures(labels: Pairs, cell: Cell) -> Iterator[Figure]:
    def number(key: int) -> int:
        return int(cell.get(key, 0.0))

    judged = number(CORRECT) + number(WRONG)
    yield share(
        "agent_accuracy_ratio",
        labels,
        number(CORRECT),
        judged,
        "correct decisions / decisions whose outcome was reported",
        "no outcome was reported in this window",
    )
    yield share("agent_failure_ratio", labels, number(FAILED), number(DECISIONS), "failed decisions / decisions", _NONE)
    yield mean(
        "agent_confidence_mean_ratio",
        labels,
        mean_of(cell, CONFIDENCE),
        "mean confidence of the decisions that told one",
        "no decision told its confidence in this window",
    )
    consensus, none = mean_of(cell, CONSENSUS), "no decision told its consensus in this window"
    yield mean("agent_consensus_mean_ratio", labels, consensus, "mean of agents agreeing / asked", none)
    yield share(
        "agent_consensus_full_ratio",
        labels,
        number(FULL),
        consensus.n,
        "decisions on which all agents agreed / decisions that told their consensus",
        none,
    )
    yield from (
        Sketches(cell)
        .of(LATENCY)
        .figures("agent_latency_quantile_seconds", labels, CONVENTION, "no decision told its latency in this window")
    )
    yield from calibration_figures(labels, cell)
