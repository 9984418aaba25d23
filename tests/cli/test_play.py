"""Playing a recording: the adapter's figures, the pace, and what happens when the daemon is busy, away or refuses."""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import json
import os
import re
import signal
import struct
import sys
import termios
import time
from pathlib import Path
from typing import Any, Union

import msgspec
import pytest
from aiohttp import web

from tests.cli.stage import command, daemon
from tests.parts import until
from trader_monitor.cli.demo import RECORDING
from trader_monitor.cli.nautilus import NautilusError, NautilusTape
from trader_monitor.cli.outcome import Failure
from trader_monitor.cli.tape import Recorded, Tape, stamped
from trader_monitor.core.facts import EVENT_TYPES


def test_every_event_of_the_recording_is_one_that_the_daemon_knows() -> None:
    decoder = msgspec.json.Decoder(Union[EVENT_TYPES])  # noqa: UP007
    distinct: dict[tuple[str, str], Any] = {}
    kinds: dict[str, int] = {}
    for recorded in Tape(RECORDING):
        event = decoder.decode(json.dumps(stamped(recorded, 1.0)).encode())
        body = msgspec.structs.replace(event, context=None)
        key = (event.source, event.id)
        assert distinct.setdefault(key, body) == body, "an id stands for one body, however often it comes"
    for event in distinct.values():
        kinds[type(event).__name__] = kinds.get(type(event).__name__, 0) + 1
    assert kinds == {"Trade": 162, "Order": 324, "Account": 162, "Position": 162, "Heartbeat": 3}
    assert {event.source for event in distinct.values()} == {"EQTRADER-001"}
    fills = [event for event in distinct.values() if type(event).__name__ == "Trade"]
    assert {(f.exchange, f.symbol, f.account, f.currency, f.strategy) for f in fills} == {
        ("XNAS", "GOOG", "XNAS-001", "USD", "EMACross-000")
    }
    assert all(fill.realized_pnl is None and fill.fee == 0.0 for fill in fills)
    cash = sum((f.price if f.side == "sell" else -f.price) * f.quantity for f in fills)
    assert cash == pytest.approx(74_358.00)
    equity = [event.equity for event in distinct.values() if type(event).__name__ == "Account"]
    assert (equity[0], equity[-1]) == (100_000.0, 174_358.0)


def message(**fields: Any) -> dict[str, Any]:
    return {
        "type": "OrderFilled",
        "trader_id": "T-1",
        "strategy_id": "S",
        "instrument_id": "BTC/USDT.BINANCE",
        "client_order_id": "O-1",
        "account_id": "A",
        "trade_id": "x",
        "position_id": "p",
        "order_side": "BUY",
        "last_qty": "2",
        "last_px": "10.5",
        "currency": "USDT",
        "commission": "0.02 USDT",
        "liquidity_side": "MAKER",
        "event_id": "e1",
        "ts_event": 1_500_000_000_000_000_000,
        **fields,
    }


def events(tape: NautilusTape, **fields: Any) -> list[dict[str, Any]]:
    return [event for _, event in tape.events(message(**fields))]


def test_a_fill_is_a_trade_and_a_status_of_its_order() -> None:
    tape = NautilusTape()
    assert events(tape, type="OrderInitialized", quantity="5") == []
    trade, order = events(tape)
    assert trade == {
        "type": "trade",
        "id": "e1",
        "source": "T-1",
        "strategy": "S",
        "account": "A",
        "exchange": "BINANCE",
        "symbol": "BTC/USDT",
        "side": "buy",
        "quantity": 2.0,
        "price": 10.5,
        "fee": 0.02,
        "currency": "USDT",
        "order_id": "O-1",
        "liquidity": "maker",
        "context": {"trade_id": "x", "position_id": "p", "commission": "0.02 USDT"},
    }
    assert (order["id"], order["status"], order["filled_quantity"]) == ("e1:order", "partially_filled", 2.0)
    assert events(tape) == [trade, order], "the second arrival says the same as the first"
    _, last = events(tape, event_id="e2", last_qty="3")
    assert (last["status"], last["filled_quantity"], last["quantity"]) == ("filled", 5.0, 5.0)


STATUSES = [
    ("OrderSubmitted", "submitted"),
    ("OrderAccepted", "accepted"),
    ("OrderCanceled", "cancelled"),
    ("OrderExpired", "expired"),
    ("OrderRejected", "rejected"),
    ("OrderDenied", "rejected"),
]


@pytest.mark.parametrize(("kind", "status"), STATUSES)
def test_what_becomes_of_an_order_is_said_with_its_side(kind: str, status: str) -> None:
    tape = NautilusTape()
    assert events(tape, type=kind) == [], "an order that was never seen has no side to tell"
    events(tape, type="OrderInitialized", quantity="5", order_side="SELL")
    (order,) = events(tape, type=kind, reason="why")
    assert (order["status"], order["side"], order["reason"], order["quantity"]) == (status, "sell", "why", 5.0)
    assert tape.skipped == {kind: 1, "OrderInitialized": 1}


