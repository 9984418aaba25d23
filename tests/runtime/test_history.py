"""History: heads and disk are one, without a gap or a double, at any age, from any thread."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_monitor.core.alerts.judge import compile_rules
from trader_monitor.core.alerts.rule import Rule
from trader_monitor.core.facts import Samples
from trader_monitor.core.matcher import Matcher
from trader_monitor.core.series import NEVER, SeriesStore
from trader_monitor.loops.retain import merge_all
from trader_monitor.runtime import opening
from trader_monitor.runtime import replay as replay_module
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.history import DISK, History
from trader_monitor.runtime.journal import Journal
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.snapshot import snapshot
from trader_monitor.runtime.tiers import DAY_MS, MINUTE, QUARTER, Fresh, flushed, insert

DAY = 20_000
T0 = DAY * DAY_MS


def labels(number: int, name: str = "load") -> tuple[tuple[str, str], ...]:
    return (("__name__", name), ("n", str(number)))


def named(name: str, *more: Matcher) -> tuple[Matcher, ...]:
    return (Matcher("__name__", "=", name), *more)


@pytest.fixture(autouse=True)
def small_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads of eight samples, so that the disk matters soon."""
    for module in (opening, replay_module):
        monkeypatch.setattr(module, "SeriesStore", partial(SeriesStore, head=8))


async def opened(path: Path, at_ms: int = T0) -> Journal:
    return await open_journal(path, clock=ManualClock(wall=at_ms / 1000), meters=Meters())


async def record(journal: Journal, t_ms: int, **values: float) -> None:
    """`n3=1.5` is the series number 3."""
    names = tuple(labels(int(name[1:])) for name in values)
    await journal.record(
        [Samples(at=t_ms / 1000, origin=" ".join(values), labels=names, values=tuple(values.values()))]
    )


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = await opened(tmp_path / "store.db")
    yield journal
    await journal.close()


def sid_of(history: History, number: int, name: str = "load") -> int:
    (sid,) = history.select(named(name, Matcher("n", "=", str(number)))).tolist()
    return int(sid)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("sample"), st.integers(0, 2), st.integers(0, 40)),
        st.tuples(st.just("snapshot"), st.just(0), st.just(0)),
        st.tuples(st.just("merge"), st.just(0), st.integers(0, 1)),
        st.tuples(st.just("restart"), st.just(0), st.just(0)),
        st.tuples(st.just("look"), st.integers(0, 2), st.integers(0, 60)),
    ),
    max_size=120,
)


