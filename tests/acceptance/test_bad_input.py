"""Bad input through the running daemon's real doors: refused with its place, nothing good lost, nobody disturbed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.acceptance.house import Residence, firing, residence, sink, trade
from tests.acceptance.test_contract import fills, lines, upgrade

NUMBERS = count()
HEAD = b"Host: 127.0.0.1\r\nConnection: close\r\n"
POST = b"POST /v1/events HTTP/1.1\r\nContent-Type: application/x-ndjson\r\n" + HEAD
TRICKLE = 600
"""Connections that send a byte now and then: more than the daemon keeps."""

CONFIG = """
[rules.evil]
expr = "evil_ratio > 0"
severity = "critical"
labels = { desk = "night" }
summary = "{labels.who} at {labels.place}: {value:.1%}"
[channels.log]
type = "log"
[channels.console]
type = "console"
colour = "never"
[channels.hook]
type = "webhook"
"""


class Trickle(threading.Thread):
    """Slowloris: connections that send a byte of a head now and then, and remember when they were cut off."""

    def __init__(self, *ports: int) -> None:
        super().__init__(daemon=True)
        self.began = time.monotonic()
        self.ended = threading.Event()
        self.lived: list[float] = []
        self.open: dict[socket.socket, int] = {}
        for port in ports:
            for _ in range(TRICKLE):
                sock = socket.create_connection(("127.0.0.1", port), 5)
                sock.setblocking(False)
                sock.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
                self.open[sock] = port

    def run(self) -> None:
        while self.open and not self.ended.wait(0.5):
            for sock in list(self.open):
                try:
                    sock.send(b"x")
                    if sock.recv(1024) == b"":
                        raise ConnectionError
                except BlockingIOError:
                    continue
                except OSError:
                    del self.open[sock]
                    sock.close()
                    self.lived.append(time.monotonic() - self.began)
        for sock in self.open:
            sock.close()


@pytest.fixture(scope="module")
def trickles() -> list[Trickle]:
    return []


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, trickles: list[Trickle]) -> Iterator[Residence]:
    """One daemon for nearly all cases; a slowloris is under way all the while."""
    with residence(tmp_path_factory.mktemp("bad"), CONFIG.partition("[channels.hook]")[0]) as house:
        trickles.append(Trickle(house.http, house.live))
        trickles[0].start()
        yield house
        trickles[0].ended.set()
        trickles[0].join()


@pytest.fixture(autouse=True)
async def _unharmed(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Holds for the shared daemon in each test that uses it; one with a daemon of its own sees to that."""
    if "house" not in request.fixturenames:
        yield
        return
    async with request.getfixturevalue("house").unharmed():
        yield


@pytest.fixture
def bot() -> str:
    return f"bad-{next(NUMBERS)}"


# --- events ------------------------------------------------------------------------------------------------


def instead(field: str, raw: str, **fields: Any) -> str:
    """A trade with one field's value written as it stands here."""
    return json.dumps(trade(**fields) | {field: "@@"}).replace('"@@"', raw)


def sample(**fields: Any) -> str:
    return json.dumps({"type": "sample", "at": time.time(), "name": "x", "value": 1} | fields)


DEEP = 200_000
FINITE = "expected a finite number, got "
METRIC = "expected a metric name"
LABEL = "expected label names"

