"""Signals: SIGTERM and SIGINT drain, a second one ends the process at once; SIGHUP reloads.

Plain Python handlers rather than the loop's, so that the second one works even while the loop is blocked. Such a
handler runs only once the main thread runs Python again: a signal that another thread took, or that came just before
the loop went to sleep, would wait for the loop's next errand. So the interpreter also writes to a socket that wakes it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from types import FrameType, TracebackType
from typing import Any, Self

import structlog

from trader_monitor.runtime.log import flush

__all__ = ["Signals", "leave"]

log = structlog.get_logger(__name__)

FLUSH_WITHIN = 0.5
_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def leave(code: int) -> None:
    """Ends the process now, with its log written as far as that goes.

    The orderly way out waits for abandoned tasks and for threads that hang in foreign code: for ever.
    """
    flush(FLUSH_WITHIN)
    os._exit(code)


class Signals:
    """Listens while its `with` block runs, in the main thread.

    ::

        with Signals() as signals:
            ...                                   # the tree runs beside, in a task of its own
            signum = await signals.until_drain(reload)
            ...                                   # cancel the tree, which drains; a second signal cuts it short
            leave(0)
    """

    def __init__(self) -> None:
        self.drain_by: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = asyncio.Event()
        self._reloads = 0
        self._before: dict[signal.Signals, Any] = {}
        self._bell, self._rope = socket.socketpair()
        self._rope_before = -1

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        for end in (self._bell, self._rope):
            end.setblocking(False)
        self._loop.add_reader(self._bell, self._bell.recv, 4096)
        self._rope_before = signal.set_wakeup_fd(self._rope.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._on_signal) for number in _OURS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._rope_before)
        if self._loop is not None:
            self._loop.remove_reader(self._bell)
        self._bell.close()
        self._rope.close()

    async def until_drain(self, reload: Callable[[], Awaitable[object]]) -> int:
        """Returns the number of the signal that asks to drain. SIGHUPs before it reload, one after another; those
        that arrive during a reload are one more. A reload that raises is logged: it must not end the daemon."""
        while self.drain_by is None:
            await self._arrived.wait()
            self._arrived.clear()
            while self._reloads and self.drain_by is None:
                self._reloads = 0
                await self._reload(reload)
        return self.drain_by

    async def _reload(self, reload: Callable[[], Awaitable[object]]) -> None:
        """Reloads, unless asked to drain meanwhile: the end does not wait for it."""
        reloading = asyncio.ensure_future(_guarded(reload))
        arrived = asyncio.ensure_future(self._until_asked())
        try:
            await asyncio.wait((reloading, arrived), return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrived.cancel()
            reloading.cancel()

    async def _until_asked(self) -> None:
        while self.drain_by is None:
            await self._arrived.wait()
            if self.drain_by is None:
                self._arrived.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reloads = 1
        elif self.drain_by is not None:
            os._exit(128 + number)
        else:
            self.drain_by = number
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._arrived.set)


async def _guarded(reload: Callable[[], Awaitable[object]]) -> None:
    try:
        await reload()
    except Exception:
        log.exception("the reload failed; the daemon goes on as before")
