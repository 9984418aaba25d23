"""Exposure: what is held by account, symbol, sector and exchange, and that sums forget nothing."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_monitor.core.facts import Account, MarketData, Position
from trader_monitor.core.samples import is_stale
from trader_monitor.core.series import SeriesStore
from trader_monitor.core.tally import Tally
from trader_monitor.core.trading.accounts.accounts import Accounts
from trader_monitor.core.trading.accounts.sums import Exposure
from trader_monitor.core.trading.marks import Marks


class Desk:
    """Accounts with a series store; each call is a step."""

    def __init__(self, max_series: int = 50_000) -> None:
        self.series = SeriesStore(max_series=max_series)
        self.tally = Tally(self.series)
        self.marks = Marks(max_series)
        self.accounts = Accounts(self.tally, self.marks)
        self.now = 1_000

    def report(
        self, symbol: str, quantity: float, mark: float | None = None, at: float | None = None, **rest: Any
    ) -> None:
        self.now += 1
        fields = {"source": "bot", "account": "main", "currency": "USD"} | rest
        when = float(self.now) if at is None else at
        position = Position(at=when, symbol=symbol, quantity=quantity, mark_price=mark, **fields)
        self.marks.fold_position(position, self.now * 1000)
        self.accounts.fold_position(position, self.now * 1000)
        self.tally.settle()

    def equity(self, equity: float, currency: str | None = "USD", **rest: Any) -> None:
        self.now += 1
        account = Account(at=float(self.now), source="bot", account="main", equity=equity, currency=currency, **rest)
        self.accounts.fold(account, self.now * 1000)
        self.tally.settle()

    def hold(self, symbol: str, quantity: float, value: float | None, exchange: str | None = None) -> None:
        self.now += 1
        self.accounts.exposures.hold(("bot", "main", exchange, symbol), quantity, value, "USD", self.now * 1000)
        self.tally.settle()

    def of(self, currency: str | None = "USD") -> Exposure | None:
        return self.accounts.exposures.of("bot", "main", currency)

    def said(self, name: str, **labels: str) -> float | None:
        """The newest value of the series; None where there is none or it has ended."""
        for sid in self.series.sids():
            found = dict(self.series.labels_of(sid))
            if found["__name__"] == name and all(found.get(label) == value for label, value in labels.items()):
                value = float(self.series.last_v[sid])
                return None if is_stale(value) else value
        return None


FLAT = Exposure(0.0, 0.0, 0.0, 0.0, 0, 0, 0.0, 0.0)


def test_an_account() -> None:
    desk = Desk()
    desk.equity(500.0)
    desk.report("BTC", 2.0, 300.0)
    desk.report("ETH", -4.0, 50.0)
    desk.report("ES", 1.0, 4.0, multiplier=50.0)
    found = desk.of()
    assert found is not None
    assert found[:7] == (1000.0, 600.0, 800.0, 200.0, 3, 0, 0.6)
    assert found.herfindahl == pytest.approx(0.36 + 0.04 + 0.04)
    for name, value in {
        "exposure_gross": 1000.0,
        "exposure_net": 600.0,
        "exposure_long": 800.0,
        "exposure_short": 200.0,
        "exposure_positions": 3.0,
        "exposure_unpriced_positions": 0.0,
        "exposure_largest_ratio": 0.6,
        "exposure_herfindahl_ratio": pytest.approx(0.44),
        "exposure_leverage_ratio": 2.0,
    }.items():
        assert desk.said(name, source="bot", account="main", currency="USD") == value, name
    desk.equity(250.0)
    assert desk.said("exposure_leverage_ratio") == 4.0, "less equity is more leverage, though nothing was traded"


def test_groups() -> None:
    desk = Desk()
    desk.report("BTC", 1.0, 100.0, exchange="binance", sector="crypto")
    desk.report("BTC", -2.0, 100.0, exchange="kraken", sector="crypto")
    desk.report("XOM", 3.0, 100.0, sector="energy", source="other")
    assert desk.said("exposure_gross_symbol", symbol="BTC") == 300.0
    assert desk.said("exposure_net_symbol", symbol="BTC") == -100.0
    assert desk.said("exposure_gross_sector", source="bot", sector="crypto") == 300.0
    assert desk.said("exposure_net_sector", source="other", sector="energy") == 300.0
    assert desk.said("exposure_gross_exchange", exchange="kraken") == 200.0
    assert desk.said("exposure_net_exchange", exchange="kraken") == -200.0
    desk.report("BTC", 1.0, 100.0, exchange="binance", sector="digital")
    assert desk.said("exposure_gross_sector", sector="crypto") == 200.0, "it moved to another sector"
    assert desk.said("exposure_gross_sector", sector="digital") == 100.0
    desk.report("BTC", -2.0, 100.0, exchange="kraken")
    assert desk.said("exposure_gross_sector", sector="crypto") is None, "a sector that nobody is in any more ends"
    desk.report("XOM", 3.0, 100.0, source="other", currency="EUR")
    assert desk.said("exposure_gross", source="other", currency="USD") is None, "so does a currency"
    assert desk.said("exposure_gross", source="other", currency="EUR") == 300.0


def test_what_is_flat_is_zero_so_that_an_alert_about_it_ends() -> None:
    desk = Desk()
    desk.equity(100.0)
    desk.report("BTC", 1.0, 100.0, exchange="binance", sector="crypto")
    desk.report("BTC", 0.0, 100.0, exchange="binance", sector="crypto")
    for name in ("gross", "net", "gross_symbol", "gross_sector", "gross_exchange", "leverage_ratio", "positions"):
        assert desk.said(f"exposure_{name}") == 0.0
    assert desk.said("exposure_largest_ratio") == 0.0
    assert desk.of() == FLAT
    assert list(desk.accounts.exposures.holders()) == [(("bot", "main", "USD"), FLAT)]
    desk.report("BTC", 0.0)
    assert desk.said("exposure_gross_sector", sector="crypto") == 0.0, "what is flat may leave out where it belonged"
    desk.report("BTC", 1.0, 50.0, exchange="binance", sector="crypto")
    assert desk.said("exposure_gross_symbol") == 50.0


def test_another_currency_is_never_added() -> None:
    desk = Desk()
    desk.equity(100.0)
    desk.report("BTC", 1.0, 100.0)
    desk.report("DAX", 1.0, 70.0, currency="EUR")
    assert desk.said("exposure_gross", currency="USD") == 100.0
    assert desk.said("exposure_gross", currency="EUR") == 70.0
    assert desk.said("exposure_leverage_ratio", currency="USD") == 1.0
    assert desk.said("exposure_leverage_ratio", currency="EUR") is None, "there is no equity in euro"


def test_a_position_that_names_no_currency_is_in_that_of_its_account_where_it_has_only_one() -> None:
    desk = Desk()
    desk.report("BTC", 1.0, 100.0, currency=None)
    assert desk.said("exposure_leverage_ratio") is None
    desk.equity(200.0)
    assert desk.said("exposure_leverage_ratio") == 0.5
    desk.equity(50.0, "EUR")
    assert desk.said("exposure_leverage_ratio") is None, "nobody can say which of two"


def test_without_equity_there_is_no_leverage() -> None:
    desk = Desk()
    desk.equity(100.0)
    desk.report("BTC", 1.0, 100.0)
    desk.equity(-5.0)
    assert desk.said("exposure_leverage_ratio") is None
    desk.equity(50.0)
    assert desk.said("exposure_leverage_ratio") == 2.0


def test_a_position_without_a_price_is_counted_and_not_valued() -> None:
    desk = Desk()
    desk.report("BTC", 1.0, 100.0)
    desk.report("NEW", 5.0)
    assert desk.of() == Exposure(100.0, 100.0, 100.0, 0.0, 2, 1, 1.0, 1.0)
    assert desk.said("exposure_unpriced_positions") == 1.0
    desk.marks.fold_market_data(MarketData(at=desk.now, exchange="x", symbol="NEW", price=4.0), desk.now * 1000)
    desk.report("NEW", -5.0)
    found = desk.of()
    assert found is not None
    assert found[:6] == (120.0, 80.0, 100.0, 20.0, 2, 0)
    assert found[6:] == pytest.approx((100 / 120, (1 + 0.04) / 1.44))


@pytest.mark.parametrize("mark", [1e308, -1e308])
def test_a_value_beyond_all_money_is_no_value(mark: float) -> None:
    desk = Desk()
    desk.report("BTC", 10.0, mark)
    assert desk.of() == Exposure(0.0, 0.0, 0.0, 0.0, 1, 1, 0.0, 0.0)


def test_a_price_of_zero_and_one_below() -> None:
    desk = Desk()
    desk.report("OPTION", 10.0, 0.0)
    desk.report("OIL", 2.0, -37.0)
    assert desk.of() == Exposure(74.0, -74.0, 0.0, 74.0, 2, 0, 1.0, 1.0), (
        "who is long what costs less than nothing owes"
    )


def test_an_older_report_changes_nothing() -> None:
    desk = Desk()
    desk.report("BTC", 1.0, 100.0, at=500.0)
    desk.report("BTC", 7.0, 100.0, at=400.0)
    assert desk.of() == Exposure(100.0, 100.0, 100.0, 0.0, 1, 0, 1.0, 1.0)
    desk.report("BTC", 0.0, at=600.0)
    desk.report("BTC", 7.0, 100.0, at=550.0)
    assert desk.of() == FLAT, "not of what is flat either"


def test_the_largest_is_found_again_when_it_shrinks() -> None:
    desk = Desk()
    for symbol, quantity in (("A", 5.0), ("B", 3.0), ("C", 2.0), ("A", 1.0)):
        desk.report(symbol, quantity, 1.0)
    assert desk.said("exposure_largest_ratio") == 0.5
    desk.report("B", 0.0, 1.0)
    assert desk.said("exposure_largest_ratio") == pytest.approx(2 / 3)


def test_fills_count_until_the_bot_reports() -> None:
    desk = Desk()
    desk.hold("BTC", 1.0, 100.0, "binance")
    desk.hold("ETH", 2.0, None)
    assert desk.of() == Exposure(100.0, 100.0, 100.0, 0.0, 2, 1, 1.0, 1.0)
    desk.report("BTC", 3.0, 100.0)
    assert desk.of() == Exposure(300.0, 300.0, 300.0, 0.0, 1, 0, 1.0, 1.0), "nothing is counted twice"
    assert desk.said("exposure_gross_exchange", exchange="binance") is None
    desk.hold("ETH", 5.0, 50.0)
    assert desk.of() == Exposure(300.0, 300.0, 300.0, 0.0, 1, 0, 1.0, 1.0), "the bot's own word stands"


def test_fills_of_before_a_restart_give_way_too() -> None:
    before, desk = Desk(), Desk()
    before.hold("BTC", 1.0, 100.0)
    desk.accounts.load(before.accounts.dump())
    assert desk.of() == Exposure(100.0, 100.0, 100.0, 0.0, 1, 0, 1.0, 1.0)
    desk.report("ETH", -1.0, 40.0)
    assert desk.of() == Exposure(40.0, -40.0, 0.0, 40.0, 1, 0, 1.0, 1.0)


def test_a_flood_of_symbols_leaves_nothing_behind() -> None:
    desk = Desk(max_series=40)
    for number in range(200):
        desk.report(f"S{number}", 1.0, 1.0)
    exposures = desk.accounts.exposures
    reporting, held = exposures.kept()
    assert len(held) <= 40
    exposure = desk.of()
    assert exposure is not None
    assert exposure.positions == len(held)
    for number in range(200):
        exposures.hold(("other", None, None, f"S{number}"), 1.0, 1.0, None, 1)
    assert len(exposures.kept()[1]) == 40
    for number in range(100):
        fact = Position(at=1.0, source=f"bot{number}", symbol="X", quantity=1.0)
        exposures.report(fact, 1.0, 1)
    reporting, held = exposures.kept()
    assert len(reporting) <= 40
    assert len(held) <= 40


def test_what_is_flat_makes_room() -> None:
    desk = Desk(max_series=40)
    exposures = desk.accounts.exposures
    for number in range(400):
        exposures.hold(("bot", "main", None, f"S{number}"), 1.0, 1.0, "USD", 1)
        exposures.hold(("bot", "main", None, f"S{number}"), 0.0, None, "USD", 1)
    desk.tally.settle()
    exposures.hold(("bot", "main", None, "LAST"), 1.0, 1.0, "USD", 1)
    assert desk.of() == Exposure(1.0, 1.0, 1.0, 0.0, 1, 0, 1.0, 1.0)
    assert len(exposures.kept()[1]) <= 40


changes = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "C", "D"]),
        st.sampled_from([None, "x", "y"]),
        st.sampled_from(["USD", "EUR", None]),
        st.sampled_from([None, "tech", "energy"]),
        st.floats(-1e6, 1e6) | st.just(0.0),
        st.none() | st.floats(-10.0, 1e5),
    ),
    max_size=40,
)


@given(changes, st.integers(0, 40), st.booleans())
def test_change_by_change_is_the_same_as_all_at_once(changes: list[Any], cut: int, each_a_step: bool) -> None:
    desk = Desk()
    desk.equity(1e6)
    newest: dict[Any, Any] = {}
    for number, (symbol, exchange, currency, sector, quantity, mark) in enumerate(changes):
        if number == cut:
            again = Desk()
            again.accounts.load(desk.accounts.dump())
            again.now = desk.now
            assert again.accounts.dump() == desk.accounts.dump()
            desk = again
        desk.now += 1
        fact = Position(
            at=float(desk.now),
            source="bot",
            account="main",
            symbol=symbol,
            quantity=quantity,
            mark_price=mark,
            exchange=exchange,
            currency=currency,
            sector=sector,
        )
        desk.accounts.fold_position(fact, desk.now * 1000)
        if each_a_step:
            desk.tally.settle()
        newest[symbol, exchange] = fact
    desk.tally.settle()
    values: dict[Any, list[float | None]] = defaultdict(list)
    groups: dict[Any, list[float]] = defaultdict(list)
    for (symbol, exchange), fact in newest.items():
        if not fact.quantity:
            continue
        value = None if fact.mark_price is None else fact.quantity * fact.mark_price
        values[fact.currency].append(value)
        groups["symbol", symbol, fact.currency].append(value or 0.0)
        if fact.sector:
            groups["sector", fact.sector, fact.currency].append(value or 0.0)
        if exchange:
            groups["exchange", exchange, fact.currency].append(value or 0.0)
    assert set(dict(desk.accounts.exposures.holders())) >= {("bot", "main", currency) for currency in values}
    assert all(key[2] in values or found == FLAT for key, found in desk.accounts.exposures.holders())
    for currency, worth in values.items():
        known = [value for value in worth if value is not None]
        gross = sum(map(abs, known))
        shares = [abs(value) / gross for value in known] if gross > 1e-12 else []
        found = desk.of(currency)
        assert found is not None
        expected = (gross, sum(known), sum(v for v in known if v > 0), -sum(v for v in known if v < 0))
        assert found[:4] == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert (found.positions, found.unpriced) == (len(worth), len(worth) - len(known))
        if shares:
            assert found.largest == pytest.approx(max(shares), rel=1e-9)
            assert found.herfindahl == pytest.approx(sum(share * share for share in shares), rel=1e-9)
    if each_a_step and len(changes) <= cut:
        for (kind, name, currency), parts in groups.items():
            labels = {kind: name} | ({"currency": currency} if currency else {})
            if currency:
                assert desk.said(f"exposure_net_{kind}", **labels) == pytest.approx(sum(parts), rel=1e-9, abs=1e-9)
                gross = sum(map(abs, parts))
                assert desk.said(f"exposure_gross_{kind}", **labels) == pytest.approx(gross, rel=1e-9, abs=1e-9)
