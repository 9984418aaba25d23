"""Refusals: which label sets found no room. The metrics that are told apart are few, however many names come."""

from __future__ import annotations

from typing import NamedTuple

from trader_monitor.core.facts import Labels

__all__ = ["Refusal", "Refusals"]

MAX_METRICS = 16


class Refusal(NamedTuple):
    """How often label sets of one metric were refused, and the last one of them."""

    number: int
    labels: Labels


class Refusals:
    """All refusals of this life by metric: the first sixteen that were refused, and the others together under ""."""

    def __init__(self) -> None:
        self.number = 0
        self.by_metric: dict[str, Refusal] = {}

    def add(self, metric: str, labels: Labels) -> None:
        self.number += 1
        if metric not in self.by_metric and len(self.by_metric) >= MAX_METRICS:
            metric = ""
        before = self.by_metric.get(metric)
        self.by_metric[metric] = Refusal(before.number + 1 if before else 1, labels)
