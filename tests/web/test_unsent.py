"""Large answers and those who ask for them and never read: they cost a bounded amount of memory, for a bounded time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from tests.parts import env_in, running, until
from trader_monitor.config.tables import Config, Http
from trader_monitor.config.values import Listen
from trader_monitor.runtime.clock import SystemClock
from trader_monitor.runtime.sockets import bind_tcp, port_of
from trader_monitor.web import app
from trader_monitor.web.app import serve
from trader_monitor.web.body import Pace
from trader_monitor.web.unsent import UNSENT, Overfull, Unsent

SIZE = 24 << 20
"""More than the kernel's buffers of a loopback connection take."""
PIECES = [bytes([number % 251]) * (1 << 20) for number in range(24)]


class House(NamedTuple):
    url: str
    port: int
    http: aiohttp.ClientSession
    unsent: Unsent

    async def deaf(self, path: bytes) -> socket.socket:
        """Asks and reads nothing; returns when the answer is under way."""
        guest = socket.create_connection(("127.0.0.1", self.port))
        guest.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before = self.unsent.held
        guest.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await until(lambda: self.unsent.held > before)
        return guest


@asynccontextmanager
async def house(folder: Path, *, pace: Pace | None = None, most: int = 2 * SIZE) -> AsyncIterator[House]:
    """A door with two rooms: `/pieces` gives its answer in pieces, `/whole` as one."""
    accounts: list[Unsent] = []

    async def account(request: web.Request) -> web.Response:
        accounts.append(request.app[UNSENT])
        return web.Response()

    async def pieces(request: web.Request) -> web.Response:
        try:
            return web.Response(body=request.app[UNSENT].body(request, PIECES), content_type="text/plain")
        except Overfull:
            return web.Response(status=503)

    async def whole(request: web.Request) -> web.Response:
        return web.Response(body=b"".join(PIECES), content_type="text/plain")

    http = bind_tcp(Listen("127.0.0.1", 0), "http.listen")
    port = port_of(http)
    config = Config(file=folder / "config.toml", http=Http(listen=Listen("127.0.0.1", port)))
    routes = [web.get("/account", account), web.get("/pieces", pieces), web.get("/whole", whole)]
    async with (
        env_in(folder, config, SystemClock()) as env,
        running(serve(env, http, [routes], pace=pace or Pace())),
        aiohttp.ClientSession() as session,
    ):
        url = f"http://127.0.0.1:{port}"
        async with session.get(url + "/account"):
            pass
        accounts[0].most = most
        yield House(url, port, session, accounts[0])


@pytest.mark.parametrize("path", ["/pieces", "/whole"])
async def test_a_large_answer_arrives_as_it_is_and_leaves_nothing_behind(tmp_path: Path, path: str) -> None:
    async with house(tmp_path) as here, here.http.get(here.url + path) as answer:
        assert await answer.read() == b"".join(PIECES)
        assert answer.content_type == "text/plain"
        assert answer.content_length == SIZE
        await until(lambda: here.unsent.held == 0)


@pytest.mark.parametrize("path", [b"/pieces", b"/whole"])
async def test_who_reads_nothing_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: bytes) -> None:
    monkeypatch.setattr(app, "TAKE_WITHIN", 0.3)
    async with house(tmp_path) as here:
        guest = await here.deaf(path)
        assert here.unsent.held > SIZE / 2
        await until(lambda: here.unsent.held == 0)
        guest.close()


async def test_who_reads_too_slowly_is_cut(tmp_path: Path) -> None:
    """A little every now and then is not enough: the whole has to be taken at the pace."""
    async with house(tmp_path, pace=Pace(grace=0.5, rate=SIZE)) as here:
        guest = await here.deaf(b"/pieces")
        guest.setblocking(False)
        taken = 0
        async with asyncio.timeout(20):
            while here.unsent.held:
                try:
                    taken += len(guest.recv(65_536))
                except BlockingIOError:
                    pass
                except ConnectionResetError:
                    break
                await asyncio.sleep(0.02)
        assert 0 < taken < SIZE
        await until(lambda: here.unsent.held == 0)
        guest.close()


@pytest.mark.parametrize("path", [b"/pieces", b"/whole"])
async def test_answers_that_nobody_takes_are_bounded_together(tmp_path: Path, path: bytes) -> None:
    """Two fit; the third is refused, and answered once one of the two has gone."""
    async with house(tmp_path, most=2 * SIZE) as here:
        first, second = await here.deaf(path), await here.deaf(path)
        async with here.http.get(here.url + path.decode()) as third:
            assert third.status == 503
        assert here.unsent.held <= 2 * SIZE
        first.close()
        await until(lambda: here.unsent.held <= SIZE)
        async with here.http.get(here.url + path.decode()) as third:
            assert third.status == 200
            assert len(await third.read()) == SIZE
        second.close()
        await until(lambda: here.unsent.held == 0)


async def test_an_answer_whose_receiver_has_left_costs_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        for _ in range(5):
            guest = await here.deaf(b"/pieces")
            guest.close()
            await until(lambda: here.unsent.held == 0)


async def test_an_answer_that_is_never_begun_costs_nothing() -> None:
    """Its receiver left while it was made."""
    unsent = Unsent(Pace())
    body = unsent.body(make_mocked_request("GET", "/"), PIECES)
    assert unsent.held == SIZE
    del body
    assert unsent.held == 0
