"""A model that drifts: the baseline by command, the run that finds it, the rule that fires, a kill in the middle."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from tests.acceptance.house import House, firing, resolved, sink
from trader_monitor.core.models.streaming.detector import Detectors
from trader_monitor.runtime.model_store import detector_states
from trader_monitor.runtime.store import open_read_only

NAMES = tuple(f"f{number}" for number in range(6))
RULES = """
[models]
every = "1s"
window = 1000

[channels.desk]
type = "webhook"
url = "{url}"

[rules.drift]
expr = "model_drift_severity >= 2"
severity = "error"
summary = "{{labels.model}} {{labels.version}} drifts"

[rules.no_baseline]
expr = "model_baseline_missing == 1"
severity = "warning"
summary = "{{labels.model}} {{labels.version}} has no baseline"
"""


def predictions(first: int, rows: int, shift: float = 0.0, **fields: Any) -> Iterator[bytes]:
    """NDJSON, a thousand at a time; of six features the first two are shifted."""
    random = np.random.default_rng(first)
    matrix = random.normal(size=(rows, len(NAMES)))
    matrix[:, :2] += shift
    now = time.time()
    for begin in range(0, rows, 1000):
        lines = []
        for row in range(begin, min(begin + 1000, rows)):
            features = dict(zip(NAMES, matrix[row].tolist(), strict=True))
            event = {
                "type": "prediction",
                "at": now - (rows - row) * 1e-3,
                "id": f"{first + row}",
                "source": "bot",
                "model": "momentum",
                "version": "3",
                "output": float(matrix[row].sum()),
                "probability": float(1 / (1 + np.exp(-matrix[row, 2]))),
                "features": features,
            }
            lines.append(json.dumps(event | fields))
        yield "\n".join(lines).encode()


async def send(house: House, first: int, rows: int, shift: float = 0.0, **fields: Any) -> None:
    for body in predictions(first, rows, shift, **fields):
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                house.url + "/v1/events", data=body, headers={"Content-Type": "application/x-ndjson"}
            ) as answer,
        ):
            assert answer.status == 202, await answer.text()


def seen_by_detectors(house: House) -> set[int]:
    """How many rows each of the detectors has taken in since the baseline."""
    with closing(open_read_only(house.folder / "store.db")) as db:
        return {Detectors.decode(state.body).row for state in detector_states(db, "momentum", "3")}


async def until_seen(house: House, rows: int) -> None:
    async with asyncio.timeout(20):
        while seen_by_detectors(house) != {rows}:
            await asyncio.sleep(0.05)


async def until_runs(house: House, count: int) -> list[str]:
    """The severity of each run, when there are so many."""
    async with asyncio.timeout(20):
        while True:
            runs = (await house.get("/v1/models/runs", model="momentum", version="3"))["runs"]
            if len(runs) >= count:
                return [run["result"]["severity"] for run in runs]
            await asyncio.sleep(0.05)


async def test_a_shift_is_found_and_told_and_a_kill_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    async with sink() as desk:
        house = House(tmp_path, RULES.format(url=desk.url))
        await house.open()
        try:
            await send(house, 0, 3000)
            await desk.want(firing("no_baseline", model="momentum", version="3"))
            words = ("baseline", "set", "momentum", "--version", "3", "--last", "30d", "--quiet")
            code, said = await house.command(*words)
            assert (code, "8 baselines of 3,000 rows are in force" in said) == (0, True), said
            await desk.want(resolved("no_baseline"))
            await send(house, 10_000, 1000)
            assert await house.until("model_drift_severity", lambda value: True) == 0.0
            await send(house, 20_000, 1000, shift=1.0)
            await desk.want(firing("drift", model="momentum", version="3"), within=20)
            assert await house.value('model_stream_drift_alarm{feature="f0"}') == 1.0
            assert await house.value('model_stream_drift_alarm{feature="f5"}') == 0.0
            # Others come, and the daemon dies before it could have taken them in, or in the middle of that.
            await send(house, 30_000, 1000, shift=1.0)
            await house.kill()
            told = len(desk.alerts)
            await house.open()
            assert (await house.until("model_drift_severity", lambda value: True)) >= 2.0
            await until_seen(house, 3000)
            assert await house.value('model_stream_drift_alarm{feature="f0"}') == 1.0
            assert await until_runs(house, 3) == ["none", "high", "high"]
            assert not [alert for alert in desk.alerts[told:] if alert["status"] == "firing"], "nobody is told twice"
            await send(house, 40_000, 1000)
            await desk.want(resolved("drift"), within=20)
            await until_seen(house, 4000)
            assert await house.value('model_stream_drift_alarm{feature="f0"}') == 1.0, "it stands"
            code, said = await house.command("baseline", "reset", "momentum", "--version", "3", "--feature", "f0")
            assert (code, said) == (0, "alarms let go: f0\n")
            await house.until('model_stream_drift_alarm{feature="f0"}', lambda value: value == 0.0)
            assert await house.value('model_stream_drift_alarm{feature="f1"}') == 1.0
            (model,) = (await house.get("/v1/models"))["models"]
            assert (model["rows"], model["baseline"]["features"]) == (7000, 8)
            assert (model["drift"]["severity"], model["drift"]["trouble"]) == ("none", "")
            shown = (await house.get("/v1/figures", room="models", name="model_drift_severity"))["figures"]
            assert [(figure["value"], figure["labels"]["version"]) for figure in shown] == [(0.0, "3")]
        finally:
            await house.kill()
