"""Series: the newest samples of every label set, in memory.

One writer (the event loop), any number of readers in threads. A reader never sees a torn head: samples are
only ever appended behind the end that it has read, and whatever must move older samples (room for more, one
out of order) builds a new head and puts it in place by one assignment.

Time is int64 milliseconds, UTC. Values are float64 and may be NaN, infinite or the staleness marker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nlargest
from typing import NamedTuple, TypeAlias

import numpy as np

from trader_monitor.core.facts import Labels
from trader_monitor.core.head import Bounds, Head
from trader_monitor.core.matcher import Matcher
from trader_monitor.core.refusals import Refusals
from trader_monitor.core.samples import NEVER, STALE, Floats, Source, Times, is_stale, stale_mask
from trader_monitor.core.selection import Selection, Wanted

__all__ = [
    "NEVER",
    "STALE",
    "Floats",
    "Metadata",
    "SeriesStore",
    "Source",
    "Times",
    "Touched",
    "Windows",
    "is_stale",
    "stale_mask",
]

_MIN_RESERVE = 2_500
_MAX_TOUCHED_TIMES = 1000
_MAX_SELECTIONS = 4096
_MAX_SELECTED = 2_000_000


class Metadata(NamedTuple):
    """What is known of a metric: its Prometheus type (or "unknown"), help text and unit."""

    kind: str
    help: str = ""
    unit: str = ""


class Touched(NamedTuple):
    """Series that got a sample since the last question, and those samples' distinct times, ascending."""

    sids: frozenset[int]
    times_ms: tuple[int, ...]


Windows: TypeAlias = Iterable[tuple[tuple[Matcher, ...], int]]
"""Series by selector, and how many milliseconds of them a rule looks back on."""


