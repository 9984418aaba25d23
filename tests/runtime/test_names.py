"""Names: looked up beside everything else; a silent resolver is told from a silent peer."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from tests.plugins.house import house
from trader_monitor.runtime import names
from trader_monitor.runtime.names import connect, look_up
from trader_monitor.runtime.threads import Threads
from trader_monitor.runtime.unasked import could_not_ask


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A resolver that does not answer until the test ends; what it was asked."""
    asked: list[str] = []
    free = threading.Event()
    answers = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        if flags & socket.AI_NUMERICHOST:
            return answers(host, port, family, type, proto, flags)
        asked.append(host)
        free.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    free.set()


async def test_an_address_is_no_name_and_asks_nobody(silent: list[str]) -> None:
    found = await look_up(Threads(), "127.0.0.1", 80)
    assert [address for *_, address in found] == [("127.0.0.1", 80)]
    assert [address[0] for *_, address in await look_up(Threads(), "::1", 80)] == ["::1"]
    assert silent == []


async def test_a_silent_resolver_is_given_up_before_the_callers_deadline_and_asked_once(silent: list[str]) -> None:
    threads = Threads()
    for _ in range(3):
        with pytest.raises(socket.gaierror, match=r"the resolver does not answer for desk\.example") as caught:
            with anyio.fail_after(0.2):
                await look_up(threads, "desk.example", 443)
        assert could_not_ask(caught.value)
    assert silent == ["desk.example"]


async def test_without_a_deadline_it_is_given_up_all_the_same(
    silent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "LONGEST", 0.05)
    with pytest.raises(socket.gaierror):
        await look_up(Threads(), "desk.example", 443)


async def test_who_is_cancelled_while_he_waits_is_cancelled(silent: list[str]) -> None:
    task = asyncio.ensure_future(look_up(Threads(), "desk.example", 443))
    async with asyncio.timeout(10):
        while not silent:
            await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_first_address_that_accepts_is_taken(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", at)) for at in (unused_tcp_port, port)]

    async def both(*_: Any) -> list[Any]:
        return found

    monkeypatch.setattr(names, "look_up", both)
    async with server, house() as env:
        with await connect(env, "desk.example", port) as connection:
            assert connection.getpeername() == ("127.0.0.1", port)
        del found[1]
        with pytest.raises(ConnectionRefusedError):
            await connect(env, "desk.example", port)
        found.clear()
        with pytest.raises(socket.gaierror, match="no address"):
            await connect(env, "desk.example", port)
