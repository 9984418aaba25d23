"""Bodies that take long, taken in turns: whatever comes, the loop beats on meanwhile.

A beat's lateness is counted in the processor time of the loop's own thread, so that a busy machine changes nothing.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from tests.web.doors import Doors, doors
from trader_monitor.web.border import MAX_EVENTS, Format, TooMany
from trader_monitor.web.cut import brackets
from trader_monitor.web.intake import Answer, take_body, take_lines

LATE = 0.1
"""Seconds that no turn may take; those of the bodies below take a fifth of it, and took up to half a minute."""
BODY = 8 << 20


@asynccontextmanager
async def beating(house: Doors) -> AsyncIterator[Callable[[], float]]:
    """Counts the loop's beats once the doors are open; yields who knows the longest wait for one."""
    assert (await house.post([]))[0] == 202
    longest, last = 0.0, time.thread_time()

    def waited() -> float:
        nonlocal longest, last
        now = time.thread_time()
        longest, last = max(longest, now - last), now
        return longest

    async def beat() -> None:
        while True:
            waited()
            await asyncio.sleep(0)

    gc.freeze()  # as the daemon does when it has started
    beats = asyncio.create_task(beat())
    try:
        yield waited
    finally:
        beats.cancel()
        gc.unfreeze()


def good(**more: object) -> dict[str, object]:
    fields = {"type": "trade", "at": round(time.time(), 3), "source": "b", "symbol": "x", "side": "buy"}
    return fields | {"quantity": 1, "price": 2} | more


def text(more: bytes) -> bytes:
    """A trade with more fields behind it."""
    return msgspec.json.encode(good())[:-1] + b"," + more


def packed(head: int, size: int, values: bytes) -> bytes:
    """A trade with one such value for its context."""
    before = msgspec.msgpack.encode(good(context=1))[:-1]
    return before + bytes([head]) + size.to_bytes(4) + values


def filled(line: bytes) -> bytes:
    """As many of it as there is room for."""
    return b"\n".join([line] * min(BODY // (len(line) + 1), MAX_EVENTS))


HALF = BODY // 2
GOOD = msgspec.msgpack.encode(good())
BODIES: list[tuple[str, Format, bytes]] = [
    ("An array of small values.", "msgpack", packed(0xDD, HALF, b"\x01" * HALF)),
    ("A map of small values.", "msgpack", packed(0xDF, HALF // 2, b"\x01" * HALF)),
    ("A map of the same key.", "msgpack", packed(0xDF, HALF // 3, b"\xa1a\x01" * (HALF // 3))),
    ("Nesting without end.", "msgpack", packed(0xDD, 1, b"\x91" * HALF)),
    ("Many that hold much.", "msgpack", packed(0xDD, 60_000, b"\x01" * 60_000) * 130),
    ("Many with a key often.", "msgpack", packed(0xDF, 16_000, b"\xa1a\x01" * 16_000) * 100),
    ("Many of many, in an array.", "msgpack", b"\xdc\x00\x64" + packed(0xDD, 32_000, b"\x01" * 32_000) * 100),
    ("Lines of unknown keys.", "ndjson", filled(text(b",".join(b'"k%d":1' % n for n in range(6_000)) + b"}"))),
    ("Short lines of unknown keys.", "ndjson", filled(text(b",".join(b'"%d":1' % n for n in range(90)) + b"}"))),
    ("Lines of quotes and backslashes.", "ndjson", filled(b"[{" * 10 + b'"\\' * 32_000)),
    ("Lines of small arrays.", "ndjson", filled(b'{"a":[' + b"[]," * 21_000 + b"1]}")),
    ("Lines of NaN.", "ndjson", filled(b'{"a":[' + b"NaN," * 16_000 + b"1]}")),
    ("A line that is bad at its end.", "ndjson", text(b'"context":{"a":"' + b"x" * HALF + b'"}]')),
    ("Nothing but newlines.", "ndjson", b"\n" * BODY),
    ("Four million lines.", "ndjson", b"1\n" * HALF),
    ("Half a million numbers.", "json", b"[" + b"111111111111," * 600_000 + b"1]"),
    ("Brackets.", "json", b"[" * BODY),
]


@pytest.mark.parametrize(("sentence", "form", "body"), BODIES, ids=[body[0] for body in BODIES])
async def test_no_body_keeps_others_waiting(tmp_path: Path, sentence: str, form: Format, body: bytes) -> None:
    async with doors(tmp_path) as house, beating(house) as longest:
        try:
            answer = await take_body(house.env, body, form)
        except TooMany:
            pass
        else:
            assert (answer.status, answer.accepted) == (400, 0)
            assert answer.errors
        assert longest() < LATE


async def test_what_holds_too_much_costs_the_good_ones_around_it_nothing(tmp_path: Path) -> None:
    large = packed(0xDD, HALF, b"\x01" * HALF)
    async with doors(tmp_path) as house, beating(house) as longest:
        for body in (GOOD + large + GOOD, b"\x93" + GOOD + large + GOOD):
            answer = await take_body(house.env, body, "msgpack")
            assert told(answer) == (400, 2, [(2, "$", "expected at most 64 KiB an event, got 4,096")])
        assert longest() < LATE


def told(answer: Answer) -> tuple[int, int, list[tuple[int, str, str]]]:
    return answer.status, answer.accepted, [(each.line, each.path, each.error) for each in answer.errors or ()]


async def test_lines_of_the_socket_come_in_turns_too(tmp_path: Path) -> None:
    line = b'{"a":[' + b"[]," * 21_000 + b"1]}"
    async with doors(tmp_path) as house, beating(house) as longest:
        answer = await take_lines(house.env, list(enumerate([line] * 8, 1)))
        assert (answer.status, answer.refused) == (400, 8)
        assert longest() < LATE


async def test_many_bodies_at_once_take_their_turns_one_after_the_other(tmp_path: Path) -> None:
    body = b"\n".join([text(b",".join(b'"k%d":1' % n for n in range(6_000)) + b"}")] * 3)
    async with doors(tmp_path) as house, beating(house) as longest:
        answers = await asyncio.gather(*(take_body(house.env, body, "ndjson") for _ in range(20)))
        assert {answer.refused for answer in answers} == {3}
        assert longest() < LATE


async def test_little_that_becomes_much_is_unpacked_in_turns(tmp_path: Path) -> None:
    async with doors(tmp_path) as house, beating(house) as longest:
        status, _ = await house.post(gzip.compress(b" " * (BODY - 1)), **{"Content-Encoding": "gzip"})
        assert status in (202, 400)
        assert longest() < LATE


def test_brackets_are_counted_outside_of_quotes() -> None:
    cases = [(b"", (0, 0)), (b"1", (0, 0)), (b"[]", (1, 1)), (b'{"a":[1,{"b":2}]}', (3, 3)), (b"]]", (0, 0))]
    cases += [(b'["[[[[", "\\"[[[", {}]', (2, 2)), (b'["\\\\", [], []]', (2, 3)), (b'["[[[', (1, 1))]
    assert [brackets(line) for line, _ in cases] == [counted for _, counted in cases]
