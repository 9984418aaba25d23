"""`GET /v1/figures`: every figure with its convention, sample size and interval, or why it has no value."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from trader_monitor.core.figure import CONFIDENCE, Figure
from trader_monitor.web.app import refusal

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

__all__ = ["routes"]


def routes(env: Env) -> list[web.RouteDef]:
    """`?room=accounts` and `?name=account_sharpe_ratio` choose; any other parameter is a label, as `?source=my-bot`."""

    async def figures(request: web.Request) -> web.Response:
        from trader_monitor.runtime.figures import PAUSE_AFTER, SHOWN, figures_of  # not before somebody asks

        asked = dict(request.query)
        room, name = asked.pop("room", None), asked.pop("name", None)
        if room is not None and room not in SHOWN:
            return refusal(400, f"there is no room {room[:40]!r}", f"there are {', '.join(SHOWN)}")
        texts: list[bytes] = []
        for kind in SHOWN if room is None else (room,):
            found = await figures_of(env, kind)
            for at in range(0, len(found), PAUSE_AFTER):
                chosen = [one for one in found[at : at + PAUSE_AFTER] if name in (None, one.name) and _has(one, asked)]
                texts += [msgspec.json.encode(_shown(kind, one)) for one in chosen]
                await asyncio.sleep(0)
        head = msgspec.json.encode({"at": env.clock.now().wall, "confidence": CONFIDENCE})[:-1]
        body = b"".join([head, b',"figures":[', b",\n".join(texts), b"]}\n"])
        return web.Response(body=body, content_type="application/json")

    return [web.get("/v1/figures", figures)]


def _has(figure: Figure, labels: Mapping[str, str]) -> bool:
    own = dict(figure.labels)
    return all(own.get(name, "") == value for name, value in labels.items())


def _shown(room: str, figure: Figure) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "room": room,
        "name": figure.name,
        "labels": {name: value for name, value in figure.labels if value},
        "value": figure.value,
        "n": figure.n,
        "convention": figure.convention,
    }
    if figure.interval is not None:
        low, high, method = figure.interval
        shown["interval"] = {"low": low, "high": high, "method": method}
    elif figure.value is not None:
        shown["interval"] = None
        shown["why_no_interval"] = "measured, not estimated" if figure.measured else figure.reason_open
    if figure.value is None:
        shown["reason"] = figure.reason
    return shown
