"""Outgoing requests: how much of an answer is read."""

from __future__ import annotations

import pytest
from aiohttp import web

from tests.plugins.house import house, server
from trader_monitor.runtime.outgoing import beginning

CHUNK = bytes(range(256)) * 256


async def endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    try:
        while True:
            await answer.write(CHUNK)
    except ConnectionError:
        return answer


@pytest.mark.parametrize("most", [1, len(CHUNK) - 1, len(CHUNK), 3 * len(CHUNK) + 1])
async def test_of_a_body_without_end_as_much_as_was_wanted(most: int) -> None:
    async with house() as env, server(endless) as url, env.http().get(url) as answer:
        assert await beginning(answer, most) == (CHUNK * 4)[:most]


@pytest.mark.parametrize("size", [0, 1, 100_000])
async def test_a_body_that_ends_before(size: int) -> None:
    async def whole(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * size)

    async with house() as env, server(whole) as url, env.http().get(url) as answer:
        assert await beginning(answer, 100_000) == b"x" * size
