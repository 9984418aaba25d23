"""The HTTP door: one aiohttp application over the topics' routes, with what all of them share.

Authorisation, limits and deadlines, errors in JSON with a hint, headers, and a record of what failed.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from aiohttp import web

from trader_monitor.runtime.journal import StoreUnavailable
from trader_monitor.runtime.sockets import BACKLOG
from trader_monitor.runtime.trace import new_trace, traceparent_id
from trader_monitor.web.auth import denial
from trader_monitor.web.body import BodyError, Pace, keeping
from trader_monitor.web.unsent import UNSENT, Overfull, Unsent

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

__all__ = ["application", "refusal", "serve"]

HEAD_WITHIN = 10.0
"""Seconds for a new connection to send its first request's head: slowloris ends here."""

ANSWER_WITHIN = 60.0
"""Seconds for a request's body to arrive and its answer to be sent."""

IDLE = 75.0
"""Seconds that a connection is kept for the next request: longer than proxies keep theirs."""

TAKE_WITHIN = 20.0
"""Seconds within which a receiver must take some of what waits for it."""

MAX_CONNECTIONS = 512

AT_ONCE = 64
"""Connections accepted before the event loop has its turn; more wait in the kernel."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}

_PACE = Pace()

log = structlog.get_logger("http")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def refusal(
    status: int, error: str, hint: str = "", *, retry_after: float | None = None, headers: dict[str, str] | None = None
) -> web.Response:
    """An error as every room answers it: `{"error": …, "hint": …}`."""
    answer = {"error": error, "hint": hint} if hint else {"error": error}
    told = dict(headers or {})
    if retry_after is not None:
        told["Retry-After"] = str(max(1, round(retry_after)))
    if status == HTTPStatus.UNAUTHORIZED:
        told["WWW-Authenticate"] = "Bearer"
    response = web.Response(
        status=status, body=msgspec.json.encode(answer) + b"\n", content_type="application/json", headers=told
    )
    if "Connection" in told:
        response.force_close()  # the header alone only says so
    return response


def application(env: Env, route_lists: Iterable[Sequence[web.RouteDef]], *, pace: Pace = _PACE) -> web.Application:
    """The application over all topics' routes."""

    @web.middleware
    async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if isinstance(request.protocol, _Visit):
            request.protocol.greet()
        new_trace(traceparent_id(request.headers.get("traceparent")))
        denied = denial(request.method, request.path, request.headers, env.config())
        if denied is not None:
            response: web.StreamResponse = refusal(*denied)
        else:
            response = await _answered(request, handler, pace)
        try:
            app[UNSENT].whole(request, response)
        except Overfull:
            response = refusal(503, "too many large answers are not read yet by those who asked", retry_after=1.0)
        env.meters.count("monitor_http_requests_total", status=str(response.status))
        return response

    app = web.Application(middlewares=[guard], client_max_size=env.config().ingest.max_body)
    app[UNSENT] = Unsent(pace)
    app.on_response_prepare.append(_dress)
    for routes in route_lists:
        app.add_routes(routes)
    return app


async def _answered(request: web.Request, handler: _Handler, pace: Pace) -> web.StreamResponse:
    """The room's answer, or what went wrong in words."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN), keeping(pace, request):
            return await handler(request)
    except web.HTTPException as error:
        return _worded(request, error)
    except BodyError as error:
        return refusal(error.status, str(error), error.hint, headers={"Connection": "close"})
    except StoreUnavailable as error:
        return refusal(503, str(error), "send it again later", retry_after=error.retry_after)
    except TimeoutError:
        return refusal(
            408, f"not done within {ANSWER_WITHIN:g} s", "send less at once", headers={"Connection": "close"}
        )
    except (ConnectionError, web.RequestPayloadError) as error:
        return refusal(400, f"the request broke off: {error}")
    except Exception:
        log.exception("a request failed", method=request.method, path=request.path)
        return refusal(500, "the monitor failed at this request", "its log says why")


def _worded(request: web.Request, error: web.HTTPException) -> web.Response:
    """aiohttp's own refusals in our words."""
    headers = {name: error.headers[name] for name in ("Allow", "Location", "ETag") if name in error.headers}
    match error.status:
        case 404:
            return refusal(404, f"there is nothing at {request.path[:200]}", _near(request), headers=headers)
        case 405:
            return refusal(
                405, f"{request.method} is not for this", f"use {headers.get('Allow', 'GET')}", headers=headers
            )
        case 413:
            return refusal(413, "the body is too large", "send less at once", headers={"Connection": "close"})
        case status if status < 400:
            return web.Response(status=status, headers=headers)
        case status:
            return refusal(status, (error.text or error.reason).strip(), headers=headers)


def _near(request: web.Request) -> str:
    from difflib import get_close_matches

    paths = {resource.canonical for resource in request.app.router.resources()}
    close = get_close_matches(request.path[:200], sorted(paths), 1, 0.6)
    return f"did you mean {close[0]}?" if close else ""


async def _dress(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop("Server", None)


class _Visit(web.RequestHandler):
    """One connection, which has to say soon what it wants."""

    def __init__(self, server: web.Server, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._server = server
        self._late: asyncio.TimerHandle | None = None
        self._untaken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self._server.connections) > MAX_CONNECTIONS:
            silent = self._longest_silent()
            (silent or self).force_close()
            if silent is None:
                return
        self._late = asyncio.get_running_loop().call_later(HEAD_WITHIN * random.uniform(0.8, 1.0), self.force_close)

    def _longest_silent(self) -> _Visit | None:
        """Who has been here longest without saying what it wants: it gives way to one who may."""
        for visit in self._server.connections:
            if isinstance(visit, _Visit) and visit._late is not None:
                return visit
        return None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.greet()
        self._taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The receiver does not take what is sent to it."""
        super().pause_writing()
        if self.transport is not None:
            self._untaken = asyncio.get_running_loop().call_later(TAKE_WITHIN, self.transport.abort)

    def resume_writing(self) -> None:
        self._taken()
        super().resume_writing()

    def _taken(self) -> None:
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None

    def greet(self) -> None:
        """The first request's head has come."""
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What aiohttp's parser refuses: a head that is malformed, too long or has too many headers."""
        response = refusal(status, (message or HTTPStatus(status).phrase).partition("\n")[0][:200])
        response.headers.update(_HEADERS)
        response.headers["Server"] = "trader-monitor"
        response.force_close()
        return response


async def serve(
    env: Env, sock: socket.socket, route_lists: Iterable[Sequence[web.RouteDef]], *, pace: Pace = _PACE
) -> None:
    """Answers on a listening socket, which it closes, until it is cancelled; then what is asked is still answered."""
    loop = asyncio.get_running_loop()
    visiting: dict[str, Any] = {
        "keepalive_timeout": IDLE,
        "lingering_time": 2.0,
        "max_line_size": 16_384,
        "max_field_size": 8_190,
        "max_headers": 100,
        "access_log": None,
        "auto_decompress": False,
    }
    runner = web.AppRunner(application(env, route_lists, pace=pace), shutdown_timeout=2.0, **visiting)
    await runner.setup()
    rooms = runner.server
    assert rooms is not None
    server = await loop.create_server(lambda: _Visit(rooms, loop=loop, **visiting), sock=sock, backlog=AT_ONCE)
    sock.listen(BACKLOG)
    try:
        await loop.create_future()
    finally:
        server.close()
        await runner.cleanup()
