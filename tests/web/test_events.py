"""`POST /v1/events`: answers exactly as the wire contract says, whatever is sent."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.web.doors import doors


def trade(**fields: Any) -> dict[str, Any]:
    base = {
        "type": "trade",
        "at": time.time(),
        "source": "bot",
        "symbol": "BTC",
        "side": "buy",
        "quantity": 1,
        "price": 2,
    }
    return base | fields


async def test_what_is_right_is_committed_and_folded(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        assert await house.post([trade(), trade(side="sell", price=3)]) == (202, {"accepted": 2, "duplicates": 0})
        (ledger,) = house.env.board.trading.ledgers.values()
        assert ledger.realized == 1
        assert house.journal.seq >= 2


async def test_one_object_an_array_and_messagepack_are_understood(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        packed = msgspec.msgpack.encode(trade())
        for body, kind, number in [
            (json.dumps(trade()).encode(), "application/json", 1),
            (json.dumps([trade(), trade()]).encode(), "application/json; charset=utf-8", 2),
            (b"\n\n" + json.dumps(trade()).encode() + b"\r\n\n", "application/x-ndjson", 1),
            (packed, "application/msgpack", 1),
            (packed * 3, "application/msgpack", 3),
            (msgspec.msgpack.encode([trade(), trade()]), "application/x-msgpack", 2),
            (b"", "application/x-ndjson", 0),
        ]:
            assert await house.post(body, kind) == (202, {"accepted": number, "duplicates": 0}), kind


async def test_the_good_lines_are_committed_and_the_bad_ones_named(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        bad = json.dumps(trade()).replace('"price": 2', '"price": NaN')
        body = "\n".join([json.dumps(trade()), "", bad, json.dumps(trade())]).encode()
        status, answer = await house.post(body)
        assert status == 400
        assert answer["errors"] == [{"line": 3, "path": "$.price", "error": "expected a finite number, got NaN"}]
        assert (answer["accepted"], answer["duplicates"]) == (2, 0)
        assert house.env.board.counts == {"trade": 2}


async def test_at_most_a_hundred_errors_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        status, answer = await house.post([trade(price=None)] * 250 + [trade()])
        assert (status, len(answer["errors"]), answer["refused"], answer["accepted"]) == (400, 100, 250, 1)


async def test_an_id_counts_once_and_with_another_body_is_a_conflict(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        event = trade(id="1")
        assert await house.post([event, event]) == (202, {"accepted": 1, "duplicates": 1})
        later = event | {"at": time.time(), "context": {"attempt": 2}}
        assert await house.post([later]) == (202, {"accepted": 0, "duplicates": 1}), "`at` and `context` do not count"
        status, answer = await house.post([trade(), event | {"price": 3}])
        assert (status, answer["accepted"]) == (409, 1)
        assert [(error["line"], error["path"]) for error in answer["errors"]] == [(2, "$.id")]
        assert house.env.board.counts == {"trade": 2}


async def test_tokens_are_asked_for_where_they_are_configured(tmp_path: Path) -> None:
    async with doors(tmp_path, tokens=["first", "second"]) as house:
        assert (await house.post([trade()]))[0] == 401
        assert (await house.post([trade()], Authorization="Bearer wrong"))[0] == 401
        assert (await house.post([trade()], Authorization="Basic second"))[0] == 401
        assert (await house.post([trade()], Authorization="Bearer second"))[0] == 202
        async with house.http.post(house.url + "/v1/events") as answer:
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert house.env.board.counts == {"trade": 1}


async def test_a_page_of_another_origin_may_not_write(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        status, answer = await house.post([trade()], Origin="https://evil.example")
        assert (status, answer["error"]) == (403, "a page of another origin may not do this")
        assert (await house.post([trade()], Origin=house.url))[0] == 202


async def test_a_name_that_was_resolved_to_us_is_not_answered(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        assert (await house.post([trade()], Host="evil.example"))[0] == 421
        assert (await house.post([trade()], Host=f"localhost:{house.port}"))[0] == 202


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
async def test_other_content_types_are_refused(tmp_path: Path, kind: str) -> None:
    async with doors(tmp_path) as house:
        status, answer = await house.post(b"{}", kind)
        assert status == 415
        assert "application/x-ndjson" in answer["hint"]


async def test_a_compressed_body_is_read(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        body = json.dumps(trade()).encode()
        for encoding, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
            assert (await house.post(packed, **{"Content-Encoding": encoding}))[0] == 202, encoding
        assert (await house.post(body, **{"Content-Encoding": "br"}))[0] == 415
        assert (await house.post(body, **{"Content-Encoding": "gzip"}))[0] == 400
        assert (await house.post(gzip.compress(body)[:-9], **{"Content-Encoding": "gzip"}))[0] == 400


async def test_the_body_limit_holds_plain_chunked_and_decompressed(tmp_path: Path) -> None:
    async with doors(tmp_path, max_body=64 << 10) as house:
        assert (await house.post(b" " * (64 << 10)))[0] == 202
        assert (await house.post(b" " * (64 << 10) + b" "))[0] == 413
        bomb = gzip.compress(b"0" * (256 << 20), 9)
        began = time.monotonic()
        status, _ = await house.post(bomb, **{"Content-Encoding": "gzip"})
        assert status == 413
        assert time.monotonic() - began < 1.0, "it was not unpacked to its end"

        async def chunks() -> Any:
            for _ in range(100):
                yield b" " * 1024

        async with house.http.post(
            house.url + "/v1/events", data=chunks(), headers={"Content-Type": "application/x-ndjson"}
        ) as answer:
            assert answer.status == 413


async def test_more_events_than_a_request_may_hold_are_refused_whole(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        assert (await house.post(b"{}\n" * 10_001))[0] == 413
        assert (await house.post(b"[" + b"{}," * 10_000 + b"{}]", "application/json"))[0] == 413
        assert (await house.post(b"\x80" * 10_001, "application/msgpack"))[0] == 413
        assert house.env.board.counts == {}


async def test_nothing_is_accepted_while_the_store_fails(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        assert (await house.post([trade(id="1")]))[0] == 202

        async def fail(*_: Any) -> None:
            from trader_monitor.runtime.journal import StoreUnavailable

            raise StoreUnavailable("the disk is full", 2.4)

        record, house.journal.record = house.journal.record, fail  # type: ignore[method-assign, assignment]
        async with house.http.post(
            house.url + "/v1/events", json=trade(id="2"), headers={"Content-Type": "application/json"}
        ) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
            assert await answer.json() == {"error": "the disk is full", "hint": "send it again later"}
        house.journal.record = record  # type: ignore[method-assign]
        assert await house.post([trade(id="2")]) == (202, {"accepted": 1, "duplicates": 0})


async def test_answers_tell_nothing_of_the_server_and_may_not_be_framed(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        async with house.http.get(house.url + "/v1/event") as answer:
            assert answer.status == 404
            assert await answer.json() == {
                "error": "there is nothing at /v1/event",
                "hint": "did you mean /v1/events?",
            }
            assert "Server" not in answer.headers
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        async with house.http.get(house.url + "/v1/events") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
