"""Folding: facts onto the board, and behind them the verdicts of the rules that they touch.

One batch at a time, so that replay folds them in the same order; a large one in slices, between which whoever does
not change the board has their turn. Each slice is a step of its own, in replay too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from trader_monitor.core.facts import AlertChanged, Fact, Now
from trader_monitor.runtime.judging import judged
from trader_monitor.runtime.rows import Row

if TYPE_CHECKING:
    from trader_monitor.runtime.journal import Journal

__all__ = ["SLICE", "Folding", "Overtaken"]

SLICE = 2_000
"""Facts that are folded in one go: some 10 ms where each opens a series."""

log = structlog.get_logger(__name__)


class Overtaken(Exception):
    """The store failed between two slices: the board that they were folded into is no more."""


class Folding:
    """Whoever folds holds `turn`, from the look at what is known until the row is on its way to the disk."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.turn = asyncio.Lock()

    def at_once(self, facts: Sequence[Fact], raws: Sequence[bytes] | None, now: Now) -> Row:
        """Folds all of them."""
        self._fold(facts, now)
        return self._row([facts], raws, now)

    async def in_slices(self, facts: Sequence[Fact], raws: Sequence[bytes] | None, now: Now) -> Row:
        """Folds them slice by slice. Raises Overtaken. It must not be cancelled: what is folded has to be written."""
        journal = self._journal
        board = journal.board
        slices = [facts[first : first + SLICE] for first in range(0, len(facts), SLICE)]
        for number, each in enumerate(slices):
            if number:
                await asyncio.sleep(0)
                if journal.failing or journal.board is not board:
                    raise Overtaken
            self._fold(each, now)
        return self._row(slices, raws, now)

    def _fold(self, facts: Sequence[Fact], now: Now) -> None:
        try:
            self._journal.board.fold_many(facts, now)
        except Exception as error:
            self._journal.fail(error)
            raise

    def _row(self, steps: list[Sequence[Fact]], raws: Sequence[bytes] | None, now: Now) -> Row:
        """What was folded, and behind it the verdicts."""
        steps.extend(self._judged(now))
        if len(steps) == 1:
            return Row(steps[0], raws, now)
        return Row([fact for step in steps for fact in step], raws, now, tuple(map(len, steps)))

    def _judged(self, now: Now) -> list[list[AlertChanged]]:
        journal = self._journal
        verdicts: list[list[AlertChanged]] = []
        try:
            verdicts.extend(judged(journal.judge, journal.board, now))
        except Exception:  # a rule that fails must not cost the facts; `tick` raises it to the supervisor
            journal.meters.count("monitor_judge_failures_total")
            log.exception("rules could not be judged")
        return verdicts
