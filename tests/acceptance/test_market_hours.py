"""A rule with market hours in the real daemon: the opening, the close, a day closed by command, and a kill."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.acceptance.house import House, account, daemon, firing, resolved, sink

RULE = """
[rules.low]
expr = "last_over_time(account_equity[1d]) < 100"
during = "desk"
[collectors.calendars]
every = "1s"
"""
WEEK = '["mon", "tue", "wed", "thu", "fri", "sat", "sun"]'
ALL_DAY = f'[calendars.desk]\nzone = "UTC"\nopen = "00:00"\nclose = "24:00"\nweekdays = {WEEK}\n'


def between(begin: float, end: float) -> str:
    """A calendar that is open from then to then, in a zone in which it is about noon now."""
    offset = datetime.now(UTC).hour - 12
    local = [datetime.fromtimestamp(t, UTC) - timedelta(hours=offset) for t in (begin, end)]
    hours = ALL_DAY.replace('"UTC"', f'"Etc/GMT{offset:+d}"')
    return hours.replace("00:00", f"{local[0]:%H:%M:%S}").replace("24:00", f"{local[1]:%H:%M:%S}")


def later() -> str:
    now = time.time()
    return between(now + 3600, now + 7200)


def hook(url: str) -> str:
    return f'[channels.slack]\ntype = "webhook"\nurl = "{url}"\n'


async def newest(house: House) -> tuple[str, str, float]:
    history = (await house.get("/v1/alerts"))["history"]
    low = next(alert for alert in history if alert["rule"] == "low")
    return low["state"], low["reason"], low["at"]


async def test_it_fires_at_the_opening_and_ends_at_the_close(tmp_path: Path) -> None:
    async with sink() as slack, daemon(tmp_path, RULE + later() + hook(slack.url)) as house:
        await house.send(account(90.0))
        opening = float(int(time.time()) + 2)
        await house.reload(RULE + between(opening, opening + 1) + hook(slack.url))
        assert not [alert for alert in (await house.get("/v1/alerts"))["alerts"] if alert["rule"] == "low"]
        await slack.want(firing("low"))
        (fired,) = [alert for alert in (await house.get("/v1/alerts"))["alerts"] if alert["rule"] == "low"]
        assert 0 <= fired["fired_at"] - opening < 1.0
        await slack.want(resolved("low"))
        state, reason, at = await newest(house)
        assert (state, reason) == ("resolved", "outside desk hours")
        assert 0 <= at - opening - 1 < 1.0
        await house.until('market_open{calendar="desk"}', lambda value: value == 0)
        assert await house.until("max_over_time(market_open[1m])", lambda value: value == 1)


async def test_a_day_closed_by_command_stays_closed_over_a_kill_until_it_is_reopened(tmp_path: Path) -> None:
    async with sink() as slack, daemon(tmp_path, RULE + ALL_DAY + hook(slack.url)) as house:
        await house.send(account(90.0))
        await slack.want(firing("low"))
        code, said = await house.command("calendar", "close", "desk", "--why", "typhoon")
        assert code == 0, said
        await slack.want(resolved("low"))
        assert (await newest(house))[:2] == ("resolved", "desk was closed by command: typhoon")
        await house.kill()
        await house.open()
        await house.send(account(80.0))
        assert (await newest(house))[0] == "resolved"
        code, said = await house.command("calendar")
        assert "closed by command (typhoon)" in said
        told = len(slack.alerts)
        code, said = await house.command("calendar", "reopen", "desk")
        assert code == 0, said
        await slack.want(firing("low"), after=told)
