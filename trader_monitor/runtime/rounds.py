"""Rounds: what one collector's successive collections become: samples, and the end of what is no longer there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from trader_monitor.core.facts import Labels, Samples
from trader_monitor.core.series import STALE
from trader_monitor.runtime.readings import Metric, Reading, gauge

__all__ = ["AT_ONCE", "Rounds", "in_parts"]

AT_ONCE = 1000
"""Readings that are made samples, or folded, in one go."""

UP = gauge("collector_up", "1 where the collector's last collection went well, else 0.")
DURATION = gauge("collector_duration_seconds", "How long the collector's last collection took.")

METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Rounds:
    """The memory of one collector: which series its last round had, and which kinds were told already.

    `refused` counts readings that cannot become series: a name that Prometheus refuses, or a label set that the
    same round has already.
    """

    def __init__(self, collector: str, *, own: bool = False, stand: float = 0.0) -> None:
        """`own`: what this collector reads is about the daemon or its host. `stand`: a value that has not changed is
        written again when it is this many seconds old."""
        self._collector = collector
        self._own = own
        self._stand = stand
        self._written: dict[Labels, tuple[float, float]] = {}
        self._present: frozenset[Labels] = frozenset()
        self._told: dict[str, tuple[str, str]] = {}
        self._known: dict[tuple[str, tuple[tuple[str, str], ...]], Labels | None] = {}
        self.refused = 0

    def samples(self, at: float, readings: Iterable[Reading], *, up: bool, seconds: float) -> Samples:
        """One round as a fact, at `at` (Unix seconds); a series that vanished gets the staleness marker."""
        values: dict[Labels, float] = {}
        kinds: dict[str, tuple[str, str]] = {}
        used: dict[tuple[str, tuple[tuple[str, str], ...]], Labels | None] = {}
        about = (UP(float(up), collector=self._collector), DURATION(seconds, collector=self._collector))
        for reading in (*about, *readings):
            key = (reading.name, tuple(reading.labels.items()))
            labels = used[key] = self._known[key] if key in self._known else _labels(reading)
            if labels is None or labels in values:
                self.refused += 1
                continue
            values[labels] = float(reading.value)
            self._tell(reading.of, kinds)
        self._known = used
        gone = self._present.difference(values)
        self._present = frozenset(values)
        if self._stand:
            self._leave_out(at, values, len(about))
        values.update(dict.fromkeys(gone, STALE))
        return Samples(
            at=at,
            origin=self._collector,
            labels=tuple(values),
            values=tuple(values.values()),
            kinds=kinds,
            own=len(values) if self._own else len(about),
        )

    def _leave_out(self, at: float, values: dict[Labels, float], about: int) -> None:
        """Takes out what stands, but for the first `about`: of ten thousand figures few change in a minute."""
        written = {}
        for place, (labels, value) in enumerate(tuple(values.items())):
            before = self._written.get(labels)
            if place >= about and before is not None and before[0] == value and 0.0 <= at - before[1] < self._stand:
                written[labels] = before
                del values[labels]
            else:
                written[labels] = value, at
        self._written = written

    def _tell(self, metric: Metric | None, kinds: dict[str, tuple[str, str]]) -> None:
        if metric is not None and self._told.get(metric.name) != (told := (metric.kind, metric.help)):
            kinds[metric.name] = self._told[metric.name] = told


def in_parts(samples: Samples, most: int = AT_ONCE) -> Iterator[Samples]:
    """The same samples, so many at a time: each part is a step of its own, and others have their turn between two."""
    if len(samples.labels) <= most:
        yield samples
        return
    for at in range(0, len(samples.labels), most):
        yield replace(
            samples,
            labels=samples.labels[at : at + most],
            values=samples.values[at : at + most],
            kinds={} if at else samples.kinds,
            own=min(max(samples.own - at, 0), most),
        )


def _labels(reading: Reading) -> Labels | None:
    """The series that the reading belongs to; None where Prometheus would refuse a name in it."""
    if not METRIC_NAME.fullmatch(reading.name):
        return None
    if not all(LABEL_NAME.fullmatch(name) and name != "__name__" for name in reading.labels):
        return None
    given = [(name, value) for name, value in reading.labels.items() if value]
    return tuple(sorted([("__name__", reading.name), *given]))
