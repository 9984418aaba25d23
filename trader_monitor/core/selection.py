"""What a selector selects: remembered, and extended as series appear."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from trader_monitor.core.facts import Labels
from trader_monitor.core.matcher import Matcher
from trader_monitor.core.samples import Times

__all__ = ["Selection", "Wanted"]


class Wanted(NamedTuple):
    """Series that are to be kept for longer than others."""

    tests: tuple[tuple[str, Callable[[str], bool]], ...]
    window_ms: int

    def covers(self, labels: Labels) -> bool:
        values = dict(labels)
        return all(test(values.get(name, "")) for name, test in self.tests)


class Selection:
    """The answer to one selector, extended as series appear."""

    __slots__ = ("_checks", "_exact", "_known")

    def __init__(self, matchers: tuple[Matcher, ...]) -> None:
        exact = [m.value for m in matchers if m.name == "__name__" and m.op == "=" and m.value]
        self._exact = exact[0] if exact else None
        self._checks: list[tuple[str, Callable[[str], bool]]] = [(m.name, m.predicate()) for m in matchers]
        self._known: tuple[int, Times] = (0, _EMPTY_T)

    @property
    def size(self) -> int:
        return len(self._known[1])

    def refreshed(self, by_name: dict[str, list[int]], labels: list[Labels | None]) -> Times:
        """Replaces what is known in one go, so that two threads can only do the same work twice."""
        seen, sids = self._known
        total = len(labels) if self._exact is None else len(by_name.get(self._exact, ()))
        if seen == total:
            return sids
        candidates = range(seen, total) if self._exact is None else by_name[self._exact][seen:total]
        fresh = [sid for sid in candidates if self._matches(labels[sid])]
        if fresh:
            sids = np.concatenate([sids, np.array(fresh, np.int64)])
        self._known = (total, sids)
        return sids

    def _matches(self, labels: Labels | None) -> bool:
        if labels is None:
            return False
        values = dict(labels)
        return all(check(values.get(name, "")) for name, check in self._checks)


_EMPTY_T: Times = np.empty(0, np.int64)
