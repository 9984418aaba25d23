"""Judge: all rules together. Which are concerned by what changed, at which moments, and what follows.

A rule is judged when a sample touches one of its selectors, when a deadline of one of its alerts is reached, when
the market that it names opens or closes, and now and then where time alone can change its answer. It is judged at the
times of the touched samples and at present, so that a dip inside a batch fires although the batch ends well. A sample
counts as present as long as the rule would still see it now (five minutes, or its range); what is older is history and
wakes nobody.

Pure: the moment is an argument, and what is kept between calls is derived from the board and can be derived
again. A rule that raises is isolated and counted in `failures`; the others are judged all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from trader_monitor.core.alerts.court import MAX_ALERTS, Alerts, Cause, Court
from trader_monitor.core.alerts.known import gauge_threshold
from trader_monitor.core.alerts.lifecycle import retire
from trader_monitor.core.alerts.rule import CompiledRule, Rule, RuleErrors, RuleProblem, compile_rule
from trader_monitor.core.alerts.selection import RuleIndex
from trader_monitor.core.alerts.session import Session
from trader_monitor.core.calendar.calendar import Calendar
from trader_monitor.core.facts import AlertChanged, Now
from trader_monitor.core.series import Touched, Windows

__all__ = ["Failure", "RuleSet", "compile_rules"]

TICKS = (1.0, 5.0)
"""Seconds between judgements of a rule that reads the clock or a range: few rules often, many in turn less often."""
FEW = 50
QUIET_TICK = 30.0
"""The same for one that only a series' falling silent can change; that takes five minutes anyway."""
_INSTANT_MS = 300_000
_GROUP = 25
"""Rules that are judged in one go by time alone, so that a thousand of them do not block the loop."""


class Failure(Struct, frozen=True):
    """What went wrong with a rule, how often, and when last (Unix seconds)."""

    rule: str
    cause: Cause
    message: str
    count: int
    at: float


def compile_rules(rules: Iterable[Rule], calendars: Mapping[str, Calendar] | None = None) -> RuleSet:
    """The rules, ready to judge; `calendars` are those that they may name. Raises RuleErrors with the problems of all
    of them."""
    compiled: list[CompiledRule] = []
    problems: list[RuleProblem] = []
    names: set[str] = set()
    for rule in rules:
        if rule.name in names:
            problems.append(RuleProblem(rule.name, "name", "there are two rules of this name"))
        names.add(rule.name)
        try:
            compiled.append(compile_rule(rule, calendars))
        except RuleErrors as errors:
            problems.extend(errors.problems)
    if problems:
        raise RuleErrors(problems)
    return RuleSet(compiled)


