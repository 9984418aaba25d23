"""Watched: the models that predict, as the drift loop knows them, for figures and for the API.

Of each model version a few kilobytes per feature, as many as the store has schemas of (2,000). What is here is made
anew from the store at a start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from trader_monitor.core.figure import Figure, exact

__all__ = ["Watch", "Watched"]

_MISSING = "1 where predictions come of a version that has no baseline: of its drift nothing can be said"


@dataclass(slots=True)
class Watch:
    """One model version. Times are Unix seconds: `seen_at` when a row came last, `run_at` the last run of drift,
    `baseline_at` when its baselines were set (None: it has none)."""

    model: str
    version: str
    seen_at: float = 0.0
    baseline_at: float | None = None
    run_at: float | None = None
    severity: str | None = None
    """What the last run found; None without one, and where it could say nothing."""
    run_cursor: int = 0
    """The newest part of predictions that it saw."""
    fresh: int = 0
    """Rows since then; 0 where it makes no sense to try again before others come."""
    behind: bool = False
    """There may be rows that the detectors have not taken in."""
    drift: tuple[Figure, ...] = ()
    stream: tuple[Figure, ...] = ()
    trouble: str = ""

    def figures(self) -> Iterator[Figure]:
        labels = (("model", self.model), ("version", self.version))
        yield exact("model_baseline_missing", labels, float(self.baseline_at is None), 1, _MISSING)
        yield from self.drift
        yield from self.stream


@dataclass(slots=True)
class Watched:
    """By model and version."""

    versions: dict[tuple[str, str], Watch] = field(default_factory=dict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever reads the detectors' states, until they are written again."""
    performance: dict[tuple[str, str], tuple[Figure, ...]] = field(default_factory=dict)
    """What outcomes say of a version."""

    def figures(self) -> Iterator[Figure]:
        """Of all versions that predictions came of, or that have a baseline."""
        for watch in tuple(self.versions.values()):  # who reads with pauses must not meet a change
            yield from watch.figures()
        for figures in tuple(self.performance.values()):
            yield from figures