def test_an_account_belongs_to_the_trader_whose_orders_it_took() -> None:
    tape = NautilusTape()
    events(tape, type="OrderSubmitted", account_id="B", trader_id="T-2")
    usd = {"currency": "USD", "total": "10.00", "free": "9.00", "locked": "1.00"}
    (account,) = events(tape, type="AccountState", account_id="B", trader_id=None, balances=[usd])
    assert (account["source"], account["equity"], account["cash"], account["margin_used"]) == ("T-2", 10.0, 9.0, 1.0)
    both = events(tape, type="AccountState", account_id="B", trader_id=None, balances=[usd, {**usd, "currency": "EUR"}])
    assert [event["id"] for event in both] == ["e1:USD", "e1:EUR"]


def test_a_fee_in_another_currency_is_kept_to_be_seen_and_not_summed() -> None:
    trade, _ = events(NautilusTape(), commission="0.001 BNB")
    assert "fee" not in trade
    assert trade["context"]["commission"] == "0.001 BNB"


def test_a_position_keeps_what_the_program_itself_says_of_its_profit() -> None:
    (position,) = events(
        NautilusTape(),
        type="PositionChanged",
        signed_qty=-3.0,
        avg_px_open=9.0,
        realized_pnl="-1.50 USD",
        unrealized_pnl="2.00 USD",
    )
    assert (position["quantity"], position["unrealized_pnl"]) == (-3.0, 2.0)
    assert position["context"]["reported_realized_pnl"] == -1.5


BROKEN = [
    ("money without a currency", {"commission": "5"}),
    ("a side that is none", {"order_side": "NO_ORDER_SIDE"}),
    ("an instrument without a venue", {"instrument_id": "BTC"}),
    ("a quantity that is no number", {"last_qty": "many"}),
    ("no time at all", {"ts_event": None}),
]


