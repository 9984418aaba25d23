"""A bot's calls: one method per type of event, with the fields of the wire contract as keywords."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Mapping
from time import time
from typing import Any, Unpack

from trader_monitor.client import fields as of
from trader_monitor.client.sender import Sender
from trader_monitor.client.transport import transport_to
from trader_monitor.core import facts
from trader_monitor.core.facts import Event

__all__ = ["ADDRESS", "Reports"]

ADDRESS = "http://127.0.0.1:8008"


class Reports:
    """The calls that hand events over. None of them waits, none of them raises; what is lost is counted."""

    def __init__(
        self,
        address: str | None = None,
        *,
        source: str | None = None,
        token: str | None = None,
        capacity: int = 50_000,
        linger: float = 3.0,
    ) -> None:
        """`address` is `http://HOST:PORT` or `unix:/PATH`; the variable TRADER_MONITOR_URL unless given.

        `source` names the bot in all its events. `capacity` is how many events are kept while the daemon cannot
        be reached; beyond it the oldest are dropped, and counted. `linger` is how many seconds the program's
        exit waits for the last of them. Raises ValueError for an address that is none.
        """
        self._address = address or os.environ.get("TRADER_MONITOR_URL") or ADDRESS
        self._token = token or os.environ.get("TRADER_MONITOR_TOKEN")
        self._source = source
        self._capacity = capacity
        self._linger = linger
        self._closed = False
        self._sender: Sender | None = None
        self._open()
        _LIVING.add(self)

    def _open(self) -> Sender:
        sender = Sender(transport_to(self._address, self._token), self._capacity, self._source)
        self._sender = sender
        return sender

    def _forked(self) -> None:
        """In the child: the thread stayed with the parent, and so does what waited."""
        self._sender = None

    @property
    def accepted(self) -> int:
        """Events that the daemon has committed."""
        return self._sender.accepted if self._sender else 0

    @property
    def dropped(self) -> int:
        """Events that were lost: the buffer was full, or the program's exit did not wait long enough."""
        return self._sender.dropped if self._sender else 0

    @property
    def refused(self) -> int:
        """Events that the daemon does not take, or that are none; `last_error` says why."""
        return self._sender.refused if self._sender else 0

    @property
    def waiting(self) -> int:
        """Events that are handed over and not yet settled."""
        return self._sender.waiting if self._sender else 0

    @property
    def last_error(self) -> str:
        return self._sender.last_error if self._sender else ""

    def send(self, event: Event) -> None:
        """Hands over an event that was built elsewhere; it gets an id if it has none."""
        sender = self._sender
        if sender is None:
            sender = self._open()
        if self._closed:
            sender.drop(error="the monitor is closed")
            return
        sender.put(event)

    def _report(self, kind: type[Event], fields: Mapping[str, Any]) -> None:
        try:
            given = dict(fields)
            if "at" not in given:
                given["at"] = time()
            if self._source is not None and "source" not in given:
                given["source"] = self._source
            event = kind(**given)
        except TypeError as error:
            (self._sender or self._open()).refuse(1, f"{kind.__name__}: {error}")
            return
        self.send(event)

    def trade(self, **fields: Unpack[of.TradeFields]) -> None:
        """A fill. `quantity` is positive, `fee` in `currency` (a rebate is negative).

        `corrects` is the id of an earlier trade in whose place this one stands; with `cancelled` that one was none.
        """
        self._report(facts.Trade, fields)

    def order(self, **fields: Unpack[of.OrderFields]) -> None:
        """A change of an order's status."""
        self._report(facts.Order, fields)

    def position(self, **fields: Unpack[of.PositionFields]) -> None:
        """A position as the bot sees it; `quantity` is signed (short is negative)."""
        self._report(facts.Position, fields)

    def account(self, **fields: Unpack[of.AccountFields]) -> None:
        """An account's reported state; `external_flow` is deposits less withdrawals since the last report."""
        self._report(facts.Account, fields)

    def request(self, **fields: Unpack[of.RequestFields]) -> None:
        """One call of an exchange's API."""
        self._report(facts.Request, fields)

    def rate_limit(self, **fields: Unpack[of.RateLimitFields]) -> None:
        """What an exchange still allows."""
        self._report(facts.RateLimit, fields)

    def connection(self, **fields: Unpack[of.ConnectionFields]) -> None:
        """A connection to an exchange changed its state."""
        self._report(facts.Connection, fields)

    def market_data(self, **fields: Unpack[of.MarketDataFields]) -> None:
        """A market-data frame; `exchange_at` is the venue's own time of it."""
        self._report(facts.MarketData, fields)

    def decision(self, **fields: Unpack[of.DecisionFields]) -> None:
        """An agent decided; `consensus` is agents agreeing / agents asked."""
        self._report(facts.Decision, fields)

    def prediction(self, **fields: Unpack[of.PredictionFields]) -> None:
        """A model's output for one subject."""
        self._report(facts.Prediction, fields)

    def outcome(self, **fields: Unpack[of.OutcomeFields]) -> None:
        """What really happened: by `prediction_id`, or by (`model`, `subject`, `predicted_at`)."""
        self._report(facts.Outcome, fields)

    def heartbeat(self, **fields: Unpack[of.HeartbeatFields]) -> None:
        """A bot is alive, and promises the next sign of life within `interval_seconds`."""
        self._report(facts.Heartbeat, fields)

    def sample(self, **fields: Unpack[of.SampleFields]) -> None:
        """Any other metric of a bot's."""
        self._report(facts.Sample, fields)

    def http_request(self, **fields: Unpack[of.HttpRequestFields]) -> None:
        """One request that a bot's own API served."""
        self._report(facts.HttpRequest, fields)


_LIVING: weakref.WeakSet[Reports] = weakref.WeakSet()


def _after_fork() -> None:
    for reports in tuple(_LIVING):
        reports._forked()


def _at_exit() -> None:
    """The program ends: what is left is sent, all monitors within the same time."""
    living = [(reports, reports._sender) for reports in tuple(_LIVING) if reports._sender is not None]
    for reports, sender in living:
        sender.end(reports._linger)
    for reports, sender in living:
        sender.close(reports._linger)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
