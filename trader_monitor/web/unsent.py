"""Large answers: sent in pieces as their receivers take them, within a limit for all that is not taken yet.

Whoever asks for much and reads nothing costs memory, and so do many who read slowly. An answer beyond `WHOLE` is
counted until its receiver has it; beyond `MOST` in all, the next is refused. And each has to be taken at a pace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.payload import Payload

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

    from trader_monitor.web.body import Pace

__all__ = ["UNSENT", "Overfull", "Unsent"]

WHOLE = 256 << 10
"""Bytes of an answer that is written in one go."""
MOST = 128 << 20
_CUT = 256 << 10


class Overfull(Exception):
    """Too much waits for its receivers already."""


class Unsent:
    """The answers of one door that their receivers have not taken yet, in bytes."""

    def __init__(self, pace: Pace, most: int = MOST) -> None:
        self.pace = pace
        self.most = most
        self.held = 0

    @property
    def full(self) -> bool:
        """Whether there is room for nothing more."""
        return self.held >= self.most

    def body(self, request: web.Request, pieces: Sequence[bytes]) -> bytes | Payload:
        """What to give to a response. Raises Overfull."""
        size = sum(map(len, pieces))
        if size <= WHOLE:
            return b"".join(pieces)
        if self.held + size > self.most:
            raise Overfull
        return _Pieces(self, request, pieces, size)

    def whole(self, request: web.Request, response: web.StreamResponse) -> None:
        """Has a large body sent in pieces that a room gave as one. Raises Overfull."""
        if not isinstance(response, web.Response) or response.compression or request.method == "HEAD":
            return
        body = response.body
        if isinstance(body, bytes) and len(body) > WHOLE:
            view, kind = memoryview(body), response.headers["Content-Type"]
            response.body = self.body(request, [bytes(view[at : at + _CUT]) for at in range(0, len(view), _CUT)])
            response.headers["Content-Type"] = kind


UNSENT: web.AppKey[Unsent] = web.AppKey("unsent", Unsent)


class _Pieces(Payload):
    """A body that gives up each piece when it is written, and its room in the account however it ends."""

    _autoclose = True

    def __init__(self, unsent: Unsent, request: web.Request, pieces: Sequence[bytes], size: int) -> None:
        super().__init__(None, content_type="application/octet-stream")
        self._rest = list(reversed(pieces))
        self._held = self._size = size
        self._unsent = unsent
        self._request: web.Request | None = request
        unsent.held += size

    def __del__(self) -> None:  # an answer whose receiver left before it was begun is never written
        self._give_back(self._held)

    def _give_back(self, size: int) -> None:
        self._held -= size
        self._unsent.held -= size

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        transport = self._request.transport if self._request is not None else None
        self._request = None
        if transport is None:
            return
        late = asyncio.get_running_loop().call_later(self._unsent.pace.due(self._held), transport.abort)
        try:
            while self._rest:
                piece = self._rest.pop()
                await writer.write(piece)
                self._give_back(len(piece))
        finally:
            late.cancel()
            self._rest.clear()
            self._give_back(self._held)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> Any:
        raise TypeError("an answer in pieces is not put together")
