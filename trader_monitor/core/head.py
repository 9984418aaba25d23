"""A series' window in memory, and how it makes room: by growing while young, then by letting go of its oldest.

A reader in a thread never sees a torn window: samples are only ever added behind the end that it has read, and
whatever must move older samples makes a new head.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trader_monitor.core.samples import NEVER, Floats, Times

__all__ = ["Bounds", "Head"]

_GROWTH = 4
_MOST = 65_536


class Bounds(NamedTuple):
    """How many samples a head keeps, and for how long at least (milliseconds), if that is more."""

    samples: int
    window_ms: int = 0

    @property
    def room(self) -> int:
        """Capacity when full: a quarter more, so that making room is rare."""
        return self.samples + max(self.samples // 4, 1)


class Head:
    """Samples [0, end) of `t` and `v`, ascending, of which the first `flushed` are on disk too."""

    __slots__ = ("capacity", "dropped", "end", "flushed", "newest", "t", "v")

    def __init__(self, capacity: int) -> None:
        self.t: Times = np.empty(capacity, np.int64)
        self.v: Floats = np.empty(capacity, np.float64)
        self.capacity = capacity
        self.end = 0
        self.flushed = 0
        self.newest = NEVER
        self.dropped = False

    @classmethod
    def of(cls, t: Times, v: Floats, *, flushed: int, dropped: bool) -> Head:
        """A head of these samples, at least one, with some room at its end."""
        head = cls(max(8, len(t) + len(t) // 4))
        head.t[: len(t)] = t
        head.v[: len(t)] = v
        head.end = len(t)
        head.flushed = flushed
        head.newest = int(t[-1])
        head.dropped = dropped
        return head

    def roomier(self, bounds: Bounds) -> tuple[Head, bool, int]:
        """A head with space at its end; whether unflushed samples crowd it, and how many of them were lost."""
        if self.capacity < bounds.room:
            return self._moved(min(self.capacity * 2, bounds.room), 0), False, 0
        surplus = self.end - bounds.samples
        if bounds.window_ms and self.end < _MOST:
            surplus = min(surplus, int(self.t[: self.end].searchsorted(self.newest - bounds.window_ms)))
            if surplus < bounds.samples // 8:
                return self._moved(self.capacity * 2, 0), self.end - self.flushed > bounds.samples, 0
        if self.flushed >= surplus:
            return self._moved(max(self.end - surplus + max(bounds.samples // 4, 1), 8), surplus), False, 0
        most = max(bounds.samples * _GROWTH, bounds.samples + 1)
        if self.capacity < most:
            return self._moved(min(self.capacity * 2, most), 0), True, 0
        drop = max(bounds.samples // 4, 1)
        return self._moved(self.capacity, drop), True, max(drop - self.flushed, 0)

    def _moved(self, capacity: int, drop: int) -> Head:
        fresh = Head(capacity)
        kept = self.end - drop
        fresh.t[:kept] = self.t[drop : self.end]
        fresh.v[:kept] = self.v[drop : self.end]
        fresh.end = kept
        fresh.flushed = max(self.flushed - drop, 0)
        fresh.newest = self.newest
        fresh.dropped = self.dropped or drop > 0
        return fresh
