"""For machines that watch the monitor: `/metrics`, `/health` and `/ready`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from trader_monitor.web.exposition import CONTENT_TYPES, Exposition, Format

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

__all__ = ["negotiated", "routes"]

ALIVE = b'{"status":"ok"}\n'
COMPRESS_BEYOND = 4096


def routes(env: Env) -> list[web.RouteDef]:
    exposition = Exposition()

    async def metrics(request: web.Request) -> web.Response:
        """Everything current, as Prometheus's text or as OpenMetrics, by the Accept header."""
        format = negotiated(request.headers.get("Accept", ""))
        pieces = await exposition.render(env.board.series, int(env.clock.now().wall * 1000), format)
        body = b"".join(pieces)
        # Compressed in a thread; zlib lets the event loop run meanwhile.
        answer = web.Response(body=body, headers={"Content-Type": CONTENT_TYPES[format]}, zlib_executor_size=1)
        if len(body) > COMPRESS_BEYOND:
            answer.enable_compression()
        return answer

    async def health(request: web.Request) -> web.Response:
        """Alive: the event loop answers. Nothing else is looked at."""
        return web.Response(body=ALIVE, content_type="application/json")

    async def ready(request: web.Request) -> web.Response:
        """200 when the daemon does its work, 503 with the reasons while it does not yet."""
        reasons = env.ready()
        body = msgspec.json.encode({"ready": not reasons, "reasons": reasons, "degraded": env.journal.degraded})
        return web.Response(status=503 if reasons else 200, body=body + b"\n", content_type="application/json")

    return [web.get("/metrics", metrics), web.get("/health", health), web.get("/ready", ready)]


def negotiated(accept: str) -> Format:
    """OpenMetrics for whoever prefers it, the text format for everybody else."""
    best: tuple[float, Format] = (0.0, "text")
    for choice in accept.split(","):
        media, *parameters = (part.strip().lower() for part in choice.split(";"))
        quality = next((_quality(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        version = next((p[8:].strip('"') for p in parameters if p.startswith("version=")), "1.0.0")
        format: Format | None = None
        if media == "application/openmetrics-text" and version in {"1.0.0", "0.0.1"}:
            format = "openmetrics"
        elif media in {"text/plain", "text/*", "*/*"}:
            format = "text"
        if format is not None and quality > best[0]:
            best = (quality, format)
    return best[1]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
