"""Intake: a batch of bytes through the border and into the journal, and the answer that tells what became of it.

The HTTP route and the Unix socket share it.
"""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from msgspec import Struct
from msgspec.structs import asdict

from trader_monitor.web.border import (
    MAX_EVENTS,
    MAX_LISTED,
    Border,
    Format,
    LineError,
    numbered_items,
    numbered_lines,
    numbered_pieces,
)
from trader_monitor.web.cut import Cut
from trader_monitor.web.fields import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trader_monitor.runtime.env import Env

__all__ = ["Answer", "border_of", "take_body", "take_lines"]

SLICE = 200
"""Events that are checked before others get their turn."""

TURN = 0.004
"""Seconds that events which take long may take before others get their turn."""

SMALL = 16 << 10
"""Bytes of a body that waits for no other."""

_LARGE: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
"""Whose turn it is."""
_END = object()


class Answer(Struct, frozen=True):
    """What became of a batch. `status` is HTTP's; `refused` counts events whose errors may not all be listed."""

    status: int
    accepted: int
    duplicates: int
    errors: list[LineError] | None = None
    refused: int | None = None

    def body(self) -> dict[str, Any]:
        """What is told of it, without the status."""
        return {name: value for name, value in asdict(self).items() if name != "status" and value is not None}


def border_of(env: Env) -> Border:
    """A border with the present window of time."""
    config, now = env.config(), env.clock.now().wall
    oldest, newest = now - config.store.retention, now + config.ingest.max_ahead
    return Border(Window(now, oldest, newest, env.board.reserved))


async def take_body(env: Env, body: bytes, form: Format) -> Answer:
    """Takes a whole body. Raises TooMany, and StoreUnavailable; then nothing of it was accepted."""
    border = border_of(env)
    await _one_after_another(_turns(border, body, form), len(body))
    return await _recorded(env, border)


async def take_lines(env: Env, lines: Sequence[tuple[int, bytes]]) -> Answer:
    """Takes numbered lines of JSON. Raises StoreUnavailable; then none of them was accepted."""
    border = border_of(env)
    await _one_after_another(_slices(border, iter(lines)), sum(len(line) for _, line in lines))
    return await _recorded(env, border)


async def _one_after_another(turns: Iterator[None], size: int) -> None:
    """Takes each turn; between two, all others have theirs, but of large bodies only one."""
    if size <= SMALL:
        for _ in turns:
            await asyncio.sleep(0)
        return
    lock = _LARGE.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    under_way = True
    while under_way:
        async with lock:
            under_way = next(turns, _END) is not _END
            if under_way:
                await asyncio.sleep(0)


def _turns(border: Border, body: bytes, form: Format) -> Iterator[None]:
    """Takes a whole body, a bit of it at each step. Raises TooMany."""
    match form:
        case "msgpack":
            pieces = numbered_pieces(body)
            while border.take_packed(pieces, _turn()):
                yield
        case "json":
            numbered = numbered_items(body)
            if numbered is None:
                array = Cut(body, MAX_EVENTS)
                while array.scan():
                    yield
                numbered = array.items()
            yield from _slices(border, numbered)
        case "ndjson":
            yield from _slices(border, iter(numbered_lines(body)))


def _slices(border: Border, numbered: Iterator[tuple[int, bytes]]) -> Iterator[None]:
    while border.take(islice(numbered, SLICE), _turn()):
        yield


def _turn() -> Callable[[], bool]:
    """Says when a turn that begins now has been long enough."""
    end = time.perf_counter() + TURN
    return lambda: time.perf_counter() >= end


async def _recorded(env: Env, border: Border) -> Answer:
    """Commits what is good; the answer names what is not."""
    if border.refused:
        env.meters.count("monitor_events_refused_total", border.refused, reason="border")
    if not border.facts:
        return Answer(400, 0, 0, border.errors, border.refused) if border.refused else Answer(202, 0, 0)
    recorded = await env.journal.record(border.facts)
    if not border.refused and not recorded.conflicts:
        return Answer(202, recorded.accepted, recorded.duplicates)
    errors = list(border.errors)
    for index in recorded.conflicts[: MAX_LISTED - len(errors)]:
        known = "this source used the id before with another body; the first stands"
        errors.append(LineError(border.lines[index], "$.id", known))
    errors.sort(key=lambda error: error.line)
    return Answer(
        400 if border.refused else 409,
        recorded.accepted,
        recorded.duplicates,
        errors,
        border.refused + len(recorded.conflicts),
    )
