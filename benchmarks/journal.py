"""The journal below the doors: `journal.record` of 500 trades, acknowledged after fsync, and how soon it opens.

On the way every event is looked up by its id, folded into the board and its series, and committed; no rules judge
it. Beside it, in turns on the same disk, what knows nothing of what it stores: a Redis stream that takes each event
as one field, and SQLite alone. Opening is that of a store that was left by `kill -9`, its last snapshot as far back
as the daemon lets it be.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers import SIZE, batch, opaque, redis, sqlite
from benchmarks.table import Row
from trader_monitor.core.facts import Trade
from trader_monitor.loops.retain import SNAPSHOT_FACTS
from trader_monitor.runtime.clock import SystemClock
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.snapshot import snapshot

SECONDS = 3.0
TURNS = 3
EVENTS = 1_000_000


async def record(folder: Path, seconds: float, senders: int) -> float:
    """Events per second through the journal, from so many senders that each wait for their acknowledgement."""
    held = await open_journal(folder / "journal.db", clock=SystemClock(), meters=Meters())
    done, spent, number = 0, 0.0, 0
    while spent < seconds:
        batches = [batch(number + place) for place in range(senders * 4)]
        number += len(batches)
        began = time.perf_counter()

        async def send(mine: int, batches: list[list[Trade]] = batches) -> None:
            for place in range(mine, len(batches), senders):
                await held.record(batches[place])

        await asyncio.gather(*(send(mine) for mine in range(senders)))
        spent += time.perf_counter() - began
        done += SIZE * len(batches)
    await held.close()
    return done / spent


async def opening(folder: Path, events: int) -> tuple[float, int]:
    """Seconds to open a journal of so many events, and how many of them were behind the last snapshot."""
    path = folder / "journal.db"
    held = await open_journal(path, clock=SystemClock(), meters=Meters())
    for number in range(events // SIZE):
        await held.record(batch(number))
        if held.wants_snapshot(SNAPSHOT_FACTS) and (number + 1) * SIZE < events:
            await snapshot(held)
    behind = held.since_snapshot
    held.since_snapshot = 0  # as after kill -9: no snapshot at the end
    await held.close()
    began = time.perf_counter()
    held = await open_journal(path, clock=SystemClock(), meters=Meters())
    seconds = time.perf_counter() - began
    counted = held.board.counts["trade"]
    held.since_snapshot = 0
    await held.close()
    if counted != events:
        raise RuntimeError(f"{events} were recorded, {counted} are there")
    return seconds, behind


def rows(folder: Path) -> list[Row]:
    """Rows without a goal: they say how much of `ingest` the doors cost, and what a restart does."""
    works: dict[str, Callable[[Path, float], float]] = {
        "redis": lambda folder, seconds: redis(folder, seconds, opaque),
        "sqlite": sqlite,
        "one sender": lambda folder, seconds: asyncio.run(record(folder, seconds, 1)),
        "4 senders": lambda folder, seconds: asyncio.run(record(folder, seconds, 4)),
    }
    turns: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(TURNS):
        for name, work in works.items():
            with tempfile.TemporaryDirectory(dir=folder) as own:
                turns[name].append(work(Path(own), SECONDS / TURNS))
    rates = {name: statistics.median(rates) for name, rates in turns.items()}
    peer, alone = rates.pop("redis"), rates.pop("sqlite")
    beside = f"Redis, one opaque field {peer:,.0f}/s, SQLite {alone:,.0f}"
    found = [Row(f"journal, {name}", f"{rate:,.0f}/s", beside, f"{rate / peer:.2f}×") for name, rate in rates.items()]
    seconds, behind = asyncio.run(opening(folder, EVENTS))
    return [*found, Row(f"opening after {EVENTS:,} events, {behind:,} behind the snapshot", f"{seconds:.2f} s")]
