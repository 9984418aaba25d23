"""Waiting for whichever comes first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

__all__ = ["first_of"]


async def first_of(*waits: Callable[[], Awaitable[object]]) -> None:
    """Returns as soon as one of the calls does; the others are cancelled."""
    async with anyio.create_task_group() as group:

        async def wait(call: Callable[[], Awaitable[object]]) -> None:
            await call()
            group.cancel_scope.cancel()

        for call in waits:
            group.start_soon(wait, call)
