"""Request bodies: they must keep a pace, and are read within a limit that holds after decompression too."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web

__all__ = ["Allowance", "BodyError", "Pace", "keeping", "read_body"]

_CHUNK = 64 << 10
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Pace(NamedTuple):
    """How slowly anything may come that was begun: `grace` seconds, and one more for each `rate` bytes of it."""

    grace: float = 10.0
    rate: float = 64 << 10

    def due(self, size: int) -> float:
        """Seconds after the beginning by which there must be more than so many bytes."""
        return self.grace + size / self.rate

    def __str__(self) -> str:
        return f"{self.grace:g} s and 1 s for each {self.rate / 1024:g} KiB"


class BodyError(Exception):
    """A body that is not read to its end; `status` says how to answer."""

    def __init__(self, status: int, error: str, hint: str) -> None:
        super().__init__(error)
        self.status = status
        self.hint = hint


class Allowance:
    """How many bytes of bodies may be in memory at once, over all requests."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0

    def take(self, size: int) -> None:
        """Raises BodyError (429) where too much is under way already."""
        if self.used + size > self.size:
            raise BodyError(429, "too many bodies are being read at once", "send it again in a second")
        self.used += size

    def give_back(self, size: int) -> None:
        self.used -= size


@asynccontextmanager
async def keeping(pace: Pace, request: web.Request) -> AsyncIterator[None]:
    """Lets a handler go on while the body comes at this pace. Raises BodyError (408) where it does not."""
    content, loop = request.content, asyncio.get_running_loop()
    began = loop.time()
    timer: asyncio.TimerHandle | None = None

    def look() -> None:
        nonlocal timer
        if content.is_eof():
            return
        due = began + pace.due(content.total_bytes)
        if due <= loop.time():
            patience.reschedule(due)
        else:
            timer = loop.call_at(due, look)

    try:
        async with asyncio.timeout(None) as patience:
            look()
            yield
    except TimeoutError:
        if not patience.expired():
            raise
        error = f"the body comes too slowly: {content.total_bytes:,} bytes in {loop.time() - began:.1f} s"
        raise BodyError(408, error, f"a body may take {pace}") from None
    finally:
        if timer is not None:
            timer.cancel()


async def read_body(request: web.Request, limit: int, allowance: Allowance) -> bytes:
    """The body, decompressed. Raises BodyError: 413 as soon as it is too large, 415 for other encodings."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity" and encoding not in _WINDOWS:
        raise BodyError(415, f"the encoding {encoding[:40]} is not supported", "use gzip or deflate, or none")
    if request.content_length is not None and request.content_length > limit:
        raise _too_large(limit)
    inflate = zlib.decompressobj(_WINDOWS[encoding]) if encoding in _WINDOWS else None
    body = bytearray()
    taken = 0
    try:
        while True:
            chunk = await request.content.readany()
            if not chunk:
                break
            while chunk:
                if inflate is not None:
                    piece = inflate.decompress(chunk, _CHUNK)
                    chunk = inflate.unconsumed_tail
                    if inflate.eof and (chunk or inflate.unused_data):
                        raise BodyError(400, "bytes follow the end of the compressed body", "compress it in one piece")
                else:
                    piece, chunk = chunk, b""
                if len(body) + len(piece) > limit:
                    raise _too_large(limit)
                allowance.take(len(piece))
                taken += len(piece)
                body += piece
                if chunk:  # little that becomes much: others have their turn
                    await asyncio.sleep(0)
    except zlib.error as error:
        raise BodyError(400, f"the body is not {encoding}: {error}", "check Content-Encoding") from None
    finally:
        allowance.give_back(taken)
    if inflate is not None and not inflate.eof and (body or request.body_exists):
        raise BodyError(400, f"the {encoding} body ends early", "send it again")
    return bytes(body)


def _too_large(limit: int) -> BodyError:
    return BodyError(413, f"the body is larger than {limit / (1 << 20):g} MiB", "send less at once")
