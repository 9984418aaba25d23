"""A report before it is written: what it says, in an order, without a format.

Texts in it are as they came, names of features included: whoever writes a format escapes them.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = [
    "ROWS",
    "SHOWN",
    "Bars",
    "Block",
    "Cell",
    "Fact",
    "Gallery",
    "Heat",
    "Heats",
    "Sentences",
    "Sheet",
    "Table",
    "Tone",
]

ROWS: Final = 40
SHOWN: Final = 12

Tone: TypeAlias = Literal["", "good", "warning", "bad", "quiet"]


class Fact(NamedTuple):
    name: str
    value: str
    tone: Tone = ""


class Cell(NamedTuple):
    """`small` stands beside or below the value: an interval, a reason."""

    value: str
    small: str = ""
    tone: Tone = ""
    numeric: bool = False


class Table(NamedTuple):
    """`more` names the rows beyond the first `ROWS`, which a page folds; of a `folded` table it folds all. `aside` is
    how many of the last columns only a page has room for."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    more: str = ""
    folded: bool = False
    aside: int = 0


class Sentences(NamedTuple):
    title: str
    lines: tuple[str, ...]
    tone: Tone = ""


class Bars(NamedTuple):
    """Shares before and after; between `ends` for numbers, by `names` for categories."""

    title: str
    small: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    ends: tuple[str, str] | None = None
    names: tuple[str, ...] = ()
    tone: Tone = ""


class Gallery(NamedTuple):
    """Pictures; only formats that can draw show them. `more` names those beyond the first `SHOWN`, which are folded."""

    title: str
    note: str
    before: str
    after: str
    more: str
    pictures: tuple[Bars, ...]


class Heat(NamedTuple):
    """One feature's levels by run (None: not measured) and what each says."""

    name: str
    levels: tuple[int | None, ...]
    said: tuple[str, ...]


class Heats(NamedTuple):
    """`legend` is by level; `unmeasured` is what None is called."""

    title: str
    note: str
    times: str
    legend: tuple[str, ...]
    unmeasured: str
    rows: tuple[Heat, ...]


Block: TypeAlias = Table | Sentences | Gallery | Heats


class Sheet(NamedTuple):
    """`headline` is what a hurried reader takes away; `tone` colours it."""

    language: str
    title: str
    about: str
    headline: str
    tone: Tone
    facts: tuple[Fact, ...]
    blocks: tuple[Block, ...]
