"""The daemon's own counters and gauges: written anywhere in the house, read by the `monitor` collector.

Plain numbers in a dictionary, because they are written on the hot path: no lock (the event loop is the only
writer; threads hand their figures back to it), no registry, no object per metric.
"""

from __future__ import annotations

from trader_monitor.core.facts import Labels

__all__ = ["Meters"]


class Meters:
    """`monitor_*` metrics by label set. A name ending in `_total` is a counter, any other a gauge."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: dict[Labels, float] = {}

    def count(self, name: str, by: float = 1.0, **labels: str) -> None:
        key = _labels(name, labels)
        self.values[key] = self.values.get(key, 0.0) + by

    def set(self, name: str, value: float, **labels: str) -> None:
        self.values[_labels(name, labels)] = value

    def get(self, name: str, **labels: str) -> float:
        return self.values.get(_labels(name, labels), 0.0)


def _labels(name: str, labels: dict[str, str]) -> Labels:
    if not labels:
        return (("__name__", name),)
    return (("__name__", name), *sorted(labels.items()))