EVENTS: list[tuple[str, str | bytes, str, str]] = [
    ("NaN.", instead("price", "NaN"), "$.price", FINITE + "NaN"),
    ("Infinity.", instead("quantity", "Infinity"), "$.quantity", FINITE + "Infinity"),
    ("Minus infinity.", instead("fee", "-Infinity"), "$.fee", FINITE + "-Infinity"),
    ("1e999.", instead("price", "1e999"), "$.price", FINITE + "1e999"),
    ("-1e999.", instead("realized_pnl", "-1e999"), "$.realized_pnl", FINITE + "-1e999"),
    ("Ten thousand digits.", instead("price", "9" * 10_000), "$.price", FINITE),
    ("Four hundred digits.", instead("price", "9" * 400), "$.price", FINITE),
    ("A number as text.", instead("price", '"1e5"'), "$.price", FINITE + "the text '1e5'"),
    ("true for a number.", instead("quantity", "true"), "$.quantity", FINITE + "true"),
    ("null for what is required.", instead("price", "null"), "$.price", FINITE + "null"),
    ("An array for a number.", instead("price", "[1]"), "$.price", FINITE + "an array"),
    ("A turnover beyond all numbers.", instead("price", "1e308", quantity=1e10), "$.quantity", "not a finite number"),
    ("NaN in the context.", instead("context", '{"a":NaN}'), "$.context.a", FINITE + "NaN"),
    ("An object in the context.", instead("context", '{"a":{}}'), "$.context.a", "got an object"),
    ("A key twice.", instead("price", '1,"price":2'), "$.price", "the key comes twice"),
    ("The type twice.", instead("price", '1,"type":"order"'), "$.type", "the key comes twice"),
    ("A key twice by an escape.", instead("price", '1,"pric\\u0065":2'), "$.price", "the key comes twice"),
    ("A label twice.", sample(labels="@@").replace('"@@"', '{"a":"1","a":"2"}'), "$.labels.a", "comes twice"),
    ("200,000 arrays.", "[" * DEEP, "$", "at most 64 KiB"),
    ("200,000 objects.", '{"a":' * DEEP, "$", "at most 64 KiB"),
    ("30,000 arrays in a field.", instead("price", "[" * 30_000 + "]" * 30_000), "$", "nested more than 8 deep"),
    ("10,000 objects, open.", '{"a":' * 10_000, "$", "nested more than 8 deep"),
    ("Half a surrogate pair.", instead("symbol", '"\\ud800"'), "$.symbol", "half of a surrogate pair"),
    ("Half a pair in a key.", instead("context", '{"\\udfff":1}'), "$.context", "half of a surrogate pair"),
    ("A surrogate in UTF-8.", b'{"type":"trade","symbol":"\xed\xa0\x80"}', "$", "expected UTF-8"),
    ("No UTF-8 at all.", b"\xff\xfe\x00", "$", "expected UTF-8, got the byte 0xff at 1"),
    ("A text of 1 MB.", instead("symbol", '"' + "x" * 1_000_000 + '"'), "$", "at most 64 KiB"),
    ("A name of 600 characters.", instead("symbol", '"' + "x" * 600 + '"'), "$.symbol", "1 to 512 characters"),
    ("An empty name.", instead("source", '""'), "$.source", "1 to 512 characters"),
    ("1970.", instead("at", "0"), "$.at", "older than the retention"),
    ("Before 1970.", instead("at", "-1"), "$.at", "older than the retention"),
    ("1970 as text.", instead("at", '"1970-01-01T00:00:00Z"'), "$.at", "older than the retention"),
    ("The year 9999.", instead("at", "253402300799"), "$.at", "in the future"),
    ("The year 9999 as text.", instead("at", '"9999-12-31T23:59:59.999+00:00"'), "$.at", "in the future"),
    ("The year 9999, west.", instead("at", '"9999-12-31T23:59:59-23:59"'), "$.at", "in the future"),
    ("The year 0.", instead("at", '"0000-01-01T00:00:00Z"'), "$.at", "RFC 3339"),
    ("Nanoseconds.", instead("at", str(time.time_ns())), "$.at", "looks like nanoseconds"),
    ("Microseconds.", instead("at", str(time.time_ns() // 1000)), "$.at", "looks like microseconds"),
    ("Milliseconds.", instead("at", str(time.time_ns() // 1_000_000)), "$.at", "looks like milliseconds"),
    ("In two days.", instead("at", str(time.time() + 2.1 * 86400)), "$.at", "2 days in the future"),
    ("NaN for a time.", instead("at", "NaN"), "$.at", FINITE + "NaN"),
    ("1e308 for a time.", instead("at", "1e308"), "$.at", "in the future"),
    ("No time.", '{"type":"heartbeat","source":"a"}', "$.at", "it is missing"),
    ("No type.", '{"at":1}', "$.type", "expected one of trade"),
    ("An unknown type.", '{"type":"trad","at":1}', "$.type", "did you mean trade?"),
    ("An own fact.", '{"type":"alert_changed","at":1}', "$.type", "expected one of trade"),
    ("No object.", "42", "$", "expected an object"),
    ("Cut in the middle.", instead("price", "1")[:40], "$", "expected JSON"),
    ("A dash in a metric.", sample(name="a-b"), "$.name", METRIC),
    ("A digit before a metric.", sample(name="9a"), "$.name", METRIC),
    ("No metric's name.", sample(name=""), "$.name", METRIC),
    ("A line end after a metric.", sample(name="up\n"), "$.name", METRIC),
    ("A metric in Chinese.", sample(name="价格"), "$.name", METRIC),
    ("A dash in a label.", sample(labels={"a-b": "1"}), "$.labels", LABEL),
    ("An empty label.", sample(labels={"": "1"}), "$.labels", LABEL),
    ("A line end after a label.", sample(labels={"a\n": "1"}), "$.labels", LABEL),
    ("A reserved label.", sample(labels={"__name__": "up"}), "$.labels.__name__", "reserved"),
    ("A label's value of 2,000.", sample(labels={"a": "x" * 2000}), "$.labels.a", "at most 1024 characters"),
    ("A number for a label.", sample(labels={"a": 1}), "$.labels.a", "expected a text"),
    ("A hundred labels.", sample(labels={f"l{n}": "1" for n in range(100)}), "$.labels", "at most 32 labels"),
    ("The monitor's own metric.", sample(name="monitor_series"), "$.name", "written by the monitor itself"),
    ("A metric of the board's.", sample(name="trade_fills_total"), "$.name", "written by the monitor itself"),
    ("A collector's health.", sample(name="collector_up"), "$.name", "written by the monitor itself"),
    ("ALERTS.", sample(name="ALERTS"), "$.name", "written by the monitor itself"),
]


@pytest.mark.parametrize(("sentence", "bad", "path", "error"), EVENTS, ids=[case[0] for case in EVENTS])
async def test_a_bad_event_is_named_and_the_good_ones_around_it_are_kept(
    house: Residence, bot: str, sentence: str, bad: str | bytes, path: str, error: str
) -> None:
    raw = bad.encode() if isinstance(bad, str) else bad
    answer = await house.post(lines(trade(source=bot), raw, trade(source=bot)))
    assert (answer.status, answer.body["accepted"]) == (400, 2), answer.body
    assert answer.errors() == [(2, path)], answer.body
    assert error in answer.body["errors"][0]["error"]
    assert len(answer.body["errors"][0]["error"]) < 300
    assert await fills(house, bot) == 2


async def test_each_alone_as_json_is_refused_too(house: Residence, bot: str) -> None:
    for sentence, bad, _, error in EVENTS:
        answer = await house.post(bad.encode() if isinstance(bad, str) else bad, "application/json")
        assert (answer.status, answer.body["accepted"]) == (400, 0), sentence
        assert error in answer.body["errors"][0]["error"] or bad[:1] in ("[", b"["), (sentence, answer.body)
    packed = msgspec.json.encode(trade(source=bot))
    for bad in (b'{"price":NaN}', b'{"type":"trade"}', b"1", b"[" * DEEP, b"nul"):
        answer = await house.post(b"[" + packed + b"," + bad + b"," + packed + b"]", "application/json")
        kept = 0 if bad == b"[" * DEEP else 2  # brackets without an end leave no items to be told apart
        assert (answer.status, answer.body["accepted"]) == (400, kept)
        assert [error["line"] for error in answer.body["errors"][:1]] == [2]


async def test_the_same_in_messagepack(house: Residence, bot: str) -> None:
    encode = msgspec.msgpack.encode
    good = encode(trade(source=bot))
    surrogate = encode(trade(source=bot, symbol="@@@")).replace(b"@@@", b"\xed\xa0\x80")
    twice = b"\x89" + encode(trade(source=bot, fee=1))[1:] + b"\xa3fee\x02"
    for bad, path in (
        (encode(trade(price=float("nan"))), "$.price"),
        (encode(trade(quantity=float("inf"))), "$.quantity"),
        (encode(trade(fee=float("-inf"))), "$.fee"),
        (encode(trade(price="1e5")), "$.price"),
        (encode(trade(price=True)), "$.price"),
        (encode(trade(at=time.time_ns())), "$.at"),
        (encode(trade(symbol="x" * 60_000)), "$.symbol"),
        (surrogate, "$"),
        (twice, "$.fee"),
    ):
        answer = await house.post(good + bad + good, "application/msgpack")
        assert (answer.status, answer.body["accepted"]) == (400, 2), (path, answer.body)
        assert answer.errors() == [(2, path)]
    for bad in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc1", b"\x91" * DEEP):
        answer = await house.post(good + bad, "application/msgpack")
        assert (answer.status, answer.body["accepted"], answer.errors()) == (400, 1, [(2, "$")])
        assert (await house.post(bad + good, "application/msgpack")).status in (400, 413)


async def test_mutated_events_are_answered_and_never_an_error_of_ours(house: Residence, bot: str) -> None:
    dice = random.Random(7)
    for _ in range(150):
        form, kind = dice.choice(
            [(msgspec.json.encode, "application/json"), (msgspec.msgpack.encode, "application/msgpack")]
        )
        raw = bytearray(form(trade(source=bot, id=str(dice.random()), context={"a": 1})))
        for _ in range(dice.randint(1, 4)):
            raw[dice.randrange(len(raw))] = dice.randrange(256)
        assert (await house.post(bytes(raw), kind)).status in (202, 400)
    for _ in range(30):
        assert house.raw(POST + b"Content-Length: 40\r\n\r\n" + dice.randbytes(40)).split()[1] == b"400"


async def test_a_body_of_ten_megabytes_is_refused_and_one_of_seven_held_to_its_event(
    house: Residence, bot: str
) -> None:
    good = lines(trade(source=bot)) + b"\n"
    assert (await house.post(good + instead("symbol", '"' + "x" * 10_000_000 + '"').encode())).status == 413
    answer = await house.post(good + instead("symbol", '"' + "x" * 7_000_000 + '"').encode() + b"\n" + good)
    assert (answer.status, answer.body["accepted"], answer.errors()) == (400, 2, [(2, "$")])
    for deep in (b"[" * 7_000_000, b'{"a":' * 1_400_000):
        for kind in ("application/json", "application/x-ndjson"):
            assert (await house.post(deep, kind)).status in (400, 413)
        assert (await house.post(b"\x91" * 7_000_000, "application/msgpack")).status == 400
    assert await fills(house, bot) == 2


# --- floods ------------------------------------------------------------------------------------------------

FLOOD = """
[collectors.monitor]
every = "1s"
[rules.late]
expr = "known == 2"
severity = "critical"
[channels.hook]
type = "webhook"
url = "{url}"
"""
MILLION, ROOM, PIECE = 1_000_000, 50_000, 10_000


async def test_a_million_label_sets_are_bounded_counted_and_told(tmp_path: Path) -> None:
    """At the room that is the default; then of every other kind of event some that would open series, too."""
    async with sink() as hook:
        with residence(tmp_path, FLOOD.format(url=hook.url)) as house:
            await house.until("monitor_series_refused_total", lambda n: n == 0)
            assert (await house.send(json.loads(sample(name="known", value=1))))[0] == 202
            before = house.memory()
            house.forget_peak()
            async with house.unharmed(within=0.2):
                for first in range(0, MILLION, PIECE):
                    at = b'{"type":"sample","at":%r,"name":"flood","value":1,"labels":{"n":"' % time.time()
                    answer = await house.post(b"\n".join(b'%s%d"}}' % (at, n) for n in range(first, first + PIECE)))
                    assert (answer.status, answer.body["accepted"]) == (202, PIECE)
                told = await hook.want(firing("monitor_series_refused"), within=10)
                assert "trader-monitor status" in told["annotations"]["summary"]
                kept = int(await house.value("count(flood)") or 0)
                status = (await house.get("/v1/status"))["series"]
                assert (status["max"], status["reserve"]) == (ROOM, 5_000)
                assert ROOM - 1_000 < kept <= ROOM <= status["count"] <= ROOM + status["reserve"]
                assert status["by_metric"] == [
                    {
                        "metric": "flood",
                        "refused": MILLION - kept,
                        "last": {"__name__": "flood", "n": str(MILLION - 1)},
                    }
                ]
                assert status["refused"] == MILLION - kept
                assert status["largest"][0] == {"metric": "flood", "series": kept}
                answer = await house.post(b"\n".join(flooding(n) for n in range(8_000)))
                assert (answer.status, answer.body["accepted"]) == (202, 8_000)
            assert (await house.send(json.loads(sample(name="known", value=2))))[0] == 202
            await hook.want(firing("late"))
            assert await house.value("known") == 2, "what was known goes on"
            assert await house.value('ALERTS{alertname="late", alertstate="firing"}') == 1
            assert await house.value('ALERTS{alertname="monitor_series_refused", alertstate="firing"}') == 1
            assert await house.value("count(flood)") == kept
            after = (await house.get("/v1/status"))["series"]
            assert after["refused"] > MILLION - kept + 8_000
            assert len(after["by_metric"]) == 17, "sixteen metrics, and all others"
            assert sum(each["refused"] for each in after["by_metric"]) == after["refused"]
            assert after["count"] <= ROOM + status["reserve"]
            assert house.memory("VmHWM") - before < 200, "MiB at its highest, for 50,000 series: 150 as a rule"


def flooding(number: int) -> bytes:
    """An event that has never been seen: each kind that opens series, in turn."""
    at, name = time.time(), f"n{number}"
    match number % 8:
        case 0:
            event = trade(source=name, symbol=name, execution_seconds=1)
        case 1:
            event = {"type": "request", "at": at, "exchange": name, "endpoint": name, "latency_seconds": 1, "ok": True}
        case 2:
            event = {"type": "market_data", "at": at, "exchange": name, "symbol": name, "price": 1}
        case 3:
            event = {"type": "heartbeat", "at": at, "source": name, "state": "running"}
        case 4:
            event = {"type": "connection", "at": at, "exchange": name, "state": "connected"}
        case 5:
            event = {"type": "account", "at": at, "source": name, "equity": 1}
        case 6:
            event = {"type": "prediction", "at": at, "model": name, "version": name, "output": 1}
        case _:
            event = {"type": "sample", "at": at, "name": f"metric_{name}", "value": 1, "labels": {"a": name}}
    return json.dumps(event).encode()


def bomb(size: int) -> bytes:
    """gzip of that many MiB of zeros, made of one block again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(b"\0" * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + block * size + end + struct.pack("<II", 0, (size << 20) & 0xFFFFFFFF)


async def test_a_decompression_bomb_is_refused_before_it_is_unpacked(house: Residence, bot: str) -> None:
    packed = bomb(1024)
    house.forget_peak()
    before = house.memory()
    for path in ("/v1/events", "/api/v1/query", "/v1/test-alert"):
        for kind in ("application/x-ndjson", "application/x-www-form-urlencoded", "application/json"):
            answer = await house.post(packed, kind, path, Content_Encoding="gzip")
            assert 400 <= answer.status < 500, (path, kind, answer)
    twice = await house.post(packed, Content_Encoding="gzip, gzip")
    assert twice.status == 415
    assert house.memory("VmHWM") - before < 40, "MiB"
    assert (await house.post(lines(trade(source=bot)))).status == 202


# --- HTTP --------------------------------------------------------------------------------------------------

RUDE = [
    ("100,000 headers.", b"GET / HTTP/1.1\r\n" + HEAD + b"X-A: b\r\n" * 100_000 + b"\r\n", 400),
    ("A header of 10 MB.", b"GET / HTTP/1.1\r\n" + HEAD + b"X-A: " + b"b" * 10_000_000 + b"\r\n\r\n", 400),
    ("A path of 1 MB.", b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
    ("A method of 1 MB.", b"G" * 1_000_000 + b" / HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
    ("TLS.", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ("Nothing but zeros.", b"\0" * 100_000, 400),
    ("Two lengths.", POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    ("A length and chunks.", POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("A length below zero.", POST + b"Content-Length: -1\r\n\r\n", 400),
    ("A gigabyte is promised.", POST + b"Content-Length: 1073741824\r\n\r\n", 413),
    ("A chunk of a gigabyte.", POST + b"Transfer-Encoding: chunked\r\n\r\n40000000\r\n" + b" " * 9_000_000, 413),
    ("A chunk's size that is none.", POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    ("A header with a line end.", b"GET / HTTP/1.1\r\n" + HEAD + b"X-A: a\nb\r\n\r\n", 400),
    ("A host that is none.", b"GET /v1/status HTTP/1.1\r\nHost: \xff\xfe\r\nConnection: close\r\n\r\n", 421),
    ("A path that climbs.", b"GET /page/../../../../etc/passwd HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
    ("The same, encoded.", b"GET /page/%2e%2e%2f%2e%2e%2fapp.py HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
    ("Encoded twice.", b"GET /page/%252e%252e%252fapp.py HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
    ("Backwards.", b"GET /page/..\\..\\app.py HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
    ("A zero in the path.", b"GET /page/app.js%00.html HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
    ("An absolute path.", b"GET /page//etc/passwd HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
    ("No UTF-8 in a path.", b"GET /page/%ff%fe HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
    (
        "A path in another house.",
        b"GET http://evil.example/v1/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        421,
    ),
    ("Half a form.", b"POST /api/v1/query HTTP/1.1\r\nContent-Type: multipart/form-data\r\n" + HEAD
     + b"Content-Length: 2\r\n\r\n--", 400),
    ("A form in no known letters.", b"POST /api/v1/query HTTP/1.1\r\nContent-Type: "
     b"application/x-www-form-urlencoded; charset=klingon\r\n" + HEAD + b"Content-Length: 8\r\n\r\nquery=up", 400),
    ("A form that is no UTF-8.", b"POST /api/v1/query HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
     + HEAD + b"Content-Length: 8\r\n\r\nquery=\xff\xfe", 400),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "sent", "status"), RUDE, ids=[case[0] for case in RUDE])
async def test_a_rude_request_is_refused(house: Residence, sentence: str, sent: bytes, status: int) -> None:
    house.forget_peak()
    before = house.memory()
    raw = await asyncio.to_thread(house.raw, sent)
    assert int(raw.split()[1]) == status, raw[:300]
    assert b"error" in raw.partition(b"\r\n\r\n")[2]
    assert b"aiohttp" not in raw.lower()
    assert b"root:" not in raw
    assert house.memory("VmHWM") - before < 40, "MiB"


# --- queries -----------------------------------------------------------------------------------------------

PARAMETERS = [
    ("query", {"query": "up", "time": "yesterday"}, "time"),
    ("query", {"query": "up", "time": "NaN"}, "time"),
    ("query", {"query": "up", "time": "1e999"}, "time"),
    ("query", {"query": "up", "limit": "9" * 6000}, "limit"),
    ("query", {"query": "up", "limit": "-1"}, "limit"),
    ("query", {"query": "up", "limit": "٣"}, "limit"),
    ("query", {"query": "up", "timeout": "forever"}, "timeout"),
    ("query", {"query": "sum("}, "query"),
    ("query", {"query": "holt_winters(up[5m], 0.5, 0.5)"}, "holt_winters"),
    ("query", {"query": "no_such_function(up)"}, "no_such_function"),
    ("query", {"query": "\0\x1b[2J"}, "query"),
    ("query", {"query": "(" * 60_000 + "1" + ")" * 60_000}, ""),
    ("query", {"query": "1" + "+1" * 30_000}, ""),
    ("query", {"query": "-" * 60_000 + "1"}, ""),
    ("query", {"query": "sum(" * 400 + "up" + ")" * 400}, ""),
    ("query", {"query": 'up{a="' + "x" * 70_000 + '"}'}, ""),
    ("query_range", {"query": "up", "start": "0", "end": "1e9", "step": "1"}, "11,000 points"),
    ("query_range", {"query": "up", "start": "0", "end": "10", "step": "0"}, "step"),
    ("query_range", {"query": "up", "start": "0", "end": "10", "step": "1e-300"}, "step"),
    ("query_range", {"query": "up", "start": "10", "end": "0", "step": "1"}, "end"),
    ("query_range", {"query": "up[5m]", "start": "0", "end": "10", "step": "1"}, "range vector"),
    ("series", {"match[]": 'up{a=~"("}'}, "regex"),
    ("series", {"match[]": 'up{a=~"(?=x)"}'}, "regex"),
    ("series", {"match[]": 'up{a=~"' + "(" * 2000 + ")" * 2000 + '"}'}, ""),
    ("series", {"match[]": 'up{a=~"((a{1000}){1000}){1000}"}'}, ""),
    ("series", {"match[]": 'up{a=~"a{100000}"}'}, "repeat"),
]


@pytest.mark.parametrize(("path", "query", "word"), PARAMETERS)
async def test_a_bad_query_says_which_parameter(house: Residence, path: str, query: dict[str, str], word: str) -> None:
    form = aiohttp.FormData(query)()
    answer = await house.post(bytes(form._value), "application/x-www-form-urlencoded", f"/api/v1/{path}")
    assert answer.status in (400, 422), answer
    assert answer.body["status"] == "error"
    assert word in answer.body["error"]
    assert len(answer.body["error"]) < 1000


BOMBS = ["(a+)+$", "(a|aa)+$", "(.*)*x", "(a|a?)+$", "(x+x+)+y", "([a-z]+)*[A-Z]", ".*.*.*.*.*.*x", "(a{0,900}){0,900}"]
DEAR = [
    "max_over_time(quantile_over_time(0.9, crowd_level[1h:1s])[6h:1s])",
    "count_values('v', crowd_level * on() group_left() crowd_level)",
    "sum by (n) (rate(crowd_level[365d:1s]))",
    "topk(100, crowd_level) + on(n) crowd_level and on(n) crowd_level unless on(a) crowd_level",
    'label_replace(crowd_level, "x", "$1", "text", "((a|aa|aaa)*)*(.*)*$")',
    "quantile_over_time(0.5, {__name__=~'.+'}[90d])",
    "avg_over_time(avg_over_time(avg_over_time(crowd_level[1h:1s])[1h:1s])[1h:1s])",
    "sort_desc(sum without (n) (stddev_over_time(crowd_level[1h:100ms])))",
]


async def test_patterns_and_queries_that_cost_too_much_are_ended_and_disturb_nobody(house: Residence) -> None:
    crowd = [sample(name="crowd_level", labels={"n": str(n), "text": "a" * 900 + "!"}) for n in range(300)]
    assert (await house.post("\n".join(crowd).encode())).status == 202
    house.forget_peak()
    before, now = house.memory(), time.time()

    async def ask(path: str, **query: str) -> int:
        answer = await house.ask("/api/v1/" + path, timeout="1s", **query)
        assert answer.status in (200, 400, 422, 503), answer
        return answer.status

    began = time.monotonic()
    async with house.unharmed():
        await asyncio.gather(
            *(ask("query", query=f'crowd_level{{text=~"{pattern}"}}') for pattern in BOMBS),
            *(ask("series", **{"match[]": f'crowd_level{{text=~"{pattern}"}}'}) for pattern in BOMBS),
        )
        span = {"start": str(now - 10_000), "end": str(now), "step": "1"}
        for query in DEAR:
            await asyncio.gather(ask("query", query=query), ask("query_range", query=query, **span))
    assert time.monotonic() - began < 30
    assert house.memory("VmHWM") - before < 300, "MiB"


# --- the feed ----------------------------------------------------------------------------------------------


async def test_a_page_of_another_origin_gets_no_feed(house: Residence) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example", "http://127.0.0.1:1", "\xff"):
        raw = house.raw(upgrade(b"Origin: " + origin.encode("latin-1") + b"\r\n"), port=house.live)
        assert raw.split()[1] == b"403", (origin, raw[:100])
    own = f"Origin: http://127.0.0.1:{house.http}\r\n".encode()
    with closing(socket.create_connection(("127.0.0.1", house.live), 5)) as sock:
        sock.sendall(upgrade(own))
        assert b" 101 " in sock.recv(1024)


FRAMES = [
    ("A gigabyte is promised.", b"\x81\xff" + (1 << 30).to_bytes(8, "big") + b"\0\0\0\0" + b"x" * 1000, 1009),
    ("2^63 bytes are promised.", b"\x81\xff" + b"\xff" * 8 + b"\0\0\0\0", 1009),
    ("A frame without a mask.", b"\x81\x05hello", 1002),
    ("An unknown opcode.", b"\x83\x80\0\0\0\0", 1002),
    ("A compressed frame that nobody agreed on.", b"\xc1\x80\0\0\0\0", 1002),
    ("No UTF-8.", b"\x81\x82\0\0\0\0\xff\xfe", 1007),
    ("Words.", b"\x81\x85\0\0\0\0hello", 1008),
    ("Pieces without an end.", b"\x01\x84\0\0\0\0piec" + b"\x00\x84\0\0\0\0more" * 2000, 1009),
]


@pytest.mark.parametrize(("sentence", "frame", "code"), FRAMES, ids=[case[0] for case in FRAMES])
async def test_a_bad_frame_closes_its_connection_alone(
    house: Residence, sentence: str, frame: bytes, code: int
) -> None:
    house.forget_peak()
    before = house.memory()
    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{house.live}/") as other:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", house.live, limit=1 << 24)
            writer.write(upgrade())
            await reader.readuntil(b'"type":"snapshot"')
            writer.write(frame)
            await reader.readuntil(code.to_bytes(2, "big"))  # in the frame that closes
            writer.close()
        assert json.loads((await other.receive(5)).data)["type"] == "snapshot"
    assert house.memory("VmHWM") - before < 20, "MiB"


# --- what is shown -----------------------------------------------------------------------------------------

EVIL = "@everyone \x1b[2J\x1b]0;owned\x07 \u202edrowssap <script>alert(1)</script>\r\nX-Injected: yes {labels.desk}"


async def test_what_a_label_holds_is_harmless_wherever_it_is_shown(tmp_path: Path) -> None:
    async with sink() as hook:
        with residence(tmp_path, CONFIG + f'url = "{hook.url}"\n') as house:
            async with aiohttp.ClientSession() as session, house.unharmed():
                feed = await session.ws_connect(f"http://127.0.0.1:{house.live}/?topics=alerts")
                event = json.loads(sample(name="evil_ratio", labels={"who": EVIL, "place": "x" * 1024}))
                assert (await house.send(event))[0] == 202
                alert = await hook.want(firing("evil", who=EVIL))
                told = ""
                while "evil" not in told:
                    told = (await feed.receive(5)).data
                await feed.close()
            async with asyncio.timeout(5):
                while house.log.read_text().count("FIRING") < 1 or "alert firing" not in house.log.read_text():
                    await asyncio.sleep(0.05)
            alerts = (await house.get("/v1/alerts"))["alerts"]
            metrics = house.raw(b"GET /metrics HTTP/1.1\r\n" + HEAD + b"\r\n")
            query = await house.get("/api/v1/query", query="evil_ratio")
            page = house.raw(b"GET /v1/alerts HTTP/1.1\r\n" + HEAD + b"\r\n")
    summary = alert["annotations"]["summary"]
    assert summary == alerts[0]["summary"]
    assert len(summary) < 1000
    assert not re.search("[\x00-\x1f\x7f\u202e]", summary), "escaped"
    assert "{labels.desk}" in summary, "rendered once"
    assert query["data"]["result"][0]["metric"]["who"] == EVIL, "the value itself is as it was sent"
    assert not any("Injected" in name for name in hook.headers[0])
    log = house.log.read_bytes()
    assert b"\x1b" not in log
    assert b"\r" not in log
    assert "\u202e".encode() not in log
    assert all(line.startswith((b"{", b"20")) or b"FIRING" in line for line in log.splitlines())
    assert re.search(rb'evil_ratio\{[^\n]*who="@everyone [^\n]*\\nX-Injected[^\n]*"[^\n]*\} 1', metrics)
    for raw in (told.encode(), page.partition(b"\r\n\r\n")[2]):
        assert b"\x1b" not in raw, "JSON escapes it"
    assert b"content-type: application/json" in page.lower()
    assert b"nosniff" in page


BAD_CONFIG = """
[ingest]
max_bdy = "1MiB"
[actions.a]
type = "command"
argv = ["/bin/true"]
after = ["b"]
[actions.b]
type = "command"
argv = ["/bin/true"]
after = ["a"]
[rules.reaching]
expr = "up"
summary = "{x.__class__}"
[rules.wide]
expr = "up"
summary = "{value:>100000000}"
[rules.unknown]
expr = "no_such_function(up)"
"""


async def test_a_bad_configuration_is_refused_with_every_place_and_changes_nothing(house: Residence) -> None:
    path = house.folder / "bad.toml"
    path.write_text(BAD_CONFIG)
    for command in (("check-config", str(path)), ("run", "--config", str(path))):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "trader_monitor", *command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=house.folder,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 15)
        assert process.returncode == 2, out.decode()
        told = out.decode()
        for word in ("max_bdy", "max_body", "actions.a", "circle", "reaching", "__class__", "wide", "no_such_function"):
            assert word in told, (word, told)
        assert "Traceback" not in told


# --- others whom we ask ------------------------------------------------------------------------------------


class Evil:
    """Servers that answer as nobody should."""

    def __init__(self) -> None:
        self.servers: list[asyncio.Server] = []
        self.visits: set[asyncio.Task[Any]] = set()

    async def door(self, head: bytes, body: bytes = b"", *, again: bool = False, pause: float = 0.0) -> str:
        """Answers whoever comes; with `again`, the body over and over."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            visit = asyncio.current_task()
            assert visit is not None
            self.visits.add(visit)
            try:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(head)
                writer.write(body)
                while again:
                    writer.write(body)
                    await writer.drain()
                    await asyncio.sleep(pause)
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                self.visits.discard(visit)
                writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        self.servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

    async def close(self) -> None:
        for server in self.servers:
            server.close()
        for visit in list(self.visits):
            visit.cancel()
        await asyncio.gather(*self.visits, return_exceptions=True)


TEXT = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n"


async def test_targets_that_answer_garbage_or_without_end_are_down_and_nothing_else(tmp_path: Path) -> None:
    evil = Evil()
    crowd = b"".join(b'a{n="%d"} 1\n' % n for n in range(60_000))
    targets = {
        "garbage": await evil.door(TEXT + b"\r\n", os.urandom(100_000)),
        "no_http": await evil.door(b"", os.urandom(1000)),
        "endless": await evil.door(TEXT + b"\r\n", b"# endless\n" * 6_000, again=True),
        "endless_line": await evil.door(TEXT + b"\r\n", b"x" * 65_536, again=True),
        "endless_head": await evil.door(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 1000, again=True),
        "bomb": await evil.door(TEXT + b"Content-Encoding: gzip\r\n\r\n", bomb(1024)),
        "trickle": await evil.door(TEXT + b"\r\n", b"#", again=True, pause=0.2),
        "loop": await evil.door(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
        "crowd": await evil.door(TEXT + b"\r\n", crowd),
        "half": await evil.door(TEXT + b"Content-Length: 1000\r\n\r\n", b"up 1\n"),
        "names": await evil.door(TEXT + b"\r\n", b'9up 1\nup{a-b="1"} 1\nup{a="\xff"} 1\n'),
    }
    good = await evil.door(TEXT + b"\r\n", b'good_level 7\ngood_level{a="nan"} NaN\n')
    config = "".join(
        f'[collectors.{name}]\ntype = "scrape"\nurl = "{url}"\nevery = "1s"\ntimeout = "1s"\n'
        for name, url in {**targets, "good": good}.items()
    )
    config += "".join(
        f'[checks.{name}]\ntype = "http"\nurl = "{targets[name]}"\nevery = "1s"\ntimeout = "1s"\n'
        for name in ("endless", "endless_head", "no_http", "bomb", "loop")
    )
    config += f'[channels.endless]\ntype = "webhook"\nurl = "{targets["endless"]}"\n'
    config += '[rules.always]\nexpr = "good_level == 7"\nseverity = "critical"\n'
    async with AsyncExitStack() as stack:
        stack.push_async_callback(evil.close)
        with residence(tmp_path, config) as house:
            house.forget_peak()
            async with house.unharmed():
                await house.until('good_level{a=""}', lambda v: v == 7)
                await house.until("count(up == 0)", lambda n: n == len(targets), within=15)
                await house.delivered("endless")
                await asyncio.sleep(1.5)  # a few more rounds of the same
                assert await house.value("count(up == 0)") == len(targets)
                assert await house.value("count(up == 1)") == 1
                checks = (await house.get("/v1/status"))["checks"]
                assert {c["name"]: c["ok"] for c in checks if c["name"] != "endless"}["no_http"] is False
            assert house.memory("VmHWM") < 200, "MiB"


# --- at the end --------------------------------------------------------------------------------------------


async def test_slow_heads_were_cut_off_while_all_others_were_served(house: Residence, trickles: list[Trickle]) -> None:
    async with asyncio.timeout(20):
        while trickles[0].open:
            await asyncio.sleep(0.1)
    assert len(trickles[0].lived) == 2 * TRICKLE
    assert max(trickles[0].lived) < 15


async def test_after_all_that_it_is_small(house: Residence) -> None:
    assert house.memory() < 200
