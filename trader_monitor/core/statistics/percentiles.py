"""Percentiles of durations and ratios, from logarithmic buckets that can be added together.

Percentiles of several bots or endpoints cannot be averaged; their buckets can be added. A bucket's bounds are 4.08 %
apart, so that its middle is within 2 % of every value in it (DDSketch: Masson, Rim and Lee 2019, without collapsing).
Values within 1e-7 of zero are zero, those beyond 1e5 are put at 1e5; negative values have buckets of their own. So a
sketch has at most 1,383 buckets, and a latency between 1 ms and 10 s at most 231.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from trader_monitor.core.figure import Figure, Interval, Pairs, missing, sampled
from trader_monitor.core.statistics.intervals import ranks
from trader_monitor.core.statistics.rolling import Cell

__all__ = ["CONVENTION", "ERROR", "QUANTILES", "Sketch", "Sketches", "bucket", "sketch_key"]

ERROR = 0.02
"""Relative; of a percentile against the observation of that rank."""

CONVENTION = "nearest rank of merged buckets within 2 %; the interval ends at their bounds"

QUANTILES = (0.5, 0.95, 0.99)
SPAN = 2048
SMALLEST = 1e-7
LARGEST = 1e5
TOP = 691

_GAMMA = (1.0 + ERROR) / (1.0 - ERROR)
_PER_BUCKET = 1.0 / math.log(_GAMMA)
_OFFSET = -math.log(SMALLEST) * _PER_BUCKET
_MIDDLE = 2.0 / (_GAMMA + 1.0)
_LOGARITHM, _CEILING = math.log, math.ceil
_INTERVAL = "order statistics, at the bounds of their buckets"


def bucket(value: float) -> int:
    """The bucket's number, ascending with the value; 0 is zero."""
    if value > SMALLEST:
        return _CEILING(_LOGARITHM(value) * _PER_BUCKET + _OFFSET) if value < LARGEST else TOP
    if value < -SMALLEST:
        return -bucket(-value)
    return 0


def sketch_key(family: int) -> int:
    """Added to a bucket's number: its key in a cell that holds several sketches; `family` counts from 1."""
    return family * SPAN + SPAN // 2


class Sketch:
    """The distribution of one family of a cell's keys; what was computed of it once is kept."""

    __slots__ = ("_cumulated", "_keys", "_known", "_middle", "n")

    def __init__(self, cell: Cell, keys: list[int], family: int) -> None:
        """`keys` are the cell's keys of this family, ascending."""
        self._middle = sketch_key(family)
        self._keys = keys
        self._cumulated = list(accumulate(map(cell.__getitem__, keys)))
        self._known: dict[float, tuple[float, Interval | None, str]] = {}
        self.n = int(self._cumulated[-1]) if keys else 0

    def quantile(self, share: float) -> float:
        """The value of rank ceil(share n), within 2 %; `n` > 0."""
        number = self._at(max(1, math.ceil(round(share * self.n, 9))))
        return math.copysign(_bound(abs(number)) * _MIDDLE, number) if number else 0.0

    def interval(self, share: float) -> Interval | None:
        """The bounds' buckets enclose the order statistics; None where there are too few above or below."""
        low, high = ranks(self.n, share)
        if low < 1 or high > self.n:
            return None
        first, last = self._at(low), self._at(high)
        return Interval(
            _bound(first - 1) if first > 0 else -_bound(-first),
            _bound(last) if last >= 0 else -_bound(-last - 1),
            _INTERVAL,
        )

    def figures(
        self, name: str, labels: Pairs, convention: str, empty: str, shares: tuple[float, ...] = QUANTILES
    ) -> Iterator[Figure]:
        """A figure per quantile, which is its label."""
        for share in shares:
            named = (*labels, ("quantile", f"{share:g}"))
            if not self.n:
                yield missing(name, named, 0, convention, empty)
                continue
            known = self._known.get(share)
            if known is None:
                interval = self.interval(share)
                too_few = "" if interval else f"too few observations to bound the {share:.0%} quantile on both sides"
                known = self._known[share] = (self.quantile(share), interval, too_few)
            yield sampled(name, named, known[0], self.n, convention, known[1], open=known[2])

    def _at(self, rank: int) -> int:
        return self._keys[bisect_left(self._cumulated, rank)] - self._middle


class Sketches:
    """All sketches of a cell, which is no longer changed."""

    __slots__ = ("_cell", "_found", "_keys")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._keys = sorted(cell)
        self._found: dict[int, Sketch] = {}

    def of(self, family: int) -> Sketch:
        sketch = self._found.get(family)
        if sketch is None:
            first = bisect_left(self._keys, family * SPAN)
            keys = self._keys[first : bisect_left(self._keys, (family + 1) * SPAN, first)]
            sketch = self._found[family] = Sketch(self._cell, keys, family)
        return sketch


def _bound(number: int) -> float:
    """The upper bound of a bucket; zero's own is 0."""
    return SMALLEST * _GAMMA**number if number > 0 else 0.0
