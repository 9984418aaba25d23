"""A receiver that fails is left alone: its breaker and its Retry-After hold over kill -9 and over a reload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.acceptance.house import House, Sink, account, daemon, firing, resolved, sink
from trader_monitor.loops.notify import AT_ONCE, BREAKER

RULES = """
[rules.low]
expr = "account_equity < 100"
"""
BOTS = [f"bot{number}" for number in range(6)]
SOON = 0.02
"""Seconds by which two clocks' readings of one moment may differ."""

COOLDOWN = 5.0


def hook(url: str, extra: str = "") -> str:
    return f'\n[channels.desk]\ntype = "webhook"\nurl = "{url}"\ncooldown = "5s"\n{extra}'


async def channel(
    house: House, wanted: Callable[[dict[str, Any]], object] = bool, *, within: float = 10.0
) -> dict[str, Any]:
    """The status of the channel, once it is as wanted."""
    deadline = time.monotonic() + within
    while True:
        (desk,) = (await house.get("/v1/status"))["channels"]
        if wanted(desk):
            assert isinstance(desk, dict)
            return desk
        assert time.monotonic() < deadline, f"{desk} after {within} s"
        await asyncio.sleep(0.02)


async def low(house: House, equity: float = 50.0) -> None:
    for bot in BOTS:
        await house.send(account(equity, source=bot))


async def tripped(house: House, desk: Sink) -> float:
    """Makes alerts fire that the receiver refuses until its breaker is open; when the next attempt may be."""
    desk.status = 503
    await low(house)
    opened = await channel(house, lambda c: c["breaker"] == "open")
    await house.until('monitor_channel_breaker_open{channel="desk"}', lambda v: v == 1)
    assert len(desk.asked) <= BREAKER.trip_after + AT_ONCE
    retry_at = opened["retry_at"]
    assert retry_at is not None
    assert 0 < retry_at - time.time() <= COOLDOWN
    return float(retry_at)


async def still_open(house: House, retry_at: float) -> None:
    now = await channel(house)
    assert now["breaker"] == "open"
    assert abs(now["retry_at"] - retry_at) < SOON
    assert now["due"] >= len(BOTS)
    _, shown = await house.command("status")
    (line,) = [line for line in shown.splitlines() if line.lstrip().startswith("desk ")]
    assert "open" in line


async def told_from_one_trial(house: House, desk: Sink, before: int, retry_at: float) -> None:
    """The receiver is well again, but slow: one trial is made at the cooldown, and all is told after it."""
    desk.status, desk.holding = 200, asyncio.Event()
    await channel(house, lambda c: c["breaker"] == "half_open", within=COOLDOWN + 5)
    assert len(desk.asked) <= before + 1, "one trial, alone"
    assert await house.value('monitor_channel_breaker_open{channel="desk"}') == 0.5
    desk.holding.set()
    for bot in BOTS:
        await desk.want(firing("low", source=bot))
    assert desk.asked[before] >= retry_at - SOON, "not before the cooldown was over"
    await channel(house, lambda c: c["breaker"] == "closed" and not c["due"])
    await low(house, equity=500.0)
    for bot in BOTS:
        await desk.want(resolved("low", source=bot))
    await house.until('monitor_channel_breaker_open{channel="desk"}', lambda v: v == 0)
    told = [alert["status"] for alert in desk.alerts if alert["labels"]["alertname"] == "low"]
    assert sorted(told) == ["firing"] * len(BOTS) + ["resolved"] * len(BOTS)


async def test_an_open_breaker_survives_kill_9_and_one_trial_at_its_cooldown_closes_it(tmp_path: Path) -> None:
    async with sink() as desk, daemon(tmp_path, RULES + hook(desk.url)) as house:
        retry_at = await tripped(house, desk)
        await house.kill()
        before = len(desk.asked)
        await house.open()
        await still_open(house, retry_at)
        await told_from_one_trial(house, desk, before, retry_at)


async def test_an_open_breaker_stays_open_over_a_reload_that_mends_its_address(tmp_path: Path) -> None:
    async with sink() as old, sink() as new, daemon(tmp_path, RULES + hook(old.url)) as house:
        retry_at = await tripped(house, old)
        await house.reload(RULES + hook(new.url, 'min_severity = "info"\n'))
        assert "notify:desk" in (await house.said("reloaded"))["context"]["changed"]
        before = len(old.asked)
        await still_open(house, retry_at)
        await told_from_one_trial(house, new, 0, retry_at)
        assert len(old.asked) == before, "the old address was left alone"


async def test_a_channel_that_is_taken_away_is_no_longer_told_to_fail(tmp_path: Path) -> None:
    async with sink() as desk, sink() as other, daemon(tmp_path, RULES + hook(desk.url)) as house:
        await tripped(house, desk)
        await house.reload(RULES + hook(other.url).replace("channels.desk", "channels.other"))
        await other.want(firing("monitor_channel_failing", channel="desk"))
        await other.want(resolved("monitor_channel_failing", channel="desk"))
        assert await house.value('monitor_channel_breaker_open{channel="desk"}') == 0


async def test_retry_after_is_honoured_over_kill_9_and_for_every_notice(tmp_path: Path) -> None:
    asked_for = 6.0
    async with sink() as desk, daemon(tmp_path, RULES + hook(desk.url)) as house:
        desk.status, desk.retry_after = 429, f"{asked_for:g}"
        await house.send(account(50.0, source="bot0"))
        held = await channel(house, lambda c: c["retry_at"])
        assert held["breaker"] == "closed"
        assert abs(held["retry_at"] - desk.asked[0] - asked_for) < 0.5
        desk.status, desk.retry_after = 200, None
        await house.kill()
        await house.open()
        assert abs((await channel(house))["retry_at"] - held["retry_at"]) < SOON
        await house.send(account(50.0, source="bot1"))
        for bot in ("bot0", "bot1"):
            await desk.want(firing("low", source=bot), within=asked_for + 5)
        assert min(desk.asked[1:]) >= held["retry_at"] - SOON
        assert len(desk.asked) == 3
        assert (await channel(house, lambda c: not c["due"]))["breaker"] == "closed"
