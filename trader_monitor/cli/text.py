"""Plain text for people: tables, durations, colours on a terminal, and nothing that a terminal would obey."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, TextIO

__all__ = ["clean", "clock", "duration", "number", "paint", "size", "table", "zone"]

_COLOURS: Final = {
    "good": "32",
    "warning": "33",
    "bad": "31",
    "worst": "1;31",
    "quiet": "2",
    "strong": "1",
}


def clean(value: object) -> str:
    """Text from outside, on one line, control characters escaped."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(value))


def paint(text: str, tone: str, stream: TextIO | None = None) -> str:
    """Coloured where `stream` is a terminal and NO_COLOR is not set."""
    stream = stream or sys.stdout
    if tone not in _COLOURS or not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_COLOURS[tone]}m{text}\x1b[0m"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], tones: Sequence[str] | None = None) -> str:
    """Columns as wide as they need to be; `tones` colours whole rows."""
    lines = [[*head], *([clean("" if cell is None else cell) for cell in row] for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(head))]
    text = []
    for index, line in enumerate(lines):
        padded = "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        tone = "strong" if index == 0 else tones[index - 1] if tones else ""
        text.append(paint(padded, tone))
    return "\n".join(text)


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def duration(seconds: float | None) -> str:
    """8.2 s, 4 m 10 s, 3 h 2 m, 12 d 4 h."""
    if seconds is None:
        return "–"
    if seconds < 0.1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = int(seconds)
    for unit, below, of, name, small in (
        (60, 60, 1, "m", "s"),
        (3600, 24, 60, "h", "m"),
        (86400, 10**9, 3600, "d", "h"),
    ):
        if whole < unit * below:
            rest = whole % unit // of
            return f"{whole // unit} {name}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def size(count: float | None) -> str:
    """Bytes with a binary unit."""
    if count is None:
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def number(value: float | None) -> str:
    """As short as it can be said, with thousands set off."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:,.6g}"


def clock(at: float | None) -> str:
    """A moment in the zone of this machine."""
    if at is None:
        return "–"
    try:
        return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(at)


def zone() -> str:
    """The name of that zone: UTC, CET."""
    return datetime.now(UTC).astimezone().tzname() or "local time"
