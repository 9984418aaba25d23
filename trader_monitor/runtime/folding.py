"""Folding: facts onto the board, and behind them the verdicts of the rules that they touch.

One batch at a time, so that replay folds them in the same order; a large one with pauses, in which whoever does not
change the board has their turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from trader_monitor.core.facts import AlertChanged, Fact, Now, Samples
from trader_monitor.runtime.judging import judged
from trader_monitor.runtime.rows import Row
from trader_monitor.runtime.trace import current_trace

if TYPE_CHECKING:
    from trader_monitor.core.series import SeriesStore
    from trader_monitor.runtime.journal import Journal

__all__ = ["LARGE", "Folding", "Overtaken"]

LARGE = 500
"""Facts beyond which a batch is folded with pauses."""

log = structlog.get_logger(__name__)


class Overtaken(Exception):
    """The store failed during a pause: the board that was folded into is no more."""


class Folding:
    """Whoever folds holds `turn`, from the look at what is known until the row is on its way to the disk."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.turn = asyncio.Lock()

    def at_once(self, facts: Sequence[Fact], raws: Sequence[bytes] | None, now: Now) -> Row:
        """Folds all of them."""
        with self._failing():
            self._journal.board.fold_many(facts, now)
        return self._row(facts, raws, now)

    async def with_pauses(self, facts: Sequence[Fact], raws: Sequence[bytes] | None, now: Now) -> Row:
        """Folds them bit by bit. Raises Overtaken. It must not be cancelled: what is folded has to be written."""
        journal = self._journal
        board = journal.board
        folding = board.folding(facts, now)
        while True:
            with self._failing():
                if next(folding, self) is self:
                    return self._row(facts, raws, now)
            await asyncio.sleep(0)
            if journal.failing or journal.board is not board:
                raise Overtaken

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._journal.fail(error)
            raise

    def _row(self, facts: Sequence[Fact], raws: Sequence[bytes] | None, now: Now) -> Row:
        """What was folded, and behind it the verdicts.

        A series that was refused is not in it: the store would keep its labels, and there is no end of those.
        """
        series = self._journal.board.series
        kept: list[Fact] = [within(series, fact) if isinstance(fact, Samples) else fact for fact in facts]
        steps: list[Sequence[Fact]] = [kept, *self._judged(now)]
        trace_id = current_trace()
        if len(steps) == 1:
            return Row(kept, raws, now, (), trace_id)
        return Row([fact for step in steps for fact in step], raws, now, tuple(map(len, steps)), trace_id)

    def _judged(self, now: Now) -> list[list[AlertChanged]]:
        journal = self._journal
        verdicts: list[list[AlertChanged]] = []
        try:
            verdicts.extend(judged(journal.judge, journal.board, now))
        except Exception:  # a rule that fails must not cost the facts; `tick` raises it to the supervisor
            journal.meters.count("monitor_judge_failures_total")
            log.exception("rules could not be judged")
        return verdicts


def within(series: SeriesStore, samples: Samples) -> Samples:
    """Of a collection what has a series; what has none changed nothing, nor will it in replay."""
    held = [series.holds(labels) for labels in samples.labels]
    if all(held):
        return samples
    return replace(
        samples,
        labels=tuple(compress(samples.labels, held)),
        values=tuple(compress(samples.values, held)),
        own=sum(held[: samples.own]),
    )
