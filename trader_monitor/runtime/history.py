"""History: every series, heads and disk as one, for queries (`core.series.Source`), from any thread.

Of each day the finest tier is read that the disk has. A row of a coarser tier is its mean at its end (a counter
shows its last value), repeated through a quarter of an hour so that a lookback of five minutes finds it.

The heads are copied first and the blocks read after: what leaves a head is on disk before it does, so nothing
is missed; what is in both has the same times, and counts once. Series that memory has forgotten have ids of
their own, from `DISK` up.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import structlog

from trader_monitor.core.facts import Labels
from trader_monitor.core.matcher import Matcher
from trader_monitor.core.series import NEVER, Floats, SeriesStore, Times, stale_mask
from trader_monitor.runtime.blocks import Block, merged_columns, order_of
from trader_monitor.runtime.rows import Damaged, encode
from trader_monitor.runtime.tiers import PART, QUARTER, RAW, checked, day_of

if TYPE_CHECKING:
    from trader_monitor.runtime.journal import Journal

log = structlog.get_logger(__name__)

__all__ = ["DISK", "History"]

DISK = 1 << 40
"""Ids of series that only the disk knows begin here."""

_MEAN, _LAST = 2, 4
_COUNTER_ENDS = ("_total", "_sum", "_count", "_bucket")
_COUNTER_KINDS = ("counter", "histogram", "summary")
_STEP_MS = 300_000
_LABELS = msgspec.msgpack.Decoder(Labels)
_MAX_SELECTIONS = 256


class _Entry(NamedTuple):
    id: int
    tier: int
    t0: int
    t1: int


class _Selected(NamedTuple):
    newest: int
    """The store's newest series that was looked at."""
    keys: list[tuple[int, Labels]]


