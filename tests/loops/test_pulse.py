"""The pulse, with somebody who plays systemd and somebody who plays a dead man's switch."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from trader_monitor.loops.pulse import pulse
from trader_monitor.runtime.child import ChildStatus
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.progress import Progress
from trader_monitor.runtime.supervisor import Child, Supervisor
from trader_monitor.runtime.systemd import Notifier


class Systemd:
    """Hears datagrams, and knows what it would do about silence."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.setblocking(False)
        self.address = str(path)

    def hear(self) -> list[str]:
        heard = []
        while True:
            try:
                heard.append(self.sock.recv(4096).decode())
            except BlockingIOError:
                return heard

    def fed(self) -> int:
        return self.hear().count("WATCHDOG=1")


class House(SimpleNamespace):
    """As much of the house as the pulse touches."""

    def __init__(self, **parts: Any) -> None:
        clock = ManualClock()
        super().__init__(clock=clock, progress=Progress(clock), meters=Meters(), children=tuple, ready=tuple)
        self.__dict__.update(parts)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    manager = Systemd(tmp_path / "notify")
    yield manager
    manager.sock.close()


@asynccontextmanager
async def beating(env: Any, *arguments: Any) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(pulse, env, *arguments)
        await anyio.wait_all_tasks_blocked()
        yield
        group.cancel_scope.cancel()


async def test_the_watchdog_is_fed_four_times_in_its_period(systemd: Systemd) -> None:
    env = House()
    async with beating(env, Notifier(systemd.address, 12.0)):
        assert systemd.fed() == 1
        await env.clock.advance(12.0)
        assert systemd.fed() == 4


async def test_without_a_watchdog_it_pulses_all_the_same(systemd: Systemd) -> None:
    env = House()
    async with beating(env, Notifier(systemd.address)):
        await env.clock.advance(5.0)
    assert env.progress.last("pulse") == 1005.0


async def test_an_essential_loop_without_progress_is_not_covered_up(systemd: Systemd) -> None:
    env = House()
    env.progress.watch("evaluate", 10.0)
    with capture_logs() as logs:
        async with beating(env, Notifier(systemd.address, 30.0)):
            await env.clock.advance(10.0)
            assert systemd.fed() == 3
            await env.clock.advance(30.0)
            heard = systemd.hear()
            assert "WATCHDOG=1" not in heard, "systemd kills us now"
            assert heard[-1] == "STATUS=no progress: evaluate 40 s"
            assert env.meters.get("monitor_stalled_loops") == 1
            env.progress.beat("evaluate")
            await env.clock.advance(5.0)
            assert systemd.fed() == 1, "it came back in time"
    assert [(entry["event"], entry.get("loops")) for entry in logs] == [
        ("no progress: the watchdog is not fed", ["evaluate"]),
        ("progress again: the watchdog is fed", None),
    ]


async def test_the_pulse_itself_may_be_watched() -> None:
    env = House()
    env.progress.watch("pulse", 6.0)
    env.progress.watch("store", 10.0)
    async with beating(env):
        await env.clock.advance(60.0)
        assert env.progress.stalled(env.clock.now()) == ("store",)


def child(name: str, state: Any) -> ChildStatus:
    return ChildStatus(name, state, False, 0, 0.0, "", None, "root")


STATUSES: dict[str, tuple[dict[str, Callable[[], object]], str]] = {
    "what is missing until it is ready": ({"ready": lambda: ("replaying",)}, "not ready: replaying"),
    "all is well": ({"children": lambda: (child("a", "running"), child("b", "running"))}, "2 of 2 children run"),
    "who is in trouble": (
        {"children": lambda: (child("a", "running"), child("b", "parked"), child("c", "backoff"))},
        "1 of 3 children run: b parked, c backoff",
    ),
}


@pytest.mark.parametrize(("parts", "text"), STATUSES.values(), ids=STATUSES)
async def test_the_status_line_says(systemd: Systemd, parts: dict[str, object], text: str) -> None:
    async with beating(House(**parts), Notifier(systemd.address)):
        assert f"STATUS={text}" in systemd.hear()


async def test_a_hung_loop_under_supervision_starves_the_watchdog_only_while_it_hangs(systemd: Systemd) -> None:
    """The whole chain: a child that hangs is restarted by the supervisor, and the food goes on."""
    env = House()

    lives = 0

    async def evaluate() -> None:
        nonlocal lives
        lives += 1
        while lives > 1:
            env.progress.beat("evaluate")
            await env.clock.sleep(1.0)
        await anyio.sleep_forever()

    tree = Supervisor([Child("evaluate", evaluate, essential=True, deadline=12.0)], env.clock, progress=env.progress)
    with capture_logs():
        async with beating(env, Notifier(systemd.address, 30.0)):
            running = asyncio.create_task(tree.run())
            await env.clock.advance(30.0)
            assert lives == 2
            assert systemd.fed() == 7
            running.cancel()
            await asyncio.wait((running,))


async def test_the_external_heartbeat_says_that_we_live_and_falls_silent_when_we_do_not() -> None:
    seen: list[str] = []
    status = 200

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=status)

    application = web.Application()
    application.router.add_get("/ping/{key}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]

    async def requests(number: float, outcome: str) -> None:
        with anyio.fail_after(5):
            while env.meters.get("monitor_heartbeats_total", outcome=outcome) < number:
                await asyncio.sleep(0.005)  # a real request is under way

    async with aiohttp.ClientSession() as session:
        env = House(http=lambda: session)
        with capture_logs() as logs:
            async with beating(env, None, f"http://127.0.0.1:{port}/ping/key"):
                await requests(1, "ok")
                status = 500
                await env.clock.advance(60.0)
                await requests(1, "error")
                await env.clock.advance(60.0)
                await requests(2, "error")
                env.progress.watch("store", 1.0)
                await env.clock.advance(600.0)
                assert len(seen) == 3, "no progress, no request"
    await runner.cleanup()
    assert logs[0]["event"] == "the external heartbeat was not taken"
    assert "key" not in str(logs), "the address is a secret"
