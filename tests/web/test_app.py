"""The HTTP door under rude guests: it answers or hangs up, and goes on answering the others."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.web.doors import doors, raw_exchange
from trader_monitor.config.values import Listen
from trader_monitor.core.facts import Fact
from trader_monitor.runtime.journal import Recorded
from trader_monitor.runtime.sockets import bind_tcp, lend, port_of
from trader_monitor.web import app
from trader_monitor.web.api import events
from trader_monitor.web.app import serve
from trader_monitor.web.body import Pace

POST = b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n"


def head(raw: bytes) -> tuple[int, str]:
    """Status and the rest of the answer's head."""
    first, _, rest = raw.partition(b"\r\n")
    return int(first.split()[1]), rest.partition(b"\r\n\r\n")[0].decode()


RUDE = [
    ("100,000 headers.", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-A: b\r\n" * 100_000 + b"\r\n", 400),
    ("A header of 1 MB.", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: " + b"b" * 1_000_000 + b"\r\n\r\n", 400),
    ("A path of 1 MB.", b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
    ("No HTTP at all.", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ("Two lengths.", POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    ("A length and chunks.", POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("A length below zero.", POST + b"Content-Length: -1\r\n\r\n", 400),
    ("A gigabyte is promised.", POST + b"Content-Length: 1073741824\r\n\r\n", 413),
    (
        "A path that climbs.",
        b"GET /page/../../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        404,
    ),
    ("The same, encoded.", b"GET /page/%2e%2e%2fapp.py HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 404),
]


@pytest.mark.parametrize(("sentence", "sent", "status"), RUDE, ids=[r[0] for r in RUDE])
async def test_rude_requests_are_refused(tmp_path: Path, sentence: str, sent: bytes, status: int) -> None:
    async with doors(tmp_path) as house:
        raw = await asyncio.to_thread(raw_exchange, house.port, sent)
        assert raw, sentence
        got, headers = head(raw)
        assert got == status, (sentence, raw[:300])
        assert "aiohttp" not in headers.lower()
        assert "python" not in headers.lower()
        assert "error" in json.loads(raw.partition(b"\r\n\r\n")[2])
        assert (await house.post(b""))[0] == 202, "and the next one is served"


async def test_a_head_that_never_ends_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "HEAD_WITHIN", 0.3)
    async with doors(tmp_path) as house:
        readers = []
        for sent in (b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "):
            reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
            writer.write(sent)
            readers.append((reader, writer))
        began = time.monotonic()
        async with asyncio.timeout(5):
            for reader, writer in readers:
                assert await reader.read() == b""
                writer.close()
        assert time.monotonic() - began < 2
        assert (await house.post(b""))[0] == 202


async def test_a_connection_that_was_greeted_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "HEAD_WITHIN", 0.1)
    async with doors(tmp_path) as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        request = POST + b"Content-Length: 0\r\n\r\n"
        for _ in range(3):
            writer.write(request)
            async with asyncio.timeout(5):
                answer = await reader.readuntil(b'"duplicates":0}\n')
            assert b"202" in answer
            await asyncio.sleep(0.15)  # longer than a head may take: that deadline was for the first one
        writer.close()


async def test_a_body_that_trickles_in_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "ANSWER_WITHIN", 0.3)
    async with doors(tmp_path) as house:
        raw = await asyncio.to_thread(raw_exchange, house.port, POST + b"Content-Length: 100\r\n\r\n{")
        assert head(raw)[0] == 408


SLOW = [
    ("a body of a length", b"Content-Length: 100000\r\n\r\n", b" ", b" " * 100_000),
    ("a body in chunks", b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", b"0\r\n\r\n"),
    (
        "a compressed body",
        b"Content-Encoding: gzip\r\nContent-Length: 100000\r\n\r\n\x1f\x8b\x08\x08" + b"\0" * 6,
        b"n",
        b"n" * 100_000,
    ),
    ("a body that never begins", b"Content-Length: 5\r\n\r\n", b"", b"12345"),
]


@pytest.mark.parametrize(("begin", "byte", "end"), [case[1:] for case in SLOW], ids=[case[0] for case in SLOW])
async def test_a_body_that_trickles_is_cut_off(tmp_path: Path, begin: bytes, byte: bytes, end: bytes) -> None:
    async with doors(tmp_path, pace=Pace(0.3, 64 << 10)) as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(POST + begin)

        async def trickle() -> None:
            while True:
                writer.write(byte)
                await asyncio.sleep(0.02)

        began = time.monotonic()
        trickling = asyncio.create_task(trickle())
        async with asyncio.timeout(5):
            raw = await reader.readuntil(b"\r\n\r\n") + await reader.readline()
        took = time.monotonic() - began
        assert 0.25 < took < 3, "nor is it cut off before its time"
        status, headers = head(raw)
        assert (status, "Connection: close" in headers) == (408, True)
        answer = json.loads(raw.partition(b"\r\n\r\n")[2])
        assert answer["error"].startswith("the body comes too slowly: ")
        assert answer["hint"] == "a body may take 0.3 s and 1 s for each 64 KiB"
        assert (await house.post(b""))[0] == 202, "others are served"
        trickling.cancel()
        writer.write(end)
        async with asyncio.timeout(5):
            assert await reader.read() == b"", "its end comes too late"
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def test_a_body_that_keeps_the_pace_is_taken(tmp_path: Path) -> None:
    """Twice as slow as the grace allows, but there are bytes for it."""
    async with doors(tmp_path, pace=Pace(0.3, 10_000)) as house:
        beat = json.dumps({"type": "heartbeat", "at": time.time(), "source": "bot"}).encode()

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(6):
                yield b"\n" * 2_000
                await asyncio.sleep(0.1)
            yield beat

        async with house.http.post(
            house.url + "/v1/events", data=pieces(), headers={"Content-Type": "application/x-ndjson"}
        ) as answer:
            assert (answer.status, await answer.json()) == (202, {"accepted": 1, "duplicates": 0})


async def test_what_was_sent_in_time_may_take_its_time(tmp_path: Path) -> None:
    async with doors(tmp_path, pace=Pace(0.05)) as house:
        record = house.journal.record

        async def slow(facts: Sequence[Fact]) -> Recorded:
            await asyncio.sleep(0.2)
            return await record(facts)

        house.journal.record = slow  # type: ignore[method-assign]
        beat = json.dumps({"type": "heartbeat", "at": time.time(), "source": "bot"}).encode()
        assert (await house.post(beat))[0] == 202


async def test_in_a_crowd_the_longest_silent_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MAX_CONNECTIONS", 20)
    async with doors(tmp_path) as house:
        crowd = [await asyncio.open_connection("127.0.0.1", house.port) for _ in range(40)]
        assert (await house.post(b""))[0] == 202, "who asks is served at once"
        async with asyncio.timeout(5):
            for reader, _ in crowd[:20]:
                assert await reader.read() == b""
        for _, writer in crowd:
            writer.close()


async def test_what_was_asked_before_the_door_closes_is_still_answered(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        begun, released = asyncio.Event(), asyncio.Event()
        record = house.journal.record

        async def slow(facts: Sequence[Fact]) -> Recorded:
            begun.set()
            await released.wait()
            return await record(facts)

        house.journal.record = slow  # type: ignore[method-assign]
        beat = json.dumps({"type": "heartbeat", "at": time.time(), "source": "bot"}).encode()
        with bind_tcp(Listen("127.0.0.1", 0), "http.listen") as sock:
            door = asyncio.create_task(serve(house.env, lend(sock), [events.routes(house.env)]))
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(sock))
            writer.write(POST + f"Content-Length: {len(beat)}\r\n\r\n".encode() + beat)
            async with asyncio.timeout(5):
                await begun.wait()
                door.cancel()
                asyncio.get_running_loop().call_later(0.1, released.set)
                answer = await reader.read()
                await asyncio.gather(door, return_exceptions=True)
            writer.close()
        assert answer.startswith(b"HTTP/1.1 202")
        assert house.env.board.counts == {"heartbeat": 1}
