"""Worker threads: where plugins run that are written as a plain `def`, and who was left behind there.

Nobody can end a thread. A call that outlives its caller's deadline is left behind, and until it returns the same
question is not put to another thread: a plugin that hangs costs one thread, not one more each round. Whoever
hangs takes no place from the others either.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any, Literal

from anyio import CapacityLimiter, get_cancelled_exc_class, to_thread

__all__ = ["StillRunning", "Threads"]


class StillRunning(Exception):
    """The last call has not returned, so no other is begun; it has run for so many `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__("the last one is still running: no other is begun")
        self.seconds = seconds


class _Call:
    """One call in its thread. Cancelled before the thread took it up, it is never begun."""

    def __init__(self, question: object, began: float) -> None:
        self.question = question
        self.began = began
        self.state: Literal["waiting", "running", "ended"] = "waiting"
        self._lock = threading.Lock()

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with self._lock:
            if self.state == "ended":
                return None
            self.state = "running"
        try:
            return function(*arguments)
        finally:
            self.state = "ended"

    def leave(self) -> bool:
        """Nobody waits for it any more; whether it runs all the same."""
        with self._lock:
            if self.state == "waiting":
                self.state = "ended"
            return self.state == "running"


class Threads:
    """Calls by question: what compares equal is the same one."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(math.inf)
        self._left: list[_Call] = []

    @property
    def left(self) -> int:
        """How many calls were left behind and still run."""
        self._left = [call for call in self._left if call.state != "ended"]
        return len(self._left)

    async def run(
        self, question: object, function: Callable[..., Any], *arguments: Any, mono: Callable[[], float], most: int = 1
    ) -> Any:
        """The function's answer. Raises StillRunning while `most` calls of this question are left behind.

        `mono` tells the monotonic time.
        """
        behind = [call for call in self._left if call.question == question and call.state != "ended"]
        if len(behind) >= most:
            raise StillRunning(mono() - behind[0].began)
        call = _Call(question, mono())
        try:
            return await to_thread.run_sync(
                call.run, function, *arguments, abandon_on_cancel=True, limiter=self._limiter
            )
        except get_cancelled_exc_class():
            if call.leave():
                self._left.append(call)
            raise
