"""Reports of a running daemon: the runs that it made, asked for over HTTP, and the same from its store afterwards."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from tests.acceptance.house import House
from tests.acceptance.test_drift import send, until_runs
from tests.acceptance.test_performance import DAY, outcomes, predictions

CONFIG = """
[models]
every = "1s"
window = 1000

[performance]
every = "1s"
first = 200
positive = { direction = "up" }
"""


async def report(house: House, *words: str) -> Any:
    code, said = await house.command("report", *words, "--format", "json")
    assert code == 0, said
    return json.loads(said)["reports"]


async def test_reports_of_the_daemon_and_of_its_store_are_the_same(tmp_path: Path) -> None:
    house = House(tmp_path, CONFIG)
    await house.open()
    try:
        await send(house, 0, 3000)
        code, said = await house.command("report", "drift", "--model", "momentum")
        assert (code, "has no baseline" in said, "baseline set momentum" in said) == (1, True, True)
        code, said = await house.command("baseline", "set", "momentum", "--version", "3", "--last", "30d", "--quiet")
        assert code == 0, said
        await send(house, 10_000, 1000, shift=1.0)
        await until_runs(house, 1)
        made = predictions(0, 600, time.time() - 5 * DAY)
        await house.send(*made)
        await house.send(*outcomes(made))
        async with asyncio.timeout(20):
            while await house.value('model_coverage_ratio{model="direction", window="7d"}') != 1.0:
                await asyncio.sleep(0.1)
        (drifted,) = await report(house, "drift", "--model", "momentum")
        assert [each["name"] for each in drifted["features"][:2]] in (["f0", "f1"], ["f1", "f0"])
        assert {each["name"] for each in drifted["features"] if each["role"] == "output"} == {
            "(output)",
            "(probability)",
        }
        (performing,) = await report(house, "performance", "--model", "direction")
        assert performing["windows"][0]["coverage"] == 1.0
        page = tmp_path / "drift.html"
        code, said = await house.command("report", "drift", "--format", "html", "--out", str(page))
        assert (code, page.read_text().startswith("<!doctype html>")) == (0, True), said
        assert await house.end() == 0
        (afterwards,) = await report(house, "drift", "--model", "momentum")
        assert afterwards["features"] == drifted["features"]
        assert (await report(house, "performance"))[0]["model"] == "direction"
    finally:
        await house.kill()
