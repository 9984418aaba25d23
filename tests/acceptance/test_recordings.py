"""Real bots' recordings, played over HTTP into a daemon that is killed in the middle, end at the bots' own figures."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest

from tests.acceptance.house import House, daemon

DATA = Path(__file__).parent.parent / "data"

FIGURES = [
    (
        "nautilus_goog_daily.jsonl.gz",
        {
            "sum(pnl_realized)": 74_358.00,
            "sum(trade_fills_total)": 162,
            "sum(trades_closed_total)": 81,
            "sum(trade_win_ratio)": pytest.approx(0.3827, abs=5e-5),
            "sum(trade_profit_factor)": pytest.approx(1.789, abs=5e-4),
            "max(account_drawdown_max_ratio)": pytest.approx(0.1384, abs=5e-5),
        },
    ),
    (
        "nautilus_eurusd_overleveraged.jsonl.gz",
        {
            "sum(pnl_realized)": pytest.approx(125_877.43, abs=0.005),
            "sum(trade_fills_total)": 1_628,
            "sum(trade_fees_total)": pytest.approx(37_926.90, abs=0.005),
            "sum(trades_closed_total)": 407,
            "max(account_drawdown_max_ratio)": pytest.approx(0.5747, abs=5e-5),
        },
    ),
]


async def play(house: House, name: str, *, speed: str = "max") -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "trader_monitor",
        "play",
        str(DATA / name),
        "--format",
        "nautilus",
        "--speed",
        speed,
        "--url",
        house.url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode is not None
    if process.returncode not in (0, 3):
        raise AssertionError(out.decode())
    return process.returncode


@pytest.mark.parametrize(("name", "figures"), FIGURES)
async def test_a_recording_ends_at_the_bots_own_figures(tmp_path: Path, name: str, figures: dict[str, float]) -> None:
    async with daemon(tmp_path, "") as house:
        assert await play(house, name) == 0
        assert {expr: await house.value(expr) for expr in figures} == figures
        assert await play(house, name) == 0
        assert {expr: await house.value(expr) for expr in figures} == figures, "a second play is harmless"


@pytest.mark.parametrize(("name", "figures"), FIGURES)
async def test_a_recording_ends_at_the_same_figures_through_kills(
    tmp_path: Path, name: str, figures: dict[str, float]
) -> None:
    chance = random.Random(name)
    async with daemon(tmp_path, "") as house:
        for _ in range(3):
            playing = asyncio.create_task(play(house, name))
            await asyncio.sleep(chance.uniform(0.25, 0.9))  # a random moment is the point
            await house.kill()
            await house.open()
            await playing
        assert await play(house, name) == 0
        assert {expr: await house.value(expr) for expr in figures} == figures
