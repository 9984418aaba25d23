"""Progress: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import Final

from trader_monitor.cli.text import clean, duration

__all__ = ["Progress"]

WIDTH: Final = 24
BAR_SECONDS: Final = 0.1
LINE_SECONDS: Final = 5.0


class Progress:
    """Of `total` things. On stderr, so that stdout stays for the answer; `quiet` shows nothing."""

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self.total = max(1, total)
        self.quiet = quiet
        self._bar = sys.stderr.isatty()
        self._began = time.monotonic()
        self._shown = self._began if not self._bar else 0.0
        self._drawn = 0

    def show(self, done: int, text: str = "") -> None:
        now = time.monotonic()
        last = done >= self.total
        if self.quiet or (not last and now - self._shown < (BAR_SECONDS if self._bar else LINE_SECONDS)):
            return
        self._shown = now
        share = min(1.0, done / self.total)
        left = (now - self._began) * (1 - share) / share if share else 0.0
        rest = f", {duration(left)} left" if not last else ""
        if self._bar:
            full = int(share * WIDTH)
            line = f"{'█' * full}{'░' * (WIDTH - full)} {share:4.0%} {done:,}/{self.total:,} {text}{rest}"
            # A line that wraps could not be drawn over.
            self._draw(line[: max(20, (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1)])
        else:
            print(f"{share:4.0%} {done:,}/{self.total:,} {text}{rest}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self.quiet:
            return
        self.close()
        print(clean(text), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leaves the bar's last state standing."""
        if self._drawn:
            print(file=sys.stderr, flush=True)
            self._drawn = 0

    def _draw(self, line: str) -> None:
        print("\r" + line + " " * (self._drawn - len(line)), end="", file=sys.stderr, flush=True)
        self._drawn = len(line)
