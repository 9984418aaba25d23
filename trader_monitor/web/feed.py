"""The feed: facts become deltas, the board a snapshot, both under one row of sequence numbers.

Pure; `web.live` moves the bytes. Metrics are level-triggered: a delta holds the series whose newest sample
differs from what was told last, so a burst is told once and nothing that was folded is missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from trader_monitor.core.board import Board
from trader_monitor.core.facts import (
    ActionStep,
    AlertChanged,
    CheckResult,
    ChildDied,
    Fact,
    NoticeSent,
    Now,
    Trade,
)
from trader_monitor.core.series import NEVER
from trader_monitor.web.frames import MAX_FRAME, Frame, Recent, Topics, encode, wire
from trader_monitor.web.status import CheckView, ChildView, Status, check_view

__all__ = ["Feed", "Replaced"]

MAX_SERIES = 4096
"""Series in one step; a larger collection is told in several, so that none blocks the loop."""
MAX_TRADES = 100
RECENT_TRADES = 50
RECENT_ALERTS = 100

Sample = tuple[int, int, float]


class Replaced(Exception):
    """The board was rebuilt: what was told before does not lead to it. Begin anew with a snapshot."""


class Head(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="delta"):
    seq: int
    at: float
    topic: str
    family: str = ""


class MetricsDelta(Head, frozen=True, kw_only=True, omit_defaults=True, tag="delta"):
    """`series` names ids that were not known before, `gone` those that are no more."""

    samples: Sequence[Sample]
    series: dict[int, msgspec.Raw] = {}
    gone: Sequence[int] = ()


class AlertsDelta(Head, frozen=True, kw_only=True, omit_defaults=True, tag="delta"):
    alerts: Sequence[AlertChanged] = ()
    notices: Sequence[NoticeSent] = ()


class ChecksDelta(Head, frozen=True, kw_only=True, omit_defaults=True, tag="delta"):
    checks: Sequence[CheckView] = ()
    steps: Sequence[ActionStep] = ()


class TradesDelta(Head, frozen=True, kw_only=True, omit_defaults=True, tag="delta"):
    """`skipped` trades came in the same moment and are left out: the newest are here."""

    trades: Sequence[Trade] = ()
    skipped: int = 0


class ChildrenDelta(Head, frozen=True, kw_only=True, omit_defaults=True, tag="delta"):
    children: Sequence[ChildView] = ()
    deaths: Sequence[ChildDied] = ()


class Snapshot(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="snapshot"):
    """The state after delta `seq`; topics that were not asked for are absent."""

    seq: int
    at: float
    topics: list[str]
    status: Status
    series: dict[int, msgspec.Raw] | None = None
    samples: Sequence[Sample] | None = None
    alerts: Sequence[AlertChanged] | None = None
    history: Sequence[AlertChanged] | None = None
    checks: Sequence[CheckView] | None = None
    steps: Sequence[ActionStep] | None = None
    trades: Sequence[Trade] | None = None
    children: Sequence[ChildView] | None = None
    deaths: Sequence[ChildDied] | None = None


class Heartbeat(Struct, frozen=True, kw_only=True, tag_field="type", tag="status"):
    """Says that the feed lives, and how the house is; `seq` is the newest delta's number."""

    seq: int
    status: Status


class _Told:
    """The newest sample of every series as clients know it."""

    def __init__(self) -> None:
        self.t = np.full(0, NEVER, np.int64)
        self.v = np.full(0, np.nan)
        self.families: dict[int, str] = {}
        self.names: dict[int, msgspec.Raw] = {}

    def changed(self, board: Board) -> list[int]:
        """The ids whose newest sample is not the one told, ascending; NaN equals itself here."""
        t, v = board.series.last_t, board.series.last_v
        if len(t) > len(self.t):
            more = len(t) - len(self.t)
            self.t = np.concatenate([self.t, np.full(more, NEVER, np.int64)])
            self.v = np.concatenate([self.v, np.full(more, np.nan)])
        differs = (t != self.t) | (v.view(np.int64) != self.v.view(np.int64))
        return [int(sid) for sid in np.flatnonzero(differs & ((t != NEVER) | (self.t != NEVER)))]

    def learn(self, board: Board, sid: int) -> None:
        labels = dict(board.series.labels_of(sid))
        self.families[sid] = labels.get("__name__", "").partition("_")[0]
        self.names[sid] = msgspec.Raw(encode(labels))


