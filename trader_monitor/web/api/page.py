"""The page: static files with a strict content security policy, no build step and nothing from elsewhere.

The files are read once, compressed once and answered from memory with an ETag; together they are smaller than
one photograph of a chart.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

__all__ = ["routes"]

TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\])")


class _File(NamedTuple):
    body: bytes
    zipped: bytes
    type: str
    etag: str


def routes(env: Env) -> list[web.RouteDef]:
    shelf = {name: _file(name, body) for name, body in _read()}

    async def index(request: web.Request) -> web.StreamResponse:
        return _answer(request, shelf["index.html"], _policy(request, env.config().live.listen.port))

    async def figures(request: web.Request) -> web.StreamResponse:
        return _answer(request, shelf["figures.html"], _policy(request, env.config().live.listen.port))

    async def part(request: web.Request) -> web.StreamResponse:
        file = shelf.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        return _answer(request, file, _policy(request, env.config().live.listen.port))

    return [web.get("/", index), web.get("/figures", figures), web.get("/page/{name}", part)]


def _read() -> list[tuple[str, bytes]]:
    folder = files("trader_monitor.web") / "page"
    return [(item.name, item.read_bytes()) for item in folder.iterdir() if item.name.rpartition(".")[2] in TYPES]


def _file(name: str, body: bytes) -> _File:
    etag = hashlib.sha256(body).hexdigest()[:24]
    return _File(body, gzip.compress(body, 6, mtime=0), TYPES[name.rpartition(".")[2]], etag)


def _policy(request: web.Request, live_port: int) -> str:
    """Nothing but our own files, and the feed: on the host that was asked for, on its own port."""
    host, _, _ = request.host.rpartition(":") if request.host.rpartition(":")[2].isdigit() else (request.host, "", "")
    feed = f" ws://{host}:{live_port} wss://{host}:{live_port}" if _HOST.fullmatch(host) else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self'{feed}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _answer(request: web.Request, file: _File, policy: str) -> web.StreamResponse:
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
        "ETag": f'"{file.etag}"',
        "Vary": "Accept-Encoding",
    }
    if any(tag.value in {file.etag, "*"} for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    body = file.body
    if "gzip" in request.headers.get("Accept-Encoding", "") and len(file.zipped) < len(file.body):
        body = file.zipped
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body, headers=headers, content_type=file.type, charset="utf-8")
