"""What a rule waits for goes on though the daemon is killed: `for`, `keep_firing_for`, and `clear`."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.acceptance.house import House, account, daemon, firing, resolved, sink
from tests.acceptance.test_incident import hook

DEAD_FOR = 1.0
"""Seconds until the service manager has noticed: a timer that began anew would be late by so much."""
WAITS = 2.0


def rule(**keys: str) -> str:
    return "[rules.low]\n" + "".join(f'{name} = "{value}"\n' for name, value in keys.items())


def stamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def alert(house: House) -> dict[str, Any]:
    (found,) = [one for one in (await house.get("/v1/alerts"))["alerts"] if one["rule"] == "low"]
    assert isinstance(found, dict)
    return found


async def killed(house: House, *, dead_for: float = DEAD_FOR) -> float:
    """When the next life began (Unix seconds)."""
    await house.kill()
    await asyncio.sleep(dead_for)  # the outage itself
    born = time.time()
    await house.open()
    return born


async def test_keep_firing_for_goes_on_over_a_kill_and_ends_when_it_is_due(tmp_path: Path) -> None:
    keeping = rule(expr="account_equity < 100", keep_firing_for="2s")
    async with sink() as slack, daemon(tmp_path, keeping + hook(slack.url)) as house:
        await house.send(account(90.0))
        assert (await slack.want(firing("low")))["annotations"]["value"] == "90"
        await house.delivered("slack")
        await house.send(account(140.0))
        await killed(house, dead_for=0)
        await house.send(account(80.0))  # a relapse, which takes the waiting back
        cleared = time.time()
        await house.send(account(150.0))
        born = await killed(house)
        ended = stamp((told := await slack.want(resolved("low")))["endsAt"])
        assert ended >= cleared + WAITS, "it is early"
        assert ended < born + WAITS, "it began anew"
        assert told["annotations"]["value"] == "150"
        assert [one["status"] for one in slack.alerts] == ["firing", "resolved"]


async def test_an_alert_between_its_limits_goes_on_over_a_kill_until_clear_holds(tmp_path: Path) -> None:
    between = rule(expr="account_equity < 100", clear="account_equity > 120")
    async with sink() as slack, daemon(tmp_path, between + hook(slack.url)) as house:
        await house.send(account(90.0))
        assert (await slack.want(firing("low")))["annotations"]["value"] == "90"
        await house.delivered("slack")
        await house.send(account(110.0))
        assert (await alert(house))["state"] == "firing"
        await killed(house, dead_for=0)
        before = await alert(house)
        await house.send(account(115.0))
        after = await alert(house)
        assert (after["state"], after["fired_at"]) == ("firing", before["fired_at"])
        await house.send(account(130.0))
        assert (await slack.want(resolved("low")))["annotations"]["value"] == "130"
        assert [one["status"] for one in slack.alerts] == ["firing", "resolved"]


async def test_for_goes_on_over_a_kill_and_fires_at_the_time_it_was_due(tmp_path: Path) -> None:
    holding = rule(**{"expr": "account_equity < 100", "for": "2s"})
    async with sink() as slack, daemon(tmp_path, holding + hook(slack.url)) as house:
        await house.send(account(90.0))
        assert (await alert(house))["state"] == "pending"
        await house.send(account(150.0))  # what held before counts for nothing
        began = time.time()
        await house.send(account(80.0))
        born = await killed(house)
        fired = stamp((told := await slack.want(firing("low")))["startsAt"])
        assert fired >= began + WAITS, "it is early"
        assert fired < born + WAITS, "it began anew"
        assert told["annotations"]["value"] == "80"
        assert len(slack.alerts) == 1