class RuleSet:
    """The Judge of the journal."""

    def __init__(
        self, rules: Sequence[CompiledRule], *, tick: float | None = None, max_alerts: int = MAX_ALERTS
    ) -> None:
        self.rules = tuple(rules)
        self.failures: dict[tuple[str, str], Failure] = {}
        self._courts = tuple(Court(rule, max_alerts, self._fail) for rule in self.rules)
        self._index = RuleIndex([court.selectors for court in self._courts])
        self._board: Alerts | None = None
        self._fresh = True
        self._ticks = _ticks(self.rules, tick)
        self._sessions = _sessions(self.rules)
        self._deadlines: dict[int, float] = {}
        """Those of the few rules that have one: this is asked after each change of an alert."""

    @property
    def windows(self) -> Windows:
        """By selector, how far back the rules look where that is more than an instant selector's five minutes."""
        plans = [plan for court in self._courts for plan in (court.compiled.condition, court.compiled.clear) if plan]
        return [(s, plan.lookback_ms) for plan in plans for s in plan.selectors if plan.lookback_ms > _INSTANT_MS]

    def touched(self, board: Alerts, touched: Touched, now: Now) -> list[AlertChanged]:
        """Judges the rules that these samples concern."""
        self._know(board)
        out: list[AlertChanged] = []
        for at in sorted(self._index.concerned(board.series, touched.sids)):
            self._judge(at, board, touched.times_ms, now, out)
        return out

    def due(self, board: Alerts, now: Now) -> list[AlertChanged]:
        """Judges what time may have changed: deadlines, clocks, silence; at first, everything."""
        self._know(board)
        out: list[AlertChanged] = []
        concerned: set[int] = set()
        if self._fresh:
            self._fresh = False
            out += self._orphans(board, now)
            concerned.update(range(len(self._courts)))
            for tick in self._ticks:
                tick.at = now.mono + tick.first
        for tick in self._ticks:
            if now.mono >= tick.at:
                concerned.update(tick.rules)
                tick.at = now.mono + tick.every
        for session in self._sessions:
            if session.look(board, now):
                concerned.update(session.rules)
        concerned.update(at for at, deadline in self._deadlines.items() if deadline <= now.mono)
        for at in sorted(concerned):
            self._judge(at, board, (), now, out)
        return out

    def next_due(self, board: Alerts, now: Now) -> float:
        """The monotonic time of the next `due`; infinity where only a sample can change anything."""
        if self._fresh or self._board is not board:
            return now.mono
        sessions = (session.next_due(board, now) for session in self._sessions)
        return min([*self._deadlines.values(), *(tick.at for tick in self._ticks), *sessions], default=float("inf"))

    def _know(self, board: Alerts) -> None:
        """Takes the active alerts from a board that is new, as after a start or a failed commit."""
        if self._board is board:
            return
        self._board = board
        self._fresh = True
        for selector, window_ms in self.windows:
            board.series.keep(selector, window_ms)
        active: dict[str, dict[str, AlertChanged]] = {}
        for alert in board.alerts.values():
            if alert.state != "resolved":
                active.setdefault(alert.rule, {})[alert.fingerprint] = alert
        for at, court in enumerate(self._courts):
            court.adopt(active.get(court.compiled.rule.name, {}))
            self._note(at)
        self._index.forget()

    def _orphans(self, board: Alerts, now: Now) -> list[AlertChanged]:
        """Ends the alerts that no rule can end any more: theirs is gone, or now adds other labels."""
        static = {compiled.rule.name: compiled.static for compiled in self.rules}
        out = []
        for alert in board.alerts.values():
            if alert.state == "resolved":
                continue
            added = static.get(alert.rule)
            if added is None:
                out.append(retire(alert, now, "the rule was removed"))
            elif any(alert.labels.get(name) != value for name, value in added.items()):
                out.append(retire(alert, now, "the rule's labels were changed"))
        for court in self._courts:
            court.disown(alert.fingerprint for alert in out)
        return out

    def _judge(self, at: int, board: Alerts, times_ms: Sequence[int], now: Now, out: list[AlertChanged]) -> None:
        court = self._courts[at]
        try:
            out.extend(court.judge(board, times_ms, now))
        except Exception as error:
            name = court.compiled.rule.name
            self._fail(name, "error", f"{type(error).__name__}: {error}", now)
            court.adopt({one: a for one, a in board.alerts.items() if a.rule == name and a.state != "resolved"})
            court.plan_deadline(now.mono)
            if court.compiled.during is not None:  # the market closes once, and then says no more
                court.deadline = min(court.deadline, now.mono + QUIET_TICK)
        self._note(at)

    def _note(self, at: int) -> None:
        if (deadline := self._courts[at].deadline) < float("inf"):
            self._deadlines[at] = deadline
        else:
            self._deadlines.pop(at, None)

    def _fail(self, rule: str, cause: Cause, message: str, now: Now) -> None:
        before = self.failures.get((rule, cause))
        count = before.count + 1 if before else 1
        self.failures[rule, cause] = Failure(rule, cause, message[:500], count, now.wall)


class _Tick:
    """Rules that are judged together, every so often."""

    __slots__ = ("at", "every", "first", "rules")

    def __init__(self, first: float, every: float, rules: Sequence[int]) -> None:
        self.at = float("inf")
        self.first = first
        self.every = every
        self.rules = tuple(rules)


def _sessions(rules: Sequence[CompiledRule]) -> list[Session]:
    by_name: dict[str, list[int]] = {}
    for at, rule in enumerate(rules):
        if rule.during is not None:
            by_name.setdefault(rule.during.name, []).append(at)
    calendars = {rule.during.name: rule.during for rule in rules if rule.during is not None}
    return [Session(calendars[name], numbers) for name, numbers in by_name.items()]


def _ticks(rules: Sequence[CompiledRule], tick: float | None) -> list[_Tick]:
    clocked = [at for at, rule in enumerate(rules) if rule.condition.time_driven]
    if tick is None:
        tick = TICKS[len(clocked) > FEW]
    others = set(range(len(rules))) - set(clocked)
    quiet = sorted(at for at in others if not gauge_threshold(rules[at].rule.expr))
    out = []
    for every, members in ((tick, clocked), (max(tick, QUIET_TICK), quiet)):
        groups = [members[at : at + _GROUP] for at in range(0, len(members), _GROUP)]
        out += [_Tick(every * (at + 1) / len(groups), every, group) for at, group in enumerate(groups)]
    return out
