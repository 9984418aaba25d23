"""Other people's plugins that block and never come back: each costs one thread, and nobody else's place."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from tests.acceptance.house import House, daemon, firing, patient, resolved, sink
from tests.acceptance.test_incident import hook

GUEST = '''
import os
from msgspec import Struct
from trader_monitor.runtime.probe import Probe
from trader_monitor.runtime.registry import check, collector


class Pipe(Struct, frozen=True):
    """A FIFO that is opened for reading, which waits for a writer."""

    path: str
    number: int = 0


@collector("stuck", Pipe)
def stuck(options, env):
    """Reads a pipe."""
    os.close(os.open(options.path, os.O_RDONLY))
    return []


@check("piped", Pipe)
def piped(options, env):
    """Reads a pipe."""
    os.close(os.open(options.path, os.O_RDONLY))
    return Probe(True, "the pipe has a writer")
'''
SILENT = """
import socket
import time

answers = socket.getaddrinfo

def getaddrinfo(host, *more, **options):
    if str(host).endswith(".silent") and not options.get("flags", 0) & socket.AI_NUMERICHOST:
        time.sleep(60)
    return answers(host, *more, **options)

socket.getaddrinfo = getaddrinfo
"""
MANY = 45
"""More than the worker threads that a library's default limit would let run at a time."""


def guest(folder: Path) -> dict[str, str]:
    """Installs another's plugins by entry point; the environment in which they are found."""
    (folder / "guest_plugins.py").write_text(GUEST)
    told = folder / "guest_plugins-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: guest-plugins\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[trader_monitor.plugins]\nguest = guest_plugins\n")
    return {"PYTHONPATH": str(folder)}


def threads(house: House) -> int:
    assert house.process is not None
    return len(list(Path(f"/proc/{house.process.pid}/task").iterdir()))


async def test_collectors_that_hang_cost_a_thread_each_and_the_others_go_on(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    config = '[collectors.monitor]\nevery = "1s"\n'
    for n in range(MANY):
        config += (
            f'[collectors.stuck{n}]\ntype = "stuck"\npath = "{pipe}"\nnumber = {n}\nevery = "1s"\ntimeout = "1s"\n'
        )
    config += '[collectors.unstuck]\ntype = "temperatures"\nevery = "1s"\ntimeout = "1s"\n'
    async with daemon(tmp_path, config, env=guest(tmp_path)) as house:
        held = 'monitor_calls_held_total{kind="collector",plugin="stuck"}'
        await house.until(held, lambda v: v >= 2 * MANY)
        few = threads(house)
        await house.until(held, lambda v: v >= 3 * MANY)
        assert threads(house) <= few + 2, "another round of all of them began no thread"
        await house.until("monitor_threads_left_behind", lambda v: v == MANY)
        assert await house.value('sum(collector_up{collector=~"stuck.*"})') == 0
        failed = [r["context"] for r in house.records() if r["message"] == "collection failed"]
        assert {context["collector"] for context in failed} == {f"stuck{n}" for n in range(MANY)}
        reasons = {context["reason"] for context in failed}
        assert reasons == {"no answer within 1 s", "the last one is still running: no other is begun"}
        assert await house.value('monitor_collections_failed_total{collector="unstuck"}') == 0
        assert (await house.value('max_over_time(collector_duration_seconds{collector="unstuck"}[1m])') or 9) < 0.5
        began = time.monotonic()
        assert await house.end() == 0
        assert time.monotonic() - began < 8, "an end waits for nobody who hangs"


async def test_a_check_that_hangs_fails_trips_and_is_well_when_its_answer_comes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    config = f"""
[checks.pipe]
type = "piped"
path = "{pipe}"
every = "1s"
timeout = "500ms"
trip_after = 2
cooldown = "1s"
"""
    async with sink() as slack, daemon(tmp_path, config + hook(slack.url), env=guest(tmp_path)) as house:
        await slack.want(firing("check_failing", check="pipe"))
        few = threads(house)
        (told,) = (await house.get("/v1/status"))["checks"]
        assert told["message"] == "no answer: the last one is still running: no other is begun"
        opened = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)
        try:
            await slack.want(resolved("check_failing", check="pipe"))
        finally:
            os.close(opened)
        assert threads(house) <= few + 1


async def test_a_resolver_that_is_silent_is_no_fault_of_those_who_were_to_be_asked(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SILENT)
    eager = 'every = "1s"\ntimeout = "500ms"\ntrip_after = 1\ncooldown = "1s"\nrecover = ["restart"]\n'
    names = [f"{kind}{n}" for kind in ("tcp", "http") for n in range(4)]
    async with patient() as gateway:
        config = f'[actions.restart]\ntype = "http"\nurl = "{gateway.url}/treat/restart"\narmed = true\n'
        for name in names:
            asked = f'url = "http://{name}.silent/"' if "http" in name else f'host = "{name}.silent"\nport = 80'
            config += f'[checks.{name}]\ntype = "{name[:-1]}"\n{asked}\n{eager}'
        async with daemon(tmp_path, config, env={"PYTHONPATH": str(tmp_path)}) as house:
            for name in names:
                await house.until(f'count_over_time(check_duration_seconds{{check="{name}"}}[1m])', lambda n: n >= 3)
            few = threads(house)
            told = {check["name"]: check for check in (await house.get("/v1/status"))["checks"]}
            for name, check in told.items():
                assert (check["ok"], check["breaker"]) == (None, "closed")
                assert check["message"].endswith(f"the resolver does not answer for {name}.silent")
            began = time.monotonic()
            await house.reload(config + "[rules.other]\nexpr = 'up > 9'\n")
            assert time.monotonic() - began < 3, "a reload waits for nobody who hangs"
            assert threads(house) <= few + 2
            assert gateway.called == []
