"""Query results in Prometheus's JSON, byte for byte: numbers as strings, times in seconds.

Written by hand because of its size: 30 series of 1,440 points are encoded in a few milliseconds. And in pieces, of a
series or a thousand rows each: to put a large answer together would stop everything else for as long.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias

import msgspec
import numpy as np

from trader_monitor.core.facts import Labels
from trader_monitor.core.promql import Instant, Matrix
from trader_monitor.core.promql.numbers import shown
from trader_monitor.core.samples import Floats, Times

__all__ = ["Pieces", "exponent", "failure", "instant", "matrix", "number", "rows", "seconds", "success"]

Pieces: TypeAlias = list[bytes]
ROWS = 1000

_encode = msgspec.json.encode


def number(value: float) -> str:
    """A value as the API writes it: digits, with an exponent only where it is very small or very large."""
    if value and math.isfinite(value) and not 1e-6 <= abs(value) < 1e21:
        return repr(value)
    return shown(value)


def exponent(value: float) -> str:
    """A value as alerts show it: `2.5e-01`."""
    if not math.isfinite(value):
        return shown(value)
    for digits in range(17):
        text = f"{value:.{digits}e}"
        if float(text) == value:
            break
    return text


def seconds(t_ms: int) -> str:
    """Milliseconds as seconds, with three decimals or none."""
    whole, rest = divmod(abs(t_ms), 1000)
    sign = "-" if t_ms < 0 else ""
    return f"{sign}{whole}.{rest:03}" if rest else f"{sign}{whole}"


def success(data: Pieces, warnings: Sequence[str] = ()) -> Pieces:
    tail = b',"warnings":' + _encode(list(warnings)) if warnings else b""
    return [b'{"status":"success","data":', *data, tail + b"}"]


def failure(kind: str, message: str) -> bytes:
    return _encode({"status": "error", "errorType": kind, "error": message})


def instant(result: Instant, limit: int = 0) -> tuple[Pieces, bool]:
    """The `data` of an instant query, and whether it was cut to `limit` series (0: no limit)."""
    at = seconds(result.t_ms)
    match result.kind:
        case "scalar":
            return [f'{{"resultType":"scalar","result":[{at},"{number(result.scalar)}"]}}'.encode()], False
        case "string":
            text = _encode(result.text)
            return [b'{"resultType":"string","result":[' + at.encode() + b"," + text + b"]}"], False
        case "matrix":
            return _matrix(result.matrix, limit)
    cut = 0 < limit < len(result.vector)
    vector = result.vector[:limit] if cut else result.vector
    rows = (
        b'{"metric":' + _metric(labels) + f',"value":[{at},"{number(value)}"]}}'.encode() for labels, value in vector
    )
    return [b'{"resultType":"vector","result":[', *_listed(rows, ROWS), b"]}"], cut


def rows(found: Sequence[Any]) -> Pieces:
    """A list of anything."""
    return [b"[", *_listed(map(_encode, found), ROWS), b"]"]


def matrix(result: Matrix, limit: int = 0) -> tuple[Pieces, bool]:
    """The `data` of a range query, and whether it was cut to `limit` series (0: no limit)."""
    return _matrix(list(result.rows()), limit)


def _matrix(rows: Sequence[tuple[Labels, Times, Floats]], limit: int) -> tuple[Pieces, bool]:
    cut = 0 < limit < len(rows)
    shown_rows = rows[:limit] if cut else rows
    return [b'{"resultType":"matrix","result":[', *_listed(_series(shown_rows), 1), b"]}"], cut


def _listed(texts: Iterable[bytes], most: int) -> Iterator[bytes]:
    """The texts with commas between them, up to so many a piece."""
    texts = iter(texts)
    comma = b""
    while some := tuple(islice(texts, most)):
        yield comma + b",".join(some)
        comma = b","


def _series(rows: Iterable[tuple[Labels, Times, Floats]]) -> Iterable[bytes]:
    last: Times | None = None
    beginnings: list[str] = []
    for labels, times, values in rows:
        if last is None or times is not last:
            last = times
            beginnings = [f'[{seconds(t)},"' for t in times.tolist()]
        parts = [""] * (2 * len(beginnings))
        parts[0::2] = beginnings
        parts[1::2] = _numbers(values)
        yield b'{"metric":' + _metric(labels) + f',"values":[{_POINT.join(_paired(parts))}"]]}}'.encode()


_POINT = '"],'


def _paired(parts: list[str]) -> Iterable[str]:
    return map(str.__add__, parts[0::2], parts[1::2])


def _numbers(values: Floats) -> list[str]:
    """Many numbers at once: the encoder's digits, set right where Prometheus writes them otherwise."""
    if not len(values):
        return []
    known = values.tolist()
    usual = (values == 0) | ((np.abs(values) >= 1e-4) & (np.abs(values) < 1e15))
    if not usual.all():
        return [number(value) for value in known]
    text = _encode(known).decode()
    return (text[1:-1] + ",").replace(".0,", ",")[:-1].split(",")


def _metric(labels: Labels) -> bytes:
    return _encode(dict(labels))
