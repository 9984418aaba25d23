"""The board: everything that is known, folded from the facts in order. Live, replay and backtest share this fold.

A step is one call of `fold_many`: the journal makes one of each batch that it commits, and replays the same
batches, so that the board comes out the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from itertools import islice
from typing import Any

from trader_monitor.core.bots import Bots
from trader_monitor.core.calendar.closures import Closures
from trader_monitor.core.calendar.facts import CalendarChanged
from trader_monitor.core.facts import (
    EVENT_TYPES,
    Account,
    Connection,
    Decision,
    Fact,
    Heartbeat,
    HttpRequest,
    MarketData,
    Now,
    Order,
    Outcome,
    Position,
    Prediction,
    RateLimit,
    Request,
    Sample,
    Trade,
)
from trader_monitor.core.ids import Ids
from trader_monitor.core.models.counts import Models
from trader_monitor.core.own import OwnFacts
from trader_monitor.core.series import SeriesStore
from trader_monitor.core.snapshot import Room, Snapshot
from trader_monitor.core.tally import PAUSE_AFTER, Tally
from trader_monitor.core.trading import Trading
from trader_monitor.core.trading.accounts.accounts import Accounts
from trader_monitor.core.trading.agents.agents import Agents
from trader_monitor.core.trading.exchanges.exchange import Exchanges
from trader_monitor.core.trading.marks import Marks
from trader_monitor.core.trading.positions.fills import Fills

__all__ = ["Board"]

_EVENTS = frozenset(EVENT_TYPES)


def both(first: Callable[[Any, int], None], second: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
    """Folds one fact into two rooms."""

    def fold(fact: Any, t_ms: int) -> None:
        first(fact, t_ms)
        second(fact, t_ms)

    return fold


class Board:
    """What is known now. One writer (the event loop); the fold is total and never raises on a valid fact.

    The dictionaries are for reading: by check, by alert fingerprint, by channel, by (channel, fingerprint), by source …
    """

    def __init__(self, series: SeriesStore, ids: Ids | None = None) -> None:
        self.series = series
        self.ids = Ids() if ids is None else ids
        self.counts: dict[str, int] = {}
        """Events folded, by type."""
        tally = self._tally = Tally(series)
        own = self._own = OwnFacts(tally)
        self.checks = own.checks
        self.alerts = own.alerts
        self.alert_history = own.alert_history
        self.notices = own.notices
        self.channels = own.channels
        self.tries = own.tries
        self.incidents = own.incidents
        self.steps = own.steps
        self.deaths = own.deaths
        marks = self.marks = Marks(series.max_series)
        accounts, exchanges = Accounts(tally, marks), Exchanges(tally, marks.multiplier)
        fills = Fills(tally, marks, accounts.exposures)
        agents, models = Agents(tally), Models(tally)
        bots = self._bots = Bots(tally)
        self.closures = Closures()
        self._rooms: dict[str, Room] = {"marks": marks, "fills": fills, "accounts": accounts}
        self._rooms |= {"exchanges": exchanges, "agents": agents}
        self._rooms["closures"] = self.closures
        self._fills = fills
        self.trading = Trading(fills.books, fills.ledgers, accounts.curves, fills.latest, fills.strategy_ledgers)
        self.accounts, self.exchanges, self.agents = accounts, exchanges, agents
        self.connections = exchanges.connections
        self.streams = exchanges.streams
        self.heartbeats = bots.heartbeats
        self.reserved: Set[str] = tally.names
        """Names of metrics that are the board's own: a bot's sample may not have them."""
        self._events = tally.counter("events_total", "Events accepted, by type.", "type", own=True)
        self._folds: dict[type, Callable[[Any, int], None]] = {
            Trade: both(fills.fold, exchanges.fold_trade),
            Order: exchanges.fold_order,
            Position: both(marks.fold_position, both(fills.fold_position, accounts.fold_position)),
            Account: accounts.fold,
            Request: exchanges.fold_request,
            RateLimit: exchanges.fold_rate_limit,
            Connection: exchanges.fold_connection,
            MarketData: both(marks.fold_market_data, exchanges.fold_market_data),
            Decision: agents.fold,
            Prediction: models.fold,
            Outcome: models.fold_outcome,
            Heartbeat: bots.fold_heartbeat,
            Sample: bots.fold_sample,
            HttpRequest: bots.fold_http_request,
            CalendarChanged: self.closures.fold,
            **own.folds(),
        }

    def fold(self, fact: Fact, now: Now) -> None:
        """Folds one fact: a step of its own."""
        self.fold_many((fact,), now)

    def fold_many(self, facts: Iterable[Fact], now: Now) -> None:
        """Folds a batch in one step; counters and states are written to their series once, at its end.

        In replay `now` is the time when the batch came. What a bot whose clock is ahead reports of the future is
        put at the present: it has happened, and it must not hide what others report until then.
        """
        for _ in self.folding(facts, now):
            pass

    def folding(self, facts: Iterable[Fact], now: Now) -> Iterator[None]:
        """The same step with pauses, some milliseconds apart. Until its end the board is no state to be kept."""
        folds = self._folds
        seen: dict[type, int] = {}
        now_ms = int(now.wall * 1000.0 + 0.5)
        t_ms = 0
        facts = iter(facts)
        while some := tuple(islice(facts, PAUSE_AFTER)):
            for fact in some:
                kind = type(fact)
                t_ms = int(fact.at * 1000.0 + 0.5)
                if t_ms > now_ms and kind in _EVENTS:
                    t_ms = now_ms
                folds[kind](fact, t_ms)
                seen[kind] = seen.get(kind, 0) + 1
            if len(some) == PAUSE_AFTER:
                yield
        for kind, number in seen.items():
            if kind in _EVENTS:
                name = str(kind.__struct_config__.tag)
                self.counts[name] = self.counts.get(name, 0) + number
                self._events.add((name,), t_ms, number)
        self._own.unpark(now)
        yield from self._tally.settling()
        yield from self._fills.revaluing(now_ms)
        yield from self._tally.settling()
        self._tally.refresh(now_ms)

    def rebase(self, now: Now) -> None:
        """After a reboot the monotonic clock began anew: every stamp of it becomes the present.

        So what waits, waits its full time again: longer than it should, never shorter.
        """
        self._own.rebase(now)

    def dump(self) -> bytes:
        """All but the samples (`SeriesStore`) and the ids (`Ids.dump`), in MessagePack."""
        own = self._own
        return Snapshot(
            counts=self.counts,
            checks=list(own.checks.values()),
            alerts=list(own.alerts.values()),
            alert_history=list(own.alert_history),
            notices=list(own.notices.values()),
            channels=list(own.channels.values()),
            tries=list(own.tries.values()),
            incidents=own.incidents,
            steps=list(own.steps),
            deaths=list(own.deaths),
            parked=own.parked,
            cells=self._tally.kept(),
            rooms={name: room.dump() for name, room in self._rooms.items()},
            heartbeats=list(self._bots.heartbeats.values()),
        ).encode()

    @classmethod
    def load(cls, raw: bytes, series: SeriesStore, ids: Ids | None = None) -> Board:
        """The board that was dumped. Raises SnapshotError where `raw` is not a snapshot of this version."""
        kept = Snapshot.decode(raw)
        board = cls(series, ids)
        board.counts.update(kept.counts)
        own = board._own
        own.checks.update((fact.check, fact) for fact in kept.checks)
        own.alerts.update((fact.fingerprint, fact) for fact in kept.alerts)
        own.alert_history.extend(kept.alert_history)
        own.notices.update(((fact.channel, fact.fingerprint), fact) for fact in kept.notices)
        own.channels.update((fact.channel, fact) for fact in kept.channels)
        own.tries.update(((fact.channel, fact.fingerprint), fact) for fact in kept.tries)
        own.incidents.update(kept.incidents)
        own.steps.extend(kept.steps)
        own.deaths.extend(kept.deaths)
        own.parked.update(kept.parked)
        board._tally.restore(kept.cells)
        for name, room in board._rooms.items():
            if (state := kept.of_room(name)) is not None:
                room.load(state)
        board._bots.heartbeats.update((fact.source, fact) for fact in kept.heartbeats)
        return board
