"""A process that records and says what was acknowledged, to be killed: `python writer.py STORE FIRST COUNT SIZE`.

On stdout: `open`, then `ack N` or `no N` per batch of trades, `own N` per collection, `snap N`, `degraded R`, `closed`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from trader_monitor.core.facts import Fact, Samples, Trade
from trader_monitor.runtime.clock import SystemClock
from trader_monitor.runtime.journal import StoreUnavailable
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.snapshot import snapshot

LABELS = tuple((("__name__", "host_load"), ("core", str(core))) for core in range(8))


def trades(batch: int, size: int) -> list[Trade]:
    """The same for ever, but for their time."""
    clock = SystemClock()
    return [
        Trade(
            at=clock.now().wall,
            id=f"{batch}-{number}",
            source="bot",
            symbol=f"S{number % 7}",
            side="buy" if number % 2 else "sell",
            quantity=1.0,
            price=100.0 + number,
            order_id=f"order-{batch}-{number}",
        )
        for number in range(size)
    ]


def collection(value: float) -> Samples:
    return Samples(
        at=SystemClock().now().wall, origin="host", labels=LABELS, values=tuple(value + core for core in range(8))
    )


def say(*words: object) -> None:
    """In one system call, so that a kill tears no line."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def main(path: Path, first: int, count: int, size: int) -> None:
    journal = await open_journal(path, clock=SystemClock(), meters=Meters())
    say("open")
    published = 0

    def listen(facts: Sequence[Fact]) -> None:
        nonlocal published
        published += sum(isinstance(fact, Samples) for fact in facts)

    journal.watch(listen)
    for batch in range(first, first + count):
        try:
            await journal.record(trades(batch, size))
        except StoreUnavailable as error:
            say("no", batch, error)
            await asyncio.sleep(0.1)
        else:
            say("ack", batch)
        before = published
        await journal.record([collection(float(batch))])
        if published == before + 1:
            say("own", batch)
        if journal.degraded:
            say("degraded", journal.degraded)
        if batch % 5 == 4:
            try:
                say("snap" if await snapshot(journal) else "none", batch)
            except Exception as error:
                say("nosnap", batch, error)
    for _ in range(200):
        if journal.sound:
            break
        await asyncio.sleep(0.02)
    say("sound" if journal.sound else "unsound")
    await journal.close()
    say("closed")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *map(int, sys.argv[2:5])))
