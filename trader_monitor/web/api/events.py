"""`POST /v1/events`: what bots report. 202 means that it is committed and fsynced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from trader_monitor.web.app import refusal
from trader_monitor.web.body import Allowance, BodyError, read_body
from trader_monitor.web.border import MAX_EVENTS, Format, TooMany
from trader_monitor.web.intake import take_body

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

__all__ = ["routes"]

_FORMATS: dict[str, Format] = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/msgpack": "msgpack",
    "application/x-msgpack": "msgpack",
    "application/vnd.msgpack": "msgpack",
}
_BODIES = 64 << 20
"""Bytes of bodies that are read at the same time."""


def routes(env: Env) -> list[web.RouteDef]:
    """The one route."""
    allowance = Allowance(max(_BODIES, env.config().ingest.max_body))

    async def post(request: web.Request) -> web.Response:
        form = _FORMATS.get(request.content_type)
        if form is None or "Content-Type" not in request.headers:
            hint = "send application/json, application/x-ndjson or application/msgpack"
            return refusal(415, "the content type says nothing that is understood here", hint)
        try:
            body = await read_body(request, env.config().ingest.max_body, allowance)
        except BodyError as error:
            retry_after = 1.0 if error.status == 429 else None
            headers = {"Connection": "close"} if error.status == 413 else None
            return refusal(error.status, str(error), error.hint, retry_after=retry_after, headers=headers)
        try:
            answer = await take_body(env, body, form)
        except TooMany:
            return refusal(413, f"more than {MAX_EVENTS:,} events in one request", "send fewer at once")
        return web.Response(
            status=answer.status, body=msgspec.json.encode(answer.body()) + b"\n", content_type="application/json"
        )

    return [web.post("/v1/events", post)]
