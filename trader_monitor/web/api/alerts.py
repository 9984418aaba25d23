"""The test of a channel: a notice that is marked as a test, sent on its real way."""

from __future__ import annotations

from typing import Literal

import msgspec
from aiohttp import web

from trader_monitor.core.alerts.fingerprint import fingerprint
from trader_monitor.core.alerts.notice import Notice
from trader_monitor.core.facts import AlertChanged
from trader_monitor.runtime.delivery import deliver
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.registry import DeliveryError

__all__ = ["routes"]


class _Ask(msgspec.Struct, forbid_unknown_fields=True):
    channel: str


class _Answer(msgspec.Struct, omit_defaults=True):
    channel: str
    outcome: Literal["delivered", "refused", "failed"]
    delivered: bool
    seconds: float
    receipt: str = ""
    error: str = ""


def routes(env: Env) -> list[web.RouteDef]:
    """POST /v1/test-alert with `{"channel": NAME}`."""

    async def test(request: web.Request) -> web.Response:
        """Sends a test notice through the channel, past rules, routing and breaker, and says what came of it."""
        try:
            ask = msgspec.json.decode(await request.read(), type=_Ask)
        except msgspec.MsgspecError as error:
            return _json({"error": f'expected {{"channel": NAME}}: {error}'}, 400)
        channels = env.config().channels
        table = channels.get(ask.channel)
        if table is None:
            names = ", ".join(sorted(channels)) or "none"
            return _json({"error": f"there is no channel {ask.channel!r}; there are: {names}"}, 404)
        began = env.clock.now()
        answer = _Answer(ask.channel, "delivered", True, 0.0)
        try:
            answer.receipt = await deliver(env, table, _test_notice(ask.channel, began.wall))
        except DeliveryError as error:
            answer.outcome, answer.delivered = "refused" if error.permanent else "failed", False
            answer.error = str(error)
        answer.seconds = env.clock.now().mono - began.mono
        return _json(answer)

    return [web.post("/v1/test-alert", test)]


def _test_notice(channel: str, wall: float) -> Notice:
    labels = {"alertname": "TestAlert", "severity": "info", "channel": channel, "test": "true"}
    alert = AlertChanged(
        at=wall,
        fingerprint=fingerprint(labels),
        rule="TestAlert",
        state="firing",
        transition=1,
        severity="info",
        labels=labels,
        summary=f"Test of the channel {channel}: it works, and nothing is wrong",
        active_at=wall,
        mono=0.0,
        fired_at=wall,
        fired_transition=1,
        reason="a test was asked for",
    )
    return Notice(channel=channel, alert=alert, transition=1, state="firing", test=True)


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
