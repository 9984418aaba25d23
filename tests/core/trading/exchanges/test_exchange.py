"""Exchanges: event by event, in batches and with a restart in the middle, the figures are the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_monitor.core.board import Board
from trader_monitor.core.facts import Connection, Event, MarketData, Now, Order, Position, RateLimit, Request, Trade
from trader_monitor.core.figure import Figure, points
from trader_monitor.core.series import SeriesStore
from trader_monitor.core.tally import Tally
from trader_monitor.core.trading.exchanges import exchange as module
from trader_monitor.core.trading.exchanges.exchange import Exchanges
from trader_monitor.core.trading.exchanges.streams import Stream
from trader_monitor.core.trading.execution.execution import ExecutionKept

T0 = 1_700_006_400.0


def folded(events: list[Event], exchanges: Exchanges | None = None, step: int = 1_000) -> Exchanges:
    tally = Tally(SeriesStore())
    exchanges = exchanges or Exchanges(tally)
    folds: dict[type, Any] = {
        Order: exchanges.fold_order,
        Trade: exchanges.fold_trade,
        Request: exchanges.fold_request,
        RateLimit: exchanges.fold_rate_limit,
        Connection: exchanges.fold_connection,
        MarketData: exchanges.fold_market_data,
    }
    for number, event in enumerate(events):
        folds[type(event)](event, round(event.at * 1000))
        if number % step == step - 1:
            exchanges._tally.settle()
    exchanges._tally.settle()
    return exchanges


def again(exchanges: Exchanges) -> Exchanges:
    other = Exchanges(Tally(SeriesStore()))
    other.load(exchanges.dump())
    return other


def same(one: Exchanges, other: Exchanges, now: float) -> None:
    found = list(one.figures(now))
    for left, right in zip(found, other.figures(now), strict=True):
        assert (left.name, left.labels, left.n, left.reason) == (right.name, right.labels, right.n, right.reason)
        assert left.value == (None if right.value is None else pytest.approx(right.value, rel=1e-9, abs=1e-9))
        for a, b in zip(left.interval or (), right.interval or (), strict=True):
            assert a == (b if isinstance(b, str) else pytest.approx(b, rel=1e-6, abs=1e-9))


AT = st.floats(0.0, 3_000.0).map(lambda at: round(T0 + at, 3))
NAMES = st.sampled_from(["x", "y"])
PRICE = st.floats(90.0, 110.0)
EVENTS = st.lists(
    st.one_of(
        st.builds(
            Order,
            at=AT,
            source=NAMES,
            order_id=st.sampled_from("123"),
            symbol=st.just("S"),
            side=st.sampled_from(["buy", "sell"]),
            status=st.sampled_from(["submitted", "partially_filled", "filled", "cancelled", "rejected", "expired"]),
            exchange=st.none() | NAMES,
            quantity=st.none() | st.floats(1.0, 5.0),
            latency_seconds=st.none() | st.floats(0.0, 9.0),
        ),
        st.builds(
            Trade,
            at=AT,
            source=NAMES,
            order_id=st.none() | st.sampled_from("123"),
            symbol=st.just("S"),
            side=st.sampled_from(["buy", "sell"]),
            quantity=st.floats(1.0, 5.0),
            price=PRICE,
            exchange=NAMES,
            expected_price=st.none() | PRICE,
            execution_seconds=st.none() | st.floats(0.0, 9.0),
            currency=st.sampled_from([None, "USD", "EUR"]),
        ),
        st.builds(MarketData, at=AT, exchange=NAMES, symbol=st.just("S"), price=PRICE, channel=st.none() | NAMES),
        st.builds(
            Request, at=AT, exchange=NAMES, endpoint=NAMES, latency_seconds=st.floats(0.0, 9.0), ok=st.booleans()
        ),
        st.builds(RateLimit, at=AT, exchange=NAMES, remaining=st.floats(0.0, 100.0), limit=st.none() | st.just(100.0)),
        st.builds(
            Connection,
            at=AT,
            exchange=NAMES,
            state=st.sampled_from(["connected", "disconnected", "degraded"]),
        ),
    ),
    max_size=80,
)


@given(EVENTS, st.integers(0, 80), st.booleans())
@settings(max_examples=60, deadline=None)
def test_event_by_event_in_batches_and_with_a_restart_it_is_the_same(
    events: list[Event], restart: int, in_order: bool
) -> None:
    if in_order:
        events = sorted(events, key=lambda event: event.at)
    restart %= len(events) + 1
    whole = folded(events)
    same(whole, folded(events, step=3), T0 + 4_000.0)
    resumed = folded(events[restart:], again(folded(events[:restart])))
    same(whole, resumed, T0 + 4_000.0)
    assert again(whole).dump() == whole.dump()


def test_every_figure_has_its_convention_and_either_an_interval_or_a_reason_why_not() -> None:
    events: list[Event] = [
        Connection(at=T0, exchange="x", state="connected", source="b"),
        RateLimit(at=T0, exchange="x", remaining=5.0, limit=10.0),
        Request(at=T0, exchange="x", endpoint="/", latency_seconds=0.1, ok=True),
        MarketData(at=T0, exchange="x", symbol="S", price=1.0, exchange_at=T0),
        Order(at=T0, source="b", order_id="1", symbol="S", side="buy", status="filled", latency_seconds=0.1),
        Trade(at=T0, source="b", symbol="S", side="buy", quantity=1.0, price=1.0, expected_price=1.0),
    ]
    found = list(folded(events).figures(T0 + 60))
    assert len({(figure.name, figure.labels) for figure in found}) == len(found), "no figure comes twice"
    for figure in found:
        assert figure.convention, figure
        assert (figure.value is None) == bool(figure.reason), figure
        if figure.value is not None:
            assert [figure.measured, figure.interval is not None, bool(figure.reason_open)].count(True) == 1, figure
    assert all(point.labels == tuple(sorted(point.labels)) for point in points(found))


def test_no_figure_takes_the_name_of_a_series_that_the_fold_writes() -> None:
    board = Board(SeriesStore())
    board.fold(Connection(at=T0, exchange="x", state="connected"), Now(T0, 0.0))
    board.fold(Request(at=T0, exchange="x", endpoint="/", latency_seconds=0.1, ok=True), Now(T0, 0.0))
    board.fold(MarketData(at=T0, exchange="x", symbol="S", price=1.0), Now(T0, 0.0))
    order = Order(at=T0, source="b", order_id="1", symbol="S", side="buy", status="filled")
    board.fold(order, Now(T0, 0.0))
    names = {dict(point.labels)["__name__"] for point in points(board.exchanges.figures(T0))}
    assert names
    assert not names & set(board.reserved)


def test_a_fill_reaches_both_its_position_and_its_execution() -> None:
    board = Board(SeriesStore())
    fill = Trade(at=T0, source="b", symbol="S", side="buy", quantity=1.0, price=11.0, expected_price=10.0)
    board.fold(fill, Now(T0, 0.0))
    assert len(board.trading.books) == 1
    found = {figure.name: figure for figure in Board.load(board.dump(), SeriesStore()).exchanges.figures(T0)}
    assert found["trade_slippage_mean_ratio"].value == pytest.approx(0.1)


def test_what_a_position_says_of_its_multiplier_is_what_fees_are_shared_by() -> None:
    board = Board(SeriesStore())
    of: dict[str, Any] = {"at": T0, "source": "b", "symbol": "S", "account": "a"}
    fill: dict[str, Any] = {"side": "buy", "order_id": "1", "price": 100.2, "fee": 5.0}
    for event in (
        Position(quantity=1.0, multiplier=50.0, **of),
        Trade(quantity=1.0, expected_price=100.0, **of, **fill),
        Order(side="buy", status="filled", order_id="1", **of),
        Trade(quantity=1.0, **{**of, "at": T0 + 60}, **fill),
    ):
        board.fold(event, Now(T0 + 100, 0.0))
    (found,) = (figure for figure in board.exchanges.figures(T0 + 60) if figure.name == "order_shortfall_ratio")
    assert found.value == pytest.approx(15 / 5_000)


def test_floods_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LINKS", 10)
    monkeypatch.setattr(module, "MOST_ALLOWANCES", 10)
    exchanges = Exchanges(Tally(SeriesStore(max_series=100)))
    events: list[Event] = []
    for n in range(300):
        events += [
            Connection(at=T0, exchange=f"x{n}", state="connected"),
            RateLimit(at=T0, exchange=f"x{n}", remaining=1.0),
            MarketData(at=T0, exchange=f"x{n}", symbol="S", price=1.0),
        ]
    folded(events, exchanges)
    assert (len(exchanges.links), len(exchanges.allowances)) == (10, 10)
    assert len(exchanges.streams) == len(exchanges._lines) == len(exchanges._instruments) == 100
    assert not exchanges._tally.pending


def test_a_price_that_comes_late_does_not_become_the_newest() -> None:
    exchanges = folded(
        [
            MarketData(at=T0 + 5, exchange="x", symbol="S", price=5.0, channel="a"),
            MarketData(at=T0, exchange="x", symbol="S", price=4.0, channel="b"),
            MarketData(at=T0 + 6, exchange="x", symbol="S", channel="c"),
        ]
    )
    assert exchanges._instruments["x", "S"].price == 5.0


def test_a_snapshot_from_before_there_were_uptimes_begins_with_the_last_report() -> None:
    connection = Connection(at=T0, exchange="x", state="disconnected")
    raw = msgspec.msgpack.encode(
        {"connections": [(("x", None, None), connection)], "streams": [(("x", "S", None), [T0, None, T0, 5.0])]}
    )
    exchanges = Exchanges(Tally(SeriesStore()))
    exchanges.load(raw)
    exchanges.execution.load(ExecutionKept())
    assert exchanges.streams["x", "S", None] == Stream(T0, None, T0, 5.0)
    found: dict[str, Figure] = {figure.name: figure for figure in exchanges.figures(T0 + 60)}
    assert found["exchange_disconnected_seconds"].value == 60.0
    assert found["exchange_connected_ratio"].value == 0.0
