"""Tiers: samples on their way from memory to blocks, from small blocks to large ones, and to coarser rows.

A snapshot writes what is new as small blocks (level 0); eight of a level become one of the next; when a day is
over its blocks become one and the coarser tiers are made of it: rows of a minute and of a quarter of an hour,
with minimum, maximum, mean, count and last. A row sums up (end - width, end] and bears the time of its end.

Staleness markers and NaN do not count. A row in which nothing counts is the last sample's value, count 0.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import structlog

from trader_monitor.core.facts import Labels
from trader_monitor.core.series import Floats, SeriesStore, Times
from trader_monitor.runtime.blocks import Block, Columns, Group, encode_block, merged_columns
from trader_monitor.runtime.rows import PART, Damaged

log = structlog.get_logger(__name__)

__all__ = [
    "COLUMNS",
    "DAY_MS",
    "MINUTE",
    "PART",
    "QUARTER",
    "RAW",
    "Fresh",
    "Merge",
    "NewBlock",
    "aggregate",
    "day_of",
    "flushed",
    "insert",
    "load_heads",
    "merge",
    "merges_due",
    "put_damaged_aside",
    "replace_blocks",
]

RAW, MINUTE, QUARTER = 0, 60, 900
"""The tiers, by the seconds that a row sums up."""
DAMAGED = -1
"""The tier of blocks that cannot be read: out of the way, never deleted."""
COLUMNS = {RAW: 1, MINUTE: 5, QUARTER: 5}
DAY_MS = 86_400_000
FAN_IN = 8
GRACE_MS = 3_600_000
"""A day is closed this long after its end."""
_OURS = ("monitor_", "host_", "collector_")
_HEADS_MS = 3_600_000


class NewBlock(NamedTuple):
    """A block to be written."""

    tier: int
    part: int
    day: int
    level: int
    rolled: bool
    t0: int
    t1: int
    samples: int
    body: bytes


class Fresh(NamedTuple):
    """Samples of one series that are not on disk yet."""

    series: int
    t: Times
    v: Floats


class Merge(NamedTuple):
    """Blocks that should become one; `close` where their day is over."""

    part: int
    day: int
    level: int
    close: bool


def day_of(t_ms: int) -> int:
    """The day that a sample belongs to; midnight belongs to the day that it ends."""
    return (t_ms - 1) // DAY_MS


# --- from memory -------------------------------------------------------------------------------------------


def flushed(fresh: Iterable[Fresh]) -> list[NewBlock]:
    """The samples as blocks of level 0, cut at midnight."""
    places: dict[tuple[int, int], dict[bytes, Group]] = {}
    for series, t, v in fresh:
        first, last = day_of(int(t[0])), day_of(int(t[-1]))
        if first == last:
            _add(places, first, series, t, v)
            continue
        for day in range(first, last + 1):
            start, end = np.searchsorted(t, [day * DAY_MS, (day + 1) * DAY_MS], side="right").tolist()
            if end > start:
                _add(places, day, series, t[start:end], v[start:end])
    return [
        _block(RAW, part, day, 0, list(groups.values()), rolled=False) for (part, day), groups in sorted(places.items())
    ]


def _add(places: dict[tuple[int, int], dict[bytes, Group]], day: int, series: int, t: Times, v: Floats) -> None:
    groups = places.setdefault((series // PART, day), {})
    group = groups.setdefault(t.tobytes(), Group(t, {}))
    group.columns[series] = (v,)


def _block(tier: int, part: int, day: int, level: int, groups: Sequence[Group], *, rolled: bool) -> NewBlock:
    return NewBlock(
        tier,
        part,
        day,
        level,
        rolled,
        min(int(group.t[0]) for group in groups),
        max(int(group.t[-1]) for group in groups),
        sum(len(group.t) * len(group.columns) for group in groups),
        encode_block(groups, small=level > 0),
    )


def insert(db: sqlite3.Connection, blocks: Iterable[NewBlock]) -> None:
    """Writes blocks into the present transaction."""
    db.executemany(
        "INSERT INTO block (tier, part, day, level, rolled, t0, t1, samples, crc, body) VALUES (?,?,?,?,?,?,?,?,?,?)",
        ((*block[:8], zlib.crc32(block.body), block.body) for block in blocks),
    )


# --- merging -----------------------------------------------------------------------------------------------


def merges_due(db: sqlite3.Connection, now_ms: int) -> list[Merge]:
    """What should be merged now, the oldest first."""
    closed = day_of(now_ms - GRACE_MS)
    due = [
        Merge(part, day, 0, True)
        for part, day in db.execute(
            "SELECT DISTINCT part, day FROM block WHERE tier = 0 AND rolled = 0 AND day < ? ORDER BY day, part",
            (closed,),
        )
    ]
    due += [
        Merge(part, day, level, False)
        for part, day, level in db.execute(
            "SELECT part, day, level FROM block WHERE tier = 0 AND rolled = 0 AND day >= ?"
            " GROUP BY part, day, level HAVING count(*) >= ? ORDER BY day, part, level",
            (closed, FAN_IN),
        )
    ]
    return due


def merge(db: sqlite3.Connection, due: Merge) -> tuple[list[int], list[NewBlock]]:
    """The ids of the blocks that go, and the blocks that come in their place. Raises `Damaged`, `sqlite3.Error`."""
    rows = _rows(db, RAW, due.part, due.day)
    if not due.close:
        rows = [row for row in rows if not row.rolled and row.level == due.level]
    if not rows:
        return [], []
    gone = [row.id for row in rows]
    groups = _united(row.block for row in rows)
    if not due.close:
        return gone, [_block(RAW, due.part, due.day, due.level + 1, groups, rolled=False)]
    level = max(row.level for row in rows) + 1
    come = [_block(RAW, due.part, due.day, level, groups, rolled=True)]
    whole = any(row.rolled for row in rows)
    for tier in (MINUTE, QUARTER):
        before = _rows(db, tier, due.part, due.day)
        gone += [row.id for row in before]
        rolled = [_rolled(group, tier) for group in groups]
        if before and not whole:  # the raw samples of then are gone: late ones are added to what was made of them
            rolled = _united_rows([*(row.block for row in before)], rolled, tier)
        come.append(_block(tier, due.part, due.day, 1, rolled, rolled=True))
    return gone, come


def put_damaged_aside(db: sqlite3.Connection) -> int:
    """Takes blocks that cannot be read out of their tier; returns how many."""
    rows = db.execute("SELECT id, tier, crc, body FROM block WHERE tier >= 0 AND rolled = 0").fetchall()
    bad = []
    for key, tier, crc, body in rows:
        try:
            checked(body, crc, tier)
        except Damaged:
            bad.append((DAMAGED, key))
    db.executemany("UPDATE block SET tier = ? WHERE id = ?", bad)
    return len(bad)


def replace_blocks(db: sqlite3.Connection, gone: Sequence[int], come: Iterable[NewBlock]) -> None:
    """Puts blocks in the place of others, in the present transaction."""
    db.executemany("DELETE FROM block WHERE id = ?", ((block,) for block in gone))
    insert(db, come)


class _Stored(NamedTuple):
    id: int
    level: int
    rolled: bool
    block: Block


def _rows(db: sqlite3.Connection, tier: int, part: int, day: int) -> list[_Stored]:
    """The blocks of a place in the order of their writing."""
    return [
        _Stored(key, level, bool(rolled), checked(body, crc, tier))
        for key, level, rolled, crc, body in db.execute(
            "SELECT id, level, rolled, crc, body FROM block WHERE tier = ? AND part = ? AND day = ? ORDER BY id",
            (tier, part, day),
        )
    ]


def checked(body: bytes, crc: int, tier: int) -> Block:
    """The block, if it is what was written."""
    if zlib.crc32(body) != crc:
        raise Damaged("a block has another checksum than when it was written")
    return Block(body, COLUMNS[tier])


def _united(blocks: Iterable[Block]) -> list[Group]:
    """All samples of some raw blocks; of one series and time the last written stands."""
    held = list(blocks)
    groups: dict[tuple[tuple[int, int], ...], Group] = {}
    for series in sorted({series for block in held for series in block}):
        having = [(at, block) for at, block in enumerate(held) if series in block]
        key = tuple((at, block.group_of(series)) for at, block in having)
        t, columns = merged_columns([(block.times(series), block.columns(series)) for _, block in having])
        group = groups.setdefault(key, Group(t, {}))
        group.columns[series] = columns
    return list(groups.values())


# --- rolling up --------------------------------------------------------------------------------------------


def aggregate(width_ms: int, t: Times, rows: Columns) -> tuple[Times, Columns]:
    """Sums rows (minimum, maximum, mean, count, last), in the order of their time, into rows of `width_ms`."""
    ends = -(-t // width_ms) * width_ms
    starts = np.flatnonzero(np.concatenate([[True], ends[1:] != ends[:-1]]))
    low, high, mean, count, last = rows
    counted = count > 0
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.add.reduceat(np.where(counted, mean * count, 0.0), starts)
        counts = np.add.reduceat(count, starts)
        lows = np.minimum.reduceat(np.where(counted, low, np.inf), starts)
        highs = np.maximum.reduceat(np.where(counted, high, -np.inf), starts)
        means = total / np.where(counts > 0, counts, 1.0)
        means = np.where(np.isnan(means), means, np.clip(means, lows, highs))
    index = np.arange(len(t))
    newest = np.maximum.reduceat(np.where(counted, index, -1), starts)
    empty = counts == 0
    behind = np.append(starts[1:], len(t)) - 1
    lasts = last[np.where(empty, behind, newest)]
    for column in (lows, highs, means):
        column.view(np.int64)[empty] = lasts.view(np.int64)[empty]
    return ends[starts], (lows, highs, means, counts, lasts)


def _as_rows(v: Floats) -> Columns:
    """Samples as rows of one."""
    return v, v, v, (~np.isnan(v)).astype(np.float64), v


def _rolled(group: Group, tier: int) -> Group:
    columns: dict[int, Columns] = {}
    t = group.t
    for series, (v,) in group.columns.items():
        t, columns[series] = aggregate(tier * 1000, group.t, _as_rows(v))
    return Group(t, columns)


def _united_rows(before: Sequence[Block], late: Sequence[Group], tier: int) -> list[Group]:
    """Rows that are on disk and rows that came late, summed up where they have the same end."""
    groups: dict[bytes, Group] = {}
    added = {series: (group.t, columns) for group in late for series, columns in group.columns.items()}
    for series in sorted({*added, *(series for block in before for series in block)}):
        parts = [(block.times(series), block.columns(series)) for block in before if series in block]
        parts += [added[series]] if series in added else []
        t = np.concatenate([part[0] for part in parts])
        order = np.argsort(t, kind="stable")
        rows = tuple(np.concatenate(each)[order] for each in zip(*(part[1] for part in parts), strict=True))
        t, rows = aggregate(tier * 1000, t[order], rows)
        groups.setdefault(t.tobytes(), Group(t, {})).columns[series] = rows
    return list(groups.values())


# --- back to memory ----------------------------------------------------------------------------------------


def load_heads(db: sqlite3.Connection, series: SeriesStore, labels: dict[int, Labels], wall: float) -> None:
    """Puts the last hour before `wall` (Unix seconds), or as long as rules look back, into the heads."""
    now = int(wall * 1000)
    since = now - max(_HEADS_MS, series.longest_ms)
    reaches: dict[int, int] = {}
    found: dict[int, list[tuple[Times, Columns]]] = {}
    for crc, body in db.execute("SELECT crc, body FROM block WHERE tier = 0 AND t1 > ? ORDER BY id", (since,)):
        try:
            block = checked(body, crc, RAW)
        except Damaged as error:  # an hour of some series is no reason to give up the board
            log.error("a block of the history is damaged", reason=str(error))
            continue
        for key in block:
            if key not in labels:
                continue
            if key not in reaches:
                reaches[key] = now - max(_HEADS_MS, series.reach_ms(labels[key]))
            t = block.times(key)
            start = int(t.searchsorted(reaches[key], side="right"))
            if start < len(t):
                found.setdefault(key, []).append((t[start:], (block.column(key)[start:],)))
    order = list(found)
    if len(order) > series.max_series - len(series):  # not all may fit again
        order.sort(key=lambda key: (not _ours(labels[key]), -max(int(t[-1]) for t, _ in found[key])))
    for key in order:
        parts = found[key]
        sid = series.intern(labels[key])
        if sid >= 0:
            t, (v,) = merged_columns(parts)
            series.load(sid, t, v)


def _ours(labels: Labels) -> bool:
    """Whether the series looks like one about the daemon or its host: such come before others, in the same room."""
    return any(name == "__name__" and value.startswith(_OURS) for name, value in labels)
