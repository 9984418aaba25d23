"""The store's file: one owner, numbered schemas, damage put aside and what is readable kept, groups of commits."""

from __future__ import annotations

import asyncio
import gzip
import os
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.parts import until
from trader_monitor.core.facts import AlertChanged, Breaker, ChannelTried, Prediction, Samples, Trade
from trader_monitor.core.matcher import Matcher
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.history import DISK, History
from trader_monitor.runtime.journal import Journal, StoreUnavailable
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.snapshot import snapshot
from trader_monitor.runtime.store import SchemaNewer, Store, StoreBroken, StoreLocked


async def opened(path: Path) -> Journal:
    return await open_journal(path, clock=ManualClock(), meters=Meters())


def trade(number: int) -> Trade:
    return Trade(at=1_700_000_000.0, id=str(number), source="bot", symbol="A", side="buy", quantity=1.0, price=2.0)


FIRING = AlertChanged(
    at=1_700_000_000.0,
    fingerprint="f",
    rule="high",
    state="firing",
    transition=1,
    severity="critical",
    labels={"alertname": "high"},
    summary="high",
    active_at=1.0,
    mono=1.0,
)


async def test_a_second_daemon_on_the_same_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    journal = await opened(path)
    with pytest.raises(StoreLocked, match=rf"in use by another daemon \(process {os.getpid()}\)"):
        await opened(path)
    script = (
        "import sys, pathlib\n"
        "from trader_monitor.runtime.store import Store, StoreLocked\n"
        "try:\n    Store(pathlib.Path(sys.argv[1]))\nexcept StoreLocked as error:\n    print(error)\n"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(path), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await other.communicate()
    assert f"process {os.getpid()}" in said.decode()
    await journal.close()
    await (await opened(path)).close()


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await (await opened(path)).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(SchemaNewer, match="schema 99"):
        await opened(path)
    assert path.read_bytes() == before
    assert not put_aside(tmp_path)


async def test_the_store_is_private_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "store.db"
    journal = await opened(path)
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    await journal.close()


async def test_a_store_of_the_version_before_channels_were_kept_opens_with_all_it_knows(tmp_path: Path) -> None:
    """Its snapshot is all there is of its first facts: retention took their batches away."""
    path = tmp_path / "store.db"
    data = Path(__file__).parent.parent / "data" / "store_schema_2.db.gz"
    path.write_bytes(gzip.decompress(data.read_bytes()))
    journal = await opened(path)
    board = journal.board
    assert journal.degraded is None
    assert (board.counts, journal.seq) == ({"trade": 3}, 7)
    assert board.checks["api"].breaker.state == "open"
    assert {name: alert.state for name, alert in board.alerts.items()} == {"told": "firing", "untold": "firing"}
    assert list(board.notices) == [("desk", "told")]
    assert (board.channels, board.tries) == ({}, {})
    opened_at = journal.clock.now()
    failed = ChannelTried(
        at=opened_at.wall,
        channel="desk",
        outcome="failed",
        breaker=Breaker(state="open", failures=5, since=opened_at.mono, retry_at=opened_at.mono + 15, opened=1),
        mono=opened_at.mono,
        fingerprint="untold",
        transition=1,
    )
    await journal.record([failed])
    await journal.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone()[0] > 2, "a daemon of that version refuses what it cannot read"
    db.close()
    journal = await opened(path)
    assert journal.board.channels == {"desk": failed}
    assert journal.board.tries == {("desk", "untold"): failed}
    await journal.close()


async def test_a_store_of_the_version_before_predictions_were_rows_opens_with_those_it_has(tmp_path: Path) -> None:
    """They are events in its batches, their features as they were sent; what comes now is rows beside."""
    path = tmp_path / "store.db"
    data = Path(__file__).parent.parent / "data" / "store_schema_3.db.gz"
    path.write_bytes(gzip.decompress(data.read_bytes()))
    journal = await opened(path)
    assert journal.degraded is None
    assert journal.board.counts == {"trade": 1, "prediction": 2}
    before = Prediction(at=1_700_000_000.0, id="p1", model="m", version="1", output=0.5, features={"a": 2.0, "b": 0.1})
    after = Prediction(at=1_700_000_002.0, id="p3", model="m", version="1", output=0.5, features={"a": 2.0, "b": 0.1})
    assert (await journal.record([before])).duplicates == 1
    assert (await journal.record([after])).accepted == 1
    journal.since_snapshot = 0
    await journal.close()
    journal = await opened(path)
    assert journal.board.counts == {"trade": 1, "prediction": 3}
    assert (await journal.record([before, after])).duplicates == 2
    await journal.close()


async def test_migrations_bring_an_older_schema_up_to_date(tmp_path: Path) -> None:
    """A store that stopped after the first migration, with facts in it."""
    path = tmp_path / "store.db"
    journal = await opened(path)
    await journal.record([trade(1)])
    await journal.close()
    db = sqlite3.connect(path)
    db.executescript("DROP TABLE block; DELETE FROM snapshot; DROP TRIGGER batch_gone; PRAGMA user_version=1;")
    db.execute("DROP TRIGGER outcomes_gone")
    for table in ("prediction_schema", "prediction_batch", "prediction_audit", "baseline", "detector", "drift_run"):
        db.execute(f"DROP TABLE {table}")
    for table in ("outcome_batch", "performance_memory", "performance_run"):
        db.execute(f"DROP TABLE {table}")
    db.close()
    journal = await opened(path)
    assert journal.degraded is None
    assert journal.board.counts == {"trade": 1}
    await journal.close()


async def test_grouped_work_is_committed_together_and_in_order(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    settled: list[int] = []
    done = asyncio.Event()

    def insert(db: sqlite3.Connection, name: str) -> None:
        db.execute("INSERT INTO boot (name) VALUES (?)", (name,))

    def settle(number: int) -> Callable[[Exception | None], None]:
        def told(error: Exception | None) -> None:
            assert error is None
            settled.append(number)
            if number == 99:
                done.set()

        return told

    for number in range(100):
        store.append(partial(insert, name=str(number)), settle(number))
    async with asyncio.timeout(5):
        await done.wait()
    assert settled == list(range(100))
    assert store.commits < 100
    assert await store.write(lambda db: db.execute("SELECT count(*) FROM boot").fetchone()[0]) == 100
    await store.close()


async def test_what_queues_behind_a_failed_commit_fails_until_it_is_mended(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    outcomes: list[object] = []

    def append(sql: str, *, mend: bool = False) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.execute(sql)

        store.append(write, outcomes.append, mend=mend)

    append("INSERT INTO boot (id, name) VALUES (1, 'a')")
    await store.write(lambda db: None)
    append("INSERT INTO boot (id, name) VALUES (1, 'again')")
    await store.write(lambda db: None)
    append("INSERT INTO boot (id, name) VALUES (2, 'b')")
    await store.write(lambda db: None)
    append("INSERT INTO boot (id, name) VALUES (3, 'c')", mend=True)
    append("INSERT INTO boot (id, name) VALUES (4, 'd')")
    await store.write(lambda db: None)
    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        sqlite3.IntegrityError,
        StoreBroken,
        type(None),
        type(None),
    ]
    assert await store.write(lambda db: db.execute("SELECT id FROM boot ORDER BY id").fetchall()) == [(1,), (3,), (4,)]
    await store.close()


async def test_work_of_its_own_that_fails_breaks_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    with pytest.raises(ZeroDivisionError):
        await store.write(lambda db: 1 // 0)
    with pytest.raises(sqlite3.OperationalError):
        await store.write(lambda db: db.execute("SELECT * FROM nowhere"))
    assert not store.broken
    assert await store.checkpoint()
    await store.close()


async def test_readers_cannot_write(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    reader = store.reader()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM batch")
    reader.close()
    await store.close()


# --- damage ------------------------------------------------------------------------------------------------


def put_aside(folder: Path) -> list[Path]:
    """The databases that were put aside, without their logs."""
    return [file for file in folder.glob("*.corrupt-*") if not file.name.endswith(("-wal", "-shm"))]


async def filled(path: Path) -> None:
    """A firing alert in a snapshot, then a few hundred trades."""
    journal = await opened(path)
    await journal.record([FIRING])
    labels = tuple((("__name__", "load"), ("n", str(number))) for number in range(50))
    await journal.record([Samples(at=1.0, origin="host", labels=labels, values=tuple(map(float, range(50))))])
    await snapshot(journal)
    for batch in range(20):
        await journal.record([trade(batch * 20 + number) for number in range(20)])
    journal.since_snapshot = 0
    await journal.close()


def flipped(path: Path, at: int, count: int = 64) -> bytes:
    raw = bytearray(path.read_bytes())
    for place in range(at, min(at + count, len(raw))):
        raw[place] ^= 0x5A
    path.write_bytes(raw)
    return bytes(raw)


async def test_a_damaged_header_is_put_aside_under_a_new_name(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await filled(path)
    damaged = flipped(path, 0)
    journal = await opened(path)
    aside = put_aside(tmp_path)
    assert [file.read_bytes() for file in aside] == [damaged]
    assert str(aside[0]) in (journal.degraded or "")
    assert journal.meters.get("monitor_store_degraded") == 1
    assert (await journal.record([trade(1)])).accepted == 1
    await journal.close()
    journal = await opened(path)
    assert journal.degraded is None
    assert journal.board.counts == {"trade": 1}
    await journal.close()


async def test_a_damaged_batch_costs_that_batch_and_no_alert_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await filled(path)
    db = sqlite3.connect(path)
    db.execute("UPDATE batch SET body = randomblob(length(body)) WHERE seq = (SELECT max(seq) FROM batch)")
    db.commit()
    db.close()
    journal = await opened(path)
    assert len(put_aside(tmp_path)) == 1
    assert journal.degraded
    assert journal.board.alerts["f"] == FIRING
    assert journal.board.counts == {"trade": 380}
    assert "1 lost" in journal.degraded
    history = History(journal)
    (sid,) = history.select((Matcher("__name__", "=", "load"), Matcher("n", "=", "7")))
    assert int(sid) >= DISK
    assert history.window(int(sid), 0, 5000)[1].tolist() == [7.0], "the history came along"
    history.close()
    assert (await journal.record([trade(0), trade(399)])).duplicates == 1
    await journal.close()
    journal = await opened(path)
    assert journal.degraded is None
    assert journal.board.alerts["f"] == FIRING
    assert journal.board.counts == {"trade": 381}
    await journal.close()


async def test_a_damaged_newest_snapshot_falls_back_on_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    journal = await opened(path)
    for number in range(3):
        await journal.record([trade(number)])
        assert await snapshot(journal)
    journal.since_snapshot = 0
    await journal.close()
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM snapshot").fetchone() == (2,)
    db.execute("UPDATE snapshot SET body = randomblob(length(body)) WHERE seq = (SELECT max(seq) FROM snapshot)")
    db.commit()
    db.close()
    journal = await opened(path)
    assert journal.degraded is None
    assert journal.board.counts == {"trade": 3}
    assert (await journal.record([trade(2)])).duplicates == 1
    await journal.close()


@pytest.mark.parametrize("tenth", range(1, 10))
async def test_damage_anywhere_is_survived_and_nothing_is_deleted(tmp_path: Path, tenth: int) -> None:
    """It is put aside, or it was where nothing is kept; the daemon starts and takes events."""
    path = tmp_path / "store.db"
    await filled(path)
    damaged = flipped(path, path.stat().st_size * tenth // 10, 4096)
    journal = await opened(path)
    aside = put_aside(tmp_path)
    if aside:
        assert [file.read_bytes() for file in aside] == [damaged]
        assert journal.degraded
    else:
        assert journal.board.counts == {"trade": 400}
    if not await taken(journal, trade(1000)):  # the damage was where only writing looks
        await until(lambda: journal.sound)
        assert [file.stat().st_size for file in put_aside(tmp_path)] == [len(damaged)]
        assert "put aside" in (journal.degraded or "")
        assert journal.board.counts == {"trade": 400}, "an index was damaged: every row could be read"
        assert await taken(journal, trade(1000))
    assert journal.board.alerts.get("f") == FIRING or put_aside(tmp_path)
    await journal.close()
    journal = await opened(path)
    assert journal.degraded is None
    assert journal.board.counts["trade"] >= 1
    await journal.close()


async def taken(journal: Journal, event: Trade) -> bool:
    try:
        return (await journal.record([event])).accepted == 1
    except StoreUnavailable:
        return False


async def test_a_second_corruption_does_not_overwrite_the_first(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for _ in range(3):
        await filled(path)
        flipped(path, 0)
        await (await opened(path)).close()
    assert len(put_aside(tmp_path)) == 3


async def test_a_path_that_cannot_be_opened_is_survived_until_it_can(tmp_path: Path) -> None:
    """The store's place is a folder at first: the daemon starts degraded, alerts leave, and it recovers."""
    path = tmp_path / "store.db"
    path.mkdir()
    clock = ManualClock()
    journal = await open_journal(path, clock=clock, meters=Meters())
    heard: list[object] = []
    journal.watch(heard.extend)
    assert journal.degraded
    await journal.record([FIRING])
    assert heard == [FIRING]
    path.rmdir()

    async def passing() -> None:
        while not journal.sound:
            await clock.advance(1.0)

    async with asyncio.timeout(10):
        await passing()
    assert (await journal.record([trade(1)])).accepted == 1
    await journal.close()
    journal = await opened(path)
    assert journal.board.alerts["f"] == FIRING
    await journal.close()
