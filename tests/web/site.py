"""The page's site for tests: the application, feed and journal that are its own, and a browser before it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.web.chromium import Browser, Page, chromium
from tests.web.stage import Stage, stage
from trader_monitor.config.values import Listen
from trader_monitor.runtime.history import History
from trader_monitor.runtime.sockets import bind_tcp, port_of
from trader_monitor.web.api import board, figures, page, prometheus
from trader_monitor.web.app import serve

__all__ = ["browsing", "site", "tab"]


@asynccontextmanager
async def site(folder: Path, **options: object) -> AsyncIterator[tuple[Stage, str]]:
    """The stage with its HTTP door; yields the page's address."""
    sock = bind_tcp(Listen("127.0.0.1", 0), "http.listen")
    async with stage(folder, http=port_of(sock), **options) as house:  # type: ignore[arg-type]
        env = dataclasses.replace(house.env, history=History(house.journal))
        door = asyncio.create_task(
            serve(env, sock, [module.routes(env) for module in (page, board, figures, prometheus)])
        )
        try:
            yield house, f"http://127.0.0.1:{port_of(sock)}/"
        finally:
            door.cancel()
            with suppress(asyncio.CancelledError):
                await door


@asynccontextmanager
async def tab(need: Callable[..., str], folder: Path, url: str, **options: object) -> AsyncIterator[Page]:
    """A tab that must not complain."""
    async with browsing(need, folder) as browser:
        it = await browser.open(url, **options)  # type: ignore[arg-type]
        yield it
        assert it.errors == []


@asynccontextmanager
async def browsing(need: Callable[..., str], folder: Path) -> AsyncIterator[Browser]:
    async with chromium(need("chromium"), folder / "profile") as browser:
        yield browser
