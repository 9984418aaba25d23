"""Retain: snapshots come by themselves, what is old goes, what is needed stays."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trader_monitor.config.tables import Store as StoreTable
from trader_monitor.core.facts import Now, Samples, Trade
from trader_monitor.core.matcher import Matcher
from trader_monitor.core.series import STALE
from trader_monitor.loops import retain as retain_module
from trader_monitor.loops.retain import expire, forget_silent, forget_unused, house_keeping, merge_all, retain
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.history import History
from trader_monitor.runtime.journal import Journal
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.progress import Progress
from trader_monitor.runtime.snapshot import snapshot

Until = Callable[..., Awaitable[None]]
HOUR = 3600.0
DAY = 86_400.0
TABLE = StoreTable()


class World:
    def __init__(self, journal: Journal, clock: ManualClock, meters: Meters) -> None:
        self.journal = journal
        self.clock = clock
        self.env: Any = SimpleNamespace(
            journal=journal,
            clock=clock,
            meters=meters,
            progress=Progress(clock),
            config=lambda: SimpleNamespace(store=TABLE),
        )

    async def rows(self, sql: str) -> list[tuple[object, ...]]:
        return await self.journal.store.write(lambda db: db.execute(sql).fetchall())

    async def sample(self, value: float = 1.0) -> None:
        names = ((("__name__", "load"),),)
        at = self.clock.now().wall
        await self.journal.record([Samples(at=at, origin="host", labels=names, values=(value,))])

    async def trade(self, key: str) -> None:
        at = self.clock.now().wall
        await self.journal.record([Trade(at=at, id=key, source="b", symbol="A", side="buy", quantity=1.0, price=1.0)])

    @asynccontextmanager
    async def retaining(self) -> AsyncIterator[None]:
        loop = asyncio.create_task(retain(self.env))
        try:
            yield
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock, meters = ManualClock(), Meters()
    journal = await open_journal(tmp_path / "store.db", clock=clock, meters=meters)
    yield World(journal, clock, meters)
    await journal.close()


async def until(world: World, sql: str, expected: object, seconds: float = 1.0) -> None:
    async with asyncio.timeout(10):
        while (await world.rows(sql))[0][0] != expected:
            await world.clock.advance(seconds)


async def test_a_snapshot_every_few_minutes(world: World) -> None:
    await world.sample()
    async with world.retaining():
        await world.clock.advance(200)
        assert await world.rows("SELECT count(*) FROM snapshot") == [(0,)]
        await until(world, "SELECT count(*) FROM snapshot", 1, 60)
        assert world.env.progress.last("retain") is not None
        assert world.env.meters.get("monitor_store_bytes") > 0
        assert world.env.meters.get("monitor_commits_total") >= 1


async def test_a_snapshot_after_many_facts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retain_module, "SNAPSHOT_FACTS", 10)
    async with world.retaining():
        for number in range(10):
            await world.trade(str(number))
        await until(world, "SELECT seq FROM snapshot UNION ALL SELECT 0", 10)


async def test_a_full_head_calls_for_a_snapshot(world: World) -> None:
    for number in range(400):
        await world.clock.advance(0.1)
        await world.sample(float(number))
    async with world.retaining():
        await until(world, "SELECT count(*) FROM snapshot", 1)
    assert world.journal.board.series.lost == 0


async def test_samples_alone_leave_the_journal_when_the_history_has_them(world: World) -> None:
    for number in range(3):
        await world.sample(float(number))
        await world.trade(str(number))
        await snapshot(world.journal)
        await world.clock.advance(1.0)
    await world.sample(9.0)
    await expire(world.journal, TABLE, world.clock.now())
    kept = await world.rows("SELECT samples_only, count(*) FROM batch GROUP BY samples_only ORDER BY 1")
    assert kept == [(0, 3), (1, 2)], "the older snapshot's tail must stay whole"


async def test_facts_go_after_their_retention_and_never_before_a_snapshot(world: World) -> None:
    await world.trade("old")
    later = world.clock.now().wall + TABLE.retention + 1
    await expire(world.journal, TABLE, Now(later, 0.0))
    assert await world.rows("SELECT count(*) FROM batch") == [(1,)]
    await snapshot(world.journal)
    await expire(world.journal, TABLE, Now(later - 2, 0.0))
    assert await world.rows("SELECT count(*) FROM batch") == [(1,)]
    await expire(world.journal, TABLE, Now(later, 0.0))
    assert await world.rows("SELECT count(*) FROM batch") == [(0,)]


async def test_each_tier_goes_after_its_own_retention(world: World) -> None:
    start = world.clock.now().wall
    for number in range(20):
        await world.sample(float(number))
        await world.clock.advance(15.0)
    await snapshot(world.journal)

    async def tiers_after(seconds: float) -> list[object]:
        now = Now(start + seconds, 0.0)
        await merge_all(world.journal, now)
        await expire(world.journal, TABLE, now)
        return [tier for (tier,) in await world.rows("SELECT DISTINCT tier FROM block ORDER BY tier")]

    assert await tiers_after(0) == [0]
    assert await tiers_after(2 * DAY) == [0, 60, 900]
    assert await tiers_after(TABLE.raw + DAY) == [60, 900]
    assert await tiers_after(TABLE.minute + DAY) == [900]
    assert await tiers_after(TABLE.quarter + DAY) == []


async def test_memory_forgets_what_ended_or_fell_silent_and_the_disk_does_not(world: World) -> None:
    start = world.clock.now().wall
    series = world.journal.board.series
    await world.sample()
    ended = series.intern((("__name__", "ended"),))
    series.append(ended, int(start * 1000), STALE)
    silent = series.find((("__name__", "load"),))

    async def forgotten_after(seconds: float) -> set[int]:
        await forget_silent(world.journal, Now(start + seconds, 0.0))
        return {sid for sid in (ended, silent) if not series.labels_of(sid)}

    assert await forgotten_after(2 * DAY) == set(), "not before they are on disk"
    await snapshot(world.journal)
    assert await forgotten_after(HOUR - 60) == set()
    assert await forgotten_after(HOUR + 60) == {ended}
    assert await forgotten_after(DAY - 60) == {ended}
    assert await forgotten_after(DAY + 60) == {ended, silent}
    history = History(world.journal)
    (sid,) = history.select((Matcher("__name__", "=", "load"),))
    assert history.window(int(sid), 0, int(start * 1000) + 1)[1].tolist() == [1.0]


async def test_label_sets_of_which_nothing_is_left_leave_the_store(world: World) -> None:
    """Ended, forgotten by memory, and their blocks beyond the retention; then they come again, and are read again."""
    journal, history = world.journal, History(world.journal)
    churn: list[tuple[tuple[str, str], ...]] = [(("__name__", "churn"), ("n", str(number))) for number in range(600)]

    async def collect(names: list[tuple[tuple[str, str], ...]], value: float) -> None:
        at = world.clock.now().wall
        facts = [Samples(at=at, origin="pods", labels=tuple(names), values=(value,) * len(names))]
        await journal.record(facts)

    await collect(churn, 1.0)
    await snapshot(journal)
    assert await forget_unused(journal) == 0
    await world.clock.advance(60)
    await collect(churn[-1:], 2.0)
    await snapshot(journal)
    await world.clock.advance(2 * DAY)
    await collect(churn[-1:], 3.0)
    while await forget_silent(journal, world.clock.now()):
        pass
    assert await forget_unused(journal) == 0, "the history has them"
    chosen = (Matcher("__name__", "=", "churn"),)
    assert len(history.select(chosen)) == 600
    await snapshot(journal)
    await journal.store.write(lambda db: db.execute("DELETE FROM block WHERE part < 2"))
    assert await forget_unused(journal) == 511
    assert await forget_unused(journal) == 0
    assert (await world.rows("SELECT count(*) FROM series"))[0][0] == len(journal.pen.catalog) == 89
    assert len(history.select(chosen)) == 89
    await world.clock.advance(60)
    await collect(churn[:2], 4.0)
    await snapshot(journal)
    assert len(journal.pen.catalog) == 91
    journal.board.series.forget(journal.board.series.select(chosen[:1]).tolist())
    again = history.select((*chosen, Matcher("n", "=", "1"))).tolist()
    wall = int(world.clock.now().wall * 1000)
    assert [history.window(sid, wall - 1000, wall)[1].tolist() for sid in again] == [[4.0]]
    history.close()


async def test_what_was_not_taken_out_after_all_is_still_known(world: World) -> None:
    journal = world.journal
    await world.sample()
    await journal.record([Samples(at=1.7e9, origin="o", labels=((("__name__", "b"),),), values=(1.0,))])
    labels = (("__name__", "load"),)

    def fail(db: sqlite3.Connection) -> None:
        assert journal.pen.catalog.forget(db, [(1, labels)]) == 1
        raise OSError("on purpose")

    with pytest.raises(OSError, match="on purpose"):
        await journal.store.write(fail)
    assert await journal.store.write(lambda db: journal.pen.catalog.ids(db, [labels])) == [1]


async def test_space_goes_back_to_the_disk(world: World) -> None:
    await world.journal.store.write(lambda db: db.execute("INSERT INTO probe VALUES (7, randomblob(2000000))"))
    await world.journal.store.checkpoint()
    before = world.journal.store.size()
    await world.journal.store.write(lambda db: db.execute("DELETE FROM probe"))
    for _ in range(10):
        await house_keeping(world.journal)
    assert world.journal.store.size() < before - 1_500_000


async def test_a_disk_that_fails_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retain_module, "SNAPSHOT_FACTS", 1)
    pages = (await world.rows("PRAGMA page_count"))[0][0]
    await world.trade("a")
    await world.journal.store.write(lambda db: db.execute(f"PRAGMA max_page_count={pages}").fetchall())
    world.journal.since_snapshot = 1
    await world.journal.store.write(lambda db: None)
    async with world.retaining():
        async with asyncio.timeout(10):
            while not world.env.meters.get("monitor_retain_failures_total"):
                for n in range(300):
                    world.journal.board.series.describe(f"metric_{n}_{world.clock.now().mono}", "gauge", "x" * 64)
                await world.clock.advance(1.0)
        await world.journal.store.write(lambda db: db.execute("PRAGMA max_page_count=100000").fetchall())
        await until(world, "SELECT count(*) FROM snapshot", 1)
