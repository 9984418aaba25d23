"""Series as text: Prometheus's exposition format 0.0.4, and OpenMetrics 1.0.

What does not change between two scrapes (`name{labels} `, HELP, TYPE, the order) is made once per generation of
the series and kept; a scrape adds the values. Both are done on the event loop in slices, with a pause after each
millisecond or so: a thread would hold the interpreter for five at a time.

Samples carry no timestamps: a series whose newest sample is older than the lookback, or that has ended, is not
shown, so what is shown is of now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from trader_monitor.core.facts import Labels
from trader_monitor.core.samples import Times, stale_mask
from trader_monitor.core.series import SeriesStore
from trader_monitor.web.families import Family, families

__all__ = ["CONTENT_TYPES", "Exposition", "Format"]

Format: TypeAlias = Literal["text", "openmetrics"]

CONTENT_TYPES: dict[Format, str] = {
    "text": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}
LOOKBACK_MS = 300_000
SLICE = 500
PIECE = 1 << 18
"""Characters that are encoded at one go."""

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_SPECIAL = {float("inf"): "+Inf", float("-inf"): "-Inf"}


class _Block(NamedTuple):
    """A family, or a slice of a large one, ready but for its values."""

    header: str
    sids: Times
    prefixes: list[str]


class _Layout(NamedTuple):
    """All families as they were at one generation of one store."""

    series: SeriesStore
    generation: int
    metadata: int
    blocks: list[_Block]


class Exposition:
    """The text of all that is current; keeps its layout between calls."""

    def __init__(self) -> None:
        self._layouts: dict[Format, _Layout] = {}

    async def render(self, series: SeriesStore, now_ms: int, format: Format) -> list[bytes]:
        """The exposition at `now_ms`, in pieces to be sent one after the other."""
        blocks = await self._blocks(series, format)
        times, values = series.last_t.copy(), series.last_v.copy()
        current = (times > now_ms - LOOKBACK_MS) & ~stale_mask(values)
        pieces: list[bytes] = []
        parts: list[str] = []
        size = work = 0
        header = ""
        for block in blocks:
            header = block.header or header
            lines = _lines(block, values[block.sids], current[block.sids])
            if lines:
                parts += (header, lines)
                size += len(lines)
                header = ""
            if size > PIECE:
                pieces.append("".join(parts).encode())
                parts, size = [], 0
            work += len(block.prefixes) + 5
            if work >= SLICE:
                work = 0
                await asyncio.sleep(0)
        if format == "openmetrics":
            parts.append("# EOF\n")
        pieces.append("".join(parts).encode())
        return pieces

    async def _blocks(self, series: SeriesStore, format: Format) -> list[_Block]:
        kept = self._layouts.get(format)
        key = (series, series.generation, len(series.metadata))
        if kept is not None and kept[:3] == key:
            return kept.blocks
        labelled = ((sid, series.labels_of(sid)) for sid in series.sids())
        blocks: list[_Block] = []
        for family in families(labelled, dict(series.metadata), openmetrics=format == "openmetrics"):
            if family is None:
                await asyncio.sleep(0)
                continue
            for block in _cut(family, format):
                blocks.append(block)
                if len(block.prefixes) == SLICE:
                    await asyncio.sleep(0)
        self._layouts[format] = _Layout(*key, blocks)
        return blocks


def _cut(family: Family, format: Format) -> Iterator[_Block]:
    """The family in slices; the first has its header."""
    header = _header(family, format)
    for at in range(0, len(family.rows), SLICE):
        rows = family.rows[at : at + SLICE]
        sids = np.fromiter((row.sid for row in rows), np.int64, len(rows))
        yield _Block(header, sids, [_prefix(row.name, row.labels, format) for row in rows])
        header = ""


def _header(family: Family, format: Format) -> str:
    if format == "openmetrics":
        help = family.help.translate(_ESCAPES)
        return f"# TYPE {family.name} {family.kind or 'unknown'}\n" + (f"# HELP {family.name} {help}\n" if help else "")
    help = family.help.translate(_HELP_ESCAPES)
    return (f"# HELP {family.name} {help}\n" if help else "") + f"# TYPE {family.name} {family.kind or 'untyped'}\n"


def _prefix(name: str, labels: Labels, format: Format) -> str:
    """`name{labels} `; OpenMetrics wants bounds to be written as floats."""
    if not labels:
        return f"{name} "
    canonical = format == "openmetrics"
    pairs = [
        f'{key}="{_bound(value) if canonical and key in {"le", "quantile"} else value.translate(_ESCAPES)}"'
        for key, value in labels
    ]
    return f"{name}{{{','.join(pairs)}}} "


def _bound(text: str) -> str:
    try:
        return _text(float(text))
    except ValueError:
        return text.translate(_ESCAPES)


def _lines(block: _Block, values: np.ndarray, current: np.ndarray) -> str:
    """A block's lines; those of series that are not current are left out."""
    numbers = values.tolist()
    texts = map(repr, numbers) if np.isfinite(values).all() else map(_text, numbers)
    lines = zip(block.prefixes, texts, strict=True)
    if current.all():
        return "".join([prefix + text + "\n" for prefix, text in lines])
    shown = zip(lines, current.tolist(), strict=True)
    return "".join([prefix + text + "\n" for (prefix, text), is_current in shown if is_current])


def _text(value: float) -> str:
    return "NaN" if value != value else _SPECIAL.get(value) or repr(value)
