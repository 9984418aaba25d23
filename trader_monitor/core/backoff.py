"""Backoff: how long to wait before the next attempt, growing with each failure in a row.

Pure: the jitter is an argument, so the caller owns the randomness and a test owns the caller.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Backoff"]

MOST_DOUBLINGS = 64
"""The exponent stops here: no curve needs more, and a float must not overflow after a thousand failures."""


class Backoff(Struct, frozen=True):
    """An exponential curve from `first` to `longest` seconds, shortened at random by up to `spread` of it.

    The jitter only ever shortens a wait, so `longest` is a promise.
    """

    first: float = 0.5
    longest: float = 60.0
    growth: float = 2.0
    spread: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.longest < float("inf"):
            raise ValueError("expected 0 <= first <= longest, both finite")
        if not 1 <= self.growth <= 100:
            raise ValueError("expected growth between 1 and 100")
        if not 0 <= self.spread <= 1:
            raise ValueError("expected spread between 0 and 1")

    def delay(self, failures: int, jitter: float) -> float:
        """Seconds to wait after so many failures in a row (1 is the first), `jitter` uniform in [0, 1)."""
        if failures < 1:
            return 0.0
        whole = min(self.longest, self.first * self.growth ** min(failures - 1, MOST_DOUBLINGS))
        return whole * (1.0 - self.spread * jitter)