class History:
    """Heads and blocks. `cache` bounds the bytes of blocks held; a slow disk delays queries, never the loop."""

    def __init__(self, journal: Journal, *, cache: int = 12 << 20) -> None:
        self._journal = journal
        journal.readers.append(self.close)
        self._bound = cache
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._file = journal.store.quarantined
        """What was put aside last: another means that the store's file is another."""
        self._revision = -1
        self._places: dict[int, dict[int, list[_Entry]]] = {}
        self._blocks: OrderedDict[int, tuple[Block, int]] = OrderedDict()
        self._columns: OrderedDict[tuple[int, int], tuple[Times, Floats]] = OrderedDict()
        self._held = 0
        self._keys: dict[Labels, int] = {}
        self._forgotten = 0
        self._selections: OrderedDict[tuple[Matcher, ...], _Selected] = OrderedDict()

    @property
    def series(self) -> SeriesStore:
        return self._journal.board.series

    @property
    def metadata(self) -> dict[str, object]:
        return dict(self.series.metadata)

    def close(self) -> None:
        """Closes the file; the next question opens it again."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
        self._blocks.clear()
        self._columns.clear()
        self._keys.clear()
        self._selections.clear()
        self._places.clear()
        self._held = 0

    # --- Source -------------------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """See `core.series.Source`."""
        return self.series.generation

    def select(self, matchers: tuple[Matcher, ...]) -> Times:
        """The series of memory, then those that only the disk has."""
        series = self.series
        known = series.select(matchers)
        forgotten = [DISK + key for key, labels in self._on_disk(matchers) if series.find(labels) < 0]
        return np.concatenate([known, np.array(forgotten, np.int64)]) if forgotten else known

    def labels_of(self, sid: int) -> Labels:
        """See `core.series.Source`."""
        if sid < DISK:
            return self.series.labels_of(sid)
        with self._lock:
            row = self._query("SELECT labels FROM series WHERE id = ?", (sid - DISK,))
        return _LABELS.decode(row[0][0]) if row else ()

    def last(self, sids: Times, t_ms: int, lookback_ms: int) -> tuple[Times, Floats]:
        """See `core.series.Source`; from the columns of memory where nothing is newer than `t_ms`."""
        series = self.series
        times = np.full(len(sids), NEVER, np.int64)
        values = np.full(len(sids), np.nan)
        live = sids < DISK
        held = sids[live]
        times[live], values[live] = series.last_t[held], series.last_v[held]
        for at in np.flatnonzero((times > t_ms) | (times == NEVER)).tolist():
            t, v = self.window(int(sids[at]), t_ms - lookback_ms, t_ms)
            times[at], values[at] = (t[-1], v[-1]) if len(t) else (NEVER, np.nan)
        times[(times <= t_ms - lookback_ms) | stale_mask(values)] = NEVER
        return times, values

    def window(self, sid: int, t0_ms: int, t1_ms: int) -> tuple[Times, Floats]:
        """See `core.series.Source`."""
        t, v = self.series.head(sid) if sid < DISK else (_EMPTY_T, _EMPTY_V)
        first = int(t[0]) if len(t) else NEVER
        if len(t) and first <= t0_ms:
            return _between(t, v, t0_ms, t1_ms)
        labels = self.labels_of(sid)
        old_t, old_v = self._stored(labels, t0_ms, t1_ms)
        if not len(old_t):
            return _between(t, v, t0_ms, t1_ms)
        t, v = _between(t, v, t0_ms, t1_ms)
        if not len(t):
            return old_t, old_v
        t, (v,) = merged_columns([(old_t, (old_v,)), (t, (v,))])
        return t, v

    # --- disk ---------------------------------------------------------------------------------------------

    def _stored(self, labels: Labels, t0_ms: int, t1_ms: int) -> tuple[Times, Floats]:
        """What the disk has of a series in (t0, t1]."""
        with self._lock:
            key = self._key(labels)
            if key is None:
                return _EMPTY_T, _EMPTY_V
            for _ in range(4):
                parts = self._parts(key, labels, t0_ms, t1_ms)
                if parts is not None:
                    break
                self._revision = -1  # a block was merged away since the list was read
            else:
                raise sqlite3.OperationalError("the history changes faster than it can be read")
        if not parts:
            return _EMPTY_T, _EMPTY_V
        t = np.concatenate([part[0] for part in parts])
        v = np.concatenate([part[1] for part in parts])
        order = order_of(t)
        return (t, v) if order is None else (t[order], v[order])

    def _parts(self, key: int, labels: Labels, t0_ms: int, t1_ms: int) -> list[tuple[Times, Floats]] | None:
        days = self._days(key // PART)
        parts: list[tuple[Times, Floats]] = []
        first, last = day_of(t0_ms + 1), day_of(t1_ms + _STEP_MS * 3)
        chosen = range(first, last + 1) if last - first < len(days) else sorted(d for d in days if first <= d <= last)
        for day in chosen:
            for entry in days.get(day, ()):
                if entry.t1 <= t0_ms or entry.t0 - _STEP_MS * 2 * (entry.tier == QUARTER) > t1_ms:
                    continue
                block = self._block(entry)
                if block is None:
                    return None
                if key in block:
                    t, v = _between(*self._column(entry, block, key, labels), t0_ms, t1_ms)
                    if len(t):
                        parts.append((t, v))
        return parts

    def _days(self, part: int) -> dict[int, list[_Entry]]:
        """A part's blocks by day, of the finest tier that the day has, in the order of their writing."""
        revision = self._journal.history_revision
        if revision != self._revision:
            self._places.clear()
            self._revision = revision
        days = self._places.get(part)
        if days is not None:
            return days
        held: dict[int, tuple[bool, list[_Entry]]] = {}
        rows = self._query("SELECT id, tier, day, rolled, t0, t1 FROM block WHERE part = ? ORDER BY tier, id", (part,))
        coarse = {day for _, tier, day, *_ in rows if tier != RAW}
        whole = {day for _, tier, day, rolled, *_ in rows if tier == RAW and (rolled or day not in coarse)}
        for key, tier, day, _, t0, t1 in rows:
            if (tier == RAW) != (day in whole):
                continue
            entries = held.setdefault(day, (True, []))[1]
            if not entries or entries[0].tier == tier:
                entries.append(_Entry(key, tier, t0, t1))
        days = self._places[part] = {day: entries for day, (_, entries) in held.items()}
        return days

    def _block(self, entry: _Entry) -> Block | None:
        """The block, from the cache or the disk; None where it is there no more."""
        held = self._blocks.get(entry.id)
        if held is not None:
            self._blocks.move_to_end(entry.id)
            return held[0]
        rows = self._query("SELECT crc, body FROM block WHERE id = ?", (entry.id,))
        if not rows:
            return None
        crc, body = rows[0]
        try:
            block = checked(body, crc, entry.tier)
        except Damaged as error:  # what is left is still worth showing
            log.error("a block of the history is damaged", block=entry.id, reason=str(error))
            block, body = Block.empty(), b""
        self._blocks[entry.id] = (block, len(body))
        self._hold(len(body))
        return block

    def _column(self, entry: _Entry, block: Block, key: int, labels: Labels) -> tuple[Times, Floats]:
        """A series' samples in a block, from the cache or decoded."""
        held = self._columns.get((entry.id, key))
        if held is not None:
            self._columns.move_to_end((entry.id, key))
            return held
        t = block.times(key)
        counter = entry.tier != RAW and self._is_counter(labels)
        v = block.column(key, 0 if entry.tier == RAW else _LAST if counter else _MEAN)
        if entry.tier == QUARTER:
            t, v = _held(t, v, later=counter)
        self._columns[entry.id, key] = (t, v)
        self._hold(t.nbytes + v.nbytes)
        return t, v

    def _hold(self, size: int) -> None:
        """Counts what the cache took, and lets go of what was not used for longest."""
        self._held += size
        while self._held > self._bound and (len(self._columns) > 1 or len(self._blocks) > 1):
            if len(self._columns) > 1:
                _, (t, v) = self._columns.popitem(last=False)
                self._held -= t.nbytes + v.nbytes
            if len(self._blocks) > 1 and self._held > self._bound // 2:
                _, (_, length) = self._blocks.popitem(last=False)
                self._held -= length

    def _is_counter(self, labels: Labels) -> bool:
        name = next((value for label, value in labels if label == "__name__"), "")
        known = self.series.metadata.get(name)
        return known.kind in _COUNTER_KINDS if known is not None else name.endswith(_COUNTER_ENDS)

    def _unlearn(self) -> None:
        """Forgets ids of series, once any were taken out of the store."""
        forgotten = self._journal.pen.catalog.forgotten
        if forgotten != self._forgotten:
            self._keys.clear()
            self._selections.clear()
            self._forgotten = forgotten

    def _key(self, labels: Labels) -> int | None:
        """The store's id of a series; None where it has none yet."""
        self._unlearn()
        key = self._keys.get(labels)
        if key is None and labels:
            rows = self._query("SELECT id FROM series WHERE labels = ?", (encode(labels),))
            if rows:
                key = self._keys[labels] = int(rows[0][0])
        return key

    def _on_disk(self, matchers: tuple[Matcher, ...]) -> list[tuple[int, Labels]]:
        """The store's series that match; only those that came since the last time are looked at."""
        with self._lock:
            self._unlearn()
            held = self._selections.pop(matchers, _Selected(0, []))
            checks: list[tuple[str, Callable[[str], bool]]] = [(m.name, m.predicate()) for m in matchers]
            newest, keys = held.newest, list(held.keys)
            for key, raw in self._query("SELECT id, labels FROM series WHERE id > ? ORDER BY id", (held.newest,)):
                labels: Labels = _LABELS.decode(raw)
                values = dict(labels)
                if all(check(values.get(name, "")) for name, check in checks):
                    keys.append((key, labels))
                newest = key
            self._selections[matchers] = _Selected(newest, keys)
            while len(self._selections) > _MAX_SELECTIONS:
                self._selections.popitem(last=False)
            return keys

    def _query(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """All rows, in one read transaction; none while there is no store to read."""
        store = self._journal.store
        if self._file != store.quarantined:
            self._forget()
            self._file = store.quarantined
        if self._db is None:
            try:
                self._db = store.reader()
            except sqlite3.Error:
                return []
        return self._db.execute(sql, values).fetchall()


def _held(t: Times, v: Floats, *, later: bool) -> tuple[Times, Floats]:
    """A quarter's rows three times, five minutes apart: backwards from their end, or (counters) onwards."""
    steps = np.array([0, 1, 2]) if later else np.array([-2, -1, 0])
    return (t[:, None] + steps * _STEP_MS).ravel(), np.repeat(v, 3)


def _between(t: Times, v: Floats, t0_ms: int, t1_ms: int) -> tuple[Times, Floats]:
    if not len(t) or (t0_ms < t[0] and t1_ms >= t[-1]):
        return t, v
    start, end = t.searchsorted([t0_ms, t1_ms], side="right").tolist()
    return t[start:end], v[start:end]


_EMPTY_T: Times = np.empty(0, np.int64)
_EMPTY_V: Floats = np.empty(0, np.float64)
