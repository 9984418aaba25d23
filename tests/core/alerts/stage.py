"""A stage for rules: a board, a judge, and a clock that the test moves; samples in, transitions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trader_monitor.core.alerts.judge import RuleSet, compile_rules
from trader_monitor.core.alerts.rule import Rule
from trader_monitor.core.board import Board
from trader_monitor.core.facts import AlertChanged, Labels, Now
from trader_monitor.core.series import STALE, SeriesStore

WALL, MONO = 1_700_000_000.0, 5_000.0


def series(text: str) -> Labels:
    """`a{x=1,y=2}` as a label set."""
    name, _, rest = text.partition("{")
    pairs = dict(pair.split("=", 1) for pair in rest.rstrip("}").split(",") if pair)
    return tuple(sorted({"__name__": name, **pairs}.items()))


class Stage:
    """The rules under test on an empty board."""

    def __init__(self, *rules: Rule) -> None:
        self.board = Board(SeriesStore())
        self.judge: RuleSet = compile_rules(rules)
        self.seconds = 0.0
        self.step = 0.0
        """How far the wall clock was moved by hand."""
        self.history: list[AlertChanged] = []
        self.tick()

    @property
    def now(self) -> Now:
        return Now(WALL + self.seconds + self.step, MONO + self.seconds)

    def send(self, samples: Mapping[str, float | None]) -> list[AlertChanged]:
        """One sample each, all of now; None is the staleness marker."""
        return self.batch([(0.0, samples)])

    def batch(self, parts: Sequence[tuple[float, Mapping[str, float | None]]]) -> list[AlertChanged]:
        """Samples in one step, each so many seconds from now."""
        store = self.board.series
        for offset, samples in parts:
            for name, value in samples.items():
                t = int((self.now.wall + offset) * 1000 + 0.5)
                store.append(store.intern(series(name)), t, STALE if value is None else value)
        return self._keep(self.judge.touched(self.board, store.take_touched(), self.now))

    def tick(self) -> list[AlertChanged]:
        return self._keep(self.judge.due(self.board, self.now))

    def wait(self, seconds: float) -> list[AlertChanged]:
        """Lets time pass as the evaluate loop does: from one deadline to the next."""
        end = self.seconds + seconds
        out: list[AlertChanged] = []
        while (due := self.judge.next_due(self.board, self.now) - MONO) <= end:
            self.seconds = max(self.seconds, due)
            out += self.tick()
        self.seconds = end
        return out + self.tick()

    def reload(self, *rules: Rule) -> list[AlertChanged]:
        self.judge = compile_rules(rules)
        return self.tick()

    def _keep(self, changes: list[AlertChanged]) -> list[AlertChanged]:
        for change in changes:
            self.board.fold(change, self.now)
        self.history += changes
        return changes


def states(changes: Sequence[AlertChanged]) -> list[str]:
    return [change.state for change in changes]
