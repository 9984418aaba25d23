"""Round trips that ended: what is kept of them for their figures, of bounded size and mergeable."""

from __future__ import annotations

import math
from copy import copy
from decimal import Decimal

from msgspec import Struct

from trader_monitor.core.trading.decimals import ZERO

__all__ = ["GROWTH", "Trips"]

GROWTH = 1.1
"""Each bucket of holding times ends a tenth higher: a quantile is within 5 % of the true one (DDSketch: Masson, Rim,
Lee 2019). From a millisecond to thirty years there are 289 buckets, of which only those that are hit are kept."""

_LOWEST = 0.001
_HIGHEST = 1e9
_LOG = math.log(GROWTH)
_HALF = 2.0 / (1.0 + GROWTH)


class Trips(Struct, array_like=True):
    """Sums, extremes, streaks and holding times of an account's round trips, net of fees.

    Money is exact, so that it can be added up in any order; times are in whole microseconds for the same reason. A
    streak is positive for wins and negative for losses; a trip that broke even ends it. 1 KiB, and 80 bytes per
    bucket of `held`.
    """

    number: int = 0
    won_squared: Decimal = ZERO
    lost_squared: Decimal = ZERO
    best: Decimal = ZERO
    worst: Decimal = ZERO
    streak: int = 0
    longest_won: int = 0
    longest_lost: int = 0
    held_us: int = 0
    held: dict[int, int] = {}

    def end(self, result: Decimal, seconds: float) -> None:
        """Takes a trip's net result and how long it was held."""
        self.number += 1
        if result > ZERO:
            self.won_squared += result * result
            self.best = max(self.best, result)
            self.streak = self.streak + 1 if self.streak > 0 else 1
            self.longest_won = max(self.longest_won, self.streak)
        elif result:
            self.lost_squared += result * result
            self.worst = min(self.worst, result)
            self.streak = self.streak - 1 if self.streak < 0 else -1
            self.longest_lost = max(self.longest_lost, -self.streak)
        else:
            self.streak = 0
        self.held_us += round(seconds * 1e6)
        bucket = math.ceil(math.log(min(max(seconds, _LOWEST), _HIGHEST)) / _LOG)
        self.held[bucket] = self.held.get(bucket, 0) + 1

    def held_quantile(self, share: float) -> float | None:
        """Seconds that this share of the trips was held at most, within 5 %; None before the first."""
        rank = share * (self.number - 1)
        seen = 0
        for bucket in sorted(self.held):
            seen += self.held[bucket]
            if seen > rank:
                return GROWTH**bucket * _HALF
        return None

    def copied(self) -> Trips:
        """The same state, which later trips do not change."""
        twin = copy(self)
        twin.held = self.held.copy()
        return twin
