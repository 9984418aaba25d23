"""Progress: who has done real work lately. The watchdog is fed by this and by no blind timer."""

from __future__ import annotations

from trader_monitor.core.facts import Now
from trader_monitor.runtime.clock import Clock

__all__ = ["Progress"]


class Progress:
    """Loops beat after each piece of real work; whoever is watched has to beat within its deadline."""

    __slots__ = ("_beats", "_clock", "_deadlines")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beats: dict[str, float] = {}
        self._deadlines: dict[str, float] = {}

    def beat(self, name: str) -> None:
        """Real work was done just now."""
        self._beats[name] = self._clock.now().mono

    def watch(self, name: str, deadline: float) -> None:
        """From now on `name` has to beat every `deadline` seconds. Watching anew changes the deadline alone."""
        if not deadline > 0:
            raise ValueError("expected deadline > 0")
        self._deadlines[name] = deadline
        self._beats.setdefault(name, self._clock.now().mono)

    def forget(self, name: str) -> None:
        """Nothing is expected of `name` any more."""
        self._deadlines.pop(name, None)
        self._beats.pop(name, None)

    def last(self, name: str) -> float | None:
        """The monotonic time of the last beat, None if there was none."""
        return self._beats.get(name)

    def stalled(self, now: Now) -> tuple[str, ...]:
        """The watched names past their deadline, the longest silent first."""
        late = [
            (self._beats[name], name)
            for name, deadline in self._deadlines.items()
            if now.mono - self._beats[name] > deadline
        ]
        return tuple(name for _, name in sorted(late))
