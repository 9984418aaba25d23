"""Samples: how time and values are held, the marker that ends a series, and what an evaluation reads them from.

Time is int64 milliseconds, UTC. Values are float64 and may be NaN, infinite or the staleness marker.
"""

from __future__ import annotations

import struct
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trader_monitor.core.facts import Labels
from trader_monitor.core.matcher import Matcher

__all__ = ["NEVER", "STALE", "Bools", "Floats", "Source", "Times", "is_stale", "stale_mask"]

Times: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

STALE_BITS = 0x7FF0000000000002
STALE: float = struct.unpack("<d", struct.pack("<Q", STALE_BITS))[0]
"""The value that says "this series has ended here" (Prometheus's bits, distinct from any other NaN)."""

NEVER = -(1 << 62)
"""The time of a sample that there is not."""

_DOUBLE = struct.Struct("<d")
_STALE_BYTES = _DOUBLE.pack(STALE)


def is_stale(value: float) -> bool:
    """Whether `value` is the staleness marker; an ordinary NaN is not."""
    return value != value and _DOUBLE.pack(value) == _STALE_BYTES


def stale_mask(values: Floats) -> NDArray[np.bool_]:
    """Where `values` holds the staleness marker."""
    return np.equal(np.ascontiguousarray(values).view(np.int64), STALE_BITS)


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
