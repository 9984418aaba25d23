"""The board: everything that is known, folded from the facts in order. Live, replay and backtest share this fold."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from trader_monitor.core.facts import (
    ActionStep,
    AlertChanged,
    CheckResult,
    ChildDied,
    Connection,
    Fact,
    Heartbeat,
    NoticeSent,
    Now,
    Samples,
)
from trader_monitor.core.series import SeriesStore

__all__ = ["Board"]


class Board:
    """What is known now. One writer (the event loop); `fold` is total and never raises on a valid fact."""

    def __init__(self, series: SeriesStore) -> None:
        self.series = series
        self.checks: dict[str, CheckResult] = {}
        self.alerts: dict[str, AlertChanged] = {}
        self.alert_history: deque[AlertChanged] = deque(maxlen=1000)
        self.notices: dict[tuple[str, str], NoticeSent] = {}
        self.incidents: dict[str, tuple[ActionStep, ...]] = {}
        self.steps: deque[ActionStep] = deque(maxlen=1000)
        self.deaths: deque[ChildDied] = deque(maxlen=200)
        self.heartbeats: dict[str, Heartbeat] = {}
        self.connections: dict[tuple[str, str | None, str | None], Connection] = {}
        self.counts: dict[str, int] = {}

    def fold(self, fact: Fact, now: Now) -> None:
        self.fold_many((fact,), now)

    def fold_many(self, facts: Iterable[Fact], now: Now) -> None:
        for fact in facts:
            match fact:
                case Samples():
                    t = int(fact.at * 1000 + 0.5)
                    self.series.append_many([self.series.intern(labels) for labels in fact.labels], t, fact.values)
                case CheckResult():
                    self.checks[fact.check] = fact
                case AlertChanged():
                    self.alerts[fact.fingerprint] = fact
                    self.alert_history.append(fact)
                case NoticeSent():
                    self.notices[fact.channel, fact.fingerprint] = fact
                case ActionStep():
                    self.steps.append(fact)
                    before = self.incidents.get(fact.check, ())
                    same = before and before[0].incident == fact.incident
                    self.incidents[fact.check] = (*before, fact) if same else (fact,)
                case ChildDied():
                    self.deaths.append(fact)
                case Heartbeat():
                    self.heartbeats[fact.source] = fact
                case Connection():
                    self.connections[fact.exchange, fact.channel, fact.source] = fact
                case _:
                    pass
