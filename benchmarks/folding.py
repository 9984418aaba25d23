"""Trades folded through the board, with everything on: positions by both methods, strategies, fees, round trips, marks.

A hundred bots hold ten instruments each, a thousand in all, and fill an order in one to seven parts; a third of them
name a strategy. Batches of 500, as the journal commits them. Besides, the worst there can be: every trade of another
book, of 10,000. Each life is a process of its own, with the garbage collector as the daemon sets it; the board is
warm, since a bot's first fill opens its series. Seconds are the processor's, of which folding takes one.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal, NamedTuple

from benchmarks.environments import run
from benchmarks.table import Row
from trader_monitor.core.board import Board
from trader_monitor.core.facts import Now, Trade
from trader_monitor.core.series import SeriesStore

GOAL = 100_000
BOTS, SYMBOLS, BATCH = 100, 1_000, 500
TRADES = {"orders": 100_000, "scattered": 100_000}
LIVES = 5
START = 1_700_000_000.0


class Life(NamedTuple):
    """What one process measured: trades per second (median of its batches, and of all), books, and bytes."""

    median: float
    whole: float
    books: int
    resident: int


def trades(kind: Literal["orders", "scattered"], number: int) -> list[Trade]:
    """Seeded fills, ten microseconds apart; prices move in ticks of a cent."""
    chance = random.Random(kind)
    prices = [chance.randint(1_000, 50_000) for _ in range(SYMBOLS)]
    held: dict[tuple[int, int], int] = {}
    found: list[Trade] = []
    while len(found) < number:
        bot = chance.randrange(BOTS)
        of_bot, parts = (10, chance.randint(1, 7)) if kind == "orders" else (100, 1)
        symbol = (bot * 10 + chance.randrange(of_bot)) % SYMBOLS
        open = held.get((bot, symbol), 0)
        is_buy = open < 0 if open and chance.random() < 0.6 else open > 0 if open else chance.random() < 0.5
        for _ in range(parts):
            prices[symbol] = max(100, prices[symbol] + chance.randint(-5, 5))
            size = 5 * chance.randint(1, 20)
            held[bot, symbol] = held.get((bot, symbol), 0) + (size if is_buy else -size)
            price = prices[symbol] / 100
            found.append(
                Trade(
                    at=START + len(found) / 100_000,
                    id=f"{len(found)}",
                    source=f"bot-{bot}",
                    account=f"account-{bot}",
                    exchange="binance",
                    symbol=f"SYM{symbol}",
                    side="buy" if is_buy else "sell",
                    quantity=float(size),
                    price=price,
                    fee=round(size * price * 0.0002, 4),
                    currency="USDT",
                    strategy="momentum" if bot % 3 == 0 else None,
                )
            )
    return found[:number]


def live(kind: Literal["orders", "scattered"]) -> Life:
    """One life: the first half opens the series, the second is measured."""
    from trader_monitor.runtime.memory import settle

    given = trades(kind, TRADES[kind])
    board = Board(SeriesStore(max_series=1_000_000))
    taken: list[float] = []
    settle()
    for first in range(0, len(given), BATCH):
        batch = given[first : first + BATCH]
        now = Now(batch[-1].at, float(first))
        began = time.process_time()
        board.fold_many(batch, now)
        taken.append(time.process_time() - began)
    warm = taken[len(taken) // 2 :]
    del given, batch
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Life(BATCH / statistics.median(warm), BATCH * len(warm) / sum(warm), len(board.trading.books), pages * 4096)


def lives(kind: Literal["orders", "scattered"]) -> list[Life]:
    """Each in a process of its own."""
    asked = [sys.executable, "-m", "benchmarks.folding", kind]
    return [
        Life(*json.loads(subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout))
        for _ in range(LIVES)
    ]


def rows(_: Path) -> list[Row]:
    peers = dict(line.split() for line in run("returns", Path(__file__).with_name("folding_peer.py")).splitlines())
    found = []
    for kind, what in (("orders", f"{BOTS} bots, {SYMBOLS:,} symbols"), ("scattered", "each of another book")):
        measured = lives(kind)  # type: ignore[arg-type]
        rates = [life.median for life in measured]
        ours = statistics.median(rates)
        last = measured[-1]
        goal = (f">= {GOAL:,}/s", ours >= GOAL) if kind == "orders" else ("", None)
        for name, seconds in peers.items():
            found.append(
                Row(
                    f"folding trades, {what}: {ours:,.0f}/s in the median life, {min(rates):,.0f}/s in the slowest"
                    if name == "empyrical"
                    else f"folding trades, {what}",
                    f"{ours:,.0f}/s",
                    f"{name}, three to five figures per event: {1 / float(seconds):,.0f}/s",
                    f"{ours * float(seconds):,.0f} x",
                    *goal,
                )
            )
        found.append(
            Row(f"folding trades, {what}: memory with {last.books:,} books", f"{last.resident / 2**20:,.0f} MiB")
        )
    return found


if __name__ == "__main__":
    print(json.dumps(live(sys.argv[1])))  # type: ignore[arg-type]
