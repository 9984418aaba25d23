"""Blocks and tiers: every bit comes back, a byte per sample is enough, merging keeps, rolling up is what numpy says."""

from __future__ import annotations

import math
import sqlite3
import struct
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_monitor.core.facts import Labels
from trader_monitor.core.series import Floats, SeriesStore, Times
from trader_monitor.runtime.blocks import Block, Group, encode_block
from trader_monitor.runtime.rows import Damaged
from trader_monitor.runtime.tiers import (
    COLUMNS,
    DAY_MS,
    FAN_IN,
    MINUTE,
    QUARTER,
    RAW,
    Fresh,
    Merge,
    aggregate,
    day_of,
    flushed,
    insert,
    load_heads,
    merge,
    merges_due,
    put_damaged_aside,
    replace_blocks,
)

STALE_BITS = 0x7FF0000000000002
DAY = 20_000
T0 = DAY * DAY_MS


def floats(bits: list[int]) -> Floats:
    return np.array(bits, np.uint64).view(np.float64)


any_bits = st.one_of(
    st.integers(0, 2**64 - 1),
    st.sampled_from(
        [
            STALE_BITS,
            *(struct.unpack("<Q", struct.pack("<d", x))[0] for x in (0.0, -0.0, 1.0, math.nan, math.inf, -math.inf)),
        ]
    ),
)


@given(st.lists(any_bits, min_size=1, max_size=300), st.integers(1, 40), st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_bit_of_every_float_comes_back(bits: list[int], gap: int, small: bool) -> None:
    v = floats(bits)
    t = T0 + np.arange(len(v), dtype=np.int64) * gap
    block = Block(encode_block([Group(t, {7: (v,), 300: (v[::-1].copy(),)})], small=small), 1)
    assert block.times(7).tolist() == t.tolist()
    assert block.column(7).view(np.uint64).tolist() == bits
    assert block.column(300).view(np.uint64).tolist() == bits[::-1]
    assert 8 not in block
    assert sorted(block) == [7, 300]


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=50, unique=True))
@settings(max_examples=50, deadline=None)
def test_every_timestamp_comes_back(times: list[int]) -> None:
    t = np.array(sorted(times), np.int64)
    block = Block(encode_block([Group(t, {1: (t.astype(np.float64),)})], small=False), 1)
    assert block.times(1).tolist() == sorted(times)


def test_a_damaged_block_says_so() -> None:
    t = T0 + np.arange(100) * 15_000
    body = bytearray(encode_block([Group(t, {1: (np.sin(t),)})], small=True))
    body[10] ^= 0xFF
    with pytest.raises(Damaged):
        Block(bytes(body), 1).column(1)
    with pytest.raises(Damaged):
        Block(b"", 1)


# --- the store of blocks -----------------------------------------------------------------------------------


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "blocks.db", isolation_level=None)
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    for file in sorted((resources.files("trader_monitor.runtime") / "migrations").iterdir(), key=lambda f: f.name):
        connection.executescript(file.read_text())
    yield connection
    connection.close()


def everything(db: sqlite3.Connection, tier: int = RAW) -> dict[int, dict[int, tuple[int, ...]]]:
    """By series: the bits of all columns by time, the last written standing."""
    found: dict[int, dict[int, tuple[int, ...]]] = {}
    for (body,) in db.execute("SELECT body FROM block WHERE tier = ? ORDER BY id", (tier,)):
        block = Block(body, COLUMNS[tier])
        for series in block:
            columns = [column.view(np.uint64).tolist() for column in block.columns(series)]
            found.setdefault(series, {}).update(
                zip(block.times(series).tolist(), zip(*columns, strict=True), strict=True)
            )
    return found


def merged(db: sqlite3.Connection, now_ms: int) -> int:
    done = 0
    while due := merges_due(db, now_ms):
        for each in due:
            gone, come = merge(db, each)
            assert gone
            replace_blocks(db, gone, come)
            done += 1
    return done


parts = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.integers(-40, 200), any_bits), min_size=1, max_size=40),
    min_size=1,
    max_size=12,
)


