"""What bots report and what they are answered, against the running daemon."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import resource
import socket
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import Any

import msgspec
import pytest

from tests.acceptance.house import Residence, residence, trade

TOKENS = 'http.tokens = [{ env = "DESK_TOKEN" }]'
NUMBERS = count()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Residence]:
    with residence(tmp_path_factory.mktemp("contract"), "") as house:
        yield house


@pytest.fixture(autouse=True)
async def _unharmed(house: Residence) -> AsyncIterator[None]:
    async with house.unharmed():
        yield


@pytest.fixture
def bot() -> str:
    """A source that no other test speaks for."""
    return f"bot-{next(NUMBERS)}"


def lines(*events: Mapping[str, Any] | bytes) -> bytes:
    return b"\n".join(event if isinstance(event, bytes) else json.dumps(event).encode() for event in events)


async def fills(house: Residence, bot: str) -> float:
    return await house.value(f'sum(trade_fills_total{{source="{bot}"}})') or 0.0


def every_type(bot: str) -> list[dict[str, Any]]:
    """One event of each type, with every field."""
    at = time.time()
    place = {"exchange": "binance", "account": "main", "strategy": "momentum"}
    return [
        trade(source=bot, **place, order_id="o1", fee=0.1, currency="USDT", realized_pnl=1.5,
              execution_seconds=0.2, expected_price=10.5, liquidity="maker", id="1", corrects=None, cancelled=None,
              context={"a": 1, "b": None, "c": "x", "d": True, "e": 0.5}),
        {"type": "order", "at": at, "source": bot, "order_id": "o1", "symbol": "BTC", "side": "sell", "price": 10,
         "status": "partially_filled", **place, "quantity": 2, "filled_quantity": 1, "reason": "",
         "latency_seconds": 0},
        {"type": "position", "at": at, "source": bot, "symbol": "BTC", "quantity": -2.5, "account": "main",
         "exchange": "binance", "entry_price": 10, "mark_price": 11, "unrealized_pnl": -1, "multiplier": 1,
         "sector": "crypto", "currency": "USDT"},
        {"type": "account", "at": at, "source": bot, "equity": 1000, "account": "main", "cash": 900, "margin_used": 10,
         "margin_limit": 100, "currency": "USDT", "external_flow": 0},
        {"type": "request", "at": at, "exchange": "binance", "endpoint": "/order", "latency_seconds": 0.1, "ok": False,
         "source": bot, "status": 503, "error": "busy"},
        {"type": "rate_limit", "at": at, "exchange": "binance", "remaining": 7, "limit": 10, "resets_at": at + 3600,
         "scope": "orders", "source": bot},
        {"type": "connection", "at": at, "exchange": "binance", "state": "degraded", "source": bot, "reason": "slow",
         "channel": "trades"},
        {"type": "market_data", "at": at, "exchange": "binance", "symbol": "BTC", "price": 10, "bid": 9.5, "ask": 10.5,
         "exchange_at": at - 0.1, "channel": "trades"},
        {"type": "decision", "at": at, "source": bot, "action": "buy", "symbol": "BTC", "confidence": 0.5,
         "latency_seconds": 1, "consensus": 0.75, "outcome": "wrong", "failed": False, "error": ""},
        {"type": "prediction", "at": at, "model": bot, "version": "3", "output": "up", "source": bot, "subject": "BTC",
         "features": {"rsi": 30, "side": "buy", "gap": None}, "label": "up", "probability": 0.9, "confidence": 0.8,
         "horizon_seconds": 60},
        {"type": "outcome", "at": at, "actual": 1, "prediction_id": "p1", "version": "3"},
        {"type": "heartbeat", "at": at, "source": bot, "interval_seconds": 3600, "state": "warming_up",
         "context": {"pid": 7}},
        {"type": "sample", "at": at, "name": "edge_ratio", "value": -1.5, "labels": {"desk": bot}, "kind": "gauge",
         "help": "Edge.", "unit": "ratio"},
        {"type": "http_request", "at": at, "endpoint": "/status", "method": "GET", "status": 404,
         "duration_seconds": 0.01, "source": bot},
    ]  # fmt: skip


FED = {
    'trade_fills_total{{source="{bot}",side="buy"}}': 1,
    'orders_total{{source="{bot}",status="partially_filled"}}': 1,
    'position_reported_quantity{{source="{bot}"}}': -2.5,
    'account_equity{{source="{bot}"}}': 1000,
    'exchange_requests_total{{exchange="binance",endpoint="/order",outcome="error"}}': 1,
    'exchange_rate_limit_remaining{{exchange="binance"}}': 7,
    'exchange_connected{{source="{bot}"}}': 0.5,
    "market_data_price": 10,
    'agent_outcomes_total{{source="{bot}",outcome="wrong"}}': 1,
    'model_predictions_total{{model="{bot}",version="3"}}': 1,
    "sum(model_outcomes_total)": 1,
    'heartbeat_state{{source="{bot}",state="warming_up"}}': 1,
    'edge_ratio{{desk="{bot}"}}': -1.5,
    'http_requests_total{{source="{bot}",status="404"}}': 1,
}


async def test_every_type_with_every_field_is_taken_and_feeds_what_it_should(house: Residence, bot: str) -> None:
    answer = await house.post(lines(*every_type(bot)))
    assert (answer.status, answer.body) == (202, {"accepted": 14, "duplicates": 0})
    assert {expr: await house.value(expr.format(bot=bot)) for expr in FED} == FED


async def test_messagepack_is_the_same_alone_in_a_row_and_in_an_array(house: Residence, bot: str) -> None:
    encode = msgspec.msgpack.encode
    for number, body in (
        (1, encode(trade(source=bot))),
        (14, b"".join(map(encode, every_type(bot)))),
        (3, encode([trade(source=bot)] * 3)),
    ):
        answer = await house.post(body, "application/msgpack")
        assert (answer.status, answer.body) == (202, {"accepted": number, "duplicates": 0})
    bad = encode([trade(source=bot), trade(source=bot, price=float("nan")), trade(source=bot)])
    answer = await house.post(bad, "application/msgpack")
    assert (answer.status, answer.body["accepted"], answer.errors()) == (400, 2, [(2, "$.price")])
    assert await fills(house, bot) == 7


async def test_json_is_one_object_or_an_array_and_ndjson_a_line_each(house: Residence, bot: str) -> None:
    event = json.dumps(trade(source=bot)).encode()
    for number, body, kind in (
        (1, event, "application/json"),
        (2, b"[" + event + b",\n" + event + b"]", "application/json; charset=utf-8"),
        (2, b"\n" + event + b"\r\n\n" + event, "application/x-ndjson"),
        (0, b"", "application/x-ndjson"),
    ):
        assert (await house.post(body, kind))[:2] == (202, {"accepted": number, "duplicates": 0})
    assert await fills(house, bot) == 5


async def test_an_event_is_dated_by_unix_seconds_or_rfc_3339(house: Residence, bot: str) -> None:
    now = datetime.now(UTC)
    east = now.astimezone(timezone(timedelta(hours=8)))
    for at in (now.timestamp(), int(now.timestamp()), now.isoformat(), now.isoformat()[:-6] + "Z", east.isoformat()):
        assert (await house.post(lines(trade(source=bot, at=at)))).status == 202, at
    answer = await house.post(lines(trade(source=bot, at=now.replace(tzinfo=None).isoformat())))
    assert (answer.status, answer.errors()) == (400, [(1, "$.at")])
    assert "offset" in answer.body["errors"][0]["error"]


async def test_the_good_lines_are_committed_and_the_bad_ones_named(house: Residence, bot: str) -> None:
    good = trade(source=bot)
    bad = json.dumps(good).replace('"price": 10', '"price": NaN').encode()
    answer = await house.post(lines(good, b"", bad, good))
    assert answer.status == 400
    assert answer.body["errors"] == [{"line": 3, "path": "$.price", "error": "expected a finite number, got NaN"}]
    assert answer.body["accepted"] == 2
    assert await fills(house, bot) == 2


async def test_at_most_a_hundred_errors_are_listed(house: Residence, bot: str) -> None:
    answer = await house.post(lines(*[trade(source=bot, price=None)] * 150, trade(source=bot)))
    assert (answer.status, len(answer.body["errors"]), answer.body["accepted"]) == (400, 100, 1)


async def test_unknown_fields_are_refused_except_in_labels_and_context(house: Residence, bot: str) -> None:
    good = trade(source=bot, context={"anything": "goes"})
    sample = {"type": "sample", "at": time.time(), "name": "x", "value": 1, "labels": {"any": "thing"}}
    answer = await house.post(lines(good, sample, trade(source=bot, prcie=3), sample | {"lables": {}}))
    assert (answer.status, answer.body["accepted"]) == (400, 2)
    assert answer.errors() == [(3, "$.prcie"), (4, "$.lables")]
    assert "did you mean price?" in answer.body["errors"][0]["error"]


async def test_the_first_of_an_id_stands_and_another_body_is_a_conflict(house: Residence, bot: str) -> None:
    event = trade(source=bot, id="7")
    assert (await house.post(lines(event, event))).body == {"accepted": 1, "duplicates": 1}
    again = event | {"at": time.time(), "context": {"attempt": 2}}
    assert (await house.post(lines(again)))[:2] == (202, {"accepted": 0, "duplicates": 1})
    answer = await house.post(lines(trade(source=bot), event | {"price": 11}))
    assert (answer.status, answer.body["accepted"], answer.errors()) == (409, 1, [(2, "$.id")])
    assert (await house.post(lines(event | {"source": bot + "-other"}))).status == 202, "an id is its source's"
    both = await house.post(lines(event | {"price": 12}, trade(source=bot, price=None), trade(source=bot)))
    assert (both.status, both.body["accepted"], both.errors()) == (400, 1, [(1, "$.id"), (2, "$.price")])
    assert await fills(house, bot) == 3


async def test_a_trade_is_corrected_and_cancelled_and_history_says_so(house: Residence, bot: str) -> None:
    first, second = trade(source=bot, id="1"), trade(source=bot, id="2")
    assert (await house.post(lines(first, second))).status == 202
    corrected = trade(source=bot, id="3", corrects="1") | {"quantity": 5 * first["quantity"]}
    cancelled = trade(source=bot, id="4", corrects="2", cancelled=True)
    assert (await house.post(lines(corrected, cancelled))).body == {"accepted": 2, "duplicates": 0}
    assert await house.value(f'position_quantity{{source="{bot}"}}') == 5 * first["quantity"]
    for reason in ("corrected", "cancelled"):
        assert await house.value(f'sum(pnl_history_changes_total{{source="{bot}",reason="{reason}"}})') == 1
    answer = await house.post(lines(trade(source=bot, cancelled=True)))
    assert (answer.status, answer.errors()) == (400, [(1, "$.corrects")])


async def test_time_has_bounds(house: Residence, bot: str) -> None:
    now = time.time()
    answer = await house.post(
        lines(*(trade(source=bot, at=at) for at in (now + 30, now + 90, now - 80 * 86_400, now - 100 * 86_400)))
    )
    assert (answer.body["accepted"], answer.errors()) == (2, [(2, "$.at"), (4, "$.at")])
    assert [error["error"] for error in answer.body["errors"]] == [
        "is 90 s in the future: at most 60 s is accepted",
        "is 100 days old: older than the retention of 90 days",
    ]


async def test_what_is_too_large_is_refused_whole(house: Residence, bot: str) -> None:
    good = json.dumps(trade(source=bot)).encode() + b"\n"
    for body in (good + b" " * (8 << 20), good * 10_001):
        answer = await house.post(body)
        assert answer.status == 413
        assert "at once" in answer.body["hint"]
    assert await fills(house, bot) == 0
    assert (await house.post(good + b"\n" * (8 << 10))).status == 202


async def test_other_content_types_are_refused(house: Residence, bot: str) -> None:
    body = lines(trade(source=bot))
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense", ""):
        answer = await house.post(body, kind)
        assert answer.status == 415, kind
        assert "application/x-ndjson" in answer.body["hint"]
    answer = await house.post(body, Content_Encoding="br")
    assert (answer.status, answer.body["hint"]) == (415, "use gzip or deflate, or none")
    for encoding, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
        assert (await house.post(packed, Content_Encoding=encoding)).status == 202
    assert await fills(house, bot) == 2


async def test_without_the_right_nothing_is_taken(
    house: Residence, bot: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = await house.post(lines(trade(source=bot)), Origin="https://evil.example")
    assert (foreign.status, "origin" in foreign.body["error"]) == (403, True)
    assert await fills(house, bot) == 0
    monkeypatch.setenv("DESK_TOKEN", "long-enough-to-be-a-token")
    with residence(tmp_path, TOKENS) as guarded:
        body = lines(trade(source=bot))
        for header in ({}, {"Authorization": "Bearer no"}, {"Authorization": "Basic long-enough-to-be-a-token"}):
            answer = await guarded.post(body, **header)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        right = {"Authorization": "Bearer long-enough-to-be-a-token"}
        assert (await guarded.post(body, **right)).status == 202
        strange = guarded.raw(
            b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer \xff\xfe\r\n\r\n"
        )
        assert strange.split()[1] in (b"400", b"401")
        feed = guarded.raw(upgrade(b"Authorization: Bearer \xff\xfe\r\n"), port=guarded.live)
        assert feed.split()[1] in (b"400", b"401")
        assert [r for r in guarded.records() if r["level"] in ("error", "critical")] == []


def upgrade(more: bytes = b"") -> bytes:
    return (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n" + more + b"\r\n"
    )


async def test_too_many_bodies_at_once_are_asked_to_come_again(house: Residence, bot: str) -> None:
    head = b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n"
    size = 15 << 19
    async with AsyncExitStack() as crowd:

        async def withhold_the_last_byte() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", house.http)
            crowd.callback(writer.close)
            writer.write(head + b"Content-Length: %d\r\n\r\n" % (size + 1) + b" " * size)
            return await reader.readuntil(b"\r\n\r\n")

        waiting = [asyncio.create_task(withhold_the_last_byte()) for _ in range(9)]
        answered, rest = await asyncio.wait(waiting, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert [answer.result().split()[1] for answer in answered] == [b"429"]
        assert all(b"Retry-After: 1\r\n" in answer.result() for answer in answered)
        assert (await house.post(lines(trade(source=bot)))).status == 202, "small ones have room"
        for one in rest:
            one.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
    assert await fills(house, bot) == 1


async def test_while_the_store_fails_nothing_is_promised(house: Residence, bot: str, tmp_path: Any) -> None:
    with residence(tmp_path, "") as poor:
        limit = poor.log.stat().st_size + (1 << 20)
        _, hard = resource.prlimit(poor.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(poor.pid, resource.RLIMIT_FSIZE, (limit, hard))
        promised = 0
        batch = [trade(source=bot, context={"noise": os.urandom(400).hex()}) for _ in range(200)]
        for _ in range(50):
            answer = await poor.post(lines(*batch))
            if answer.status != 202:
                break
            promised += len(batch)
        assert (answer.status, int(answer.headers["Retry-After"]) >= 1) == (503, True)
        resource.prlimit(poor.pid, resource.RLIMIT_FSIZE, (hard, hard))
        async with asyncio.timeout(15):
            while (await poor.post(lines(trade(source=bot, id="last")))).status != 202:
                await asyncio.sleep(0.1)
        assert await fills(poor, bot) == promised + 1


class Line:
    """A connection to the Unix socket."""

    def __init__(self, house: Residence) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(str(house.socket))
        self.file = self.sock.makefile("rb")

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.sock.close()

    async def say(self, *parts: bytes) -> None:
        await asyncio.to_thread(self.sock.sendall, b"".join(part + b"\n" for part in parts))

    async def hear(self) -> dict[str, Any]:
        return json.loads(await asyncio.to_thread(self.file.readline) or b"{}")  # type: ignore[no-any-return]

    async def through(self, number: int) -> list[dict[str, Any]]:
        answers = [await self.hear()]
        while answers[-1]["through"] < number:
            answers.append(await self.hear())
        return answers


async def test_the_unix_socket_answers_a_line_per_batch(house: Residence, bot: str) -> None:
    assert house.socket.stat().st_mode & 0o777 == 0o600
    event = json.dumps(trade(source=bot, id="a")).encode()
    with Line(house) as line:
        await line.say(event)
        assert await line.hear() == {"status": 202, "accepted": 1, "duplicates": 0, "through": 1}
        bad = event.replace(b'"price": 10', b'"price": 1e999')
        await line.say(event, b"", bad, event.replace(b"10", b"11"), json.dumps(trade(source=bot)).encode())
        answers = await line.through(6)
        assert sum(answer["accepted"] for answer in answers) == 1
        assert sum(answer["duplicates"] for answer in answers) == 1
        errors = [(error["line"], error["path"]) for answer in answers for error in answer.get("errors", [])]
        assert errors == [(4, "$.price"), (5, "$.id")]
        await line.say(json.dumps(trade(source="x" * 100_000)).encode(), json.dumps(trade(source=bot)).encode())
        answers = await line.through(8)
        assert sum(answer["accepted"] for answer in answers) == 1
        assert [error["path"] for answer in answers for error in answer.get("errors", [])] == ["$"]
        await asyncio.to_thread(line.sock.sendall, b'{"type": "trade", "source": "' + b"x" * 100_000)
        answer = await line.hear()
        assert (answer["status"], answer["through"]) == (413, 9)
        assert await line.hear() == {}, "it is closed"
    assert await fills(house, bot) == 3


async def test_an_error_is_json_with_a_hint_wherever_one_asks(house: Residence) -> None:
    answer = await house.ask("/v1/event")
    assert (answer.status, answer.body["hint"]) == (404, "did you mean /v1/events?")
    answer = await house.ask("/v1/events")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    answer = await house.post(b"{}", "application/json", Host="evil.example")
    assert answer.status == 421
