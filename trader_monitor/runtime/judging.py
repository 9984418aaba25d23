"""Judging: the rules as the journal sees them, pure, asked about what a step touched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from msgspec.structs import replace

from trader_monitor.core.board import Board
from trader_monitor.core.facts import AlertChanged, Now
from trader_monitor.core.series import Touched, Windows
from trader_monitor.runtime.trace import current_trace

__all__ = ["Judge", "Unjudged", "judged", "traced"]

ROUNDS = 4


class Judge(Protocol):
    """The rules, pure: what changes for the alerts, given the board."""

    @property
    def windows(self) -> Windows:
        """What of the series has to be in memory for the rules to look back on."""

    def touched(self, board: Board, touched: Touched, now: Now) -> list[AlertChanged]: ...

    def due(self, board: Board, now: Now) -> list[AlertChanged]: ...

    def next_due(self, board: Board, now: Now) -> float: ...


class Unjudged:
    """No rules."""

    windows: Windows = ()

    def touched(self, board: Board, touched: Touched, now: Now) -> list[AlertChanged]:
        return []

    def due(self, board: Board, now: Now) -> list[AlertChanged]:
        return []

    def next_due(self, board: Board, now: Now) -> float:
        return float("inf")


def judged(judge: Judge, board: Board, now: Now) -> Iterator[list[AlertChanged]]:
    """Verdicts on what was touched, folded; an alert's own series may touch further rules, a few times over."""
    for _ in range(ROUNDS):
        touched = board.series.take_touched()
        if not touched.sids:
            return
        fresh = traced(judge.touched(board, touched, now))
        if not fresh:
            return
        board.fold_many(fresh, now)
        yield fresh


def traced(changes: Iterable[AlertChanged]) -> list[AlertChanged]:
    """The transitions, those of a new episode with the trace of whoever recorded what began it."""
    return [change if change.trace_id else replace(change, trace_id=current_trace()) for change in changes]
