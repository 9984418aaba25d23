"""The one breaker: closed, open after `trip_after` failures in a row, half-open for one trial after a wait.

It serves checks (is the thing down?) and channels (is there any sense in trying?). Pure functions over
`facts.Breaker`: each returns the next state, the very same object where nothing changed.

The cycle of one attempt::

    if breaker.permits(b, now):
        b = breaker.attempt(b, now, policy)         # open becomes half-open: one trial, with a lease
        generation = b.generation
        ...                                         # the attempt itself, however long it takes
        b = breaker.succeed(b, now, policy, generation)   # or fail(…); harmless if late
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from trader_monitor.core.facts import Breaker, Now

__all__ = ["Policy", "attempt", "fail", "hasten", "level", "permits", "rebase", "succeed", "wait"]

MOST_DOUBLINGS = 64
_LEVELS = {"closed": 0.0, "half_open": 0.5, "open": 1.0}


class Policy(Struct, frozen=True):
    """When to open and how long to stay so.

    `cooldown` seconds pass before the first trial, `growth` times as many before each further one up to
    `longest`, which also bounds what a peer may ask for by Retry-After: nobody silences us for a year.
    """

    trip_after: int = 3
    cooldown: float = 60.0
    growth: float = 1.0
    longest: float = 3600.0

    def __post_init__(self) -> None:
        if self.trip_after < 1:
            raise ValueError("expected trip_after >= 1")
        if not 0 <= self.cooldown <= self.longest < float("inf"):
            raise ValueError("expected 0 <= cooldown <= longest, both finite")
        if not 1 <= self.growth <= 100:
            raise ValueError("expected growth between 1 and 100")

    def cooling(self, opened: int) -> float:
        """Seconds to stay open the `opened`-th time in a row (1 is the first)."""
        return min(self.longest, self.cooldown * self.growth ** min(opened - 1, MOST_DOUBLINGS))


def permits(b: Breaker, now: Now) -> bool:
    """Whether an attempt may be made now. A closed breaker, too, waits out a `retry_after`."""
    return now.mono >= b.retry_at


def wait(b: Breaker, now: Now) -> float:
    """Seconds until the breaker permits an attempt; 0 at once."""
    return max(0.0, b.retry_at - now.mono)


def level(b: Breaker) -> float:
    """The state as a number: 0 closed, 0.5 half-open, 1 open."""
    return _LEVELS[b.state]


def attempt(b: Breaker, now: Now, policy: Policy) -> Breaker:
    """An attempt begins: an open breaker goes half-open.

    The trial holds a lease of one cooldown: should it never report (a crash), the next one is permitted then.
    """
    if b.state == "closed":
        return b
    return replace(
        b,
        state="half_open",
        since=b.since if b.state == "half_open" else now.mono,
        retry_at=now.mono + policy.cooling(b.opened),
        generation=b.generation + 1,
    )


def succeed(b: Breaker, now: Now, policy: Policy, generation: int | None = None) -> Breaker:
    """An attempt went well: the breaker closes, whatever it was. An older generation's result is ignored.

    What a peer wished for in answer to another attempt still holds, as long as it has not passed.
    """
    if generation is not None and generation != b.generation:
        return b
    if b.state == "closed":
        held = b.retry_at if b.retry_at > now.mono else 0.0
        return replace(b, failures=0, retry_at=held) if b.failures or held != b.retry_at else b
    return Breaker(state="closed", since=now.mono, generation=b.generation + 1)


def fail(
    b: Breaker, now: Now, policy: Policy, retry_after: float | None = None, generation: int | None = None
) -> Breaker:
    """An attempt failed: the `trip_after`-th in a row opens the breaker, a failed trial opens it again.

    `retry_after` (seconds; a peer's wish, or a backoff) holds back the next attempt at least so long, bounded
    by `policy.longest`, in a closed breaker too. A result of an older generation is ignored.
    """
    if generation is not None and generation != b.generation:
        return b
    asked = min(retry_after, policy.longest) if retry_after is not None and retry_after > 0 else 0.0
    failures = b.failures + 1
    if b.state == "closed" and failures < policy.trip_after:
        return replace(b, failures=failures, retry_at=max(b.retry_at, now.mono + asked) if asked else b.retry_at)
    opened = b.opened + 1
    return Breaker(
        state="open",
        failures=failures,
        since=b.since if b.state == "open" else now.mono,
        retry_at=now.mono + max(policy.cooling(opened), asked),
        opened=opened,
        generation=b.generation + 1,
    )


def hasten(b: Breaker, now: Now) -> Breaker:
    """Something was done about it: the next attempt is permitted at once, so that it can verify the cure."""
    return replace(b, retry_at=now.mono) if b.retry_at > now.mono else b


def rebase(b: Breaker, then: float, now: Now) -> Breaker:
    """The same breaker on another boot's monotonic clock, where its state was as of `then` on the old one.

    What was left to wait then is waited anew: longer, never shorter.
    """
    left = b.retry_at - then
    return replace(b, since=now.mono, retry_at=now.mono + left if left > 0 else 0.0)
