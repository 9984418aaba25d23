"""The Unix socket: NDJSON in, an answer a batch, and nobody else's bots."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.web.doors import Doors, doors
from trader_monitor.runtime.journal import StoreUnavailable
from trader_monitor.web.body import Pace


def trade(**fields: Any) -> bytes:
    base = {
        "type": "trade",
        "at": time.time(),
        "source": "bot",
        "symbol": "BTC",
        "side": "buy",
        "quantity": 1,
        "price": 2,
    }
    return json.dumps(base | fields).encode() + b"\n"


class Line:
    """A connection that speaks lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, house: Doors) -> Line:
        return cls(*await asyncio.open_unix_connection(house.path))

    async def __aenter__(self) -> Line:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def say(self, *lines: bytes) -> None:
        self.writer.write(b"".join(lines))
        await self.writer.drain()

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            return json.loads(await self.reader.readline())  # type: ignore[no-any-return]

    async def through(self, number: int) -> list[dict[str, Any]]:
        """All answers until one speaks of that line."""
        answers = [await self.hear()]
        while answers[-1]["through"] < number:
            answers.append(await self.hear())
        return answers


async def test_a_line_is_answered_when_it_is_committed(tmp_path: Path) -> None:
    async with doors(tmp_path) as house, await Line.to(house) as line:
        await line.say(trade(id="1"))
        assert await line.hear() == {"status": 202, "accepted": 1, "duplicates": 0, "through": 1}
        await line.say(trade(id="1", price=2), trade(id="2"))
        answers = await line.through(3)
        assert sum(answer["duplicates"] for answer in answers) == 1
        assert sum(answer["accepted"] for answer in answers) == 1
        assert house.env.board.counts == {"trade": 2}


async def test_lines_are_counted_over_the_connection_and_errors_named_by_them(tmp_path: Path) -> None:
    async with doors(tmp_path) as house, await Line.to(house) as line:
        await line.say(trade())
        await line.hear()
        await line.say(b"\n" + trade(quantity=0) + trade())
        errors = [error for answer in await line.through(4) for error in answer.get("errors", [])]
        assert errors == [{"line": 3, "path": "$.quantity", "error": "expected a positive number, got 0.0"}]
        assert house.env.board.counts == {"trade": 2}


async def test_many_lines_are_few_answers(tmp_path: Path) -> None:
    async with doors(tmp_path) as house, await Line.to(house) as line:
        await line.say(trade() * 5_000)
        answers = await line.through(5_000)
        assert sum(answer["accepted"] for answer in answers) == 5_000
        assert len(answers) <= 500


async def test_what_comes_in_pieces_is_put_together(tmp_path: Path) -> None:
    async with doors(tmp_path) as house, await Line.to(house) as line:
        whole = trade()
        for cut in range(0, len(whole), 16):
            await line.say(whole[cut : cut + 16])
            await asyncio.sleep(0)
        assert (await line.hear())["accepted"] == 1
        await line.say(trade().rstrip(b"\n"))
        line.writer.write_eof()
        assert (await line.hear())["accepted"] == 1, "the last line needs no newline"
        assert await line.reader.read() == b""


async def test_a_line_without_an_end_is_not_kept(tmp_path: Path) -> None:
    async with doors(tmp_path) as house, await Line.to(house) as line:
        await line.say(b'"' + b"x" * 70_000)
        assert (await line.hear())["status"] == 413
        async with asyncio.timeout(5):
            assert await line.reader.read() == b""
        assert house.env.board.counts == {}


async def test_a_line_that_was_begun_must_end(tmp_path: Path) -> None:
    async with doors(tmp_path, pace=Pace(0.3)) as house, await Line.to(house) as line:
        await line.say(trade())
        assert (await line.hear())["accepted"] == 1
        await asyncio.sleep(0.4)  # a connection may be silent for as long as it likes
        await line.say(trade(), b'{"type":')
        assert (await line.hear())["accepted"] == 1

        async def trickle() -> None:
            while True:
                await line.say(b" ")
                await asyncio.sleep(0.02)

        began = time.monotonic()
        trickling = asyncio.create_task(trickle())
        assert await line.hear() == {
            "status": 408,
            "error": "a line was begun and did not end: it may take 0.3 s and 1 s for each 64 KiB",
            "through": 3,
        }
        assert 0.2 < time.monotonic() - began < 3
        async with asyncio.timeout(5):
            with suppress(ConnectionResetError):  # where a trickled byte was not read any more
                assert await line.reader.read() == b""
        trickling.cancel()


async def test_a_line_that_keeps_the_pace_is_taken(tmp_path: Path) -> None:
    async with doors(tmp_path, pace=Pace(0.3, 10_000)) as house, await Line.to(house) as line:
        for _ in range(6):
            await line.say(b" " * 2_000)
            await asyncio.sleep(0.1)
        await line.say(trade())
        assert (await line.hear())["accepted"] == 1
        await line.say(trade()[:20])
        for _ in range(5):  # each line has its own time
            await asyncio.sleep(0.1)
            whole = trade()
            await line.say(whole[20:], whole[:20])
            assert (await line.hear())["accepted"] == 1


async def test_a_store_that_fails_is_told_and_the_connection_goes_on(tmp_path: Path) -> None:
    async with doors(tmp_path) as house, await Line.to(house) as line:

        async def fail(*_: Any) -> None:
            raise StoreUnavailable("the disk is full", 2.5)

        record, house.journal.record = house.journal.record, fail  # type: ignore[method-assign, assignment]
        await line.say(trade(id="1"))
        answer = await line.hear()
        assert (answer["status"], answer["retry_after"], answer["accepted"]) == (503, 2.5, 0)
        house.journal.record = record  # type: ignore[method-assign]
        await line.say(trade(id="1"))
        assert (await line.hear())["accepted"] == 1


async def test_one_who_hangs_up_or_never_listens_disturbs_nobody(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        deaf = socket.socket(socket.AF_UNIX)
        deaf.connect(str(house.path))
        deaf.sendall(trade() * 100)
        rude = socket.socket(socket.AF_UNIX)
        rude.connect(str(house.path))
        rude.sendall(b'{"type":"tra')
        rude.close()
        async with await Line.to(house) as line:
            await line.say(trade())
            assert (await line.hear())["accepted"] == 1
        deaf.close()


async def test_the_socket_is_its_owners_alone(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        assert stat.S_IMODE(house.path.stat().st_mode) == 0o600
        if os.geteuid() != 0:
            pytest.skip("only root can become another user")
        for folder in (tmp_path, *tmp_path.parents):
            if folder.stat().st_uid == 0 and folder != Path("/"):
                folder.chmod(folder.stat().st_mode | 0o011)
        house.path.chmod(0o666)  # even if the file lets them in, the daemon looks at who it is
        script = (
            "import os, socket, sys\nos.setuid(65534)\n"
            "sock = socket.socket(socket.AF_UNIX)\nsock.connect(sys.argv[1])\n"
            "print(sock.makefile().readline())\n"
        )
        said = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", script, str(house.path)], capture_output=True, text=True, check=True
        )
        assert json.loads(said.stdout) == {"status": 403, "error": "this socket is not for the user 65534"}
