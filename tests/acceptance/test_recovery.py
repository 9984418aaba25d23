"""A sick gateway: checks, the ladder, its verification, its end, and a kill in the middle of an action."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.acceptance.house import House, daemon, firing, patient, resolved, sink

CONFIG = """
[checks.gateway]
type = "http"
url = "PATIENT/ping"
every = "1s"
timeout = "1s"
trip_after = 2
cooldown = "1s"
recover = ["first", "second"]

[actions.first]
type = "http"
url = "PATIENT/treat/first"
armed = FIRST
[actions.second]
type = "http"
url = "PATIENT/treat/second"
armed = true

[channels.slack]
type = "webhook"
url = "SINK"
"""


def configured(gateway: str, slack: str, *, first: bool = True) -> str:
    return CONFIG.replace("PATIENT", gateway).replace("SINK", slack).replace("FIRST", str(first).lower())


async def steps(house: House) -> list[tuple[str, str]]:
    found: list[dict[str, Any]] = (await house.get("/v1/checks"))["steps"]
    assert all(step["who"] and step["why"] for step in found)
    return [(step["action"], step["phase"]) for step in reversed(found)]


async def until_step(house: House, wanted: tuple[str, str], *, within: float = 20.0) -> list[tuple[str, str]]:
    async with asyncio.timeout(within):
        while wanted not in (found := await steps(house)):
            await asyncio.sleep(0.05)
    return found


async def test_the_second_rung_helps_and_the_next_probe_proves_it(tmp_path: Path) -> None:
    async with sink() as slack, patient() as gateway, daemon(tmp_path, configured(gateway.url, slack.url)) as house:
        gateway.healed_by = "second"
        await slack.want(firing("check_failing", check="gateway"), within=15)
        found = await until_step(house, ("second", "verified"))
        assert found == [
            ("first", "started"),
            ("first", "succeeded"),
            ("first", "not_verified"),
            ("second", "started"),
            ("second", "succeeded"),
            ("second", "verified"),
        ]
        assert gateway.called == ["first", "second"]
        await slack.want(resolved("check_failing"))
        assert not [a for a in slack.alerts if a["labels"]["alertname"] == "recovery_exhausted"]


async def test_a_ladder_that_does_not_help_is_one_critical_alert_until_the_check_is_well(tmp_path: Path) -> None:
    async with (
        sink() as slack,
        patient() as gateway,
        daemon(tmp_path, configured(gateway.url, slack.url, first=False)) as house,
    ):
        await slack.want(firing("recovery_exhausted", check="gateway", severity="critical"), within=20)
        assert await steps(house) == [
            ("first", "dry_run"),
            ("second", "started"),
            ("second", "succeeded"),
            ("second", "not_verified"),
            ("second", "exhausted"),
        ]
        assert gateway.called == ["second"], "what is not armed is not done"
        gateway.well = True
        await slack.want(resolved("recovery_exhausted"), within=20)
        named = [a["status"] for a in slack.alerts if a["labels"]["alertname"] == "recovery_exhausted"]
        assert named == ["firing", "resolved"]


async def test_a_kill_in_the_middle_of_an_action_does_not_run_it_again(tmp_path: Path) -> None:
    async with sink() as slack, patient() as gateway, daemon(tmp_path, configured(gateway.url, slack.url)) as house:
        gateway.holding = asyncio.Event()
        async with asyncio.timeout(15):
            while not gateway.called:
                await asyncio.sleep(0.02)
        await house.kill()
        gateway.holding.set()
        gateway.healed_by = "second"
        await house.open()
        found = await until_step(house, ("second", "verified"))
        assert gateway.called == ["first", "second"]
        assert found[:3] == [("first", "started"), ("first", "failed"), ("first", "not_verified")]
