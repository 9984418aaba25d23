"""A model that decays: outcomes after the horizon, the verdict, the rule that fires, and a kill in the middle."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tests.acceptance.house import House, firing, resolved, sink
from trader_monitor.core.models.performance.memory import Memory
from trader_monitor.core.models.performance.performance import PerformanceResult
from trader_monitor.runtime.performance_store import latest_performance, memories

DAY = 86_400.0
HOUR = 3_600.0
RULES = """
[performance]
every = "1s"
first = 200
positive = {{ direction = "up" }}

[channels.desk]
type = "webhook"
url = "{url}"

[rules.degraded]
expr = "model_degradation_severity{{window='7d'}} >= 3"
severity = "critical"
summary = "{{labels.model}} {{labels.version}}: roll back"

[rules.concept]
expr = "model_concept_drift == 1"
severity = "error"
summary = "{{labels.model}} {{labels.version}} has learned what no longer holds"
"""


def predictions(first: int, rows: int, since: float, version: str = "1") -> list[dict[str, Any]]:
    """One every two minutes, due an hour later."""
    random = np.random.default_rng(first)
    return [
        {
            "type": "prediction",
            "at": since + 120.0 * row,
            "id": f"p{first + row}",
            "source": "bot",
            "model": "direction",
            "version": version,
            "subject": f"S{row % 7}",
            "output": "up" if chance >= 0.5 else "down",
            "probability": float(chance),
            "horizon_seconds": HOUR,
        }
        for row, chance in enumerate(random.random(rows))
    ]


def outcomes(made: list[dict[str, Any]], turned: bool = False) -> list[dict[str, Any]]:
    """What came true: as often as the probability says, or as it should not."""
    random = np.random.default_rng(len(made))
    found = []
    for each in made:
        up = random.random() < (1.0 - each["probability"] if turned else each["probability"])
        at = each["at"] + HOUR + 300.0
        actual = "up" if up else "down"
        found.append({"type": "outcome", "at": at, "prediction_id": each["id"], "model": "direction", "actual": actual})
    return found


async def told(house: House, expr: str, wanted: float, within: float = 30.0) -> None:
    async with asyncio.timeout(within):
        while (found := await house.value(expr)) != wanted:
            await asyncio.sleep(0.1)
    assert found == wanted


def kept(house: House) -> Memory:
    return msgspec.msgpack.decode(memories(house.folder / "store.db")["direction", "1"], type=Memory)


def run(house: House) -> PerformanceResult:
    """The newest."""
    (raw,) = latest_performance(house.folder / "store.db", "direction")
    return msgspec.msgpack.decode(raw, type=PerformanceResult)


async def test_a_model_decays_and_is_rolled_back(tmp_path: Path) -> None:
    now = time.time()
    async with sink() as desk:
        house = House(tmp_path, RULES.format(url=desk.url))
        await house.open()
        try:
            good = predictions(0, 900, now - 9 * DAY)
            # The outcomes come before the predictions: a feed may be ahead of a bot.
            await house.send(*outcomes(good))
            await told(house, "model_outcomes_unclaimed or vector(-1)", -1.0)
            await house.send(*good)
            await told(house, 'model_labels{window="30d", state="orphans"}', 0.0)
            await told(house, 'model_coverage_ratio{window="30d"}', 1.0)
            await told(house, 'model_label_delay_seconds{window="30d", quantile="0.5"}', 300.0)
            f1 = await house.value('model_f1_ratio{window="30d"}')
            assert f1 is not None
            assert 0.65 < f1 < 0.85
            assert await house.value('model_f1_ratio_observations{window="30d"}') == 700.0, "200 made the baseline"
            bad = predictions(1000, 600, now - 2 * DAY)
            await house.send(*bad)
            await told(house, 'model_coverage_ratio{window="7d"} < bool 1', 1.0)
            estimated = await house.value('model_f1_estimated_ratio{method="cbpe"}')
            assert estimated is not None, "before the labels"
            assert estimated > 0.6
            await house.send(*outcomes(bad[:300], turned=True))
            await desk.want(firing("degraded", model="direction", version="1", window="7d"), within=30)
            await desk.want(firing("concept", model="direction"), within=30)
            before = kept(house)
            await house.kill()
            killed_at = time.time()
            await house.open()
            assert await house.value('model_degradation_severity{window="7d"}') == 3.0
            async with asyncio.timeout(20):
                while (result := run(house)).at < killed_at:
                    await asyncio.sleep(0.1)
            assert kept(house).evidence == before.evidence, "no outcome is evidence twice"
            assert kept(house).scores == before.scores, "the baseline is taken once"
            assert (result.verdict, result.severity, result.task) == ("severe", 3, "binary")
            assert [each.action for each in result.recommendations[:2]] == ["roll back", "retrain"]
            told_by_api = await house.get("/v1/models/performance", model="direction", version="1", last="1")
            assert told_by_api["runs"][-1]["verdict"] == "severe"
            status, report = await house.command("report", "performance", "--model", "direction")
            assert status == 0, report
            assert "roll back" in report
            assert "WINDOW 7D" in report
            # The labels were wrong: the feed says so, and the later word counts.
            restated = [each | {"at": each["at"] + 60.0} for each in outcomes(bad[:300])]
            await house.send(*restated)
            await desk.want(resolved("degraded", model="direction"), within=30)
            await told(house, 'model_labels{window="7d", state="corrected"} > bool 100', 1.0)
            await told(house, "model_concept_drift", 1.0)
            assert await house.end() == 0
        finally:
            await house.kill()
