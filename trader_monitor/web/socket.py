"""The Unix socket for bots on this host: NDJSON in, a line of JSON out for each batch.

A batch is what whole lines were at hand when the one before was answered, so a bot that sends one line gets one
answer, and one that sends a thousand gets as few as the monitor can keep up with. Each answer says `through`
which line of the connection it speaks, counted from 1 and empty lines too; `line` in `errors` counts the same
way. `status` and the rest are as `POST /v1/events` answers.

A line that was begun must end: one that keeps no pace is answered with 408, and the connection ends.

Only the daemon's own user and root may connect.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from trader_monitor.runtime.journal import StoreUnavailable
from trader_monitor.runtime.sockets import lend
from trader_monitor.runtime.trace import new_trace
from trader_monitor.web.body import Pace
from trader_monitor.web.border import MAX_EVENT
from trader_monitor.web.intake import take_lines

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

__all__ = ["ingest"]

MAX_CONNECTIONS = 256
BATCH = 500
"""The most lines that one answer covers."""

_READ = 256 << 10
_ANSWER_WITHIN = 10.0
_PACE = Pace()
_PEER = struct.Struct("3i")

log = structlog.get_logger("ingest")


async def ingest(env: Env, sock: socket.socket, *, pace: Pace = _PACE) -> None:
    """Takes connections on a duplicate of the listening socket until it is cancelled."""
    loop = asyncio.get_running_loop()
    door = lend(sock)
    door.setblocking(False)
    visits: set[asyncio.Task[None]] = set()
    try:
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    connection, _ = await loop.sock_accept(door)
                except OSError as error:  # out of descriptors: those that are open must end first
                    log.error("a connection was not accepted", reason=error.strerror)
                    await env.clock.sleep(1.0)
                    continue
                connection.setblocking(False)
                if len(visits) >= MAX_CONNECTIONS:
                    _turn_away(connection, 503, "too many connections")
                    continue
                visit = group.create_task(_visit(env, connection, pace))
                visits.add(visit)
                visit.add_done_callback(visits.discard)
    finally:
        door.close()


async def _visit(env: Env, connection: socket.socket, pace: Pace) -> None:
    """One connection, to its end."""
    with connection:
        _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid not in (0, os.geteuid()):
            _turn_away(connection, 403, f"this socket is not for the user {uid}")
            return
        new_trace()
        try:
            await _converse(env, connection, pace)
        except OSError:
            return  # the bot went away: whatever it was not told about, it sends again


async def _converse(env: Env, connection: socket.socket, pace: Pace) -> None:
    loop = asyncio.get_running_loop()
    rest = b""
    began: float | None = None
    """Since when a line is waited for that was begun."""
    number = 0
    while True:
        try:
            async with asyncio.timeout_at(None if began is None else began + pace.due(len(rest))):
                chunk = await loop.sock_recv(connection, _READ)
        except TimeoutError:
            error = {"status": 408, "error": f"a line was begun and did not end: it may take {pace}"}
            await _tell(connection, error | {"through": number + 1})
            return
        whole, newline, rest = (rest + chunk).rpartition(b"\n") if chunk else (rest, b"", b"")
        lines = whole.split(b"\n") if newline or whole else []
        for first in range(0, len(lines), BATCH):
            batch = lines[first : first + BATCH]
            numbered = [(n, line) for n, line in enumerate(batch, number + 1) if line and not line.isspace()]
            number += len(batch)
            if numbered:
                await _tell(connection, await _taken(env, numbered) | {"through": number})
        if len(rest) > MAX_EVENT:
            error = {"status": 413, "error": f"a line is longer than {MAX_EVENT >> 10} KiB", "through": number + 1}
            await _tell(connection, error)
            return
        if not chunk:
            return
        if not rest:
            began = None
        elif newline or began is None:
            began = loop.time()


async def _taken(env: Env, numbered: list[tuple[int, bytes]]) -> dict[str, Any]:
    try:
        answer = await take_lines(env, numbered)
    except StoreUnavailable as error:
        return {"status": 503, "error": str(error), "retry_after": error.retry_after, "accepted": 0, "duplicates": 0}
    except Exception:
        log.exception("a batch failed", lines=len(numbered))
        return {"status": 500, "error": "the monitor failed at this batch", "accepted": 0, "duplicates": 0}
    return {"status": answer.status} | answer.body()


async def _tell(connection: socket.socket, answer: dict[str, Any]) -> None:
    """A bot that does not read its answers is let go. Raises OSError."""
    line = msgspec.json.encode(answer) + b"\n"
    async with asyncio.timeout(_ANSWER_WITHIN):
        await asyncio.get_running_loop().sock_sendall(connection, line)


def _turn_away(connection: socket.socket, status: int, error: str) -> None:
    """A word, if the socket takes it at once, and the end."""
    with connection:
        try:
            connection.send(msgspec.json.encode({"status": status, "error": error}) + b"\n")
        except OSError:
            return