@given(parts)
@settings(max_examples=60, deadline=None)
def test_merging_keeps_every_sample(flushes: list[list[tuple[int, int, int]]]) -> None:
    """Any flushes, over midnight, out of order and with times that come again: the last written stands."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    for file in sorted((resources.files("trader_monitor.runtime") / "migrations").iterdir(), key=lambda f: f.name):
        db.executescript(file.read_text())
    expected: dict[int, dict[int, tuple[int, ...]]] = {}
    for samples in flushes:
        held: dict[int, dict[int, int]] = {}
        for series, minute, bits in samples:
            held.setdefault(series * 200, {})[T0 + minute * 60_000] = bits
        for series, values in held.items():
            expected.setdefault(series, {}).update({t: (bits,) for t, bits in values.items()})
        insert(
            db,
            flushed(
                Fresh(series, np.array(sorted(values), np.int64), floats([values[t] for t in sorted(values)]))
                for series, values in held.items()
            ),
        )
    assert everything(db) == expected
    merged(db, T0 + 60_000)
    assert everything(db) == expected
    merged(db, T0 + 3 * DAY_MS)
    assert everything(db) == expected
    counted = db.execute("SELECT count(*), sum(rolled), max(level) FROM block WHERE tier = 0").fetchone()
    places = {(series // 256, day_of(t)) for series, values in expected.items() for t in values}
    assert counted[:2] == (len(places), len(places))
    db.close()


def test_no_block_crosses_midnight_and_midnight_belongs_to_the_day_it_ends() -> None:
    t = T0 + np.array([-15_000, 0, 1, 15_000])
    blocks = flushed([Fresh(1, t, t.astype(float))])
    assert [(block.day, block.t0 - T0, block.t1 - T0) for block in blocks] == [(DAY - 1, -15_000, 0), (DAY, 1, 15_000)]


def test_eight_blocks_of_a_level_become_one_of_the_next(db: sqlite3.Connection) -> None:
    for flush in range(FAN_IN * FAN_IN + 1):
        t = T0 + 1 + np.arange(20) * 15_000 + flush * 300_000
        insert(db, flushed([Fresh(1, t, np.sin(t)), Fresh(2, t, np.cos(t))]))
        merged(db, int(t[-1]))
    assert db.execute("SELECT level, count(*) FROM block GROUP BY level ORDER BY level").fetchall() == [(0, 1), (2, 1)]
    assert {len(values) for values in everything(db).values()} == {20 * 65}


# --- rolling up --------------------------------------------------------------------------------------------


def oracle(t: Times, v: Floats, width: int) -> dict[int, tuple[float, float, float, float, float]]:
    """Row by row, the slow way."""
    rows = {}
    for end in sorted({-(-int(x) // width) * width for x in t}):
        inside = v[(t > end - width) & (t <= end)]
        numbers = inside[~np.isnan(inside)]
        if len(numbers):
            with np.errstate(invalid="ignore", over="ignore"):
                mean = float(np.sum(numbers) / len(numbers))
            rows[end] = (float(numbers.min()), float(numbers.max()), mean, float(len(numbers)), float(numbers[-1]))
        else:
            rows[end] = (*(float(inside[-1]),) * 3, 0.0, float(inside[-1]))
    return rows


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4000),
            st.one_of(st.floats(-1e300, 1e300), st.sampled_from([math.nan, math.inf, -math.inf]), st.just(0.1)),
        ),
        min_size=1,
        max_size=200,
        unique_by=lambda pair: pair[0],
    ),
    st.sampled_from([MINUTE, QUARTER]),
)
@settings(max_examples=150, deadline=None)
def test_a_row_is_what_numpy_says(samples: list[tuple[int, float]], tier: int) -> None:
    samples.sort()
    t = T0 + np.array([each[0] for each in samples], np.int64) * 1000
    v = np.array([each[1] for each in samples])
    counted = (~np.isnan(v)).astype(float)
    ends, columns = aggregate(tier * 1000, t, (v, v, v, counted, v))
    expected = oracle(t, v, tier * 1000)
    assert ends.tolist() == list(expected)
    for place, (low, high, mean, count, last) in enumerate(expected.values()):
        row = [float(column[place]) for column in columns]
        assert row[3] == count
        assert np.array_equal([row[0], row[1], row[4]], [low, high, last], equal_nan=True)
        if math.isfinite(mean):
            assert math.isclose(row[2], mean, rel_tol=1e-9, abs_tol=1e-9 * max(abs(low), abs(high)))
            assert low <= row[2] <= high
        else:
            assert not math.isfinite(row[2])


def test_a_row_of_markers_alone_is_a_marker() -> None:
    v = floats([STALE_BITS, STALE_BITS])
    _, columns = aggregate(60_000, np.array([T0 + 1, T0 + 2]), (v, v, v, np.zeros(2), v))
    assert [column.view(np.uint64)[0] for column in columns[:3]] == [STALE_BITS] * 3
    assert columns[3].tolist() == [0.0]


def day_of_samples(series: int, step: int = 15_000) -> Fresh:
    t = T0 + np.arange(step, DAY_MS + 1, step)
    return Fresh(series, t, np.sin(t / 1e6) * series)


def test_a_closed_day_is_rolled_up_once_and_again_when_samples_come_late(db: sqlite3.Connection) -> None:
    fresh = day_of_samples(3)
    late_t = fresh.t[100:103] + 1
    insert(db, flushed([fresh]))
    assert merged(db, T0 + DAY_MS) == 0
    assert merged(db, T0 + DAY_MS + 2 * 3_600_000) == 1
    assert merged(db, T0 + DAY_MS + 2 * 3_600_000) == 0
    assert db.execute("SELECT tier, rolled, count(*) FROM block GROUP BY tier").fetchall() == [
        (RAW, 1, 1),
        (MINUTE, 1, 1),
        (QUARTER, 1, 1),
    ]
    minutes = everything(db, MINUTE)[3]
    assert len(minutes) == 1440
    insert(db, flushed([Fresh(3, late_t, np.full(3, 1000.0))]))
    merged(db, T0 + 2 * DAY_MS)
    rows = everything(db, MINUTE)[3]
    changed = {t for t in rows if rows[t] != minutes[t]}
    assert changed == {-(-int(t) // 60_000) * 60_000 for t in late_t}
    whole = np.concatenate([fresh.t, late_t])
    order = np.argsort(whole)
    values = np.concatenate([fresh.v, np.full(3, 1000.0)])[order]
    for tier in (MINUTE, QUARTER):
        expected = oracle(whole[order], values, tier * 1000)
        for end, bits in everything(db, tier)[3].items():
            assert np.allclose(floats(list(bits)), expected[end], rtol=1e-12)


def test_samples_that_come_after_their_raw_day_is_gone_are_added_to_its_rows(db: sqlite3.Connection) -> None:
    fresh = day_of_samples(3)
    insert(db, flushed([fresh]))
    merged(db, T0 + 2 * DAY_MS)
    db.execute("DELETE FROM block WHERE tier = 0")
    late = Fresh(3, fresh.t[:1] + 1, np.array([500.0]))
    other = Fresh(4, fresh.t[:2], np.array([1.0, 2.0]))
    insert(db, flushed([late, other]))
    merged(db, T0 + 9 * DAY_MS)
    first = floats(list(everything(db, MINUTE)[3][T0 + 60_000]))
    values = [*fresh.v[:4], 500.0]
    assert np.allclose(first[:4], [min(values), max(values), np.mean(values), 5])
    assert len(everything(db, MINUTE)[3]) == 1440
    assert len(everything(db, QUARTER)[4]) == 1


def test_a_damaged_block_is_put_aside_and_the_rest_goes_on(db: sqlite3.Connection) -> None:
    for flush in range(FAN_IN):
        t = T0 + 1 + np.arange(20) * 15_000 + flush * 300_000
        insert(db, flushed([Fresh(1, t, np.sin(t))]))
    db.execute("UPDATE block SET body = randomblob(length(body)) WHERE id = 3")
    with pytest.raises(Damaged):
        merge(db, Merge(0, DAY, 0, False))
    assert put_damaged_aside(db) == 1
    assert db.execute("SELECT count(*) FROM block").fetchone() == (FAN_IN,)
    merged(db, T0 + 2 * DAY_MS)
    assert len(everything(db)[1]) == 20 * (FAN_IN - 1)


def test_heads_get_the_last_hour_back(db: sqlite3.Connection) -> None:
    t = T0 + 1 + np.arange(960) * 15_000
    labels: dict[int, Labels] = {1: (("__name__", "a"),), 2: (("__name__", "b"),)}
    insert(db, flushed([Fresh(1, t[:500], np.arange(500.0)), Fresh(2, t[:10], np.arange(10.0))]))
    insert(db, flushed([Fresh(1, t[480:], np.arange(480.0, 960.0))]))
    series = SeriesStore()
    load_heads(db, series, labels, float(t[-1]) / 1000)
    got_t, got_v = series.head(series.find(labels[1]))
    assert got_v.tolist() == list(np.arange(720.0, 960.0))
    assert got_t.tolist() == t[720:].tolist()
    assert series.find(labels[2]) == -1
    assert len(series.unflushed(series.find(labels[1]))[0]) == 0


# --- size --------------------------------------------------------------------------------------------------


def test_where_not_all_fit_again_the_host_s_series_come_first_and_then_the_newest(db: sqlite3.Connection) -> None:
    now = 1_700_000_000_000
    names = {1: "old", 2: "host_load1", 3: "new", 4: "newer"}
    labels: dict[int, Labels] = {key: (("__name__", name),) for key, name in names.items()}
    ages = {1: 600_000, 2: 900_000, 3: 1_000, 4: 500}
    insert(db, flushed(Fresh(key, np.array([now - age]), np.array([1.0])) for key, age in ages.items()))
    series = SeriesStore(max_series=3)
    load_heads(db, series, labels, now / 1000)
    assert {series.labels_of(sid)[0][1] for sid in series.sids()} == {"host_load1", "new", "newer"}


def host() -> dict[str, float]:
    """What a host collector reads, from this host, now."""
    found: dict[str, float] = {}
    for core, times in enumerate(psutil.cpu_times(percpu=True)):
        found.update({f"cpu {core} {mode}": value for mode, value in times._asdict().items()})
    found.update({f"memory {name}": float(value) for name, value in psutil.virtual_memory()._asdict().items()})
    found.update({f"swap {name}": float(value) for name, value in psutil.swap_memory()._asdict().items()})
    for disk, counters in psutil.disk_io_counters(perdisk=True).items():
        found.update({f"disk {disk} {name}": float(value) for name, value in counters._asdict().items()})
    for nic, counters in psutil.net_io_counters(pernic=True).items():
        found.update({f"net {nic} {name}": float(value) for name, value in counters._asdict().items()})
    found.update({f"load {n}": value for n, value in enumerate(psutil.getloadavg())})
    found.update({f"stat {name}": float(value) for name, value in psutil.cpu_stats()._asdict().items()})
    found.update({f"space {name}": float(value) for name, value in psutil.disk_usage("/")._asdict().items()})
    found["processes"] = float(len(psutil.pids()))
    return found


def test_a_byte_per_sample_is_enough_for_this_hosts_own_metrics(db: sqlite3.Connection, tmp_path: Path) -> None:
    """480 real readings of everything, with work between them, as two hours at 15 s with real jitter.

    The size is the file's: timestamps, heads, SQLite's pages and the series' blocks, after merging.
    """
    readings = []
    work = bytearray(1 << 18)
    for reading in range(480):
        readings.append(list(host().values()))
        if reading % 3 == 0:
            (tmp_path / "work").write_bytes(work)
            sum(range(60_000))
    values = np.array([row for row in readings if len(row) == len(readings[0])]).T
    t = T0 + np.arange(1, values.shape[1] + 1) * 15_000 + np.random.default_rng(1).integers(-3, 4, values.shape[1])
    db.execute("VACUUM")
    empty = db.execute("PRAGMA page_count").fetchone()[0]
    for start in range(0, len(t), 20):
        insert(
            db,
            flushed(
                Fresh(series, t[start : start + 20], row[start : start + 20].copy())
                for series, row in enumerate(values)
            ),
        )
        merged(db, int(t[-1]))
    merged(db, T0 + 2 * DAY_MS)
    db.execute("DELETE FROM block WHERE tier <> 0")
    db.execute("VACUUM")
    pages = db.execute("PRAGMA page_count").fetchone()[0] - empty
    per_sample = pages * 4096 / values.size
    print(f"{values.shape[0]} series, {values.size} samples: {per_sample:.3f} bytes per sample")
    assert len({row.tobytes() for row in values}) > 40
    assert per_sample <= 1.0
