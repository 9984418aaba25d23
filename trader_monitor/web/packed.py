"""MessagePack at the border: where each event begins and ends, checked before anything is built from it.

A length that promises more than there is, nesting that is too deep and keys that come twice are found here, in
the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from trader_monitor.web.fields import Fault

__all__ = ["Array", "Malformed", "array_of", "map_size", "pieces"]

MAX_DEPTH = 8
MAX_SCANNED = 64 << 10
"""Bytes of an event whose keys are looked at: a longer one is refused whatever they are."""
MAX_SKIPPED = 1 << 18
"""Values within what is nested too deeply that are passed over to find the next event."""

_TOO_DEEP = f"nested more than {MAX_DEPTH} deep"
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_FIXED |= {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
_SIZED |= {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}


class Malformed(Exception):
    """The bytes are no MessagePack; nothing behind the place can be read."""


def pieces(body: bytes) -> Iterator[tuple[bytes, list[Fault]]]:
    """Each event's bytes with its faults: the body is one map, several in a row, or one array of maps.

    Raises Malformed, after the pieces that came before.
    """
    at, count = array_of(body) or (0, -1)
    while at < len(body) and count:
        scan = _Scan(body, at)
        try:
            end = scan.skip(at, "$", 0)
        except Malformed as error:
            raise Malformed(f"{_TOO_DEEP}, and {error}") if scan.too_deep else error from None
        yield body[at:end], scan.found
        at, count = end, count - 1
    if count > 0:
        raise Malformed(f"the array ends early: {count:,} more events were promised")
    if at < len(body):
        raise Malformed(f"{len(body) - at:,} bytes follow the array")


class Array(NamedTuple):
    """Where an array's first item begins, and how many it promises."""

    at: int
    promised: int


def array_of(body: bytes) -> Array | None:
    """The body's array; None where it is none."""
    first = body[0] if body else 0
    if first & 0xF0 == 0x90:
        return Array(1, first & 0x0F)
    if first in (0xDC, 0xDD):
        width = 2 if first == 0xDC else 4
        return Array(1 + width, int.from_bytes(body[1 : 1 + width]))
    return None


def map_size(piece: bytes) -> int:
    """How many entries a map promises; -1 where it is none."""
    first = piece[0] if piece else 0
    if first & 0xF0 == 0x80:
        return first & 0x0F
    if first in (0xDE, 0xDF):
        return int.from_bytes(piece[1 : 3 if first == 0xDE else 5])
    return -1


class _Scan:
    """One pass over one event."""

    def __init__(self, body: bytes, at: int) -> None:
        self.body = body
        self.far = at + MAX_SCANNED
        self.found: list[Fault] = []
        self.too_deep = False

    def skip(self, at: int, path: str, depth: int) -> int:
        """The end of the value at `at`."""
        body = self.body
        if at >= len(body):
            raise Malformed("the body ends in the middle of an event")
        first = body[at]
        at += 1
        if first <= 0x7F or first >= 0xE0:
            return at
        if first <= 0x8F:
            return self._map(at, first & 0x0F, path, depth)
        if first <= 0x9F:
            return self._items(at, first & 0x0F, path, depth)
        if first <= 0xBF:
            return self._within(at + (first & 0x1F))
        if first in _FIXED:
            return self._within(at + _FIXED[first])
        if first in _SIZED:
            width, extra = _SIZED[first]
            return self._within(at + width + extra + int.from_bytes(body[at : at + width]))
        if first in (0xDC, 0xDD, 0xDE, 0xDF):
            width = 2 if first in (0xDC, 0xDE) else 4
            count = int.from_bytes(body[at : at + width])
            walk = self._items if first <= 0xDD else self._map
            return walk(at + width, count, path, depth)
        raise Malformed(f"the byte 0x{first:02x} begins no value")

    def _within(self, end: int) -> int:
        if end > len(self.body):
            raise Malformed("a length promises more than there is")
        return end

    def _beyond(self, at: int, count: int) -> int:
        """The end of values that are nested too deeply to be looked into; no deeper for the worst of them."""
        body, left = self.body, count
        if not self.too_deep:
            self.found.append(Fault("$", _TOO_DEEP))
            self.too_deep = True
        for _ in range(MAX_SKIPPED):
            if not left:
                return at
            self._within(at + left)
            first = body[at]
            left -= 1
            if 0x80 <= first <= 0x9F:
                at += 1
                left += (first & 0x0F) * (2 if first <= 0x8F else 1)
            elif 0xDC <= first <= 0xDF:
                width = 2 if first in (0xDC, 0xDE) else 4
                left += int.from_bytes(body[at + 1 : at + 1 + width]) * (2 if first >= 0xDE else 1)
                at += 1 + width
            else:
                at = self.skip(at, "$", MAX_DEPTH)
        raise Malformed("holds too much to be passed over")

    def _items(self, at: int, count: int, path: str, depth: int) -> int:
        if depth >= MAX_DEPTH:
            return self._beyond(at, count)
        self._within(at + count)
        for _ in range(count):
            at = self.skip(at, path, depth + 1)
        return at

    def _map(self, at: int, count: int, path: str, depth: int) -> int:
        if depth >= MAX_DEPTH:
            return self._beyond(at, 2 * count)
        self._within(at + 2 * count)
        seen: set[bytes] = set()
        for _ in range(count):
            end = self.skip(at, path, depth + 1)
            if end > self.far:
                at = self.skip(end, path, depth + 1)
                continue
            key = _text(self.body[at:end])
            where = f"{path}.{ascii(key.decode('utf-8', 'replace'))[1:-1]}"
            if key in seen:
                self.found.append(Fault(where, "the key comes twice"))
            seen.add(key)
            at = self.skip(end, where, depth + 1)
        return at


def _text(raw: bytes) -> bytes:
    """A key without its length, which may be written in several ways."""
    first = raw[0]
    if first in (0xD9, 0xDA, 0xDB):
        return raw[1 + _SIZED[first][0] :]
    return raw[1:] if 0xA0 <= first <= 0xBF else raw
