"""Fills: trades folded into positions, ledgers and their series.

The hot path of the daemon: a trade changes a few numbers in memory; the series are written once per step, from
what changed, at the newest `at`.

A book per source, account, exchange and symbol nets all fills of the account; where trades name a strategy, a book
of that strategy stands beside it, and a ledger. Fills are booked in the order of their times; those that come late,
and corrections, change history (`corrections`), which `pnl_history_changes_total` says:
`late`, `corrected`, `cancelled`, `split`, `multiplier`, and `too_late` for what lies before all that can be told
again: such a fill is booked at the present, such a correction not at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from decimal import Decimal

from trader_monitor.core.facts import Position as Report
from trader_monitor.core.facts import Trade
from trader_monitor.core.tally import PAUSE_AFTER, Tally
from trader_monitor.core.trading.accounts.exposure import Exposures
from trader_monitor.core.trading.decimals import exact
from trader_monitor.core.trading.marks import FILLED, Marks
from trader_monitor.core.trading.positions.corrections import Entry, Tail
from trader_monitor.core.trading.positions.holdings import Holdings, StrategyBookKey, StrategyLedgerKey
from trader_monitor.core.trading.positions.keeping import dumped, loaded
from trader_monitor.core.trading.positions.line import Line
from trader_monitor.core.trading.positions.shown import Account, BookKey, LedgerKey, Position, SymbolKey
from trader_monitor.core.trading.positions.splits import split_ratio

__all__ = ["BookKey", "Fills", "LedgerKey", "StrategyBookKey", "StrategyLedgerKey", "SymbolKey"]

LATEST = 50
"""Trades that are kept as they came, for who looks."""

EVERY_MS = 1_000
"""How often what is valued is written where many change, and for every `MANY` positions that there are."""

MANY = 10_000

AT_ONCE = 200
"""As many are written at once."""


class Fills:
    """All books and ledgers, by what their trades name; see `Holdings` for what they take."""

    def __init__(self, tally: Tally, marks: Marks, exposures: Exposures | None = None) -> None:
        self.marks = marks
        self.holdings = holdings = Holdings(tally, marks, exposures)
        self.metrics = holdings.metrics
        self.books = holdings.books
        self.ledgers = holdings.ledgers
        self.strategy_books = holdings.strategy_books
        self.strategy_ledgers = holdings.strategy_ledgers
        self.latest: deque[Trade] = deque(maxlen=LATEST)
        self._tally = tally
        self._lines = holdings.lines
        self._valued_ms = 0

    def fold(self, trade: Trade, t_ms: int) -> None:
        """Takes a trade in; its series are written when the step settles."""
        self.latest.append(trade)
        if trade.corrects is not None or trade.cancelled:
            self._correct(trade, t_ms)
            return
        line = self._line(trade)
        price, at = trade.price, trade.at
        line.number += 1
        line.turnover += abs(trade.quantity * price)
        quote = line.quote
        if quote is not None:
            if quote.rank != FILLED:
                quote.take(price, at, FILLED)
            elif at >= quote.at:
                quote.price, quote.at = price, at
        if t_ms > line.meant:
            line.meant = t_ms
        if not line.dirty:
            line.dirty = True
            self._tally.pending.append(line)
        tail = line.tail
        newer = tail.newer
        if len(newer) >= self.holdings.segment:
            tail.turn()
            newer = tail.newer
        entry = Entry(line.number_in_tail, at, trade.quantity, price, trade.fee, trade.realized_pnl, trade.id)
        if at < line.book.newest_at or tail.stale:
            self._place(line, entry, t_ms)
        else:
            newer.append(entry)
            if line.segment != tail.segment:
                tail.keep(line)
            line.apply(entry)
        if trade.execution_seconds is not None:
            self.metrics.execution.observe((trade.source, trade.exchange), t_ms, trade.execution_seconds)
        if trade.expected_price:
            worse = line.sign * (price - trade.expected_price) / abs(trade.expected_price)
            self.metrics.slippage.place((trade.source, trade.exchange, trade.symbol), t_ms, worse)

    def _line(self, trade: Trade) -> Line:
        key = (
            trade.source,
            trade.account,
            trade.exchange,
            trade.symbol,
            trade.side,
            trade.currency,
            trade.strategy,
        )
        return self._lines.get(key) or self.holdings.open(key)

    # --- history ----------------------------------------------------------------------------------------

    def _place(self, line: Line, entry: Entry, t_ms: int) -> None:
        """Puts a fill where its time belongs, or at the present if that is too long ago."""
        place = line.tail.place(entry)
        if place == "too_late":
            self._at_present(line, entry)
        else:
            line.tail.change(t_ms)
        if place != "in_order":
            self._say(line.position, place, t_ms)

    def _at_present(self, line: Line, entry: Entry) -> None:
        line.tail.settle()
        entry.at = line.book.newest_at
        line.tail.add(entry)

    def _correct(self, trade: Trade, t_ms: int) -> None:
        """Puts a trade in the place of another, at that one's time, or takes that one out."""
        for tail in self._tails(trade):
            spot = tail.find(trade.corrects or "")
            if spot is not None:
                self._change(trade, tail, *spot, t_ms)
                return
        self.metrics.history.add((trade.source, trade.account, trade.symbol, "too_late"), t_ms)

    def _change(self, trade: Trade, tail: Tail, part: list[Entry], index: int, t_ms: int) -> None:
        entry = part[index]
        before: Position = tail.lines[entry.line].position
        tail.change(t_ms)
        if trade.cancelled:
            del part[index]
            self._say(before, "cancelled", t_ms)
            return
        line = self._line(trade)
        numbers = (trade.quantity, trade.price, trade.fee, trade.realized_pnl)
        fresh = Entry(line.number_in_tail, entry.at, *numbers, trade.id, entry.corrects or entry.id)
        if line.position is before:
            part[index] = fresh
        else:
            del part[index]
            if line.tail.place(fresh) == "too_late":
                self._at_present(line, fresh)
            line.tail.change(t_ms)
        self._say(before, "corrected", t_ms)

    def _tails(self, trade: Trade) -> list[Tail]:
        """Where a trade's earlier version may be: in its account's tail, or in that of another one of the bot's."""
        tails, own = self.holdings.tails, (trade.source, trade.account)
        others = [tail for key, tail in tails.items() if key[0] == trade.source and key != own]
        return [tails[own], *others] if own in tails else others

    def _say(self, position: Position, reason: str, t_ms: int) -> None:
        source, account, _, symbol = position.key
        self.metrics.history.add((source, account, symbol, reason), t_ms)

    # --- what bots report of their positions ------------------------------------------------------------

    def fold_position(self, report: Report, t_ms: int) -> None:
        """Compares what a bot reports to what its fills add up to. An older report than the newest fill says nothing.

        One that has the same cost in other units is a split; any other difference is shown, and changes nothing.
        """
        key = (report.source, report.account, report.exchange, report.symbol)
        position = self.holdings.positions.get((key, None))
        if position is None:
            return
        tail = self.holdings.tail((report.source, report.account))
        tail.settle()
        book = position.state
        if report.multiplier is not None:
            self._multiply(position, tail, exact(report.multiplier), t_ms)
        if report.at < book.newest_at:
            return
        reported = exact(report.quantity)
        if reported != book.quantity and report.entry_price is not None:
            costs = (book.cost, book.lots_cost)
            ratio = split_ratio(book.quantity, costs, reported, exact(report.entry_price))
            if ratio is not None:
                if position.number_in_tail < 0:
                    position.number_in_tail = tail.number(position)
                entry = Entry(position.number_in_tail, report.at, 0.0, 0.0, None, None, None, ratio=ratio)
                if len(tail.newer) >= self.holdings.segment:
                    tail.turn()
                tail.add(entry)
                for split in position.things:
                    split.touch(t_ms)
                self._say(position, "split", t_ms)
        self.metrics.unreconciled.place(key, t_ms, float(reported - book.quantity))

    def _multiply(self, position: Position, tail: Tail, multiplier: Decimal, t_ms: int) -> None:
        """Takes a multiplier, which then counts for all that can be told again."""
        wanted = None if multiplier == 1 else multiplier
        if position.state.multiplier == wanted:
            return
        source, account, _, _ = position.key
        ledger = self.ledgers.get((source, account, position.state.currency))
        before = None if ledger is None else ledger.realized
        for each in position.things:
            each.state.multiplier = wanted
            for kept in (tail.kept_older, tail.kept):
                if each in kept:
                    kept[each].multiplier = wanted
            each.touch(t_ms)
        tail.change(t_ms)
        tail.settle()
        if ledger is not None and ledger.realized != before:
            self._say(position, "multiplier", t_ms)

    # --- what is valued ---------------------------------------------------------------------------------

    def revaluing(self, now_ms: int) -> Iterator[None]:
        """Writes what is valued at marks, and the second views; with pauses. See `shown`."""
        holdings = self.holdings
        number = len(holdings.changed) + len(self.marks.changed)
        if number <= AT_ONCE:
            number += sum(len(quote.priced) for quote in self.marks.changed)
        if not number or (number > AT_ONCE and 0 <= now_ms - self._valued_ms < self._patience()):
            return
        self._valued_ms = now_ms
        changed, holdings.changed = holdings.changed, {}
        for position, t_ms in self.marks.taken():
            position.meant = max(position.meant, t_ms)
            changed[position] = None
        accounts: dict[Account, None] = {}
        for number, thing in enumerate(changed, 1):
            if isinstance(thing, Account):
                accounts[thing] = None
            else:
                thing.revalue()
            if number % PAUSE_AFTER == 0:
                yield
        for account in accounts | holdings.changed:
            account.revalue()
        holdings.changed = {}

    def _patience(self) -> int:
        return EVERY_MS * (1 + len(self.holdings.positions) // MANY)

    def dump(self) -> bytes:
        return dumped(self.holdings, self.latest)

    def load(self, raw: bytes) -> None:
        self.latest.extend(loaded(self.holdings, raw))
