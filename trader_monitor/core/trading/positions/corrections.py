"""The tail of an account's fills, from which its history can be told again when it turns out to have been another.

A fill that comes late is put where it belongs among the fills of its book; a correction takes the place of what it
corrects; a cancelled fill is taken out. Then everything that the tail touched is set back to where the tail begins
and the tail folded anew: books, ledgers, round trips and peaks come out as if it had come in that order.

The tail has two segments. When the newer one is full it becomes the older one and the older one is forgotten, so
that between one and two segments can be told again. What a segment touches is copied when it is first touched.
"""

from __future__ import annotations

from typing import Any, Final, Literal, Protocol, TypeAlias

from msgspec import Struct

from trader_monitor.core.tally import Tally

__all__ = ["MOST_ENTRIES", "SEGMENT", "Entry", "Line", "Place", "Ratio", "Tail", "Thing", "segment_for"]

SEGMENT: Final = 256
"""Fills of one account that a segment holds at most."""

MOST_ENTRIES: Final = 65_536
"""Fills of all accounts' tails together, beyond which segments are shorter. A fill takes 350 bytes, and up to 3 KiB
with the copies of what it touches where each is of another book: 23 MB, and 200 MB at the worst."""

Place: TypeAlias = Literal["in_order", "late", "too_late"]

Ratio: TypeAlias = tuple[int, int]
"""New units for old ones."""


class State(Protocol):
    __struct_fields__: tuple[str, ...]

    def copied(self) -> Any: ...


class Thing(Protocol):
    """What fills change: its state is copied and restored."""

    state: Any
    told_again: bool

    def touch(self, t_ms: int) -> None: ...


class Line(Protocol):
    """Where a fill goes."""

    things: tuple[Any, ...]
    segment: int

    @property
    def position(self) -> Thing: ...

    def apply(self, entry: Entry) -> None: ...


class Entry(Struct, array_like=True, gc=False):
    """A fill, or a split, as the tail keeps it; `line` is its line's number in the tail, `corrects` the id by which
    it was known before. There are many, and none of them can be part of a cycle.
    """

    line: int
    at: float
    quantity: float
    price: float
    fee: float | None
    reported: float | None
    id: str | None
    corrects: str | None = None
    ratio: Ratio | None = None


def segment_for(accounts: int) -> int:
    """Fills in a segment where so many accounts have a tail."""
    return max(1, min(SEGMENT, MOST_ENTRIES // (2 * max(accounts, 1))))


class Tail:
    """One account's last fills, in the order in which they are told: each book's by time, else as they came."""

    __slots__ = ("_told_ms", "kept", "kept_older", "lines", "newer", "older", "segment", "stale", "tally")

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.lines: list[Any] = []
        """Where its fills go (`Line`)."""
        self.older: list[Entry] = []
        self.newer: list[Entry] = []
        self.kept_older: dict[Thing, Any] = {}
        """What the older segment touches, as it was before."""
        self.kept: dict[Thing, Any] = {}
        """What the newer one touches, as it was before."""
        self.segment = 1
        self.stale = False
        """Whether the order has changed and is still to be told."""
        self._told_ms = 0

    def number(self, line: Any) -> int:
        """The number of a new line."""
        self.lines.append(line)
        return len(self.lines) - 1

    def keep(self, line: Line) -> None:
        """Copies what the line's fills are about to change for the first time in this segment."""
        line.segment = self.segment
        for thing in line.things:
            if thing not in self.kept:
                self.kept[thing] = thing.state.copied()

    def add(self, entry: Entry) -> None:
        """Takes the newest fill (or split) and books it."""
        self.newer.append(entry)
        self._apply(entry)

    def turn(self) -> None:
        """The newer segment is full: it becomes the older one."""
        if self.stale:
            self.tell()
        self.older, self.newer = self.newer, []
        self.kept_older, self.kept = self.kept, {}
        self.segment += 1

    def place(self, entry: Entry) -> Place:
        """Puts a fill where it belongs, which is mostly the end; nowhere, if it is from before the tail begins."""
        lines = self.lines
        position, at = lines[entry.line].position, entry.at
        spot: tuple[list[Entry], int] | None = None
        for part in (self.newer, self.older):
            for index in range(len(part) - 1, -1, -1):
                if lines[part[index].line].position is position:
                    if part[index].at <= at:
                        return self._put(entry, spot)
                    spot = (part, index)
        before = self.kept_older.get(position) or self.kept.get(position) or position.state
        return "too_late" if before.newest_at > at else self._put(entry, spot)

    def _put(self, entry: Entry, spot: tuple[list[Entry], int] | None) -> Place:
        if spot is None:
            self.newer.append(entry)
            return "in_order"
        part, index = spot
        part.insert(index, entry)
        return "late"

    def find(self, id: str) -> tuple[list[Entry], int] | None:
        """Where the fill is that has this id, or had it before it was corrected."""
        for part in (self.newer, self.older):
            for index, entry in enumerate(part):
                if id in (entry.id, entry.corrects):
                    return part, index
        return None

    def change(self, t_ms: int) -> None:
        """The order has changed: it is told anew when the step settles, or before somebody asks."""
        self._told_ms = max(self._told_ms, t_ms)
        if not self.stale:
            self.stale = True
            self.tally.pending.append(self)

    def settle(self) -> None:
        if self.stale:
            self.tell()

    def tell(self) -> None:
        """Folds the tail anew, from its beginning."""
        self.stale = False
        touched = self.kept_older | {thing: state for thing, state in self.kept.items() if thing not in self.kept_older}
        for thing, state in touched.items():
            _restore(thing.state, state.copied())
        newer, self.newer = self.newer, []
        self.kept = self.kept_older
        self.segment += 1
        for entry in self.older:
            self._apply(entry)
        self.newer = newer
        self.kept = {}
        self.segment += 1
        for entry in newer:
            self._apply(entry)
        for thing in touched | self.kept_older | self.kept:
            thing.told_again = True
            thing.touch(self._told_ms)

    def _apply(self, entry: Entry) -> None:
        line = self.lines[entry.line]
        if line.segment != self.segment:
            self.keep(line)
        line.apply(entry)


def _restore(state: Any, before: Any) -> None:
    for name in state.__struct_fields__:
        setattr(state, name, getattr(before, name))
