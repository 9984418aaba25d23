"""Columns on their way from a file: rows go to a temporary file, and come back a column at a time.

So a file may be larger than memory: there is never more of it than some thousand rows, or one column (8 bytes a row).
A cell is a double; null and categories are NaN with a number of their own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_COLUMNS", "MOST_ROWS", "MOST_WORDS", "Columns", "Spool", "Wrong"]

MOST_COLUMNS = 2_000
MOST_ROWS = 20_000_000
MOST_WORDS = 100_000
CHUNK = 4_096

_NULL = 0x7FF8000000000001
_WORDS = 0x7FF8000000000002


class Wrong(Exception):
    """What a file holds that is no feature: `row` counts as the file does, `column` may be empty."""

    def __init__(self, what: str, *, row: int = 0, column: str = "") -> None:
        super().__init__(what)
        self.row = row
        self.column = column


class _Column:
    __slots__ = ("buffer", "missed", "nulls", "numbers", "words")

    def __init__(self, missed: int) -> None:
        self.buffer: list[float | str | None] = []
        self.missed = missed
        """Rows before the first that knew of it."""
        self.numbers = 0
        self.nulls = missed
        self.words: dict[str, int] = {}


class Columns:
    """What is in the temporary file. `categories` are those of texts; times are Unix seconds."""

    def __init__(self) -> None:
        self.rows = 0
        self.first_at: float | None = None
        self.last_at: float | None = None
        self._columns: dict[str, _Column] = {}
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="trader-monitor-")  # noqa: SIM115 - closed by __exit__
        self._chunks: list[tuple[int, dict[str, int]]] = []
        """Of each chunk its rows, and where each column begins."""

    @property
    def names(self) -> list[str]:
        return list(self._columns)

    @property
    def categories(self) -> set[str]:
        return {name for name, column in self._columns.items() if column.words}

    def nulls(self, name: str) -> int:
        return self._columns[name].nulls

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column; NaN where there is no number."""
        found = np.full(self.rows, np.nan)
        begin = 0
        for rows, places in self._chunks:
            if name in places:
                raw = os.pread(self._file.fileno(), 8 * rows, places[name])
                found[begin : begin + rows] = np.frombuffer(raw, np.float64)
            else:
                found[begin : begin + rows].view(np.uint64)[:] = _NULL
            begin += rows
        return found

    def values(self, name: str) -> NDArray[np.float64] | list[str | None]:
        """A column; of categories their names, None where there is none."""
        numbers = self.numbers(name)
        words = self._columns[name].words
        if not words:
            return numbers
        codes = numbers.view(np.uint64).astype(np.int64) - _WORDS
        names: list[str | None] = [*words, None]
        return [names[code] for code in np.where((codes < 0) | (codes >= len(words)), len(words), codes).tolist()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


class Spool:
    """Takes rows, or whole columns of a chunk, and checks that a column stays what it was. `finish` at the end."""

    def __init__(self, into: Columns, categories: frozenset[str]) -> None:
        self._into = into
        self._categories = categories
        self._pending = 0

    def row(self, cells: dict[str, Any], number: int) -> None:
        """One row; `number` as the file counts. Raises Wrong."""
        columns = self._into._columns
        if cells.keys() - columns.keys():
            self._welcome(cells, number)
        for name, column in columns.items():
            value = cells.get(name)
            if value is None:
                column.nulls += 1
            elif isinstance(value, str):
                if value not in column.words:
                    self._word(name, column, value, number)
            else:
                if name in self._categories:
                    value = _named(value)
                    if value not in column.words:
                        self._word(name, column, value, number)
                elif column.words:
                    raise Wrong(f"{value!r:.40} is a number among texts: {_HINT}", row=number, column=name)
                else:
                    column.numbers += 1
            column.buffer.append(value)
        self._pending += 1
        if self._pending >= CHUNK:
            self._flush()

    def _welcome(self, cells: dict[str, Any], number: int) -> None:
        columns = self._into._columns
        seen = self._into.rows + self._pending
        for name in cells:
            if name not in columns:
                if len(columns) >= MOST_COLUMNS:
                    raise Wrong(f"there are more than {MOST_COLUMNS:,} columns: choose some with --columns", row=number)
                column = columns[name] = _Column(seen)
                column.buffer += [None] * self._pending

    def _word(self, name: str, column: _Column, value: str, number: int) -> None:
        if column.numbers:
            raise Wrong(f"expected a number as in the rows before, got {value!r:.60}: {_HINT}", row=number, column=name)
        if len(column.words) >= MOST_WORDS:
            what = f"more than {MOST_WORDS:,} different texts"
            raise Wrong(f"{what}: where it names things, leave it out with --columns", row=number, column=name)
        column.words[value] = len(column.words)

    def _flush(self) -> None:
        into = self._into
        rows, self._pending = self._pending, 0
        if into.rows + rows > MOST_ROWS:
            raise Wrong(f"there are more than {MOST_ROWS:,} rows: give the newest of them")
        places: dict[str, int] = {}
        for name, column in into._columns.items():
            places[name] = into._file.tell()
            into._file.write(_cells(column.buffer, column.words))
            column.buffer = []
        into._file.flush()
        into._chunks.append((rows, places))
        into.rows += rows

    def finish(self) -> None:
        """Raises Wrong where too many rows have come."""
        if self._pending:
            self._flush()


_HINT = "where its numbers are names, say so with --category"


def _named(value: float) -> str:
    """A category that is written as a number: 1 and 1.0 are the same one."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _cells(values: Sequence[float | str | None], words: dict[str, int]) -> bytes:
    found = np.array([0.0 if value is None or isinstance(value, str) else value for value in values], np.float64)
    found[np.isnan(found)] = np.nan
    bits = found.view(np.uint64)
    for place, value in enumerate(values):
        if value is None:
            bits[place] = _NULL
        elif isinstance(value, str):
            bits[place] = _WORDS + words[value]
    return found.tobytes()
