"""A report as one HTML file: no script, nothing from elsewhere; every text in it is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from trader_monitor.reports.sheet import ROWS, SHOWN, Bars, Cell, Gallery, Heats, Sentences, Sheet, Table
from trader_monitor.reports.style import STYLE
from trader_monitor.reports.writing import clean

__all__ = ["as_html"]

WIDE: Final = 16
"""Characters beyond which a cell takes a narrow screen's whole line."""
_HEIGHT: Final = 76.0
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def as_html(sheets: Sequence[Sheet]) -> str:
    """The sheets one below the other, in one document."""
    title = _text(sheets[0].title if len(sheets) == 1 else sheets[0].title.partition(":")[0])
    return (
        f'<!doctype html>\n<html lang="{_text(sheets[0].language)}">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n<body>\n" + "\n".join(_sheet(each) for each in sheets) + "\n"
    )


def _text(text: str) -> str:
    return escape(clean(text))


def _sheet(sheet: Sheet) -> str:
    facts = "".join(
        f'<div><dt>{_text(fact.name)}</dt><dd class="{fact.tone}">{_text(fact.value)}</dd></div>'
        for fact in sheet.facts
    )
    parts = [
        f'<h1>{_text(sheet.title)}</h1><p class="about">{_text(sheet.about)}</p>',
        f'<p class="headline {sheet.tone}">{_text(sheet.headline)}</p>',
        f"<dl>{facts}</dl>",
    ]
    for block in sheet.blocks:
        match block:
            case Table():
                parts.append(_table(block))
            case Sentences():
                tone = "quiet" if block.tone == "quiet" else ""
                lines = "".join(f'<p class="{tone}">{_text(line)}</p>' for line in block.lines)
                parts.append(f"<section><h2>{_text(block.title)}</h2>{lines}</section>")
            case Gallery():
                parts.append(_gallery(block))
            case Heats():
                parts.append(_heats(block))
    return "<article>\n" + "\n".join(parts) + "\n</article>"


def _table(table: Table) -> str:
    numeric = [any(row[place].numeric for row in table.rows) for place in range(len(table.head))]
    head = "".join(
        f'<th scope="col"{_numeric(is_number)}>{_text(name)}</th>'
        for name, is_number in zip(table.head, numeric, strict=True)
    )
    note = f'<p class="note">{_text(table.note)}</p>' if table.note else ""
    top = f"<thead><tr>{head}</tr></thead>"
    folded = ""
    if table.folded:
        return (
            f"<section><details><summary>{_text(table.title)}</summary>{note}"
            f"<table>{top}{_rows(table, table.rows)}</table></details></section>"
        )
    if rest := table.rows[ROWS:]:
        more = _text(table.more or f"+ {len(rest)}")
        folded = f"<details><summary>{more}</summary><table>{top}{_rows(table, rest)}</table></details>"
    return (
        f"<section><h2>{_text(table.title)}</h2>{note}<table>{top}{_rows(table, table.rows[:ROWS])}</table>"
        f"{folded}</section>"
    )


def _rows(table: Table, rows: Sequence[tuple[Cell, ...]]) -> str:
    lines = (
        "<tr>" + "".join(_cell(cell, name) for cell, name in zip(row, table.head, strict=True)) + "</tr>"
        for row in rows
    )
    return "<tbody>\n" + "\n".join(lines) + "\n</tbody>"


def _numeric(is_number: bool) -> str:
    return ' class="n"' if is_number else ""


def _cell(cell: Cell, head: str) -> str:
    small = f"<small>{_text(cell.small)}</small>" if cell.small else ""
    wide = not cell.numeric and (cell.small or len(cell.value) > WIDE)
    classes = " ".join(name for name in ("n" if cell.numeric else "", cell.tone, "wide" if wide else "") if name)
    return f'<td class="{classes}" data-head="{_text(head)}"><div>{_text(cell.value)}{small}</div></td>'


def _gallery(gallery: Gallery) -> str:
    shown = "".join(_bars(each) for each in gallery.pictures[:SHOWN])
    rest = gallery.pictures[SHOWN:]
    folded = ""
    if rest:
        pictures = "".join(_bars(each) for each in rest)
        folded = f'<details><summary>{_text(gallery.more)}</summary><div class="gallery">{pictures}</div></details>'
    legend = (
        f'<span class="key before"></span>{_text(gallery.before)}<span class="key after"></span>{_text(gallery.after)}'
    )
    return (
        f'<section><h2>{_text(gallery.title)}</h2><p class="note">{legend} · {_text(gallery.note)}</p>'
        f'<div class="gallery">{shown}</div>{folded}</section>'
    )


def _bars(bars: Bars) -> str:
    caption = f'<figcaption>{_text(bars.title)}<small class="{bars.tone}">{_text(bars.small)}</small></figcaption>'
    most = max(*bars.before, *bars.after, 1e-9)
    if bars.ends is None:
        rows = "".join(
            f'<div class="pair"><span title="{_text(name)}">{_text(name)}</span><div>'
            + "".join(f'<i style="width:{100 * share / most:.1f}%"></i>' for share in sides)
            + "</div></div>"
            for name, *sides in zip(bars.names, bars.before, bars.after, strict=True)
        )
        return f"<figure>{caption}{rows}</figure>"
    low, high = bars.ends
    width = len(bars.before)
    filled = _steps(bars.before, most)
    return (
        f'<figure>{caption}<svg viewBox="0 0 {width} {_HEIGHT:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{_text(bars.title)}"><path class="b" d="M0 {_HEIGHT:g}{filled}V{_HEIGHT:g}Z"/>'
        f'<path class="a" d="M0 {_HEIGHT:g}{_steps(bars.after, most)}V{_HEIGHT:g}"/></svg>'
        f'<div class="ends"><span>&lt; {_text(low)}</span><span>&gt; {_text(high)}</span></div></figure>'
    )


def _steps(shares: Sequence[float], most: float) -> str:
    return "".join(
        f"V{_HEIGHT - (_HEIGHT - 3.0) * share / most:.1f}H{place}" for place, share in enumerate(shares, start=1)
    )


def _heats(heats: Heats) -> str:
    rows = []
    for row in heats.rows:
        cells = "".join(
            f'<rect class="h{"x" if level is None else level}" x="{place}" width="1.02" height="1">'
            f"<title>{_text(text)}</title></rect>"
            for place, (level, text) in enumerate(zip(row.levels, row.said, strict=True))
        )
        name = _text(row.name)
        rows.append(
            f'<span title="{name}">{name}</span><svg viewBox="0 0 {len(row.levels)} 1" preserveAspectRatio="none" '
            f'role="img" aria-label="{name}">{cells}</svg>'
        )
    keys = "".join(f'<span class="key h{level}"></span>{_text(text)}' for level, text in enumerate(heats.legend))
    return (
        f'<section><h2>{_text(heats.title)}</h2><p class="note">{_text(heats.note)}</p><div class="heat">'
        + "\n".join(rows)
        + f'<p class="times">{_text(heats.times)}</p></div><p class="legend">{keys}<span class="key hx"></span>'
        f"{_text(heats.unmeasured)}</p></section>"
    )
