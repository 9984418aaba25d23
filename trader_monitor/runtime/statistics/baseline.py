"""The job that makes baselines and detectors of the predictions that the store has."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from trader_monitor.core.models.drift.baseline import baseline_of
from trader_monitor.core.models.names import OUTPUTS
from trader_monitor.core.models.streaming.detector import Detectors
from trader_monitor.runtime.predictions import read
from trader_monitor.runtime.statistics.columns import nulls_apart, table_of
from trader_monitor.runtime.statistics.wire import Job, Told

__all__ = ["JOB", "MOST_ROWS", "Answered", "Asked", "run"]

MOST_ROWS = 200_000
"""Rows of a baseline, the newest: 100 features of so many are 80 MB."""
SOURCE = "predictions"


class Asked(Struct, frozen=True, kw_only=True):
    """Baselines of these columns, of the rows with `since` <= at < `until`; `now` is when, Unix seconds."""

    path: str
    model: str
    version: str
    columns: tuple[str, ...]
    since: float
    until: float
    now: float


class Answered(Struct, frozen=True, kw_only=True):
    """Baselines as bytes by column, and the detectors of those that are numbers (None where there is none)."""

    rows: int
    first_at: float | None
    last_at: float | None
    baselines: dict[str, bytes]
    detectors: bytes | None


JOB = Job(__name__, Asked, Answered)


def run(asked: Asked, told: Told) -> Answered:
    """Raises ValueError where there are no rows."""
    found = read(
        Path(asked.path),
        asked.model,
        asked.version,
        since=asked.since,
        until=asked.until,
        last=MOST_ROWS,
        columns=[name for name in asked.columns if name not in OUTPUTS],
    )
    if not len(found):
        raise ValueError(f"there are no predictions of {asked.model} {asked.version} in that time")
    table = table_of(found, set(asked.columns))
    first_at, last_at = float(found.at[0]), float(found.at[-1])
    baselines: dict[str, bytes] = {}
    for done, name in enumerate(table.names):
        told(done, len(table.names))
        made = baseline_of(
            name,
            table.column(name),
            source=SOURCE,
            first_at=first_at,
            last_at=last_at,
            created=asked.now,
        )
        baselines[name] = nulls_apart(made, table.nulls.get(name, 0)).encode()
    numeric = [place for place, name in enumerate(table.names) if name not in table.values]
    names = [table.names[place] for place in numeric]
    detectors = Detectors.of(table.numbers[:, numeric].astype("f8"), names).encode() if names else None
    return Answered(rows=len(found), first_at=first_at, last_at=last_at, baselines=baselines, detectors=detectors)
