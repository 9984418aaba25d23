"""The status of the channels: as the board has it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.web.stage import stage
from trader_monitor.core.facts import Breaker, ChannelTried
from trader_monitor.web.status import ChannelView, status


async def test_a_channel_shows_its_breaker_and_when_it_is_tried_again(tmp_path: Path) -> None:
    async with stage(tmp_path, serve=False) as on:
        channels: dict[str, Any] = on.env.config().channels
        channels |= {name: SimpleNamespace(plugin=SimpleNamespace(name="webhook")) for name in ("desk", "mail", "fax")}
        now = on.env.clock.now()
        tripped = Breaker(state="open", failures=5, since=now.mono, retry_at=now.mono + 15, opened=1, generation=1)
        waited = Breaker(state="half_open", failures=5, since=now.mono - 20, retry_at=now.mono - 5, opened=1)
        on.env.meters.set("monitor_channel_due", 3.0, channel="desk")
        await on.journal.record(
            [
                ChannelTried(at=now.wall, channel=name, outcome="failed", breaker=breaker, mono=now.mono)
                for name, breaker in (("desk", tripped), ("mail", waited))
            ]
        )
        desk, mail, fax = status(on.env).channels
        assert (desk.breaker, desk.due) == ("open", 3)
        assert desk.retry_at is not None
        assert abs(desk.retry_at - now.wall - 15) < 0.5
        assert (mail.breaker, mail.retry_at) == ("half_open", None)
        assert fax == ChannelView(name="fax", type="webhook", breaker="closed", due=0)
