"""What every registered plugin keeps to, whoever wrote it."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from msgspec import Struct
from msgspec.structs import fields

from tests.plugins.house import house
from trader_monitor.config.values import Secret
from trader_monitor.core.recovery.ladder import Incident
from trader_monitor.runtime.probe import Probe
from trader_monitor.runtime.readings import Metric, Partial, Reading
from trader_monitor.runtime.registry import Plugin, Registry

README = Path(__file__).parents[2] / "README.md"
PLUGINS: list[Plugin] = list(Registry.load())
IDS = [f"{plugin.kind}-{plugin.name}" for plugin in PLUGINS]
WORKING = ("collector", "check", "action")
"""Channels have a conformance test of their own, with the notices that they take."""

every = pytest.mark.parametrize("it", PLUGINS, ids=IDS)
_WORKING = [plugin for plugin in PLUGINS if plugin.kind in WORKING]
working = pytest.mark.parametrize("it", _WORKING, ids=[f"{plugin.kind}-{plugin.name}" for plugin in _WORKING])


def options(it: Plugin, url: str = "http://127.0.0.1:1/") -> Struct:
    """The plugin's options, with something fitting where they have no default."""
    port = int(url.rstrip("/").rpartition(":")[2])
    fitting: dict[str, Any] = {
        "url": url,
        "host": "127.0.0.1",
        "port": port,
        "match": "no such process anywhere",
        "source": "bot",
        "expr": "up > 0",
        "argv": ("/bin/sleep", "60"),
        "unit": "no-such-unit.service",
        "secret": Secret("x", "test"),
    }
    return it.options(**{f.name: fitting[f.name] for f in fields(it.options) if f.required})


async def called(it: Plugin, env: Any, url: str) -> Any:
    more = (Incident("bot-1", "bot", 0, "it failed"),) if it.kind == "action" else ()
    return await it.call(options(it, url), env, *more)


@pytest.mark.parametrize(
    "it", [plugin for plugin in PLUGINS if not getattr(plugin.options, "OWN", False)], ids=lambda it: it.name
)
def test_the_readme_lists_its_options_and_no_other(it: Plugin) -> None:
    row = re.search(rf"^\| {it.kind} `{it.name}` \|(.*)\|$", README.read_text(), re.MULTILINE)
    assert row is not None, f"{it.kind} {it.name}"
    text = re.sub(r"\([^)]*\)", "", row[1])
    assert sorted(re.findall(r"`(\w+)`", text)) == sorted(f.encode_name for f in fields(it.options))


@every
def test_its_help_is_one_sentence_of_one_line(it: Plugin) -> None:
    assert re.fullmatch(r"[A-Z].{10,120}[.;]", it.help), it.help


@every
def test_its_options_are_frozen_and_comparable(it: Plugin) -> None:
    assert it.options.__struct_config__.frozen
    one = options(it)
    assert one == options(it), "a reload compares them"
    with pytest.raises(AttributeError):
        setattr(one, next(iter(it.options.__struct_fields__), "anything"), 1)


@every
def test_its_options_are_documented(it: Plugin) -> None:
    assert (inspect.getdoc(it.options) or "").endswith((".", ":", '"')) or "`" in (inspect.getdoc(it.options) or "")


@every
def test_its_name_and_file_are_one(it: Plugin) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", it.name)
    assert it.function.__module__ == f"trader_monitor.plugins.{it.kind}s.{it.name}"


@every
def test_its_file_is_small(it: Plugin) -> None:
    assert len(inspect.getsource(inspect.getmodule(it.function)).splitlines()) < 300  # type: ignore[arg-type]


@working
async def test_it_ends_at_its_callers_deadline(it: Plugin) -> None:
    """Against a peer that accepts and is silent; a plugin that is done before is right as well."""
    async with silent() as url, house() as env:
        began = time.monotonic()
        with anyio.move_on_after(0.3):
            with suppress(OSError, RuntimeError, Partial):  # that it failed before is an end too
                await called(it, env, url)
        assert time.monotonic() - began < 3