@pytest.mark.parametrize("fields", [case[1] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_message_is_refused_by_its_type(fields: dict[str, Any]) -> None:
    with pytest.raises(NautilusError):
        events(NautilusTape(), **fields)


LINES = [
    ("a line that is no JSON", '{"type":"heartbeat","at":1}\nno\n', "line 2: is not JSON"),
    ("a line that is no object", "3\n", "line 1: is not a JSON object"),
    ("nesting without end", '{"a":' + "[" * 100_000 + "\n", "line 1: is not JSON"),
    ("an event without a time", '{"type":"heartbeat"}\n', "line 1: has no time"),
    ("an event at no time", '{"type":"heartbeat","at":"soon"}\n', "line 1: has no time"),
    ("a line of more than a mebibyte", "x" * (1 << 20) + "y\n", "line 1: is longer than 1 MiB"),
]


@pytest.mark.parametrize(("text", "said"), [case[1:] for case in LINES], ids=[case[0] for case in LINES])
def test_a_broken_recording_is_known_before_anything_is_sent(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(text)
    with pytest.raises(Failure, match=said):
        Tape(file, "events").length()


def test_a_gzip_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl.gz"
    file.write_bytes(RECORDING.read_bytes()[:5000])
    with pytest.raises(Failure, match="cannot read"):
        Tape(file, "nautilus").length()


def test_our_own_events_get_ids_of_their_content_and_keep_their_own(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    beat = {"type": "heartbeat", "at": 1, "source": "a"}
    lines = [beat, beat, {**beat, "at": "2026-11-20T08:30:00Z"}, {**beat, "id": "mine", "context": {"k": "v"}}]
    file.write_text("\n".join(map(json.dumps, lines)))
    first, second, third, fourth = Tape(file)
    assert len({r.event["id"] for r in (first, second, third)}) == 3
    assert [r.event["id"] for r in Tape(file)] == [r.event["id"] for r in (first, second, third, fourth)]
    assert (third.at, fourth.event["id"]) == (1795163400.0, "mine")
    sent = stamped(fourth, 5.0)
    assert (sent["at"], sent["context"]) == (5.0, {"k": "v", "recorded_at": "1970-01-01T00:00:01Z"})
    assert stamped(Recorded(1, 1e300, {}), 5.0)["context"] == {"recorded_at": "1e+300"}


def beats(file: Path, count: int, *, gap: float = 0.0) -> Path:
    text = "".join(json.dumps({"type": "heartbeat", "at": 100 + i * gap, "source": "a"}) + "\n" for i in range(count))
    file.write_text(text)
    return file


async def test_the_recording_is_played_whole_and_a_second_play_is_harmless() -> None:
    async with daemon() as house:
        began = time.time()
        told = await command("play", str(RECORDING), "--speed", "max", "--json", "--url", house.url)
        assert told.code == 0
        assert (told.json["sent"], told.json["accepted"], told.json["duplicates"]) == (1137, 813, 324)
        assert told.json["skipped"] == {"ComponentStateChanged": 39, "OrderInitialized": 162}
        assert sum(event["type"] == "trade" for event in house.order) == 162
        assert all(began <= event["at"] <= time.time() for event in house.order)
        fill = next(event for event in house.order if event["type"] == "trade")
        assert fill["context"]["recorded_at"] == "2004-09-16T00:00:00Z"
        assert len(house.batches) == 3
        told = await command("play", str(RECORDING), "--speed", "max", "--url", house.url)
        assert told.code == 0
        assert "0 accepted, 1,137 duplicates, 0 refused" in told.out
        assert "100% 1,137/1,137" in told.err
        assert "\r" not in told.err


async def test_the_pace_is_the_recordings_own_divided_by_the_speed(tmp_path: Path) -> None:
    file = beats(tmp_path / "r.jsonl", 4, gap=20.0)
    async with daemon() as house:
        told = await command("play", str(file), "--speed", "100", "--url", house.url)
        assert told.code == 0
        assert "100× takes 600 ms" in told.out or "100× takes 0.6 s" in told.out
        assert house.batches == [1, 1, 1, 1]
        assert house.arrived[-1] - house.arrived[0] == pytest.approx(0.6, abs=0.25)
        told = await command("play", str(file), "--longest-pause", "100ms", "--skip", "1", "--url", house.url)
        assert house.batches[4:] == [1, 1, 1]
        assert house.arrived[-1] - house.arrived[4] == pytest.approx(0.2, abs=0.15)


async def test_a_busy_daemon_is_asked_again_when_it_said(tmp_path: Path) -> None:
    file = beats(tmp_path / "r.jsonl", 3)
    async with daemon() as house:
        house.moods = [
            web.json_response({"error": "slow down"}, status=429, headers={"Retry-After": "0.3"}),
            web.json_response({"error": "degraded"}, status=503),
            None,
        ]
        began = time.monotonic()
        told = await command("play", str(file), "--speed", "max", "--url", house.url)
        assert told.code == 0
        assert time.monotonic() - began > 0.5
        assert "busy (429); trying again in 0.3 s" in told.err
        assert "3 accepted, 0 duplicates" in told.out


async def test_a_daemon_that_stays_busy_is_given_up_when_patience_ends(tmp_path: Path) -> None:
    file = beats(tmp_path / "r.jsonl", 3)
    async with daemon() as house:
        house.moods = [web.json_response({"error": "degraded"}, status=503) for _ in range(50)]
        told = await command("play", str(file), "--patience", "500ms", "--url", house.url)
        assert told.code == 4
        assert "cannot at the moment: degraded" in told.err


async def test_a_daemon_that_is_killed_and_comes_back_gets_everything_once(tmp_path: Path) -> None:
    file = beats(tmp_path / "r.jsonl", 40, gap=5.0)
    async with daemon() as before:
        port = int(before.url.rpartition(":")[2])
        playing = asyncio.create_task(command("play", str(file), "--speed", "100", "--json", "--url", before.url))
        await until(lambda: len(before.order) >= 5)
    async with daemon(port) as after:
        after.events, after.order = before.events, before.order
        told = await playing
    assert told.code == 0
    assert (told.json["sent"], told.json["accepted"], told.json["refused"]) == (40, 40, 0)


async def test_what_the_daemon_refuses_is_named_by_its_line_and_the_rest_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    trade = {"type": "trade", "at": 1, "source": "a", "symbol": "S", "side": "buy", "quantity": 1, "price": 1}
    file.write_text("\n".join(json.dumps(t) for t in [trade, {**trade, "price": -1}, {**trade, "at": 2}]))
    async with daemon() as house:
        told = await command("play", str(file), "--speed", "max", "--url", house.url)
    assert told.code == 1
    assert "2 accepted, 0 duplicates, 1 refused" in told.out
    assert "refused: line 2: $.price expected more than 0" in told.out


async def test_an_interrupt_says_how_to_go_on(tmp_path: Path) -> None:
    file = beats(tmp_path / "r.jsonl", 100, gap=10.0)
    async with daemon() as house:
        words = ["-m", "trader_monitor", "play", str(file), "--speed", "100", "--url", house.url]
        process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
        await until(lambda: len(house.order) >= 2)
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
        assert process.returncode == 130
        line = int(out.decode().partition("--skip ")[2].split(",")[0])
        # The last one may have come without its answer: to send it again is harmless.
        assert len(house.order) - 1 <= line <= len(house.order)


async def test_a_plain_file_and_a_packed_one_play_the_same(tmp_path: Path) -> None:
    plain, packed = beats(tmp_path / "a", 2), tmp_path / "b"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    async with daemon() as house:
        for file in (plain, packed):
            assert (await command("play", str(file), "--speed", "max", "--url", house.url)).code == 0
        assert len(house.order) == 2


async def test_a_terminal_gets_a_bar_and_no_line_longer_than_it_is_wide() -> None:
    async with daemon() as house:
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        words = ["-m", "trader_monitor", "play", str(RECORDING), "--speed", "max", "--url", house.url]
        process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=theirs, stderr=theirs)
        os.close(theirs)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
        text = os.read(ours, 1 << 16).decode()
        os.close(ours)
    bars = [part for part in re.split("[\r\n]+", text) if "█" in part]
    assert "█" * 10 in bars[-1]
    assert "100%" in bars[-1]
    assert all(len(bar) < 60 for bar in bars)
