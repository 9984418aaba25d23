"""Series: the newest samples of every label set, in memory.

One writer (the event loop), any number of readers in threads. A reader never sees a torn head: samples are
only ever appended behind the end that it has read, and whatever must move older samples (room for more, one
out of order) builds a new head and puts it in place by one assignment.

Time is int64 milliseconds, UTC. Values are float64 and may be NaN, infinite or the staleness marker.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trader_monitor.core.facts import Labels
from trader_monitor.core.matcher import Matcher

__all__ = [
    "NEVER",
    "STALE",
    "Floats",
    "Metadata",
    "SeriesStore",
    "Source",
    "Times",
    "Touched",
    "is_stale",
    "stale_mask",
]

Times: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

STALE_BITS = 0x7FF0000000000002
STALE: float = struct.unpack("<d", struct.pack("<Q", STALE_BITS))[0]
"""The value that says "this series has ended here" (Prometheus's bits, distinct from any other NaN)."""

NEVER = -(1 << 62)
"""The time of a sample that there is not."""

_DOUBLE = struct.Struct("<d")
_STALE_BYTES = _DOUBLE.pack(STALE)
_MAX_TOUCHED_TIMES = 1000
_MAX_SELECTIONS = 4096
_GROWTH = 4


def is_stale(value: float) -> bool:
    """Whether `value` is the staleness marker; an ordinary NaN is not."""
    return value != value and _DOUBLE.pack(value) == _STALE_BYTES


def stale_mask(values: Floats) -> NDArray[np.bool_]:
    """Where `values` holds the staleness marker."""
    return np.equal(np.ascontiguousarray(values).view(np.int64), STALE_BITS)


class Metadata(NamedTuple):
    """What is known of a metric: its Prometheus type (or "unknown"), help text and unit."""

    kind: str
    help: str = ""
    unit: str = ""


class Touched(NamedTuple):
    """Series that got a sample since the last question, and those samples' distinct times, ascending."""

    sids: frozenset[int]
    times_ms: tuple[int, ...]


class Source(Protocol):
    """What an evaluation reads: the heads alone (`SeriesStore`), or heads and history together."""

    @property
    def generation(self) -> int:
        """Grows when a series appears or goes: what was selected before may be incomplete."""

    def select(self, matchers: tuple[Matcher, ...]) -> Times:
        """The ids of all series that satisfy every matcher, ascending."""

    def labels_of(self, sid: int) -> Labels: ...

    def last(self, sids: Times, t_ms: int, lookback_ms: int) -> tuple[Times, Floats]:
        """Each series' newest sample in (t - lookback, t]; the time is NEVER where it is stale or missing."""

    def window(self, sid: int, t0_ms: int, t1_ms: int) -> tuple[Times, Floats]:
        """The samples with t0 < t <= t1, ascending, staleness markers included; not to be written to."""


class _Head:
    """A series' window: samples [0, end) of `t` and `v`, of which the first `flushed` are on disk too."""

    __slots__ = ("capacity", "dropped", "end", "flushed", "newest", "t", "v")

    def __init__(self, capacity: int) -> None:
        self.t: Times = np.empty(capacity, np.int64)
        self.v: Floats = np.empty(capacity, np.float64)
        self.capacity = capacity
        self.end = 0
        self.flushed = 0
        self.newest = NEVER
        self.dropped = False


class SeriesStore:
    """All series of one board. A series' id never changes and is never given to another.

    `head` is the number of samples that a series keeps (256: an hour at 15 s). Samples that are not yet on
    disk (`mark_flushed`) are kept beyond it, up to four times as many; then the oldest go, counted in `lost`.
    """

    def __init__(self, *, max_series: int = 50_000, head: int = 256) -> None:
        self.max_series = max_series
        self.generation = 0
        self.refused = 0
        self.lost = 0
        self.late = 0
        """Samples that came behind what is already on disk: in the head, but never in the history."""
        self.metadata: dict[str, Metadata] = {}
        self.crowded: set[int] = set()
        """Series whose head holds more unflushed samples than it should: flush them first."""
        self.last_t: Times = np.full(64, NEVER, np.int64)
        self.last_v: Floats = np.full(64, np.nan)
        self._bound = head
        self._room = head + max(head // 4, 1)
        self._ids: dict[Labels, int] = {}
        self._labels: list[Labels | None] = []
        self._heads: list[_Head | None] = []
        self._by_name: dict[str, list[int]] = {}
        self._selections: dict[tuple[Matcher, ...], _Selection] = {}
        self._touched: set[int] = set()
        self._touched_times: set[int] = set()

    def __len__(self) -> int:
        return len(self._ids)

    # --- identity ---------------------------------------------------------------------------------------

    def intern(self, labels: Labels) -> int:
        """The id of the label set, new if need be; -1 (and counted) where there is no room for one more."""
        sid = self._ids.get(labels)
        if sid is not None:
            return sid
        clean = tuple(sorted((name, value) for name, value in labels if value))
        sid = self._ids.get(clean)
        if sid is not None:
            return sid
        if len(self._ids) >= self.max_series:
            self.refused += 1
            return -1
        sid = len(self._labels)
        if sid == len(self.last_t):
            self.last_t = np.concatenate([self.last_t, np.full(sid, NEVER, np.int64)])
            self.last_v = np.concatenate([self.last_v, np.full(sid, np.nan)])
        self._labels.append(clean)
        self._heads.append(_Head(min(8, self._room)))
        self._ids[clean] = sid
        self._by_name.setdefault(_name(clean), []).append(sid)
        self.generation += 1
        return sid

    def find(self, labels: Labels) -> int:
        """The id of the label set, -1 where there is none."""
        return self._ids.get(labels, -1)

    def labels_of(self, sid: int) -> Labels:
        """The label set; empty for a series that was forgotten."""
        return self._labels[sid] or ()

    def sids(self) -> list[int]:
        return list(self._ids.values())

    def describe(self, name: str, kind: str, help: str = "", unit: str = "") -> None:
        """Says what a metric is; the newest word counts."""
        self.metadata[name] = Metadata(kind, help, unit)

    def forget(self, sids: Iterable[int]) -> None:
        """Takes series away (retention); their ids are not given again."""
        for sid in sids:
            labels = self._labels[sid]
            if labels is None:
                continue
            del self._ids[labels]
            self._labels[sid] = None
            self._heads[sid] = None
            self.last_t[sid] = NEVER
            self._touched.discard(sid)
            self.crowded.discard(sid)
            name = _name(labels)
            left = [other for other in self._by_name[name] if other != sid]
            if left:
                self._by_name[name] = left
            else:
                del self._by_name[name]
            self._selections.clear()
            self.generation += 1

    # --- writing ----------------------------------------------------------------------------------------

    def append(self, sid: int, t_ms: int, value: float) -> bool:
        """Adds a sample. The same time again: the last wins. Out of order: inserted, if not before the head.

        False where it was not taken: too old, or the id is that of a refused or forgotten series.
        """
        head = self._heads[sid] if sid >= 0 else None
        if head is None:
            return False
        end = head.end
        if t_ms > head.newest:
            if end == head.capacity:
                head = self._make_room(sid, head)
                end = head.end
            head.t[end] = t_ms
            head.v[end] = value
            head.end = end + 1
            head.newest = t_ms
            self.last_t[sid] = t_ms
            self.last_v[sid] = value
        elif t_ms == head.newest:
            head.v[end - 1] = value
            head.flushed = min(head.flushed, end - 1)
            self.last_v[sid] = value
        elif not self._insert(sid, head, t_ms, value):
            return False
        self._touched.add(sid)
        self._touched_times.add(t_ms)
        if len(self._touched_times) > 4 * _MAX_TOUCHED_TIMES:
            self._touched_times = set(sorted(self._touched_times)[-_MAX_TOUCHED_TIMES:])
        return True

    def append_many(self, sids: Sequence[int] | Times, t_ms: int, values: Sequence[float] | Floats) -> None:
        """Adds one sample to each of many series, all at one time (a scrape)."""
        append = self.append
        ids = sids.tolist() if isinstance(sids, np.ndarray) else sids
        numbers = values.tolist() if isinstance(values, np.ndarray) else values
        for sid, value in zip(ids, numbers, strict=True):
            append(sid, t_ms, value)

    def load(self, sid: int, t: Times, v: Floats) -> None:
        """Puts older samples, which are on disk already, before the head's own; newer ones are left out."""
        head = self._heads[sid]
        if head is None:
            return
        first = int(head.t[0]) if head.end else NEVER
        older = int(np.searchsorted(t, first)) if head.end else len(t)
        older_t, older_v = t[max(0, older - self._bound) : older], v[max(0, older - self._bound) : older]
        if not len(older_t):
            return
        fresh = _rebuilt(
            np.concatenate([older_t, head.t[: head.end]]),
            np.concatenate([older_v, head.v[: head.end]]),
            flushed=len(older_t) + head.flushed,
            dropped=head.dropped or older > self._bound,
        )
        self._put(sid, fresh)

    def take_touched(self) -> Touched:
        """What got a sample since the last call; of the times the newest thousand."""
        times = sorted(self._touched_times)[-_MAX_TOUCHED_TIMES:]
        touched = Touched(frozenset(self._touched), tuple(times))
        self._touched.clear()
        self._touched_times.clear()
        return touched

    def _make_room(self, sid: int, head: _Head) -> _Head:
        """A head with space at its end: larger while young, or without its oldest samples."""
        drop = 0
        capacity = min(head.capacity * 2, self._room)
        if head.capacity >= self._room:
            surplus = head.end - self._bound
            if head.flushed >= surplus:
                drop, capacity = surplus, self._room
            elif head.capacity < self._bound * _GROWTH:
                capacity = min(head.capacity * 2, self._bound * _GROWTH)
                self.crowded.add(sid)
            else:
                drop, capacity = max(self._bound // 4, 1), head.capacity
                self.lost += max(drop - head.flushed, 0)
        fresh = _Head(capacity)
        kept = head.end - drop
        fresh.t[:kept] = head.t[drop : head.end]
        fresh.v[:kept] = head.v[drop : head.end]
        fresh.end = kept
        fresh.flushed = max(head.flushed - drop, 0)
        fresh.newest = head.newest
        fresh.dropped = head.dropped or drop > 0
        self._heads[sid] = fresh
        return fresh

    def _insert(self, sid: int, head: _Head, t_ms: int, value: float) -> bool:
        """A sample out of order, into a new head."""
        at = int(np.searchsorted(head.t[: head.end], t_ms))
        if at == 0 and head.dropped:
            return False
        if head.t[at] == t_ms:
            head.v[at] = value
            self.late += at < head.flushed
            return True
        self.late += at < head.flushed
        fresh = _rebuilt(
            np.insert(head.t[: head.end], at, t_ms),
            np.insert(head.v[: head.end], at, value),
            flushed=head.flushed + (at < head.flushed),
            dropped=head.dropped,
        )
        self._put(sid, fresh)
        return True

    def _put(self, sid: int, head: _Head) -> None:
        self._heads[sid] = head
        self.last_t[sid] = head.newest
        self.last_v[sid] = head.v[head.end - 1]

    # --- the way to disk --------------------------------------------------------------------------------

    def unflushed(self, sid: int) -> tuple[Times, Floats]:
        """The samples that are not yet on disk.

        The first may have the time of the last that is, where its value was replaced since: the later counts.
        """
        head = self._heads[sid]
        if head is None:
            return _EMPTY_T, _EMPTY_V
        end = head.end
        return head.t[head.flushed : end], head.v[head.flushed : end]

    def mark_flushed(self, sid: int, t_ms: int) -> None:
        """Says that the samples up to and including `t_ms` are on disk."""
        head = self._heads[sid]
        if head is not None:
            head.flushed = max(head.flushed, int(np.searchsorted(head.t[: head.end], t_ms, side="right")))
            self.crowded.discard(sid)

    # --- reading (Source) -------------------------------------------------------------------------------

    def head(self, sid: int) -> tuple[Times, Floats]:
        """All samples in memory, ascending: a view that later ones do not disturb, not to be written to."""
        head = self._heads[sid]
        if head is None:
            return _EMPTY_T, _EMPTY_V
        end = head.end
        return head.t[:end], head.v[:end]

    def window(self, sid: int, t0_ms: int, t1_ms: int) -> tuple[Times, Floats]:
        """See `Source.window`."""
        t, v = self.head(sid)
        if not len(t) or t1_ms < t[0]:
            return _EMPTY_T, _EMPTY_V
        first = 0 if t0_ms < t[0] else int(t.searchsorted(t0_ms, "right"))
        after = len(t) if t1_ms >= t[-1] else int(t.searchsorted(t1_ms, "right"))
        return t[first:after], v[first:after]

    def last(self, sids: Times, t_ms: int, lookback_ms: int) -> tuple[Times, Floats]:
        """See `Source.last`: by column where nothing is newer than `t_ms`, else series by series."""
        times = self.last_t[sids]
        values = self.last_v[sids]
        later = times > t_ms
        if later.any():
            for at in np.flatnonzero(later).tolist():
                t, v = self.window(int(sids[at]), t_ms - lookback_ms, t_ms)
                times[at], values[at] = (t[-1], v[-1]) if len(t) else (NEVER, np.nan)
        times[(times <= t_ms - lookback_ms) | stale_mask(values)] = NEVER
        return times, values

    def select(self, matchers: tuple[Matcher, ...]) -> Times:
        """See `Source.select`. Remembered, and only series that appeared since are looked at again."""
        selection = self._selections.get(matchers)
        if selection is None:
            if len(self._selections) >= _MAX_SELECTIONS:
                self._selections.clear()
            selection = self._selections[matchers] = _Selection(matchers)
        return selection.refreshed(self._by_name, self._labels)

    def label_names(self) -> list[str]:
        """Every label's name, sorted."""
        return sorted({name for labels in tuple(self._ids) for name, _ in labels})

    def label_values(self, name: str) -> list[str]:
        """Every value of one label, sorted."""
        return sorted({value for labels in tuple(self._ids) for key, value in labels if key == name})


class _Selection:
    """The answer to one selector, extended as series appear."""

    __slots__ = ("_checks", "_exact", "_seen", "_sids")

    def __init__(self, matchers: tuple[Matcher, ...]) -> None:
        exact = [m.value for m in matchers if m.name == "__name__" and m.op == "=" and m.value]
        self._exact = exact[0] if exact else None
        self._checks: list[tuple[str, Callable[[str], bool]]] = [(m.name, m.predicate()) for m in matchers]
        self._seen = 0
        self._sids: Times = _EMPTY_T

    def refreshed(self, by_name: dict[str, list[int]], labels: list[Labels | None]) -> Times:
        candidates: Sequence[int]
        if self._exact is None:
            total = len(labels)
            candidates = range(self._seen, total)
        else:
            named = by_name.get(self._exact, [])
            total = len(named)
            candidates = named[self._seen : total]
        if not candidates:
            return self._sids
        fresh = [sid for sid in candidates if self._matches(labels[sid])]
        self._seen = total
        if fresh:
            self._sids = np.concatenate([self._sids, np.array(fresh, np.int64)])
        return self._sids

    def _matches(self, labels: Labels | None) -> bool:
        if labels is None:
            return False
        values = dict(labels)
        return all(check(values.get(name, "")) for name, check in self._checks)


def _rebuilt(t: Times, v: Floats, *, flushed: int, dropped: bool) -> _Head:
    head = _Head(max(8, len(t) + len(t) // 4))
    head.t[: len(t)] = t
    head.v[: len(t)] = v
    head.end = len(t)
    head.flushed = flushed
    head.newest = int(t[-1])
    head.dropped = dropped
    return head


def _name(labels: Labels) -> str:
    """The metric's name; `__name__` sorts before lower-case labels, but an upper-case one may come first."""
    return next((value for name, value in labels if name == "__name__"), "")


_EMPTY_T: Times = np.empty(0, np.int64)
_EMPTY_V: Floats = np.empty(0, np.float64)
