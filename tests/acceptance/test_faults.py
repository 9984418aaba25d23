"""Days on which the host itself fails: a full disk, a stopped process, a corrupt store."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.house import account, daemon, firing, resolved, sink
from tests.acceptance.test_incident import RULES, hook

EAGER = '[collectors.monitor]\nevery = "1s"\n'


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)


async def test_on_a_full_disk_nothing_is_promised_and_the_alert_still_leaves(small_disk: Path) -> None:
    async with sink() as slack, daemon(small_disk, RULES + EAGER + hook(slack.url)) as house:
        assert (await house.send(account(100_000.0)))[0] == 202
        filler = small_disk / "filler"
        fill(filler)
        refused = 0
        while refused < 3:
            status, answer = await house.send(account(99_000.0))
            assert status in (202, 503), answer
            refused += status == 503
        await slack.want(firing("monitor_store_degraded"), within=20)
        filler.unlink()
        async with asyncio.timeout(20):
            while (await house.send(account(98_000.0)))[0] != 202:
                await asyncio.sleep(0.1)
        await slack.want(resolved("monitor_store_degraded"), within=20)
        assert await house.value("account_equity") == 98_000.0
        await house.kill()
        await house.open()
        assert await house.value("account_equity") == 98_000.0


async def test_a_daemon_that_was_stopped_for_a_while_goes_on_where_it_was(tmp_path: Path) -> None:
    async with sink() as slack, daemon(tmp_path, RULES + hook(slack.url)) as house:
        assert (await house.send(account(100_000.0)))[0] == 202
        house.signal(signal.SIGSTOP)
        await asyncio.sleep(3)  # the suspension itself
        house.signal(signal.SIGCONT)
        async with asyncio.timeout(5):  # a commit that was under way is a stall at first: 503, and the bot sends again
            while (await house.send(account(50_000.0)))[0] != 202:
                await asyncio.sleep(0.05)
        await slack.want(firing("drawdown"))
        deaths = (await house.get("/v1/status"))["children"]
        assert [child["name"] for child in deaths if child["restarts"]] == []


async def test_a_corrupt_store_is_put_aside_and_said_so(tmp_path: Path) -> None:
    async with daemon(tmp_path, RULES) as house:
        await house.send(account(100_000.0))
        assert await house.end() == 0
        store = tmp_path / "store.db"
        damaged = bytearray(store.read_bytes())
        damaged[:100] = b"\xff" * 100
        store.write_bytes(damaged)
        await house.open()
        assert (await house.get("/v1/status"))["store"]["degraded"]
        (aside,) = tmp_path.glob("store.db.corrupt-*")
        assert aside.read_bytes() == bytes(damaged)
        assert (await house.send(account(1.0)))[0] == 202


BREAKS = """
import trader_monitor.loops.recover as room

async def recover(env):
    raise RuntimeError("broken on purpose")

room.recover = recover
"""


async def test_a_part_that_keeps_failing_is_parked_and_told_once(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BREAKS)
    broken = {"PYTHONPATH": str(tmp_path)}
    async with sink() as slack, daemon(tmp_path, RULES + EAGER + hook(slack.url), env=broken) as house:
        told = await slack.want(firing("monitor_child_parked", child="recover"), within=40)
        assert told["labels"]["severity"] == "critical"
        children = {child["name"]: child for child in (await house.get("/v1/status"))["children"]}
        assert children["recover"]["state"] == "parked"
        assert "broken on purpose" in children["recover"]["last_cause"]
        assert [name for name, child in children.items() if child["restarts"]] == ["recover"]
        deaths = [r["context"] for r in house.records() if r["message"].startswith("child died")]
        assert [death["decision"] for death in deaths] == ["restart"] * (len(deaths) - 1) + ["park"]
        assert await house.value('sum(monitor_child_deaths_total{child="recover",decision=""})') == len(deaths)
        assert (await house.send(account(100.0)))[0] == 202, "the others go on"
        parked = [alert for alert in slack.alerts if alert["labels"]["alertname"] == "monitor_child_parked"]
        assert len(parked) == 1
