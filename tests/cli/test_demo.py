"""The demonstration: real processes, a real alert at the desk, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from string import Template
from typing import Any

import psutil
import pytest

from trader_monitor.cli.demo import RECORDINGS
from trader_monitor.config.load import parse
from trader_monitor.runtime.registry import Registry


def test_its_configuration_is_valid() -> None:
    words = {"gateway": 3, "desk": 4, "broken": "/tmp/x", "python": sys.executable}
    text = Template((RECORDINGS / "demo.toml").read_text()).substitute(words)
    config = parse(text, Registry.load(), base=Path("/base"))
    assert config.actions["restart_gateway"].armed
    assert {"drawdown", "bot_silent"} <= set(config.rules)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda end: end.name)
async def test_it_shows_an_alert_and_leaves_nothing_behind(end: signal.Signals, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trader_monitor", "demo", "--speed", "max", "--json"),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(30):
            async for line in process.stdout:
                said.append(json.loads(line))
                if said[-1].get("what") == "alert" and "drawdown" in said[-1]["text"]:
                    break
        assert [step.get("what") for step in said][:1] == ["page"], said
        assert said[0]["url"].startswith("http://127.0.0.1:")
        cast = psutil.Process(process.pid).children(recursive=True)
        assert len(cast) >= 3
        process.send_signal(end)
    finally:
        if sys.exc_info()[0] is not None and process.returncode is None:
            process.terminate()
        async with asyncio.timeout(20):
            await process.communicate()
    if end is not signal.SIGKILL:
        assert process.returncode == 0
        assert await asyncio.to_thread(os.listdir, tmp_path) == []
    _, alive = await asyncio.to_thread(psutil.wait_procs, cast, 15)
    assert alive == []
