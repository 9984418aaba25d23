"""The journal: what is recorded is folded, judged, durable, published, in this order, and comes back by replay."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import sqlite3
import struct
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.parts import until
from trader_monitor.core.board import Board
from trader_monitor.core.facts import (
    AlertChanged,
    Breaker,
    ChannelTried,
    CheckResult,
    ChildDied,
    Fact,
    Heartbeat,
    NoticeSent,
    Now,
    Samples,
    Trade,
)
from trader_monitor.core.series import Touched
from trader_monitor.core.snapshot import Snapshot
from trader_monitor.runtime import journal as journal_module
from trader_monitor.runtime import opening
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.folding import LARGE
from trader_monitor.runtime.journal import Journal, Recorded, StoreUnavailable, Unjudged
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.replay import batches
from trader_monitor.runtime.rows import encode, labels_by_id
from trader_monitor.runtime.snapshot import snapshot

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
LOAD = (("__name__", "load"), ("host", "a"))


def trade(key: str, at: float = 1_700_000_000.0) -> Trade:
    return Trade(at=at, id=key, source="bot", symbol="A", side="buy", quantity=1.0, price=2.0)


def samples(value: float, at: float = 1_700_000_000.0) -> Samples:
    return Samples(at=at, origin="host", labels=(LOAD,), values=(value,))


def alert(state: Any = "firing", transition: int = 1, at: float = 1_700_000_000.0) -> AlertChanged:
    return AlertChanged(
        at=at,
        fingerprint="f",
        rule="high",
        state=state,
        transition=transition,
        severity="critical",
        labels={"alertname": "high"},
        summary="high",
        active_at=at,
        mono=1.0,
    )


class Watchful(Unjudged):
    """Fires when the load is above 1, once."""

    def __init__(self) -> None:
        self.calls: list[Touched] = []

    def touched(self, board: Board, touched: Touched, now: Now) -> list[AlertChanged]:
        self.calls.append(touched)
        sid = board.series.find(LOAD)
        if sid in touched.sids and board.series.last_v[sid] > 1 and "f" not in board.alerts:
            return [alert(at=now.wall)]
        return []

    def due(self, board: Board, now: Now) -> list[AlertChanged]:
        present = board.alerts.get("f")
        return [alert("resolved", 2, now.wall)] if present is not None and present.state == "firing" else []


class Life:
    """One life after the other on one store."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.meters = Meters()
        self.journal: Journal
        self.judge = Watchful()
        self.heard: list[Fact] = []

    @property
    def last_state(self) -> str:
        """Of the alert that was heard last; of nothing else."""
        last = self.heard[-1]
        assert isinstance(last, AlertChanged)
        return last.state

    async def begin(self) -> Journal:
        self.journal = await open_journal(self.path, clock=self.clock, meters=self.meters, judge=self.judge)
        self.journal.watch(self.heard.extend)
        return self.journal

    async def again(self) -> Journal:
        await self.journal.close()
        return await self.begin()

    async def full(self, more: int = 0) -> None:
        """From now on the disk takes no more than `more` pages."""
        pages = await self.journal.store.write(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
        await self.journal.store.write(lambda db: db.execute(f"PRAGMA max_page_count={pages + more}").fetchone())

    async def room(self) -> None:
        await self.journal.store.write(lambda db: db.execute("PRAGMA max_page_count=1000000").fetchone())


@pytest.fixture
async def life(tmp_path: Path) -> AsyncIterator[Life]:
    life = Life(tmp_path / "var" / "store.db")
    await life.begin()
    yield life
    await life.journal.close()


def batch(first: int, count: int = 200) -> list[Trade]:
    """Trades whose ids do not deflate, so that they need room."""
    return [trade(hashlib.sha512(str(number).encode()).hexdigest()) for number in range(first, first + count)]


async def fill(life: Life) -> int:
    """Records until the full disk refuses; the number of the first event that was refused."""
    await life.full()
    for number in range(40):
        try:
            await life.journal.record(batch(1000 * number))
        except StoreUnavailable:
            return 1000 * number
    raise AssertionError("the disk took everything")


def series_of(board: Board) -> dict[tuple[tuple[str, str], ...], tuple[list[int], list[bytes]]]:
    series = board.series
    found = {}
    for sid in series.sids():
        t, v = series.head(sid)
        if len(t):
            found[series.labels_of(sid)] = (t.tolist(), [struct.pack("<d", x) for x in v])
    return found


def state_of(board: Board) -> bytes:
    """All but when a standing value was last written again: that is a matter of the life, not of the facts."""
    kept = Snapshot.decode(board.dump())
    kept.cells = sorted(cell._replace(t_ms=0) for cell in kept.cells)
    return kept.encode()


def values_of(board: Board) -> dict[object, object]:
    """Each series' newest value, and all samples of what we measured."""
    found = series_of(board)
    newest: dict[object, object] = {labels: values[-1] for labels, (_, values) in found.items()}
    return {LOAD: found[LOAD], **newest}


async def test_each_event_is_accepted_once(life: Life) -> None:
    first = await life.journal.record([trade("a"), trade("b"), trade("a")])
    assert first == Recorded(2, 1, ())
    second = await life.journal.record([trade("b"), trade("c"), replace(trade("a"), price=3.0)])
    assert second == Recorded(1, 1, (2,))
    assert life.heard == [trade("a"), trade("b"), trade("c")]
    assert life.journal.seq == 3
    assert life.journal.board.counts == {"trade": 3}
    assert life.meters.get("monitor_events_accepted_total") == 3
    assert life.meters.get("monitor_events_duplicate_total") == 2


async def test_ids_outlive_the_daemon_with_and_without_a_snapshot(life: Life) -> None:
    await life.journal.record([trade("a")])
    assert await snapshot(life.journal)
    await life.journal.record([trade("b")])
    journal = await life.again()
    assert await journal.record([trade("a"), trade("b"), trade("c")]) == Recorded(1, 2, ())


async def test_a_duplicate_is_acknowledged_only_when_its_first_is_durable(life: Life) -> None:
    await life.full()
    first, second = await asyncio.gather(
        life.journal.record(batch(0)), life.journal.record(batch(0)), return_exceptions=True
    )
    assert isinstance(first, StoreUnavailable)
    assert isinstance(second, StoreUnavailable)


async def test_verdicts_are_recorded_behind_their_facts(life: Life) -> None:
    await life.journal.record([samples(2.0)])
    assert [type(fact) for fact in life.heard] == [Samples, AlertChanged]
    assert life.journal.board.alerts["f"].state == "firing"
    journal = await life.again()
    assert journal.board.alerts["f"].state == "firing"
    await journal.tick()
    assert life.last_state == "resolved"
    await journal.tick()
    assert len(life.heard) == 3


async def test_replay_judges_nothing(life: Life) -> None:
    await life.journal.record([samples(2.0)])
    life.judge.calls.clear()
    await life.again()
    assert life.judge.calls == []


async def test_a_judge_that_fails_costs_no_fact(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> list[AlertChanged]:
        raise ZeroDivisionError

    monkeypatch.setattr(life.judge, "touched", broken)
    assert (await life.journal.record([trade("a")])).accepted == 1
    assert life.meters.get("monitor_judge_failures_total") == 1


async def test_every_kind_of_fact_comes_back_the_same(life: Life) -> None:
    facts: list[Fact] = [
        trade("a"),
        Heartbeat(at=1.5, source="bot", interval_seconds=5.0, state="running", context={"a": None}),
        CheckResult(at=2.0, check="api", ok=None, breaker=Breaker(failures=2, since=3.0), seconds=0.1, message="…"),
        alert(),
        NoticeSent(at=3.0, channel="log", fingerprint="f", transition=1, state="firing", outcome="delivered"),
        ChannelTried(
            at=3.5,
            channel="log",
            outcome="failed",
            breaker=Breaker(failures=1),
            mono=3.0,
            fingerprint="f",
            transition=1,
            attempts=1,
            retry_at=9.0,
        ),
        ChildDied(at=4.0, child="api", cause="it broke", decision="restart", delay=0.1, restarts=1),
        samples(0.5),
    ]
    await life.journal.record(facts)
    for number in range(30):
        await life.clock.advance(1.0)
        await life.journal.record([samples(0.1 * number, at=life.clock.now().wall)])
        await life.journal.record(batch(10 * number, 10))
    before = life.journal.board
    state, values, seq = state_of(before), values_of(before), life.journal.seq
    again = await life.again()
    assert again.seq == seq
    assert values_of(again.board) == values
    assert state_of(again.board) == state
    assert again.board.ids.screen([trade("a")], [encode(trade("a"))]).duplicates == 1


@pytest.mark.parametrize("when", ["never", "first", "middle", "last"])
async def test_snapshot_and_tail_are_everything(life: Life, when: str) -> None:
    """Killed without a last snapshot: the board is what it was."""
    for number in range(20):
        await life.clock.advance(7.0)
        await life.journal.record([samples(float(number), at=life.clock.now().wall)])
        await life.journal.record(batch(10 * number, 10))
        if number == {"never": -1, "first": 0, "middle": 9, "last": 19}[when]:
            assert await snapshot(life.journal)
    before = life.journal.board
    copy = life.path.with_name("copy.db")
    await life.journal.store.write(lambda db: None)
    with sqlite3.connect(life.path) as db, sqlite3.connect(copy) as other:
        db.backup(other)
    db.close()
    other.close()
    again = await open_journal(copy, clock=life.clock, meters=Meters())
    assert values_of(again.board) == values_of(before)
    assert state_of(again.board) == state_of(before)
    assert again.seq == life.journal.seq
    await again.close()


async def test_special_floats_keep_their_bits(life: Life) -> None:
    values = (float("nan"), float("inf"), float("-inf"), STALE, -0.0, 5e-324)
    labels = tuple((("__name__", "x"), ("n", str(number))) for number in range(len(values)))
    sent = Samples(at=5.0, origin="scrape", labels=labels, values=values)
    await life.journal.record([sent])
    expected = series_of(life.journal.board)
    assert {label[1][1]: bits[0] for label, (_, bits) in expected.items() if label[0][1] == "x"} == {
        str(number): struct.pack("<d", value) for number, value in enumerate(values)
    }
    again = await life.again()
    found = series_of(again.board)
    assert all(found[label] == kept for label, kept in expected.items() if label in found)


async def test_the_journal_remembers_which_samples_are_about_the_daemon_itself(life: Life) -> None:
    labels = tuple((("__name__", name),) for name in ("lost", "monitor_x", "load"))
    await life.journal.record([Samples(at=5.0, origin="it", labels=labels, values=(0.0, 1.0, 2.0), own=2)])
    with sqlite3.connect(life.path) as db:
        known = labels_by_id(db)
        for names, own in ((known, 2), ({key: of for key, of in known.items() if of != labels[0]}, 1)):
            (_, _, _, [[fact]]) = list(batches(db, names, 0))[-1]
            assert isinstance(fact, Samples)
            assert (fact.labels, fact.own) == (labels[-1 - own :], own), "one is lost with a damaged file"
    db.close()


async def test_another_boot_rebases_what_was_written_in_the_last(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    await life.journal.record([alert()])
    monkeypatch.setattr(opening, "_boot_id", lambda: "another boot")
    await life.clock.advance(50.0)
    journal = await life.again()
    assert journal.board.alerts["f"].mono == life.clock.now().mono
    rebased = journal.board.alerts["f"].mono
    await life.clock.advance(50.0)
    journal = await life.again()
    assert journal.board.alerts["f"].mono == rebased


# --- publishing --------------------------------------------------------------------------------------------


async def test_a_wake_remembers_what_came_before_the_wait(life: Life) -> None:
    wake = life.journal.wake_on(Trade)
    await life.journal.record([samples(0.0)])
    await life.journal.record([trade("a")])
    async with asyncio.timeout(1):
        await wake.wait()
    waiting = asyncio.create_task(wake.wait())
    await life.journal.record([samples(0.5)])
    assert not waiting.done()
    await life.journal.record([trade("b")])
    async with asyncio.timeout(1):
        await waiting


async def test_a_wake_that_nobody_holds_goes(life: Life) -> None:
    wake = life.journal.wake_on(Trade)
    assert len(life.journal._publication._wakes) == 1
    del wake
    gc.collect()
    assert len(life.journal._publication._wakes) == 0


async def test_one_deaf_listener_keeps_nobody_waiting(life: Life) -> None:
    def deaf(facts: Sequence[Fact]) -> None:
        raise RuntimeError("deaf")

    heard: list[Fact] = []
    unwatch = life.journal.watch(deaf)
    life.journal.watch(heard.extend)
    await life.journal.record([trade("a")])
    assert heard == [trade("a")]
    assert life.meters.get("monitor_listener_failures_total") == 1
    unwatch()
    unwatch()
    await life.journal.record([trade("b")])
    assert life.meters.get("monitor_listener_failures_total") == 1


async def test_concurrent_records_are_published_in_the_order_of_their_folding(life: Life) -> None:
    await asyncio.gather(*(life.journal.record([trade(str(number))]) for number in range(300)))
    assert [fact.id for fact in life.heard if isinstance(fact, Trade)] == [str(number) for number in range(300)]
    assert life.journal.store.commits < 300


# --- the store fails ---------------------------------------------------------------------------------------


async def test_a_full_disk_refuses_events_and_forgets_them(life: Life) -> None:
    await life.journal.record(batch(0))
    before = life.journal.board
    await fill(life)
    accepted = life.journal.seq
    assert "full" in (life.journal.degraded or "")
    assert life.meters.get("monitor_store_degraded") == 1
    assert not life.journal.sound
    await until(lambda: life.journal.board is not before)
    assert life.journal.board.counts == {"trade": accepted}
    with pytest.raises(StoreUnavailable) as refusal:
        await life.journal.record(batch(0))
    assert refusal.value.retry_after > 0
    assert sum(isinstance(fact, Trade) for fact in life.heard) == accepted


async def test_while_the_disk_is_full_alerts_leave_and_are_owed(life: Life) -> None:
    await fill(life)
    accepted = life.journal.seq
    await life.journal.record([samples(2.0, at=life.clock.now().wall)])
    assert life.last_state == "firing"
    await until(lambda: life.journal.board.counts.get("trade", 0) == accepted)
    assert life.journal.board.alerts["f"].state == "firing"
    await life.journal.tick()
    assert life.last_state == "resolved"
    await life.room()
    await life.clock.advance(2.0)
    await until(lambda: life.journal.sound)
    assert life.journal.degraded is None
    assert (await life.journal.record(batch(90_000))).accepted == 200
    journal = await life.again()
    assert journal.board.counts == {"trade": accepted + 200}
    assert journal.board.alerts["f"].state == "resolved"
    assert [fact.state for fact in life.heard if isinstance(fact, AlertChanged)] == ["firing", "resolved"]


async def test_own_facts_on_their_way_are_published_once_when_the_commit_fails(life: Life) -> None:
    await life.full()
    outcomes = await asyncio.gather(
        *(life.journal.record(batch(1000 * n) if n % 2 else [alert(transition=n + 1)]) for n in range(40)),
        return_exceptions=True,
    )
    assert any(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert not any(isinstance(outcome, StoreUnavailable) for outcome in outcomes[::2])
    told = [fact.transition for fact in life.heard if isinstance(fact, AlertChanged)]
    assert told == sorted(told) == [n + 1 for n in range(0, 40, 2)]
    await life.room()
    await life.clock.advance(2.0)
    await until(lambda: life.journal.sound)
    journal = await life.again()
    assert journal.board.alerts["f"].transition == 39


async def test_the_rebuilt_board_lets_the_refused_come_again(life: Life) -> None:
    sent = await fill(life)
    await life.room()
    await life.clock.advance(2.0)
    await until(lambda: life.journal.sound)
    assert await life.journal.record(batch(sent)) == Recorded(200, 0, ())


async def test_a_queue_too_deep_refuses_events_and_not_the_daemons_own(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "QUEUE_BYTES", 10_000)
    first = asyncio.create_task(life.journal.record(batch(0)))
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await life.journal.record(batch(1000))
    await life.journal.record([alert()])
    assert (await first).accepted == 200
    assert life.journal.board.counts == {"trade": 200}
    assert (await life.journal.record(batch(1000))).accepted == 200


async def test_a_commit_that_hangs_holds_up_no_alert(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk neither takes nor refuses: events wait, new ones are refused, the daemon's own facts leave."""
    import threading

    monkeypatch.setattr(journal_module, "STALL_SECONDS", 0.05)
    gate = threading.Event()
    blocked = asyncio.create_task(life.journal.store.write(lambda db: gate.wait(10)))
    event = asyncio.create_task(life.journal.record([trade("a")]))
    try:
        await asyncio.sleep(0)
        await life.journal.record([alert()])
        assert life.heard == [alert()]
        assert "under way" in (life.journal.degraded or "")
        with pytest.raises(StoreUnavailable):
            await life.journal.record([trade("b")])
        assert not event.done()
    finally:
        gate.set()
    await blocked
    assert (await event).accepted == 1
    await life.journal.record([alert(transition=2)])
    assert life.journal.degraded is None
    assert life.heard == [alert(), trade("a"), alert(transition=2)]


async def test_what_is_owed_is_bounded_and_samples_go_first(life: Life) -> None:
    life.journal._mender.owed._bound = 20_000
    await fill(life)
    await life.journal.record([alert()])
    for number in range(400):
        await life.journal.record([samples(0.1, at=life.clock.now().wall + number)])
    assert 0 < life.meters.get("monitor_facts_dropped_total") < 400
    await life.room()
    await life.clock.advance(2.0)
    await until(lambda: life.journal.sound)
    journal = await life.again()
    assert journal.board.alerts["f"].state == "firing"


async def begun(life: Life, count: int = 5 * LARGE) -> tuple[list[Trade], asyncio.Task[Recorded]]:
    """A large batch of which the board has a part."""
    many = batch(0, count)
    large = asyncio.create_task(life.journal.record(many))
    while not life.journal.board.trading.ledgers:
        await asyncio.sleep(0)
    assert not life.journal.board.counts, "others have their turn before its end"
    return many, large


async def test_a_large_batch_is_folded_with_pauses_and_nothing_else_meanwhile(life: Life) -> None:
    """What comes meanwhile is folded behind it, and replay comes to the same."""
    many, large = await begun(life)
    taken = asyncio.create_task(snapshot(life.journal))
    small = asyncio.create_task(life.journal.record([trade("small")]))
    own = asyncio.create_task(life.journal.record([samples(2.0)]))
    ticked = asyncio.create_task(life.journal.tick())
    assert await large == Recorded(5 * LARGE)
    await asyncio.gather(small, own, ticked)
    assert life.heard[: len(many) + 1] == [*many, trade("small")]
    assert [type(fact) for fact in life.heard[len(many) + 1 :]] == [Samples, AlertChanged, AlertChanged]
    assert await taken
    before = life.journal.board.dump()
    life.journal.since_snapshot = 0  # so that the end takes no further one
    journal = await life.again()
    assert journal.board.dump() == before
    assert journal.seq == 5 * LARGE + 4


async def test_a_large_batch_is_recorded_even_if_its_sender_goes_away(life: Life) -> None:
    many, large = await begun(life)
    large.cancel()
    with pytest.raises(asyncio.CancelledError):
        await large
    assert await life.journal.record(many) == Recorded(0, len(many))
    assert life.heard == many


async def test_a_large_batch_that_a_failure_cuts_short_is_refused_and_forgotten(life: Life) -> None:
    many, large = await begun(life)
    life.journal.fail(OSError("the disk"))
    with pytest.raises(StoreUnavailable):
        await large
    await until(lambda: life.journal.sound)
    assert life.journal.board.counts == {}
    assert await life.journal.record(many) == Recorded(len(many))
    journal = await life.again()
    assert journal.board.counts == {"trade": len(many)}
