"""Figure: one number that a desk signs, with what it takes to trust it.

No figure without its convention, its sample size and its interval; where the input cannot carry it, the value is
None and `reason` says why. A figure becomes series: `name`, and beside it `name_lower`, `name_upper` (95 %) and
`name_observations`, all with the same labels; what has no value has no series, so that no rule takes it for one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from trader_monitor.core.facts import Labels

__all__ = [
    "CONFIDENCE",
    "Z95",
    "Figure",
    "Interval",
    "Point",
    "exact",
    "missing",
    "points",
    "sampled",
    "told",
    "wilson",
    "wilson_share",
]

CONFIDENCE = 0.95
"""Of every interval."""

Z95 = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""

Pairs: TypeAlias = tuple[tuple[str, str], ...]


class Interval(NamedTuple):
    """A 95 % confidence interval; `method` names how it was made."""

    low: float
    high: float
    method: str


class Figure(Struct, frozen=True, kw_only=True):
    """`labels` say what it is about (source, account …) and by which convention it is labelled (window, method …).

    `convention` says in words how it is made; `n` how many observations it rests on. `value` is None exactly where
    `reason` says why. `interval` is None for what was measured and not estimated (`measured`), and where `reason_open`
    says why the sample carries a value and no interval. Build one with `sampled`, `exact` or `missing`.
    """

    name: str
    labels: Pairs
    value: float | None
    n: int
    convention: str
    interval: Interval | None = None
    measured: bool = False
    reason: str = ""
    reason_open: str = ""


class Point(NamedTuple):
    """A figure's share in the series."""

    labels: Labels
    value: float


def sampled(
    name: str,
    labels: Pairs,
    value: float,
    n: int,
    convention: str,
    interval: Interval | None,
    *,
    open: str = "",
) -> Figure:
    """An estimate from `n` observations. What is not finite is no value: it becomes missing and says so.

    Without an interval `open` has to say why there is none.
    """
    if not math.isfinite(value):
        return missing(name, labels, n, convention, "the computation left the range of numbers")
    if interval is not None and not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        interval, open = None, "the interval is not bounded"
    if interval is not None and interval.low == interval.high:
        interval, open = None, "all observations agree, so that nothing tells how they vary"
    return Figure(
        name=name,
        labels=labels,
        value=value,
        n=n,
        convention=convention,
        interval=interval,
        reason_open="" if interval is not None else open or "no interval is known for this figure",
    )


def exact(name: str, labels: Pairs, value: float, n: int, convention: str) -> Figure:
    """What was counted or measured: it has no sampling error."""
    if not math.isfinite(value):
        return missing(name, labels, n, convention, "the computation left the range of numbers")
    return Figure(name=name, labels=labels, value=value, n=n, convention=convention, measured=True)


def missing(name: str, labels: Pairs, n: int, convention: str, reason: str) -> Figure:
    """What the input cannot carry."""
    return Figure(name=name, labels=labels, value=None, n=n, convention=convention, reason=reason)


def points(figures: Iterable[Figure]) -> Iterator[Point]:
    """The series' values; a figure without a value has its number of observations only."""
    for figure in figures:
        pairs = tuple(pair for pair in figure.labels if pair[1])
        if figure.value is not None:
            yield Point(_labels(figure.name, pairs), figure.value)
        if figure.interval is not None:
            yield Point(_labels(f"{figure.name}_lower", pairs), figure.interval.low)
            yield Point(_labels(f"{figure.name}_upper", pairs), figure.interval.high)
        if not figure.measured:
            yield Point(_labels(f"{figure.name}_observations", pairs), float(figure.n))


def told(**labels: str | None) -> Pairs:
    """The labels that have a value."""
    return tuple((name, value) for name, value in labels.items() if value)


def wilson(hits: int, n: int) -> Interval:
    """The interval of a share (Wilson 1927), which stays within 0 and 1 for few observations too; `n` > 0."""
    return wilson_share(hits / n, n)


def wilson_share(share: float, n: float) -> Interval:
    """As `wilson`, of a share that need not be a number of hits."""
    spread = 1.0 + Z95 * Z95 / n
    middle = (share + Z95 * Z95 / (2 * n)) / spread
    half = Z95 / spread * math.sqrt(share * (1.0 - share) / n + Z95 * Z95 / (4 * n * n))
    # At 0 and 1 the middle and the half are the same number but for their last digit.
    return Interval(max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)), "Wilson")


def _labels(name: str, pairs: Pairs) -> Labels:
    return tuple(sorted((("__name__", name), *pairs)))
