"""POST /v1/test-alert: through the real channel, with what came of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.loops.telling import Line, open_house
from trader_monitor.core.alerts.notice import Notice
from trader_monitor.runtime.registry import DeliveryError
from trader_monitor.web.api.alerts import routes

Ask = Callable[[Any], Awaitable[tuple[int, Any]]]


@asynccontextmanager
async def api(folder: Path, line: Line) -> AsyncIterator[tuple[Ask, Any]]:
    """The API on a free port: a function that posts a body and gives status and answer; and the house."""
    async with open_house(folder, [], [line.table("desk", min_severity="emergency")]) as house:
        app = web.Application()
        app.add_routes(routes(house.env))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/test-alert"

        async def ask(body: Any) -> tuple[int, Any]:
            async with aiohttp.ClientSession() as session, session.post(url, data=body) as answer:
                return answer.status, await answer.json()

        try:
            yield ask, house
        finally:
            await runner.cleanup()


async def test_a_test_notice_goes_its_real_way_and_is_marked(tmp_path: Path) -> None:
    line = Line()
    async with api(tmp_path, line) as (ask, house):
        status, answer = await ask(b'{"channel": "desk"}')
        assert status == 200
        assert (answer["outcome"], answer["delivered"], answer["receipt"]) == ("delivered", True, "taken")
        assert answer["seconds"] >= 0
        (notice,) = line.heard
        assert notice.test
        assert notice.alert.labels["test"] == "true"
        assert not house.board.alerts, "a test is no alert"
        assert not house.board.notices


async def test_a_channel_that_fails_says_why(tmp_path: Path) -> None:
    for permanent, outcome in ((False, "failed"), (True, "refused")):

        async def answer(notice: Notice, permanent: bool = permanent) -> str:
            raise DeliveryError("status 500: \x1b[31m", permanent=permanent)

        async with api(tmp_path, Line(answer)) as (ask, _):
            status, said = await ask(b'{"channel": "desk"}')
            assert status == 200
            assert (said["outcome"], said["delivered"], said["error"]) == (outcome, False, "status 500: \\x1b[31m")


async def test_an_unknown_channel_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    async with api(tmp_path, Line()) as (ask, _):
        assert await ask(b'{"channel": "dsk"}') == (404, {"error": "there is no channel 'dsk'; there are: desk"})


async def test_a_body_that_is_not_the_question_is_refused(tmp_path: Path) -> None:
    async with api(tmp_path, Line()) as (ask, _):
        for body in (b"", b"{}", b"[1]", b'{"channel": 1}', b'{"channel": "desk", "x": 1}', b"\xff", b"[" * 200_000):
            status, answer = await ask(body)
            assert (status, list(answer)) == (400, ["error"])
