"""Where log lines go: a thread that writes to a descriptor, behind a bounded buffer.

Whoever logs never waits: a pipe that nobody reads fills the buffer, then lines are dropped and counted, and the
gap is said in a line of its own once there is room again. A closed pipe swallows everything in peace.
"""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

__all__ = ["Sink"]

MOST_BYTES = 1 << 20
GONE = {errno.EPIPE, errno.EBADF}


class Sink:
    """Writes lines to `descriptor`. `gap` renders the line that says how many were dropped."""

    def __init__(self, descriptor: int, gap: Callable[[int], bytes], *, most_bytes: int = MOST_BYTES) -> None:
        self.dropped = 0
        self.closed = False
        self._descriptor = descriptor
        self._gap = gap
        self._most_bytes = most_bytes
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._untold = 0
        self._writing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def serves(self, descriptor: int) -> bool:
        return self._descriptor == descriptor

    def write(self, line: bytes) -> None:
        """Takes a line, or drops it where the buffer is full; never waits, never raises."""
        with self._changed:
            if self.closed:
                return
            if self._bytes + len(line) > self._most_bytes:
                self.dropped += 1
                self._untold += 1
                return
            self._lines.append(line)
            self._bytes += len(line)
            self._changed.notify_all()

    def flush(self, within: float) -> bool:
        """Waits at most so many seconds until everything taken is written; False where it is not."""
        deadline = time.monotonic() + within
        with self._changed:
            while (self._lines or self._writing) and not self.closed:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def retire(self, within: float) -> None:
        """Writes what it can within so many seconds, and takes no more."""
        self.flush(within)
        with self._changed:
            self.closed = True
            self._lines.clear()
            self._changed.notify_all()

    def _run(self) -> None:
        while (chunk := self._next()) is not None:
            gone = not self._put(chunk)
            with self._changed:
                self._writing = False
                self.closed = self.closed or gone
                self._changed.notify_all()

    def _next(self) -> bytes | None:
        """All that waits, as one write; the buffer is free again for as much. None when closed."""
        with self._changed:
            while not self._lines:
                if self.closed:
                    return None
                self._changed.wait()
            if self._untold:
                self._lines.append(self._gap(self._untold))
                self._untold = 0
            chunk = b"".join(self._lines)
            self._lines.clear()
            self._bytes = 0
            self._writing = True
            return chunk

    def _put(self, chunk: bytes) -> bool:
        """Writes it all. False where the other end is gone for good; a full disk loses this chunk alone."""
        rest = memoryview(chunk)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # somebody else made the shared descriptor non-blocking
                select.select((), (self._descriptor,), (), 1.0)
            except OSError as error:
                return error.errno not in GONE
        return True