class Feed:
    """`seq` grows by one with each delta and begins at the wall clock's milliseconds, so that a number from an
    earlier life of the daemon is older than all of this one's, and is answered with a snapshot."""

    def __init__(self, board: Board, seq: int, types: Callable[[], Mapping[str, str]] = dict) -> None:
        self.recent = Recent(seq)
        self.more = False
        """Whether the last step left series untold: take another soon."""
        self._board = board
        self._types = types
        self._told = _Told()
        self._children: tuple[ChildView, ...] = ()
        self._trades: deque[Trade] = deque(board.trading.latest, maxlen=RECENT_TRADES)
        self._new_trades: deque[Trade] = deque(maxlen=MAX_TRADES)
        self._new_trade_count = 0
        self._alerts: list[AlertChanged] = []
        self._notices: list[NoticeSent] = []
        self._checks: dict[str, CheckResult] = {}
        self._steps: list[ActionStep] = []
        self._deaths: list[ChildDied] = []
        self._told_silently(board)

    @property
    def seq(self) -> int:
        return self.recent.seq

    def collect(self, facts: Iterable[Fact]) -> None:
        """Keeps what the next step has to tell besides the series."""
        for fact in facts:
            match fact:
                case Trade():
                    self._new_trades.append(fact)
                    self._new_trade_count += 1
                case AlertChanged():
                    self._alerts.append(fact)
                case CheckResult():
                    self._checks[fact.check] = fact
                case NoticeSent():
                    self._notices.append(fact)
                case ActionStep():
                    self._steps.append(fact)
                case ChildDied():
                    self._deaths.append(fact)
                case _:
                    pass

    def step(self, board: Board, children: tuple[ChildView, ...], now: Now) -> list[Frame]:
        """The deltas since the last step, the alerts' first. Raises Replaced where the board is another one."""
        if board is not self._board:
            self._begin_anew(board)
            raise Replaced
        frames: list[Frame] = []
        self._tell(frames, AlertsDelta, now, "alerts", "alerts", self._alerts)
        self._tell(frames, AlertsDelta, now, "alerts", "notices", self._notices)
        types = self._types() if self._checks else {}
        views = [check_view(check, types.get(check.check, ""), now) for check in self._checks.values()]
        self._tell(frames, ChecksDelta, now, "checks", "checks", views)
        self._tell(frames, ChecksDelta, now, "checks", "steps", self._steps)
        if children != self._children:
            self._children = children
            self._tell(frames, ChildrenDelta, now, "children", "children", children)
        self._tell(frames, ChildrenDelta, now, "children", "deaths", self._deaths)
        trades = list(self._new_trades)
        self._trades.extend(trades)
        skipped = self._new_trade_count - len(trades)
        self._tell(frames, TradesDelta, now, "trades", "trades", trades, skipped=skipped)
        self._clear()
        self._tell_metrics(frames, board, now)
        return frames

    def snapshot(self, topics: Topics, status: Status, now: Now) -> bytes:
        """The state after the last step, as JSON (take a step before). It repeats nothing that a later delta adds
        to, and what a commit under way has put on the board already, its delta will say again by the same key."""
        board, told, types = self._board, self._told, self._types()
        parts: dict[str, Any] = {}
        if topics.metrics:
            sids = [sid for sid, family in told.families.items() if topics.takes("metrics", family)]
            parts["series"] = {sid: told.names[sid] for sid in sids}
            parts["samples"] = _samples(told, sids)
        if topics.takes("alerts"):
            parts["alerts"] = list(board.alerts.values())
            parts["history"] = list(board.alert_history)[: -RECENT_ALERTS - 1 : -1]
        if topics.takes("checks"):
            parts["checks"] = [check_view(c, types.get(c.check, ""), now) for c in board.checks.values()]
            parts["steps"] = list(board.steps)[: -RECENT_ALERTS - 1 : -1]
        if topics.takes("trades"):
            parts["trades"] = list(self._trades)
        if topics.takes("children"):
            parts["children"] = self._children
            parts["deaths"] = list(board.deaths)
        return encode(Snapshot(seq=self.seq, at=now.wall, topics=topics.names(), status=status, **parts))

    def heartbeat(self, status: Status) -> bytes:
        return wire(encode(Heartbeat(seq=self.seq, status=status)))

    def _begin_anew(self, board: Board) -> None:
        self._board = board
        self._told = _Told()
        self.recent.forget()
        self.recent.seq += 1
        self._told_silently(board)

    def _told_silently(self, board: Board) -> None:
        """Takes every series as known: a snapshot will say it."""
        for sid in self._told.changed(board):
            self._told.learn(board, sid)
        self._told.t, self._told.v = board.series.last_t.copy(), board.series.last_v.copy()

    def _tell_metrics(self, frames: list[Frame], board: Board, now: Now) -> None:
        told = self._told
        changed = told.changed(board)
        self.more = len(changed) > MAX_SERIES
        changed = changed[:MAX_SERIES]
        if not changed:
            return
        by_family: dict[str, list[int]] = {}
        fresh: set[int] = set()
        for sid in changed:
            family = told.families.get(sid)
            if family is None:
                told.learn(board, sid)
                fresh.add(sid)
                family = told.families[sid]
            by_family.setdefault(family, []).append(sid)
        told.t[changed] = board.series.last_t[changed]
        told.v[changed] = board.series.last_v[changed]
        for family, sids in by_family.items():
            self._tell_family(frames, now, family, sids, fresh)

    def _tell_family(self, frames: list[Frame], now: Now, family: str, sids: list[int], fresh: set[int]) -> None:
        told = self._told
        gone = [sid for sid in sids if told.t[sid] == NEVER]
        series = {sid: told.names[sid] for sid in sids if sid in fresh}
        size = 40 * len(sids) + sum(len(bytes(name)) for name in series.values())
        if size > MAX_FRAME and len(sids) > 1:
            middle = len(sids) // 2
            self._tell_family(frames, now, family, sids[:middle], fresh)
            self._tell_family(frames, now, family, sids[middle:], fresh)
            return
        samples = _samples(told, [sid for sid in sids if told.t[sid] != NEVER] if gone else sids)
        delta = MetricsDelta(
            seq=self.seq + 1,
            at=now.wall,
            topic="metrics",
            family=family,
            samples=samples,
            series=series,
            gone=gone,
        )
        self._add(frames, Frame(delta.seq, "metrics", family, wire(encode(delta))))
        for sid in gone:
            del told.families[sid], told.names[sid]

    def _tell(
        self,
        frames: list[Frame],
        shape: type[Head],
        now: Now,
        topic: str,
        name: str,
        items: Sequence[Any],
        **others: Any,
    ) -> None:
        """One delta with one list, or several where it would be too long."""
        if not items:
            return
        parts: dict[str, Any] = {name: items, **others}
        delta = shape(seq=self.seq + 1, at=now.wall, topic=topic, **parts)
        encoded = encode(delta)
        if len(encoded) > MAX_FRAME and len(items) > 1:
            middle = len(items) // 2
            self._tell(frames, shape, now, topic, name, items[:middle], **others)
            self._tell(frames, shape, now, topic, name, items[middle:])
        else:
            self._add(frames, Frame(delta.seq, topic, "", wire(encoded)))

    def _add(self, frames: list[Frame], frame: Frame) -> None:
        self.recent.add(frame)
        frames.append(frame)

    def _clear(self) -> None:
        self._alerts, self._notices, self._steps, self._deaths = [], [], [], []
        self._checks = {}
        self._new_trades.clear()
        self._new_trade_count = 0


def _samples(told: _Told, sids: list[int]) -> list[Sample]:
    return list(zip(sids, told.t[sids].tolist(), told.v[sids].tolist(), strict=True))