class SeriesStore:
    """All series of one board. A series' id never changes and is never given to another.

    `head` is the number of samples that a series keeps (256: an hour at 15 s). Samples that are not yet on
    disk (`mark_flushed`) are kept beyond it, up to four times as many; then the oldest go, counted in `lost`.

    Where `max_series` are taken, those of the daemon itself and its host still find room: a tenth more, 2,500 at
    least. A rule that runs wild takes two thousand of them for its alerts, pending and firing.
    """

    def __init__(self, *, max_series: int = 50_000, head: int = 256, windows: Windows = ()) -> None:
        """`windows` are kept from the first sample on (`keep`)."""
        self.max_series = max_series
        self.reserve = max(_MIN_RESERVE, max_series // 10)
        self.generation = 0
        self.refusals = Refusals()
        self.lost = 0
        self.late = 0
        """Samples that came behind what is already on disk: in the head, but never in the history."""
        self.metadata: dict[str, Metadata] = {}
        self.crowded: set[int] = set()
        """Series whose head holds more unflushed samples than it should: flush them first."""
        self.last_t: Times = np.full(64, NEVER, np.int64)
        self.last_v: Floats = np.full(64, np.nan)
        self._bounds = Bounds(head)
        self._longer: dict[int, Bounds] = {}
        self._wanted: dict[tuple[Matcher, ...], Wanted] = {}
        self._ids: dict[Labels, int] = {}
        self._labels: list[Labels | None] = []
        self._heads: list[Head | None] = []
        self._by_name: dict[str, list[int]] = {}
        self._selections: dict[tuple[Matcher, ...], Selection] = {}
        self._touched: set[int] = set()
        self._touched_times: set[int] = set()
        for matchers, window_ms in windows:
            self.keep(matchers, window_ms)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def refused(self) -> int:
        """How often a label set was refused."""
        return self.refusals.number

    # --- identity ---------------------------------------------------------------------------------------

    def intern(self, labels: Labels, *, own: bool = False) -> int:
        """The id of the label set, new if need be; -1 (and counted) where there is no room for one more.

        `own` is for what the daemon says of itself; what others say under such a name is not.
        """
        sid = self._ids.get(labels)
        if sid is not None:
            return sid
        clean = _clean(labels)
        if (sid := self._ids.get(clean)) is not None:
            return sid
        if len(self._ids) >= self.max_series + (self.reserve if own else 0):
            self.refusals.add(_name(clean), clean)
            return -1
        sid = len(self._labels)
        if sid == len(self.last_t):
            self.last_t = np.concatenate([self.last_t, np.full(sid, NEVER, np.int64)])
            self.last_v = np.concatenate([self.last_v, np.full(sid, np.nan)])
        self._heads.append(Head(min(8, self._bounds.room)))
        self._labels.append(clean)
        self._ids[clean] = sid
        for wanted in self._wanted.values():
            if wanted.covers(clean):
                self._lengthen(sid, wanted)
        self._by_name.setdefault(_name(clean), []).append(sid)
        self.generation += 1
        return sid

    def largest(self, number: int) -> list[tuple[str, int]]:
        """The metrics that have the most series, and how many."""
        return nlargest(number, ((name, len(sids)) for name, sids in self._by_name.items()), key=lambda each: each[1])

    def find(self, labels: Labels) -> int:
        """The id of the label set, -1 where there is none."""
        return self._ids.get(labels, -1)

    def holds(self, labels: Labels) -> bool:
        """Whether there is a series of these labels, empty ones left out."""
        return labels in self._ids or _clean(labels) in self._ids

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
        gone: dict[str, set[int]] = {}
        for sid in sids:
            labels = self._labels[sid]
            if labels is None:
                continue
            gone.setdefault(_name(labels), set()).add(sid)
            del self._ids[labels]
            self._labels[sid] = None
            self._heads[sid] = None
            self.last_t[sid] = NEVER
            self._longer.pop(sid, None)
            self._touched.discard(sid)
            self.crowded.discard(sid)
        for name, those in gone.items():
            left = [other for other in self._by_name[name] if other not in those]
            if left:
                self._by_name[name] = left
            else:
                del self._by_name[name]
        if gone:
            self._selections.clear()
            self.generation += 1

    def keep(self, matchers: tuple[Matcher, ...], window_ms: int) -> None:
        """Keeps the last `window_ms` of the series that match in memory (up to 65,536 samples of each).

        For rules that look further back than a head reaches. Saying it again changes nothing.
        """
        known = self._wanted.get(matchers)
        if known is not None and known.window_ms >= window_ms:
            return
        tests = tuple((m.name, m.predicate()) for m in matchers)
        wanted = self._wanted[matchers] = Wanted(tests, window_ms)
        for sid in self.select(matchers).tolist():
            self._lengthen(sid, wanted)

    def reach_ms(self, labels: Labels) -> int:
        """How far back such a series is to be kept at least, in milliseconds; 0 where nobody asked."""
        return max((wanted.window_ms for wanted in self._wanted.values() if wanted.covers(labels)), default=0)

    @property
    def longest_ms(self) -> int:
        """The longest window that anybody asked for."""
        return max((wanted.window_ms for wanted in self._wanted.values()), default=0)

    def _lengthen(self, sid: int, wanted: Wanted) -> None:
        if wanted.window_ms > self._longer.get(sid, self._bounds).window_ms:
            self._longer[sid] = self._bounds._replace(window_ms=wanted.window_ms)

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
        bounds = self._longer.get(sid, self._bounds)
        start = max(0, older - max(bounds.samples - head.end, 0))
        if bounds.window_ms and older:
            newest = head.newest if head.end else int(t[older - 1])
            start = min(start, int(np.searchsorted(t, newest - bounds.window_ms)))
        older_t, older_v = t[start:older], v[start:older]
        if not len(older_t):
            return
        fresh = Head.of(
            np.concatenate([older_t, head.t[: head.end]]),
            np.concatenate([older_v, head.v[: head.end]]),
            flushed=len(older_t) + head.flushed,
            dropped=head.dropped or start > 0,
        )
        self._put(sid, fresh)

    def take_touched(self) -> Touched:
        """What got a sample since the last call; of the times the newest thousand."""
        times = sorted(self._touched_times)[-_MAX_TOUCHED_TIMES:]
        touched = Touched(frozenset(self._touched), tuple(times))
        self._touched.clear()
        self._touched_times.clear()
        return touched

    def _make_room(self, sid: int, head: Head) -> Head:
        """A head with space at its end: larger while young, or without its oldest samples."""
        fresh, crowded, lost = head.roomier(self._longer.get(sid, self._bounds))
        if crowded:
            self.crowded.add(sid)
        self.lost += lost
        self._heads[sid] = fresh
        return fresh

    def _insert(self, sid: int, head: Head, t_ms: int, value: float) -> bool:
        """A sample out of order, into a new head."""
        at = int(np.searchsorted(head.t[: head.end], t_ms))
        if at == 0 and head.dropped:
            return False
        if head.t[at] == t_ms:
            head.v[at] = value
            self.late += at < head.flushed
            return True
        self.late += at < head.flushed
        fresh = Head.of(
            np.insert(head.t[: head.end], at, t_ms),
            np.insert(head.v[: head.end], at, value),
            flushed=head.flushed + (at < head.flushed),
            dropped=head.dropped,
        )
        self._put(sid, fresh)
        return True

    def _put(self, sid: int, head: Head) -> None:
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
        head = self._heads[sid] if sid >= 0 else None
        if head is None:
            return _EMPTY_T, _EMPTY_V
        end = head.end
        return head.t[:end], head.v[:end]

    def window(self, sid: int, t0_ms: int, t1_ms: int) -> tuple[Times, Floats]:
        """See `Source.window`."""
        head = self._heads[sid]
        if head is None or not head.end:
            return _EMPTY_T, _EMPTY_V
        end = head.end
        t = head.t[:end]
        after = end if head.newest <= t1_ms else int(t.searchsorted(t1_ms, "right"))
        first = 0 if t0_ms < t[0] else int(t.searchsorted(t0_ms, "right"))
        return t[first:after], head.v[first:after]

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
            held = tuple(self._selections.values())
            if len(held) >= _MAX_SELECTIONS or sum(one.size for one in held) > _MAX_SELECTED:
                self._selections.clear()
            selection = self._selections[matchers] = Selection(matchers)
        return selection.refreshed(self._by_name, self._labels)

    def label_names(self) -> list[str]:
        """Every label's name, sorted."""
        return sorted({name for labels in tuple(self._ids) for name, _ in labels})

    def label_values(self, name: str) -> list[str]:
        """Every value of one label, sorted."""
        return sorted({value for labels in tuple(self._ids) for key, value in labels if key == name})


def _clean(labels: Labels) -> Labels:
    return tuple(sorted((name, value) for name, value in labels if value))


def _name(labels: Labels) -> str:
    """The metric's name; `__name__` sorts before lower-case labels, but an upper-case one may come first."""
    return next((value for name, value in labels if name == "__name__"), "")


_EMPTY_T: Times = np.empty(0, np.int64)
_EMPTY_V: Floats = np.empty(0, np.float64)
