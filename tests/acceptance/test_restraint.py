"""What is not done: nothing without being armed, nothing beyond the budget, whatever is reloaded or killed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from tests.acceptance.house import House, daemon, firing, patient, resolved, sink
from tests.acceptance.test_incident import hook
from tests.acceptance.test_recovery import until_step

CONFIG = """
[checks.gateway]
type = "http"
url = "PATIENT/ping"
every = "1s"
timeout = "1s"
trip_after = 1
cooldown = "1s"
recover = ["restart"]
[actions.restart]
type = "http"
url = "PATIENT/treat/restart"
"""
ARMED = CONFIG + "armed = true\nper_hour = 1\n"


async def asked_again(house: House, times: int = 1) -> None:
    """Waits until the check was asked so many times more, each time a chance to act."""
    seen: set[float] = set()
    deadline = time.monotonic() + 10
    while len(seen) <= times:
        seen |= {told["at"] for told in (await house.get("/v1/status"))["checks"]}
        assert time.monotonic() < deadline, f"the check is not asked:\n{house.tail()}"
        await asyncio.sleep(0.05)


def actions(found: list[tuple[str, str]]) -> list[str]:
    return [phase for _, phase in found]


async def test_an_action_that_is_not_armed_is_written_down_and_not_done(tmp_path: Path) -> None:
    async with (
        sink() as slack,
        patient() as gateway,
        daemon(tmp_path, CONFIG.replace("PATIENT", gateway.url) + hook(slack.url)) as house,
    ):
        await slack.want(firing("check_failing", check="gateway"))
        await until_step(house, ("restart", "dry_run"))
        await asked_again(house)
        assert gateway.called == []
        assert actions(await until_step(house, ("restart", "dry_run"))) == ["dry_run"]
        gateway.well = True
        await slack.want(resolved("check_failing", check="gateway"))
        assert gateway.called == []
        assert {alert["labels"]["alertname"] for alert in slack.alerts} == {"check_failing"}, "nothing was exhausted"


async def test_the_hours_budget_is_filled_neither_by_a_reload_nor_by_a_kill(tmp_path: Path) -> None:
    async with sink() as slack, patient() as gateway:
        config = ARMED.replace("PATIENT", gateway.url) + hook(slack.url)
        async with daemon(tmp_path, config) as house:
            gateway.healed_by = "restart"
            await until_step(house, ("restart", "verified"))
            gateway.healed_by, gateway.well = None, False
            spent: list[Any] = await until_step(house, ("restart", "over_budget"))
            assert actions(spent) == ["started", "succeeded", "verified", "over_budget"]
            await house.reload(config.replace("armed = true", "armed = true\ntimeout = '5s'"))
            await asked_again(house)
            await house.kill()
            await house.open()
            await asked_again(house)
            assert actions(await until_step(house, ("restart", "over_budget"))) == actions(spent)
            assert gateway.called == ["restart"]
            await house.reload(config.replace("per_hour = 1", "per_hour = 2"))
            gateway.healed_by = "restart"
            await until_step(house, ("restart", "started"))
            async with asyncio.timeout(10):
                while len(gateway.called) < 2:
                    await asyncio.sleep(0.02)
            assert gateway.called == ["restart", "restart"], "nothing but the budget held it back"