@given(steps, st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_any_life_reads_as_one_series(life: list[tuple[str, int, int]], rate: int) -> None:
    """Against a plain dictionary: samples in order (a time may come again, then the last stands), snapshots, merges
    within the day and after it, restarts, and windows of any width."""
    asyncio.run(lived(life, [1, 15, 600, 7200][rate] * 1000))


async def lived(life: list[tuple[str, int, int]], step_ms: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        journal = await opened(path)
        history = History(journal, cache=4096)
        model: dict[int, dict[int, float]] = {}
        now, count = T0 + 1000, 0
        for what, number, size in life:
            match what:
                case "sample":
                    now += step_ms * (size % 4)
                    count += 1
                    await record(journal, now, **{f"n{number}": float(count)})
                    model.setdefault(number, {})[now] = float(count)
                case "snapshot":
                    assert await snapshot(journal)
                case "merge":
                    await merge_all(journal, journal.clock.now()._replace(wall=(now + size * 40 * DAY_MS) / 1000))
                case "restart":
                    history.close()
                    await journal.close()
                    journal = await opened(path, now)
                    history = History(journal, cache=4096)
                case _:
                    check(history, model, number, now - size * step_ms, now)
        for number in model:
            for back in (1, 7, 30, 10_000):
                check(history, model, number, now - back * step_ms, now)
        history.close()
        await journal.close()


def check(history: History, model: dict[int, dict[int, float]], number: int, t0: int, t1: int) -> None:
    if number not in model:
        return
    t, v = history.window(sid_of(history, number), t0, t1)
    expected = {at: value for at, value in sorted(model[number].items()) if t0 < at <= t1}
    assert dict(zip(t.tolist(), v.tolist(), strict=True)) == expected
    assert t.tolist() == list(expected)


async def test_the_newest_sample_before_any_time(journal: Journal) -> None:
    history = History(journal)
    for number in range(40):
        await record(journal, T0 + 1000 + number * 15_000, n1=float(number), n2=-float(number))
        if number % 10 == 9:
            await snapshot(journal)
    sids = np.array([sid_of(history, 1), sid_of(history, 2)])
    for number in range(40):
        t, v = history.last(sids, T0 + 1000 + number * 15_000 + 7, 300_000)
        assert t.tolist() == [T0 + 1000 + number * 15_000] * 2
        assert v.tolist() == [number, -number]
    t, _ = history.last(sids, T0 + 1000 + 39 * 15_000 + 300_000, 300_000)
    assert t.tolist() == [NEVER, NEVER]
    t, _ = history.last(sids, T0, 300_000)
    assert t.tolist() == [NEVER, NEVER]
    t, _ = history.last(np.array([], np.int64), T0, 300_000)
    assert t.tolist() == []
    history.close()


async def test_a_series_that_memory_forgot_is_found_on_disk(journal: Journal) -> None:
    history = History(journal)
    await record(journal, T0 + 1000, n1=1.0, n2=2.0)
    await snapshot(journal)
    series = journal.board.series
    generation = history.generation
    series.forget([series.find(labels(1))])
    assert history.generation > generation
    sids = history.select(named("load"))
    assert [history.labels_of(int(sid)) for sid in sids] == [labels(2), labels(1)]
    assert int(sids[1]) >= DISK
    assert history.window(int(sids[1]), T0, T0 + 5000)[1].tolist() == [1.0]
    _, v = history.last(sids, T0 + 2000, 300_000)
    assert v.tolist() == [2.0, 1.0]
    await record(journal, T0 + 16_000, n1=3.0)
    assert len(history.select(named("load"))) == 2
    assert history.window(sid_of(history, 1), T0, T0 + 20_000)[1].tolist() == [1.0, 3.0]
    history.close()


@pytest.mark.parametrize(
    ("matcher", "found"),
    [
        (Matcher("n", "!=", "1"), {2, 3}),
        (Matcher("n", "=~", "1|2"), {1, 2}),
        (Matcher("n", "!~", "1|2"), {3}),
        (Matcher("absent", "=", ""), {1, 2, 3}),
        (Matcher("absent", "!=", ""), set()),
    ],
)
async def test_matchers_mean_the_same_on_disk_as_in_memory(journal: Journal, matcher: Matcher, found: set[int]) -> None:
    history = History(journal)
    await record(journal, T0 + 1000, n1=1.0, n2=2.0, n3=3.0)
    await snapshot(journal)
    before = {history.labels_of(int(sid)) for sid in history.select(named("load", matcher))}
    journal.board.series.forget(journal.board.series.select(named("load")).tolist())
    after = {history.labels_of(int(sid)) for sid in history.select(named("load", matcher))}
    assert before == after == {labels(number) for number in found}
    history.close()


async def fill_days(journal: Journal, name: str, days: int) -> None:
    """A straight line, a sample every 30 s, straight to disk."""
    store = journal.store
    for day in range(days):
        t = T0 + day * DAY_MS + np.arange(30_000, DAY_MS + 1, 30_000)

        def write(db: sqlite3.Connection, t: np.ndarray = t) -> None:
            (key,) = journal.pen.catalog.ids(db, [labels(1, name)])
            insert(db, flushed([Fresh(key, t, (t - T0) / 30_000)]))

        await store.write(write)
    await merge_all(journal, journal.clock.now()._replace(wall=(T0 + (days + 2) * DAY_MS) / 1000))
    journal.history_revision += 1


async def test_each_day_is_read_from_its_finest_tier(journal: Journal) -> None:
    """Three days: the first is left in quarters, the second in minutes, the third raw."""
    await fill_days(journal, "temperature", 3)
    await fill_days(journal, "bytes_total", 3)
    await journal.store.write(
        lambda db: db.execute(
            "DELETE FROM block WHERE (tier = 0 AND day < ?) OR (tier = 60 AND day < ?)", (DAY + 2, DAY + 1)
        )
    )
    journal.history_revision += 1
    history = History(journal)
    gauge = int(history.select(named("temperature"))[0])
    counter = int(history.select(named("bytes_total"))[0])
    first, second, third = (history.window(gauge, T0 + day * DAY_MS, T0 + (day + 1) * DAY_MS) for day in range(3))
    assert [len(third[0]), len(second[0])] == [2880, 1440]
    assert set(np.diff(first[0])) == {300_000}
    assert third[1].tolist() == ((third[0] - T0) / 30_000).tolist()
    assert np.allclose(second[1], (second[0] - T0) / 30_000 - 0.5)
    assert len(set(first[1])) == 96
    t, v = history.last(np.array([gauge]), T0 + DAY_MS // 2 + 12_345, 300_000)
    assert t[0] != NEVER
    assert abs(v[0] - DAY_MS / 2 / 30_000) < 31
    t, v = history.window(counter, T0, T0 + 3 * DAY_MS)
    assert bool(np.all(np.diff(t) > 0))
    assert bool(np.all(np.diff(v) >= 0)), "a counter's rows never go down"
    slope = (v[-1] - v[0]) / (t[-1] - t[0]) * 30_000
    assert abs(slope - 1) < 0.01
    history.close()


async def test_a_damaged_block_costs_its_samples_and_nothing_else(journal: Journal) -> None:
    history = History(journal)
    for number in range(60):
        await record(journal, T0 + 1000 + number * 15_000, n1=float(number))
        if number % 20 == 19:
            await snapshot(journal)
    await journal.store.write(
        lambda db: db.execute("UPDATE block SET body = randomblob(length(body)) WHERE id = (SELECT min(id) FROM block)")
    )
    _, v = history.window(sid_of(history, 1), T0, T0 + DAY_MS)
    assert v.tolist() == list(np.arange(20.0, 60.0))
    history.close()


async def test_threads_read_while_the_loop_writes_flushes_and_merges(journal: Journal) -> None:
    """Every window is whole: from the first sample to some newest, without a gap."""
    history = History(journal, cache=2000)
    await record(journal, T0 + 1000, n1=0.0)
    sid = sid_of(history, 1)
    wrong: list[object] = []
    ended = threading.Event()
    read = 0

    def reading() -> None:
        nonlocal read
        while not ended.is_set():
            try:
                _, v = history.window(sid, T0, T0 + DAY_MS)
                if v.tolist() != list(np.arange(float(len(v)))):
                    wrong.append(v.tolist())
                read += 1
            except Exception as error:
                wrong.append(error)
                return

    threads = [threading.Thread(target=reading) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 140):
            await record(journal, T0 + 1000 + number * 15_000, n1=float(number))
            if number % 5 == 0:
                await snapshot(journal)
            if number % 15 == 0:
                await merge_all(journal, journal.clock.now())
    finally:
        ended.set()
        for thread in threads:
            await asyncio.to_thread(thread.join)
    assert not wrong, wrong[0]
    assert read > 10
    history.close()


async def test_the_end_of_the_journal_closes_the_file_and_empties_the_log(tmp_path: Path) -> None:
    journal = await opened(tmp_path / "store.db")
    history = History(journal)
    await record(journal, T0 + 1000, n1=1.0)
    await snapshot(journal)
    assert history.window(sid_of(history, 1), T0 - DAY_MS, T0 + 5000)[1].tolist() == [1.0]
    await journal.close()
    assert sorted(os.listdir(tmp_path)) == ["store.db", "store.db.lock"]


async def test_the_cache_is_bounded(journal: Journal) -> None:
    await fill_days(journal, "temperature", 4)
    history = History(journal, cache=60_000)
    sid = int(history.select(named("temperature"))[0])
    for day in (0, 1, 2, 3, 0, 3):
        t, _ = history.window(sid, T0 + day * DAY_MS, T0 + (day + 1) * DAY_MS)
        assert len(t) == 2880
        held = sum(size for _, size in history._blocks.values())
        held += sum(t.nbytes + v.nbytes for t, v in history._columns.values())
        assert held <= 60_000 + 2880 * 16
    history.close()


def test_tiers_divide_a_day() -> None:
    assert DAY_MS % (MINUTE * 1000) == DAY_MS % (QUARTER * 1000) == 0


async def test_a_rule_looks_back_as_far_as_it_says_before_and_after_a_restart(tmp_path: Path) -> None:
    rules = compile_rules([Rule(name="idle", expr="max_over_time(load[6h]) < 2", severity="error", summary="idle")])
    path, hours = tmp_path / "store.db", [0, 1, 2, 3, 4, 5]

    async def lived(begin: int) -> Journal:
        clock = ManualClock(wall=begin / 1000)
        return await open_journal(path, clock=clock, meters=Meters(), judge=rules)

    journal = await lived(T0)
    for hour in hours:
        for minute in range(0, 60, 5):
            await record(journal, T0 + hour * 3_600_000 + minute * 60_000, n1=9.0 if hour == 0 else 1.0, n2=1.0)
    for _ in range(2):
        (sid,) = journal.board.series.select(named("load", Matcher("n", "=", "1"))).tolist()
        t, v = journal.board.series.head(sid)
        assert (int(t[0]), v.max()) == (T0, 9.0), "in memory, because the rules are judged over that"
        assert await snapshot(journal)
        await journal.close()
        journal = await lived(T0 + 6 * 3_600_000 - 1)
    await journal.close()
