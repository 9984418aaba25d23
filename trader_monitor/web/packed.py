"""MessagePack at the border: where each event begins and ends, checked before anything is built from it.

A length that promises more than there is, nesting that is too deep and keys that come twice are found here, in
the bytes. An event that holds too much is not looked into: only its end is found, in turns that let others run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from trader_monitor.web.fields import Fault, shown

__all__ = ["Array", "Malformed", "array_of", "faults_in", "map_size", "pieces"]

MAX_DEPTH = 8
MAX_VALUES = 1 << 15
"""Keys and values of an event: as many as could be told apart in its 64 KiB."""
MAX_FAULTS = 100
"""Faults of one event that are told."""
MAX_KEY = 64 << 10
TURN = 4096
"""Values that are passed over before others get their turn."""

_TOO_DEEP = f"nested more than {MAX_DEPTH} deep"
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_FIXED |= {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
_SIZED |= {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}


class Malformed(Exception):
    """The bytes are no MessagePack; nothing behind the place can be read."""


class _Unread(Exception):
    """An event that is refused whatever else it holds."""


def pieces(body: bytes) -> Iterator[tuple[bytes, list[Fault]] | None]:
    """Each event's bytes with its faults: the body is one map, several in a row, or one array of maps.

    None comes now and then while the end of a long one is looked for. Raises Malformed, after the pieces that came
    before.
    """
    at, count = array_of(body) or (0, -1)
    while at < len(body) and count:
        scan = _Scan(body)
        found = scan.found
        try:
            end = scan.skip(at, "$", 0)
        except _Unread as why:
            found = [Fault("$", str(why))]
            walk = _Walk(body, at)
            try:
                while walk.goes_on():
                    yield None
            except Malformed as error:
                raise Malformed(f"{why}, and {error}") from None
            end = walk.at
        yield body[at:end], found
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


def faults_in(piece: bytes) -> list[Fault]:
    """What is wrong with one event's bytes. Raises Malformed."""
    scan = _Scan(piece)
    try:
        scan.skip(0, "$", 0)
    except _Unread as why:
        return [Fault("$", str(why))]
    return scan.found


def map_size(piece: bytes) -> int:
    """How many entries a map promises; -1 where it is none."""
    first = piece[0] if piece else 0
    if first & 0xF0 == 0x80:
        return first & 0x0F
    if first in (0xDE, 0xDF):
        return int.from_bytes(piece[1 : 3 if first == 0xDE else 5])
    return -1


def _header(body: bytes, at: int) -> tuple[int, int, int]:
    """Where what follows the first bytes of the value at `at` begins, how many values that is, and of how many keys.

    What holds no values has ended there. Raises Malformed.
    """
    size = len(body)
    if at >= size:
        raise Malformed("the body ends in the middle of an event")
    first = body[at]
    at += 1
    values = keys = 0
    if first <= 0x7F or first >= 0xE0:
        return at, 0, 0
    if first <= 0x8F:
        keys = first & 0x0F
        values = 2 * keys
    elif first <= 0x9F:
        values = first & 0x0F
    elif first <= 0xBF:
        at += first & 0x1F
    elif first in _FIXED:
        at += _FIXED[first]
    elif first in _SIZED:
        width, extra = _SIZED[first]
        at += width + extra + int.from_bytes(body[at : at + width])
    elif first >= 0xDC:
        width = 2 if first in (0xDC, 0xDE) else 4
        values = int.from_bytes(body[at : at + width])
        at += width
        if first >= 0xDE:
            keys, values = values, 2 * values
    else:
        raise Malformed(f"the byte 0x{first:02x} begins no value")
    if at + values > size:
        raise Malformed("a length promises more than there is")
    return at, values, keys


class _Walk:
    """The way to one event's end, past whatever it holds."""

    def __init__(self, body: bytes, at: int) -> None:
        self.at = at
        self._body = body
        self._left = 1

    def goes_on(self) -> bool:
        """Passes over some values; whether there are more. Raises Malformed."""
        body, at, left = self._body, self.at, self._left
        for _ in range(TURN):
            if not left:
                break
            at, values, _ = _header(body, at)
            left += values - 1
            if at + left > len(body):
                raise Malformed("a length promises more than there is")
        self.at, self._left = at, left
        return left > 0


class _Scan:
    """One pass over one event."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.found: list[Fault] = []
        self._left = MAX_VALUES

    def skip(self, at: int, path: str, depth: int) -> int:
        """The end of the value at `at`. Raises Malformed and _Unread."""
        at, values, keys = _header(self.body, at)
        if not values:
            return at
        if depth >= MAX_DEPTH:
            raise _Unread(_TOO_DEEP)
        self._left -= values
        if self._left < 0:
            raise _Unread(f"expected at most {MAX_VALUES:,} keys and values an event")
        if keys:
            return self._map(at, keys, path, depth + 1)
        body, size = self.body, len(self.body)
        for _ in range(values):
            if at < size and ((first := body[at]) <= 0x7F or first >= 0xE0):  # most often, and soon passed
                at += 1
            else:
                at = self.skip(at, path, depth + 1)
        return at

    def _map(self, at: int, keys: int, path: str, depth: int) -> int:
        body = self.body
        seen: set[bytes] = set()
        for _ in range(keys):
            end = self.skip(at, path, depth)
            if end - at > MAX_KEY:
                raise _Unread("a key is longer than an event may be")
            key = _text(body[at:end])
            if key in seen and len(self.found) < MAX_FAULTS:
                self.found.append(Fault(_below(path, key), "the key comes twice"))
            seen.add(key)
            at, values, _ = _header(body, end)
            if values:
                at = self.skip(end, _below(path, key), depth)
        return at


def _below(path: str, key: bytes) -> str:
    return f"{path}.{shown(key.decode('utf-8', 'replace'))[1:-1]}"


def _text(raw: bytes) -> bytes:
    """A key without its length, which may be written in several ways."""
    first = raw[0]
    if first in (0xD9, 0xDA, 0xDB):
        return raw[1 + _SIZED[first][0] :]
    return raw[1:] if 0xA0 <= first <= 0xBF else raw
