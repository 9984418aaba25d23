"""What every test shares: a suite in which a blocked loop, a leaked task or a missing service is a failure."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
from collections.abc import AsyncIterator, Callable

import pytest

CI = os.environ.get("CI", "").lower() == "true"


@pytest.fixture
def need() -> Callable[..., str]:
    """`need("prometheus")` gives the program's path; without it a test is skipped here and fails in CI."""

    def find(program: str, package: str | None = None) -> str:
        path = shutil.which(program)
        if path is None:
            reason = f"{program} is missing: apt-get install {package or program}"
            if CI:
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find


@pytest.fixture(autouse=True)
async def _no_leaked_tasks(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """An asyncio task that a test leaves behind fails that test."""
    if not inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        yield
        return
    before = asyncio.all_tasks()
    yield
    mine = asyncio.current_task()
    for _ in range(20):
        left = {task for task in asyncio.all_tasks() - before if task is not mine and not task.done()}
        if not left:
            return
        await asyncio.sleep(0.005)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    names = sorted(f"{task.get_name()} {task.get_coro()!r}" for task in left)
    pytest.fail("tasks left behind: " + ", ".join(names))
