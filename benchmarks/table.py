"""One row of the table that `make bench` prints, and how it is printed."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Row", "render"]


class Row(NamedTuple):
    """One measurement: ours beside the peer's or the limit, and the goal as a verdict, where there is one."""

    work: str
    ours: str
    beside: str = ""
    ratio: str = ""
    goal: str = ""
    reached: bool | None = None


def render(rows: list[Row]) -> str:
    """The table as aligned plain text."""
    verdicts = {True: "reached", False: "MISSED", None: ""}
    lines = [("work", "ours", "beside, in the same run", "ratio", "goal", "")]
    lines += [(r.work, r.ours, r.beside, r.ratio, r.goal, verdicts[r.reached]) for r in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(6)]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (lines[0], rule, *lines[1:])
    )
