"""A board that knows little and shows all of it: what it folded, in order."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from trader_monitor.core.facts import AlertChanged, Event, Fact, Now, Samples, Trade
from trader_monitor.core.ids import Ids
from trader_monitor.core.series import SeriesStore


class PlainBoard:
    def __init__(self, series: SeriesStore) -> None:
        self.series = series
        self.ids = Ids()
        self.trades: list[str] = []
        self.alerts: dict[str, AlertChanged] = {}
        self.rebased: list[float] = []

    def fold(self, fact: Fact, now: Now) -> None:
        self.fold_many((fact,), now)

    def fold_many(self, facts: Iterable[Fact], now: Now) -> None:
        for fact in facts:
            t = int(fact.at * 1000 + 0.5)
            match fact:
                case Samples():
                    self.series.append_many([self.series.intern(x) for x in fact.labels], t, fact.values)
                case AlertChanged():
                    self.alerts[fact.fingerprint] = fact
                case Trade():
                    self.trades.append(fact.order_id or "")
                    self.series.append(
                        self.series.intern((("__name__", "trade_fills_total"),)), t, float(len(self.trades))
                    )
                case Event() | _:
                    pass

    def dump(self) -> bytes:
        return msgspec.msgpack.encode((self.trades, self.alerts, self.rebased))

    @classmethod
    def load(cls, raw: bytes, series: SeriesStore) -> PlainBoard:
        board = cls(series)
        board.trades, board.alerts, board.rebased = msgspec.msgpack.decode(
            raw, type=tuple[list[str], dict[str, AlertChanged], list[float]]
        )
        return board

    def rebase(self, now: Now) -> None:
        self.rebased.append(now.mono)
