"""Outgoing: the session of all HTTP requests that the house makes; connections are kept, cookies are not."""

from __future__ import annotations

import socket

from aiohttp import ClientResponse, ClientSession, DummyCookieJar, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

from trader_monitor.runtime.names import look_up
from trader_monitor.runtime.threads import Threads

__all__ = ["beginning", "open_session"]


def open_session(threads: Threads) -> ClientSession:
    """A new session, which looks hosts up in these threads.

    Bodies arrive as they were sent, and others are asked not to pack them: unpacking one would hold up the event
    loop for as long as the sender likes. Who wants it packed says so, and unpacks it in a thread, up to a limit.
    """
    return ClientSession(
        connector=TCPConnector(
            limit=0, limit_per_host=32, ttl_dns_cache=60, keepalive_timeout=75, resolver=_Resolver(threads)
        ),
        cookie_jar=DummyCookieJar(),
        headers={"User-Agent": "trader-monitor", "Accept-Encoding": "identity"},
        auto_decompress=False,
    )


async def beginning(answer: ClientResponse, most: int) -> bytes:
    """As much of the body; an endless one is not read on."""
    chunks: list[bytes] = []
    async for chunk in answer.content.iter_chunked(1 << 16):
        chunks.append(chunk[:most])
        most -= len(chunk)
        if most <= 0:
            break
    return b"".join(chunks)


class _Resolver(AbstractResolver):
    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=_numeric(address), port=port, family=of, proto=proto, flags=_NUMERIC)
            for of, _, proto, _, address in await look_up(self._threads, host, port, family)
        ]

    async def close(self) -> None:
        """There is nothing to close."""


_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


def _numeric(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    """The address as text, with the zone that a link-local one of IPv6 needs."""
    if len(address) == 4 and address[3]:
        return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return address[0]
