"""Owed: facts of the daemon's own that are true and published, and that the store has yet to take."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from trader_monitor.core.facts import Samples
from trader_monitor.runtime.rows import Row, size_of

__all__ = ["Owed", "without_samples"]

BYTES = 8 << 20


class Owed:
    """Rows in the order of their coming, bounded: the oldest samples go first, then the oldest of the rest."""

    def __init__(self, bound: int = BYTES) -> None:
        self._bound = bound
        self._rows: deque[Row] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def add(self, row: Row) -> int:
        """Takes a row; returns how many facts had to be dropped for it."""
        self._rows.append(row)
        self._bytes += size_of(row)
        return self._drop() if self._bytes > self._bound else 0

    def take(self) -> list[Row]:
        """All rows, to be written."""
        rows = list(self._rows)
        self._rows.clear()
        self._bytes = 0
        return rows

    def put_back(self, rows: list[Row]) -> None:
        """They could not be written: they are the oldest again."""
        self._rows.extendleft(reversed(rows))
        self._bytes += sum(map(size_of, rows))

    def _drop(self) -> int:
        dropped = 0
        for place, row in enumerate(self._rows):
            if self._bytes <= self._bound:
                break
            rest = without_samples(row)
            dropped += len(row.facts) - len(rest.facts)
            self._bytes += size_of(rest) - size_of(row)
            self._rows[place] = rest
        while self._bytes > self._bound:
            oldest = self._rows.popleft()
            self._bytes -= size_of(oldest)
            dropped += len(oldest.facts)
        self._rows = deque(row for row in self._rows if row.facts)
        return dropped


def without_samples(row: Row) -> Row:
    """The row, its samples left out."""
    return Row([fact for fact in row.facts if not isinstance(fact, Samples)], None, row.now)
