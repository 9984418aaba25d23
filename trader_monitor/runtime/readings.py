"""Readings: what a collector yields, and how it declares what its metrics are.

A plugin names its metrics once, as constants, and calls them for each value:

    LOAD = gauge("host_load1", "Runnable and blocked tasks, averaged over one minute.")
    yield LOAD(0.7)
    yield BYTES(1024, interface="eth0")

A collector whose options have `SPREAD: ClassVar[bool] = True` asks others: each of them then has its own phase.
With `OWN: ClassVar[bool] = True` it reads the daemon or its host, never what others choose to say: such series find
room where all others are refused. `STAND: ClassVar[float] = 60.0` is for what seldom changes: what stands is written
again after so many seconds only (less than five minutes, or it would be forgotten).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

__all__ = ["Metric", "MetricKind", "Partial", "Reading", "counter", "gauge"]

MetricKind: TypeAlias = Literal[
    "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown"
]
"""The types that Prometheus and OpenMetrics know."""


class Reading(NamedTuple):
    """One value of one series. `of` is the family that it belongs to, where its kind is known.

    Labels with an empty value are the same as absent. The value may be NaN or infinite: a scraped target may
    say so; nothing of our own does.
    """

    name: str
    labels: Mapping[str, str]
    value: float
    of: Metric | None = None


class Metric(NamedTuple):
    """A metric's name (base unit in it, counters end in `_total`), its kind and its help, one sentence."""

    name: str
    kind: MetricKind
    help: str

    def __call__(self, value: float, **labels: str) -> Reading:
        return Reading(self.name, labels, value, self)


class Partial(Exception):
    """A collection that failed, with the readings that hold all the same (such as `up 0`)."""

    def __init__(self, message: str, readings: Sequence[Reading]) -> None:
        super().__init__(message)
        self.readings = tuple(readings)


def counter(name: str, help: str) -> Metric:
    """A sum that only grows; it starts again at nought when its source does."""
    return Metric(name, "counter", help)


def gauge(name: str, help: str) -> Metric:
    """A value that goes up and down."""
    return Metric(name, "gauge", help)
