"""Budget: at most `limit` of something within any `within` seconds. One for restarts, rates and actions.

The state is a tuple of monotonic stamps that the caller keeps (and may persist); a decision is a pure
function of them and the present.
"""

from __future__ import annotations

from msgspec import Struct

from trader_monitor.core.facts import Now

__all__ = ["Budget", "Stamps"]

Stamps = tuple[float, ...]
"""When the budget was spent, in monotonic seconds, ascending."""


class Budget(Struct, frozen=True):
    """A sliding window: a spending leaves it exactly `within` seconds after it was made."""

    limit: int
    within: float

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise ValueError("expected limit >= 0")
        if not 0 < self.within < float("inf"):
            raise ValueError("expected within > 0, and finite")

    def recent(self, stamps: Stamps, now: Now) -> Stamps:
        """The stamps that still count. One from the future (another boot's clock) counts as new."""
        return tuple(min(stamp, now.mono) for stamp in stamps if stamp + self.within > now.mono)

    def spend(self, stamps: Stamps, now: Now) -> tuple[Stamps, bool]:
        """The stamps after asking for one more, and whether it is granted. What is refused costs nothing."""
        recent = self.recent(stamps, now)
        if len(recent) >= self.limit:
            return recent, False
        return (*recent, now.mono), True

    def left(self, stamps: Stamps, now: Now) -> int:
        """How many would be granted at this moment."""
        return max(0, self.limit - len(self.recent(stamps, now)))

    def wait(self, stamps: Stamps, now: Now) -> float:
        """Seconds until one more would be granted: 0 at once, infinity where the limit is 0."""
        recent = self.recent(stamps, now)
        if len(recent) < self.limit:
            return 0.0
        if self.limit == 0:
            return float("inf")
        return max(0.0, recent[len(recent) - self.limit] + self.within - now.mono)