@working
async def test_it_can_be_cancelled(it: Plugin) -> None:
    async with silent() as url, house() as env:
        task = asyncio.ensure_future(called(it, env, url))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=3)
        assert done, "it goes on after its cancellation"
        if not task.cancelled():
            task.exception()


@working
async def test_it_leaves_the_loop_free(it: Plugin) -> None:
    """No plugin holds the event loop for more than 100 ms, on a busy machine; it takes turns or runs in a thread."""
    async with answering() as url, house() as env:
        best = 1.0
        for _ in range(3):
            lags = [0.0]
            task = asyncio.ensure_future(called(it, env, url))
            deadline = time.monotonic() + 0.3
            while not task.done() and time.monotonic() < deadline:
                asleep = time.perf_counter()
                await asyncio.sleep(0)
                lags.append(time.perf_counter() - asleep)
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()
            best = min(best, max(lags))
        assert best < 0.1


COLLECTORS = [p for p in PLUGINS if p.kind == "collector"]


@pytest.mark.parametrize("it", COLLECTORS, ids=[p.name for p in COLLECTORS])
async def test_a_collectors_metrics_have_a_kind_a_help_and_a_lawful_name(it: Plugin) -> None:
    async with answering() as url, house() as env:
        readings = list(await called(it, env, url))
    declared = [v for v in vars(inspect.getmodule(it.function)).values() if isinstance(v, Metric)]
    for metric in [*declared, *(r.of for r in readings if r.of is not None)]:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
        assert metric.help.endswith("."), metric.name
    for reading in readings:
        assert isinstance(reading, Reading)
        assert reading.of is not None, reading.name
        assert isinstance(reading.value, int | float)
        assert all(isinstance(v, str) for pair in reading.labels.items() for v in pair)
    keys = [(r.name, tuple(sorted(r.labels.items()))) for r in readings]
    assert len(keys) == len(set(keys)), "a label set twice"


CHECKS = [p for p in PLUGINS if p.kind == "check"]


@pytest.mark.parametrize("it", COLLECTORS, ids=[p.name for p in COLLECTORS])
async def test_a_collector_that_claims_room_reads_the_daemon_or_its_host(it: Plugin) -> None:
    """What others choose to say (a target, a command line) must not fill the room that is kept for these."""
    async with house() as env:
        try:
            readings = list(await called(it, env, "http://127.0.0.1:1/"))
        except Partial as partial:
            readings = list(partial.readings)
    ours = all(reading.name.startswith(("host_", "monitor_")) for reading in readings)
    told = it.name in ("bots", "scrape") or it.name.endswith("_figures")  # by others, who are silent here
    assert getattr(it.options, "OWN", False) == (ours and not told)


@pytest.mark.parametrize("it", CHECKS, ids=[p.name for p in CHECKS])
async def test_a_check_answers_with_a_probe_and_says_what_it_saw(it: Plugin) -> None:
    async with answering() as url, house() as env:
        probe = await called(it, env, url)
    assert isinstance(probe, Probe)
    assert probe.ok in (True, False, None)
    assert probe.message
    assert probe.value is None or isinstance(probe.value, int | float)


def test_every_file_of_ours_registers_a_plugin() -> None:
    from pathlib import Path

    import trader_monitor.plugins

    folder = Path(trader_monitor.plugins.__path__[0])
    files = {f"{p.parent.name.removesuffix('s')}-{p.stem}" for p in folder.glob("*/*.py") if p.stem != "__init__"}
    assert files == set(IDS)


class silent:
    """A peer that accepts connections and says nothing."""

    async def __aenter__(self) -> str:
        self._gone = asyncio.Event()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await self._gone.wait()
            finally:
                writer.transport.abort()

        self._server = await asyncio.start_server(wait, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def __aexit__(self, *_: object) -> None:
        self._gone.set()
        self._server.close()
        await self._server.wait_closed()


class answering:
    """A peer that answers as everybody hopes, metrics included."""

    async def __aenter__(self) -> str:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text="# HELP a_total A.\n# TYPE a_total counter\na_total 1\n")

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
