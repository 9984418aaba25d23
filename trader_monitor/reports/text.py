"""A report as plain text: for a terminal, a mail, a log. Pictures are left out, the heat map is letters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

from trader_monitor.reports.sheet import Gallery, Heats, Sentences, Sheet, Table
from trader_monitor.reports.writing import clean

__all__ = ["as_text"]

LEVELS: Final = "·░▒▓█"
UNMEASURED: Final = " "


def as_text(sheets: Sequence[Sheet]) -> str:
    """The sheets one below the other."""
    return "\n\n\n".join(_sheet(each) for each in sheets) + "\n"


def _sheet(sheet: Sheet) -> str:
    parts = [f"{clean(sheet.title)}\n{clean(sheet.about)}", clean(sheet.headline)]
    parts.append(_aligned([(fact.name, fact.value) for fact in sheet.facts], ()))
    for block in sheet.blocks:
        match block:
            case Table():
                parts.append(_table(block))
            case Sentences():
                parts.append("\n".join((clean(block.title).upper(), *(f"  {clean(line)}" for line in block.lines))))
            case Heats():
                parts.append(_heats(block))
            case Gallery():
                continue
    return "\n\n".join(parts)


def _table(table: Table) -> str:
    shown = len(table.head) - table.aside
    rows = [tuple(f"{cell.value} {cell.small}".strip() for cell in row[:shown]) for row in table.rows]
    numeric = {place for row in table.rows for place, cell in enumerate(row) if cell.numeric}
    note = f"  ({clean(table.note)})" if table.note else ""
    return f"{clean(table.title).upper()}{note}\n" + _aligned([table.head[:shown], *rows], numeric)


def _heats(heats: Heats) -> str:
    widest = max(_width(clean(row.name)) for row in heats.rows)
    lines = [f"{clean(heats.title).upper()}  ({clean(heats.note)})"]
    for row in heats.rows:
        name = clean(row.name)
        levels = "".join(UNMEASURED if level is None else LEVELS[level] for level in row.levels)
        lines.append(f"  {name}{' ' * (widest - _width(name))}  {levels}")
    legend = [f"{letter} {text}" for letter, text in zip(LEVELS, heats.legend, strict=True)]
    lines.append(f"  {clean(heats.times)}; {', '.join(legend)}")
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]], numeric: Sequence[int] | set[int]) -> str:
    cleaned = [[clean(cell) for cell in row] for row in rows]
    widths = [max(_width(row[place]) for row in cleaned) for place in range(len(cleaned[0]))]
    lines = []
    for row in cleaned:
        cells = []
        for place, cell in enumerate(row):
            gap = " " * (widths[place] - _width(cell))
            cells.append(gap + cell if place in numeric else cell + gap)
        lines.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
