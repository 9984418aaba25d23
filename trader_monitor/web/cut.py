"""JSON arrays that cannot be read as a whole: cut into their items by quotes, brackets and commas alone.

One bad item need not cost the good ones. Nothing is built or nested to find where each ends: the bytes are looked at
in blocks, so that the worst array costs no more than any other of its size.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["Cut", "TooMany", "Torn", "brackets"]

_BLOCK = 256 << 10
_WHITE = b" \t\r\n"
_QUOTE, _COMMA = 1, 2
_SIGN = np.zeros(256, np.uint8)
_SIGN[list(b'",[]{}')] = (_QUOTE, _COMMA, 3, 4, 5, 6)
_SQUARE = np.array([0, 0, 0, 1, -1, 0, 0], np.int8)
"""How much deeper in square brackets each sign leads; the same below for braces."""
_BRACE = np.array([0, 0, 0, 0, 0, 1, -1], np.int8)


def brackets(text: bytes) -> tuple[int, int]:
    """How deep brackets are nested, and how many are opened, those within quotes left out."""
    if b"[" not in text and b"{" not in text:
        return 0, 0
    signs = _SIGN[np.frombuffer(text.replace(rb"\\", b"  ").replace(rb"\"", b"  "), np.uint8)]
    inside = np.bitwise_xor.accumulate(signs == _QUOTE)
    steps = (_SQUARE + _BRACE)[signs] * ~inside
    return int(np.cumsum(steps, dtype=np.int64).max()), int(np.count_nonzero(steps > 0))


class TooMany(Exception):
    """More events than one request may hold."""


class Torn(Exception):
    """Where the items end can no longer be told: at item `number`, counted from 1."""

    def __init__(self, number: int, error: str) -> None:
        super().__init__(f"expected a JSON array: {error}")
        self.number = number


class Cut:
    """An array on its way into items: `scan` it to its end, then take the `items`."""

    def __init__(self, body: bytes, most: int, block: int = _BLOCK) -> None:
        self._body, self._most, self._block = body, most, block
        self._begin = body.index(b"[") + 1
        self._at = self._begin - 1
        self._quoted, self._square, self._brace = False, 0, 0
        self._ends: list[int] = []
        """Where each item ends: at a comma, and the last where the array does."""
        self._torn: str | None = None

    def scan(self) -> bool:
        """Looks at the next block; whether there is another. Raises TooMany."""
        if self._at >= len(self._body):
            self._torn = f"it ends in the middle of item {len(self._ends) + 1:,}"
            return False
        block = self._body[self._at : self._at + self._block].replace(rb"\\", b"  ")
        if block.endswith(b"\\"):  # what it escapes belongs to it
            escaped = self._at + len(block)
            block += self._body[escaped : escaped + 1]
        signs = _SIGN[np.frombuffer(block.replace(rb"\"", b"  "), np.uint8)]
        inside = np.bitwise_xor.accumulate(signs == _QUOTE) ^ self._quoted
        where = np.flatnonzero((signs > _QUOTE) & ~inside)
        signs = signs[where]
        squares = np.cumsum(_SQUARE[signs], dtype=np.int64) + self._square
        braces = np.cumsum(_BRACE[signs], dtype=np.int64) + self._brace
        outermost = np.flatnonzero((squares == 0) | (braces < 0))
        last = int(outermost[0]) if len(outermost) else len(where)
        commas = (signs == _COMMA) & (squares == 1) & (braces == 0)
        self._ends += (where[:last][commas[:last]] + self._at).tolist()
        if len(self._ends) >= self._most:
            raise TooMany
        if last < len(where):
            end = int(where[last]) + self._at
            if braces[last] == 0:
                self._ends.append(end)
            else:
                self._torn = f"the brackets do not match at byte {end + 1:,}"
            return False
        self._quoted = bool(inside[-1])
        if len(where):
            self._square, self._brace = int(squares[-1]), int(braces[-1])
        self._at += len(block)
        return True

    def items(self) -> Iterator[tuple[int, bytes]]:
        """The numbered items, whatever is in them.

        Raises Torn: before the first where quotes or brackets do not close, after the last where something follows.
        """
        body, first, ends = self._body, self._begin, self._ends
        if self._torn is not None:
            raise Torn(len(ends) + 1, f"{self._torn}; none of it was taken")
        if len(ends) == 1 and not body[first : ends[0]].strip(_WHITE):
            first = ends.pop() + 1
        for number, end in enumerate(ends, 1):
            yield number, body[first:end].strip(_WHITE)
            first = end + 1
        if body[first:].strip(_WHITE):
            raise Torn(len(ends) + 1, f"text follows it at byte {first + 1:,}")
