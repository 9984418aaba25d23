"""Features: what a model was given, as a row of float32 in the order of the features' names.

A number is rounded to float32 (IEEE 754, to nearest; 24 bits, so integers beyond 16,777,216 lose digits). A cell that
is null is the quiet NaN 0x7FC00000. A category is the NaN 0x7FC00000 + k: word k of a list, 1 the first, so that
numbers, nulls and categories may stand in one column, and whoever reads float32 sees NaN where there is no number.

A row alone bears every word as 1, and the words in the order of their cells behind it, as MessagePack.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EMPTY",
    "MAX_WORDS",
    "Cells",
    "Features",
    "Layout",
    "coded",
    "codes_of",
    "features_of",
    "layout_of",
    "packed_row",
]

Features: TypeAlias = Mapping[str, float | str | None]
Cells: TypeAlias = NDArray[np.uint32]
"""Rows x columns of float32, as their bits."""

MAX_WORDS = (1 << 22) - 1
"""Different categories that one list of words can hold."""
_NULL = 0x7FC00000
_WORD = _NULL + 1
_ROOM = 4096

_ENCODER = msgspec.msgpack.Encoder()
_WORDS = msgspec.msgpack.Decoder(list[str])


class Layout(NamedTuple):
    """The columns of a row, as they are `given` and in their order. `check` is a checksum of their names."""

    given: tuple[str, ...]
    names: tuple[str, ...]
    check: int
    values: Callable[[Features], Sequence[Any]]
    floats: struct.Struct


def _layout(given: tuple[str, ...]) -> Layout:
    names = tuple(sorted(given))
    # One name is always in order, so that the getter below has two or more, and gives a tuple.
    values: Callable[[Any], Any] = _as_given if names == given else itemgetter(*names)
    return Layout(given, names, crc32(_ENCODER.encode(names)), values, struct.Struct(f"<{len(names)}f"))


def _as_given(features: Features) -> Sequence[Any]:
    return tuple(features.values())


EMPTY = _layout(())
"""Of a prediction without features."""
_KNOWN: dict[tuple[str, ...], Layout] = {}
_LAST = [EMPTY]
"""Most often it is the one of the row before: to compare names is quicker than to hash them."""


def layout_of(features: Features | None) -> Layout:
    """The columns of these features: the same for the same names in any order. Remembers the last few thousand."""
    if not features:
        return EMPTY
    given = tuple(features)
    last = _LAST[0]
    if last.given == given:
        return last
    known = _KNOWN.get(given)
    if known is None:
        if len(_KNOWN) >= _ROOM:
            _KNOWN.clear()
        known = _KNOWN[given] = _layout(given)
    _LAST[0] = known
    return known


def packed_row(features: Features | None) -> bytes:
    """The row of these features. A number beyond float32's range is an infinity."""
    if not features:
        return b""
    layout = layout_of(features)
    values = layout.values(features)
    try:
        return layout.floats.pack(*values)
    except (struct.error, OverflowError):  # a null or a category, or a number that is too large
        return _carefully(values)


def _carefully(values: Sequence[float | str | None]) -> bytes:
    words = [value for value in values if isinstance(value, str)]
    with np.errstate(over="ignore"):
        row = np.array([0.0 if value is None or isinstance(value, str) else value for value in values]).astype("<f4")
    cells = row.view("<u4")
    for column, value in enumerate(values):
        if value is None:
            cells[column] = _NULL
        elif isinstance(value, str):
            cells[column] = _WORD
    return cells.tobytes() + (_ENCODER.encode(words) if words else b"")


def coded(rows: Sequence[bytes], columns: int) -> tuple[bytes, list[str]]:
    """Rows of one layout under each other, and the words that their categories are the numbers of.

    Categories beyond `MAX_WORDS` become null.
    """
    width = 4 * columns
    if all(len(row) == width for row in rows):
        return b"".join(rows), []
    cells = np.frombuffer(b"".join(row[:width] for row in rows), "<u4").copy()
    numbers: dict[str, int] = {}
    codes: list[int] = []
    for row in rows:
        if len(row) > width:
            for word in _WORDS.decode(row[width:]):
                code = numbers.get(word)
                if code is None:
                    code = numbers[word] = len(numbers) + 1
                codes.append(code if code <= MAX_WORDS else 0)
    cells[cells == _WORD] = np.array(codes, "<u4") + np.uint32(_NULL)
    return cells.tobytes(), list(numbers)[:MAX_WORDS]


def codes_of(cells: Cells) -> NDArray[np.int64]:
    """The number of each cell's word; 0 where the cell is a number or null."""
    is_word = (cells & np.uint32(0xFFC00000)) == _NULL
    return np.where(is_word, cells & np.uint32(MAX_WORDS), 0).astype(np.int64)


def features_of(cells: Cells, names: Sequence[str], words: Sequence[str]) -> list[dict[str, float | str | None]]:
    """The features of each row again, rounded as they were kept."""
    numbers: list[list[Any]] = cells.view("<f4").tolist()
    for row, column in np.argwhere((cells & np.uint32(0xFFC00000)) == _NULL).tolist():
        code = int(cells[row, column]) & MAX_WORDS
        numbers[row][column] = words[code - 1] if code else None
    return [dict(zip(names, row, strict=True)) for row in numbers]
