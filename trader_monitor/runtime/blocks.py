"""Blocks: the samples of many series over some time, compressed; series that share their timestamps share them here.

A block is a deflated head (per group: how long its parts are) and the parts: a group's timestamps, its series'
ids, and for each series as many columns as the tier has. A column is one value repeated, or pcodec's bytes, which
keep every bit of a float64, staleness markers included. One column is read without touching the others.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from pcodec import ChunkConfig, standalone

from trader_monitor.core.series import Floats, Times
from trader_monitor.runtime.rows import Damaged

__all__ = ["Block", "Columns", "Group", "encode_block", "merged_columns"]

Columns: TypeAlias = tuple[Floats, ...]
"""Raw: the values. A coarser tier: minimum, maximum, mean, count and last of each row."""

_FAST = ChunkConfig(compression_level=4)
_SMALL = ChunkConfig(compression_level=8)
_CONSTANT, _PACKED = 0, 1


class Group(NamedTuple):
    """Series that have exactly the same timestamps."""

    t: Times
    columns: dict[int, Columns]
    """By the store's series id."""


class _Head(msgspec.Struct, array_like=True):
    rows: list[int]
    """Timestamps of each group."""
    times: list[int]
    """Bytes of them."""
    series: list[int]
    """Series in each group."""
    ids: bytes
    """int32, ascending within a group, as differences."""
    lengths: bytes
    """int32, bytes of each column."""


def encode_block(groups: Sequence[Group], *, small: bool) -> bytes:
    """The block; `small` spends three times the time for the last tenth of its size."""
    config = _SMALL if small else _FAST
    head = _Head([], [], [], b"", b"")
    ids, lengths, parts = array("i"), array("i"), []
    for t, columns in groups:
        times = _packed(t, config)
        parts.append(times)
        head.rows.append(len(t))
        head.times.append(len(times))
        head.series.append(len(columns))
        before = 0
        for series in sorted(columns):
            ids.append(series - before)
            before = series
            for column in columns[series]:
                part = _packed(column, config)
                lengths.append(len(part))
                parts.append(part)
    head.ids, head.lengths = ids.tobytes(), lengths.tobytes()
    front = zlib.compress(msgspec.msgpack.encode(head), 9 if small else 1)
    return b"".join([len(front).to_bytes(4, "little"), front, *parts])


class _Place(NamedTuple):
    group: int
    at: int
    """Index of its first column among all columns."""


class Block:
    """An encoded block, read column by column. Raises `Damaged` where it cannot be."""

    def __init__(self, body: bytes, width: int) -> None:
        self._body = body
        self._width = width
        size = int.from_bytes(body[:4], "little")
        try:
            head = msgspec.msgpack.decode(zlib.decompress(body[4 : 4 + size]), type=_Head)
        except (zlib.error, msgspec.MsgspecError) as error:
            raise Damaged(f"a block does not decode: {error}") from error
        ids = np.frombuffer(head.ids, "<i4")
        lengths = np.frombuffer(head.lengths, "<i4").astype(np.int64)
        self._rows = head.rows
        self._times: list[tuple[int, int]] = []
        self._places: dict[int, _Place] = {}
        self._spans: list[NDArray[np.int64]] = []
        self._decoded: dict[int, Times] = {}
        at, first = 4 + size, 0
        for group, count in enumerate(head.series):
            self._times.append((at, at + head.times[group]))
            at += head.times[group]
            ends = at + np.concatenate([[0], np.cumsum(lengths[first * width : (first + count) * width])])
            self._spans.append(ends)
            for place, series in enumerate(np.cumsum(ids[first : first + count]).tolist()):
                self._places[series] = _Place(group, place * width)
            first += count
            at = int(ends[-1])

    @classmethod
    def empty(cls) -> Block:
        return cls(encode_block([], small=False), 1)

    def __contains__(self, series: int) -> bool:
        return series in self._places

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def group_of(self, series: int) -> int:
        """Series with the same number share their timestamps."""
        return self._places[series].group

    def times(self, series: int) -> Times:
        """The series' timestamps; not to be written to."""
        group = self._places[series].group
        t = self._decoded.get(group)
        if t is None:
            start, end = self._times[group]
            t = self._decoded[group] = _unpacked(self._body[start:end], self._rows[group], np.int64)
        return t

    def column(self, series: int, which: int = 0) -> Floats:
        """One column of a series; not to be written to."""
        group, at = self._places[series]
        start, end = self._spans[group][at + which : at + which + 2].tolist()
        return _unpacked(self._body[start:end], self._rows[group], np.float64)

    def columns(self, series: int) -> Columns:
        return tuple(self.column(series, which) for which in range(self._width))


def merged_columns(parts: Sequence[tuple[Times, Columns]]) -> tuple[Times, Columns]:
    """Parts of one series in the order of their writing: ascending, and of one time the last written."""
    if len(parts) == 1:
        return parts[0]
    t = np.concatenate([part[0] for part in parts])
    columns = tuple(np.concatenate(each) for each in zip(*(part[1] for part in parts), strict=True))
    order = order_of(t)
    return (t, columns) if order is None else (t[order], tuple(column[order] for column in columns))


def order_of(t: Times) -> NDArray[np.int64] | None:
    """The indexes that sort `t` and leave of equal times the last; None where it is in order already."""
    if not len(t) or bool(np.all(t[1:] > t[:-1])):
        return None
    order = np.argsort(t, kind="stable")
    ranked = t[order]
    keep = np.ones(len(t), bool)
    keep[:-1] = ranked[1:] != ranked[:-1]
    return order[keep]


def _packed(column: NDArray[np.int64] | NDArray[np.float64], config: ChunkConfig) -> bytes:
    bits = column.view(np.int64)
    if len(bits) and bool(np.all(bits == bits[0])):
        return bytes((_CONSTANT,)) + bits[:1].tobytes()
    packed: bytes = standalone.simple_compress(np.ascontiguousarray(column), config)
    return bytes((_PACKED,)) + packed


N = TypeVar("N", np.int64, np.float64)


def _unpacked(part: bytes, rows: int, kind: type[N]) -> NDArray[N]:
    if not part:
        raise Damaged("a block ends too early")
    if part[0] == _CONSTANT:
        return np.full(rows, np.frombuffer(part[1:], np.int64)[0], np.int64).view(kind)
    try:
        column: NDArray[N] | None = standalone.simple_decompress(part[1:])
    except RuntimeError as error:
        raise Damaged(f"a block does not decode: {error}") from error
    if column is None or len(column) != rows or column.dtype != kind:
        raise Damaged("a block's column has another shape than its head says")
    return column
