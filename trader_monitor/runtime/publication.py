"""Publication: who is told of facts that were recorded, and whom they wake."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Sequence

import structlog

from trader_monitor.core.facts import Fact

__all__ = ["Publication", "Wake"]

log = structlog.get_logger(__name__)


class Wake:
    """Remembers that facts of some types were published since the last wait."""

    def __init__(self, types: frozenset[type[Fact]]) -> None:
        self.types = types
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Returns at once if such a fact was published since the last wait."""
        await self._event.wait()
        self._event.clear()

    def set(self) -> None:
        self._event.set()


class Publication:
    """Listeners are called in the order of their coming; a wake goes when nobody holds it any more."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Sequence[Fact]], None]] = []
        self._wakes: weakref.WeakSet[Wake] = weakref.WeakSet()

    def watch(self, listener: Callable[[Sequence[Fact]], None]) -> Callable[[], None]:
        """Has `listener` called with all facts that are published; returns the un-watch."""
        self._listeners.append(listener)

        def unwatch() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unwatch

    def wake_on(self, *types: type[Fact]) -> Wake:
        """A wake for facts of these types."""
        wake = Wake(frozenset(types))
        self._wakes.add(wake)
        return wake

    def publish(self, facts: Sequence[Fact]) -> int:
        """Tells everyone; returns how many listeners failed."""
        if not facts:
            return 0
        kinds = set(map(type, facts))
        for wake in tuple(self._wakes):
            if not wake.types.isdisjoint(kinds):
                wake.set()
        deaf = 0
        for listener in tuple(self._listeners):
            try:
                listener(facts)
            except Exception:  # one that fails must not keep the others, or the sender, waiting
                deaf += 1
                log.exception("a listener failed")
        return deaf
