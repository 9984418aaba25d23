"""A reload resets no timer, breaker or alert, and touches no child whose table is the same."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from tests.acceptance.house import House, account, daemon, firing, patient, resolved, sink

RULES = """
[rules.low]
expr = "account_equity < 100"
for = "4s"
[rules.broke]
expr = "account_equity < 50"
"""
CHECK = """
[checks.gateway]
type = "http"
url = "PATIENT/ping"
every = "1s"
trip_after = 1
cooldown = "10m"
"""


def hook(name: str, url: str, extra: str = "") -> str:
    return f'\n[channels.{name}]\ntype = "webhook"\nurl = "{url}"\n{extra}'


async def children(house: House) -> dict[str, Any]:
    return {child["name"]: child for child in (await house.get("/v1/status"))["children"]}


async def test_for_goes_on_over_reloads_of_rules_channels_checks_and_collectors(tmp_path: Path) -> None:
    async with sink() as slack, sink() as phone, daemon(tmp_path, RULES + hook("slack", slack.url)) as house:
        await house.send(account(90.0))
        began = time.monotonic()
        await house.until('count(ALERTS{alertname="low",alertstate="pending"})', lambda n: n == 1)
        before = await children(house)
        await asyncio.sleep(1.5)  # of the four seconds, which the reload must not begin anew
        more = '[rules.other]\nexpr = "account_equity > 1e9"\n' + hook("phone", phone.url)
        more += '[collectors.monitor]\nevery = "3s"\n'
        await house.reload(RULES + hook("slack", slack.url) + more)
        await slack.want(firing("low"))
        assert 3.9 <= time.monotonic() - began < 5.5
        await phone.want(firing("low"))
        after = await children(house)
        assert "notify:phone" in after
        untouched = ("notify:slack", "evaluate", "api", "live", "retain", "collect:cpu", "pulse")
        assert {name: after[name]["since"] for name in untouched} == {name: before[name]["since"] for name in untouched}
        assert [child["name"] for child in after.values() if child["restarts"]] == []


async def test_an_alert_goes_on_and_is_told_once_and_its_end_too(tmp_path: Path) -> None:
    async with sink() as slack, daemon(tmp_path, RULES + hook("slack", slack.url)) as house:
        await house.send(account(10.0))
        await slack.want(firing("broke"))
        (alert,) = [a for a in (await house.get("/v1/alerts"))["alerts"] if a["rule"] == "broke"]
        await house.reload(RULES.replace("< 50", "< 60") + hook("slack", slack.url, 'min_severity = "info"\n'))
        (still,) = [a for a in (await house.get("/v1/alerts"))["alerts"] if a["rule"] == "broke"]
        assert (still["state"], still["fired_at"]) == ("firing", alert["fired_at"])
        await house.send(account(55.0))
        await house.send(account(70.0))
        await slack.want(resolved("broke"))
        assert [a["status"] for a in slack.alerts if a["labels"]["alertname"] == "broke"] == ["firing", "resolved"]


async def test_an_alert_whose_rule_is_taken_away_is_told_to_have_ended(tmp_path: Path) -> None:
    async with sink() as slack, daemon(tmp_path, RULES + hook("slack", slack.url)) as house:
        await house.send(account(10.0))
        await slack.want(firing("broke"))
        await house.reload(RULES.partition("[rules.broke]")[0] + hook("slack", slack.url))
        await slack.want(resolved("broke"))


async def test_an_open_breaker_stays_open_though_its_check_is_changed(tmp_path: Path) -> None:
    async with patient() as gateway:
        config = CHECK.replace("PATIENT", gateway.url)
        async with daemon(tmp_path, config) as house:
            await house.until('check_breaker_open{check="gateway"}', lambda v: v == 1)
            (before,) = (await house.get("/v1/status"))["checks"]
            gateway.well = True
            await house.reload(config.replace('every = "1s"', 'every = "2s"'))
            assert "check:gateway" in (await house.said("reloaded"))["context"]["changed"]
            await asyncio.sleep(2.5)  # longer than its interval: a closed breaker would have asked
            (after,) = (await house.get("/v1/status"))["checks"]
            assert (after["breaker"], after["at"]) == ("open", before["at"])


async def test_an_event_sent_during_reloads_is_not_lost(tmp_path: Path) -> None:
    async with daemon(tmp_path, RULES) as house:
        answers: list[int] = []

        async def sends() -> None:
            for n in range(150):
                status, _ = await house.send(account(200.0 + n, id=str(n)))
                answers.append(status)

        sending = asyncio.create_task(sends())
        for n in range(4):
            await house.reload(RULES + f'[rules.more{n}]\nexpr = "account_equity > 1e9"\n')
        await sending
        assert answers == [202] * 150
        assert await house.value('events_total{type="account"}') == 150.0
