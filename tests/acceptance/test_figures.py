"""Figures of the running daemon: bad input, extreme numbers, late events, floods and kills, and what they come to."""

from __future__ import annotations

import asyncio
import json
import math
import random
import statistics
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.house import House, Residence, daemon, residence

CONFIG = """
store.max_series = 20000
[collectors.monitor]
every = "1s"
[collectors.account_figures]
every = "1s"
[collectors.trade_figures]
every = "1s"
[collectors.exchange_figures]
every = "1s"
[collectors.agent_figures]
every = "1s"
[[trading.limits]]
max_drawdown = 0.2
max_leverage = 3.0
max_var = 0.1
"""
DAY = 86_400.0
AGES = ("_age_seconds", "_connected_ratio", "_degraded_ratio", "_disconnected_seconds", "_exhaustion_seconds")
"""Endings of the figures that time alone changes."""

Event = dict[str, Any]
Figures = dict[tuple[str, str], Mapping[str, Any]]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Residence]:
    with residence(tmp_path_factory.mktemp("figures"), CONFIG) as house:
        yield house


@pytest.fixture(autouse=True)
async def _unharmed(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    if "house" not in request.fixturenames:
        yield
        return
    # Forty thousand figures are collected each second, with pauses; their samples are made in a thread beside.
    within = 0.25 if "floods" in request.node.name else 0.1
    async with request.getfixturevalue("house").unharmed(within=within):
        yield


def event(kind: str, source: str, **fields: Any) -> Event:
    return {"type": kind, "at": time.time(), "source": source} | fields


def fill(source: str, side: str, quantity: float, price: float, **fields: Any) -> Event:
    """Of a symbol of the bot's own: the price of one bot's fill is the mark of all who hold the same."""
    return event("trade", source, symbol=f"X-{source}", side=side, quantity=quantity, price=price) | fields


def report(source: str, equity: float, **fields: Any) -> Event:
    return event("account", source, account="main", currency="USD", equity=equity, **fields)


async def told(house: House, events: Sequence[Event], size: int = 2000) -> None:
    """Sends them all, and each is taken."""
    for begin in range(0, len(events), size):
        status, answer = await house.send(*events[begin : begin + size])
        assert (status, answer["accepted"]) == (202, len(events[begin : begin + size])), answer


async def figures(house: House, **query: str) -> Figures:
    """By name and labels; each holds to the laws."""
    found: Figures = {}
    for one in (await house.get("/v1/figures", **query))["figures"]:
        lawful(one)
        found[one["name"], json.dumps(one["labels"], sort_keys=True)] = one
    return found


def lawful(figure: Mapping[str, Any]) -> None:
    """No figure without a convention, a sample size and an interval; null with a reason."""
    assert figure["convention"], figure
    assert figure["n"] >= 0, figure
    if figure["value"] is None:
        assert figure["reason"], figure
        return
    assert math.isfinite(figure["value"]), figure
    if figure["interval"] is None:
        assert figure["why_no_interval"], figure
    else:
        assert figure["interval"]["low"] <= figure["value"] <= figure["interval"]["high"], figure
        assert figure["interval"]["method"], figure


def the(found: Figures, name: str, **labels: str) -> Mapping[str, Any]:
    """The one figure of that name with these labels among its own."""
    (one,) = [each for each in found.values() if each["name"] == name and labels.items() <= each["labels"].items()]
    return one


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float | int):
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    return bool(left == right)


def differences(before: Figures, after: Figures) -> list[Any]:
    """What is not the same to 1e-9, except for what time alone changes."""
    return [
        (key, before.get(key), after.get(key))
        for key in before.keys() | after.keys()
        if not key[0].endswith(AGES) and not same(before.get(key), after.get(key))
    ]


# --- bad input ---------------------------------------------------------------------------------------------

Case = tuple[str, list[Event], dict[str, float | None]]

CASES: list[Case] = [
    (
        "A sell larger than the position closes it and goes short with the rest.",
        [fill("big-sell", "buy", 2, 10), fill("big-sell", "sell", 5, 12)],
        {"position_quantity": -3.0, "pnl_realized": 4.0, "pnl_realized_fifo": 4.0, "exposure_short": 36.0},
    ),
    (
        "A fill before its order is a fill, and its order is filled once.",
        [
            fill("early-fill", "buy", 1, 10, order_id="o"),
            event(
                "order",
                "early-fill",
                order_id="o",
                symbol="X-early-fill",
                side="buy",
                status="filled",
                filled_quantity=1,
            ),
            event(
                "order", "early-fill", order_id="o", symbol="X-early-fill", side="buy", status="submitted", quantity=1
            )
            | {"at": time.time() - 5.0},
        ],
        {"position_quantity": 1.0, 'orders_total{status="filled"}': 1.0},
    ),
    (
        "What was had for nothing makes a profit of its whole price.",
        [fill("free", "buy", 3, 0), fill("free", "sell", 3, 7)],
        {"position_quantity": 0.0, "pnl_realized": 21.0, "pnl_realized_fifo": 21.0},
    ),
    (
        "A price below zero, as oil had one.",
        [fill("oil", "buy", 2, -37.5), fill("oil", "sell", 1, -40)],
        {"position_quantity": 1.0, "pnl_realized": -2.5, "pnl_unrealized": -2.5, "exposure_net": -40.0},
    ),
    (
        "A split: twice the shares at half of the price are no profit, and the sale is reckoned in new shares.",
        [
            fill("split", "buy", 10, 100),
            event("position", "split", symbol="X-split", quantity=20, entry_price=50),
            fill("split", "sell", 20, 52),
        ],
        {"pnl_realized": 40.0, "pnl_realized_fifo": 40.0, 'pnl_history_changes_total{reason="split"}': 1.0},
    ),
    (
        "The smallest and the largest numbers that there are.",
        [
            fill("extreme", "buy", 5e-324, 1e300),
            fill("extreme", "sell", 1e15, 1e-320),
            fill("extreme", "buy", 1e15, 1e-320),
            fill("extreme", "buy", 1e-320, -0.0),
        ],
        {"pnl_realized": 0.0},
    ),
]


async def test_bad_input_comes_to_what_it_must(house: Residence) -> None:
    await told(house, [each for _, events, _ in CASES for each in events])
    for sentence, events, wanted in CASES:
        for name, value in wanted.items():
            metric, _, more = name.partition("{")
            expr = f'{metric}{{source="{events[0]["source"]}",{more or "}"}'
            assert await house.value(expr) == pytest.approx(value, rel=1e-9), (sentence, name)
    await figures(house)


async def test_two_bots_on_one_account_are_told_apart(house: Residence) -> None:
    shared = [report("two-a", 100.0), report("two-b", 110.0), report("two-a", 50.0), report("two-b", 110.0)]
    await told(house, shared)
    found = await figures(house, account="main")
    assert the(found, "account_drawdown_ratio", source="two-a")["value"] == 0.5
    assert the(found, "account_drawdown_ratio", source="two-b")["value"] == 0.0


async def test_equity_of_zero_and_below_has_no_returns_and_no_leverage(house: Residence) -> None:
    now = time.time()
    days = [report("ruined", 100.0 + day, at=now - (40 - day) * DAY) for day in range(39)]
    position = event("position", "ruined", account="main", currency="USD", symbol="X", quantity=5, mark_price=10)
    await told(house, [*days, report("ruined", 0.0), report("ruined", -50.0), position])
    found = await figures(house, source="ruined")
    assert the(found, "account_drawdown_ratio")["value"] == pytest.approx(1.0 + 50.0 / 138.0)
    assert await house.value('exposure_leverage_ratio{source="ruined"}') is None
    for name in ("account_var", "account_cvar"):
        losses = [each for each in found.values() if each["name"] == name]
        assert [each["value"] for each in losses] == [None] * 4, losses
        assert {each["reason"] for each in losses} == {
            "equity is zero or below",
            "38 daily returns are known, 100 are needed",
        }
    usage = the(found, "limit_usage_ratio", limit="max_leverage")
    assert (usage["value"], usage["reason"]) == (None, "equity is zero or below")


# --- the laws ----------------------------------------------------------------------------------------------


async def test_a_bot_of_minutes_has_no_sharpe_and_one_of_constant_returns_neither(house: Residence) -> None:
    now = time.time()
    young = [report("young", 1000.0 * 1.001**minute, at=now - (10 - minute) * 60.0) for minute in range(10)]
    constant = [report("constant", 100.0 * 2.0**day, at=now - (45 - day) * DAY) for day in range(46)]
    await told(house, young + constant)
    for source, reason in (("young", "30 are needed"), ("constant", "")):
        found = await figures(house, source=source)
        for name in ("account_sharpe_ratio", "account_sortino_ratio", "account_calmar_ratio"):
            figure = the(found, name)
            assert figure["value"] is None, figure
            assert reason in figure["reason"]
        assert await house.value(f'account_sharpe_ratio{{source="{source}"}}') is None
    assert the(await figures(house, source="constant"), "account_sharpe_ratio")["n"] == 44


async def test_a_sharpe_is_that_of_its_daily_returns(house: Residence) -> None:
    chance, now = random.Random(7), time.time()
    midnight = now - now % DAY
    equity, closes, events = 1000.0, [1000.0], [report("steady", 1000.0, at=midnight - 61 * DAY)]
    for day in range(61):
        for hour in (1, 9, 23):
            equity *= 1.0 + chance.gauss(0.001, 0.01)
            events.append(report("steady", equity, at=midnight - (61 - day) * DAY + hour * 3600.0))
        closes.append(equity)
    await told(house, events)
    returns = [after / before - 1.0 for before, after in pairwise(closes)]
    wanted = statistics.fmean(returns) / statistics.stdev(returns) * math.sqrt(365)
    found = await figures(house, source="steady")
    sharpe = the(found, "account_sharpe_ratio")
    assert (sharpe["value"], sharpe["n"]) == (pytest.approx(wanted, rel=1e-9), 61)
    assert sharpe["interval"]["low"] < wanted < sharpe["interval"]["high"]
    assert await house.until('account_sharpe_ratio{source="steady"}', lambda value: True) == pytest.approx(wanted)
    assert await house.value('account_sharpe_ratio_observations{source="steady"}') == 61


async def test_late_and_corrected_fills_come_to_what_the_right_ones_in_order_do(house: Residence) -> None:
    chance, now = random.Random(11), time.time()

    def at(number: int) -> float:
        return now - DAY * 5.0 + number * 600.0

    fills = [
        (chance.choice(("buy", "sell")), round(chance.uniform(0.1, 5.0), 3), round(chance.uniform(90.0, 110.0), 2))
        for _ in range(400)
    ]
    right = [fill("right", *each, at=at(number), fee=0.1, id=f"r{number}") for number, each in enumerate(fills)]
    late = [each | {"source": "late", "id": f"l{number}"} for number, each in enumerate(right)]
    wrong = {number: late[number] | {"price": late[number]["price"] * 10.0} for number in (50, 51, 200)}
    invented = fill("late", "buy", 9.0, 500.0, at=at(100) + 1.0, id="none")
    first = [wrong.get(number, each) for number, each in enumerate(late)]
    chance.shuffle(first)
    amends = [late[number] | {"at": now, "id": f"c{number}", "corrects": f"l{number}"} for number in wrong]
    cancelled = invented | {"at": now, "id": "c-none", "corrects": "none", "cancelled": True}
    await told(house, right)
    await told(house, [*first[:300], invented, *first[300:]], 50)
    await told(house, [*amends, cancelled])
    left, other = await figures(house, source="right"), await figures(house, source="late")
    assert {key[0] for key in left} == {key[0] for key in other}
    assert len(left) > 10
    for key, figure in left.items():
        twin = other[key[0], key[1].replace('"right"', '"late"')]
        assert same(figure["value"], twin["value"]), (figure, twin)
        assert same(figure.get("interval"), twin.get("interval")), (figure, twin)
    for name in ("position_quantity", "pnl_realized", "pnl_realized_fifo", "pnl_unrealized", "trade_fees_total"):
        one, two = [
            await house.until(f'sum(last_over_time({name}{{source="{source}"}}[6d]))', lambda value: True)
            for source in ("right", "late")
        ]
        assert one == pytest.approx(two, rel=1e-9), name
    assert await house.value('sum(pnl_history_changes_total{source="right"}) or vector(0)') == 0.0
    for reason, least in (("late", 100), ("corrected", 3), ("cancelled", 1)):
        expr = f'sum(last_over_time(pnl_history_changes_total{{source="late",reason="{reason}"}}[6d]))'
        changes = await house.value(expr)
        assert changes is not None, reason
        assert changes >= least, reason


# --- floods ------------------------------------------------------------------------------------------------

FLOODS: dict[str, Iterable[Event]] = {
    "symbols": (fill("flood", "buy", 1, 10) | {"symbol": f"S{n}"} for n in range(6000)),
    "strategies": (fill("flood", "sell", 1, 10, strategy=f"s{n}") for n in range(4000)),
    "orders that never end": (
        event("order", "flood", order_id=f"o{n}", symbol="X", side="buy", status="submitted") for n in range(20_000)
    ),
    "agents": (event("decision", f"agent{n}", action="buy", confidence=0.5, outcome="wrong") for n in range(2000)),
    "endpoints": (
        {"type": "request", "at": time.time(), "exchange": "e", "endpoint": f"/{n}", "latency_seconds": 0.1, "ok": True}
        for n in range(6000)
    ),
    "streams": (
        {"type": "market_data", "at": time.time(), "exchange": "e", "symbol": f"M{n}", "price": 1.0}
        for n in range(6000)
    ),
    "schemas": (
        {"type": "prediction", "at": time.time(), "model": "m", "version": "1", "output": 1.0, "features": {f"f{n}": n}}
        for n in range(4000)
    ),
}


async def test_after_floods_of_names_it_is_as_small_as_promised_and_all_figures_hold(house: Residence) -> None:
    before = house.memory()
    for events in FLOODS.values():
        await told(house, list(events))
    await figures(house)
    assert house.memory() - before < 250, "MiB"
    series = await house.until("monitor_series", lambda value: value > 10_000)
    assert series == pytest.approx(20_000, rel=0.11), "no more than `max_series` and the daemon's own"


# --- kills -------------------------------------------------------------------------------------------------


def crowd(chance: random.Random, number: int) -> Event:
    """An event of any kind at any time of three days, some with the largest and smallest numbers."""
    source, symbol = f"bot{chance.randrange(3)}", chance.choice(("A", "台積電", 'q"\\\n'))
    value = chance.choice((1e300, 1e-320, 1e15, 0.1)) if chance.random() < 0.1 else chance.uniform(0.5, 99.0)
    kind: dict[str, dict[str, Any]] = {
        "trade": {"symbol": symbol, "side": chance.choice(("buy", "sell")), "quantity": 2.5, "price": value},
        "position": {"symbol": symbol, "quantity": chance.uniform(-9, 9), "mark_price": value},
        "account": {"equity": value, "currency": "USD", "external_flow": chance.uniform(-1, 1)},
        "order": {"symbol": symbol, "side": "buy", "order_id": f"o{number % 40}", "status": "filled", "quantity": 2.5},
        "request": {"exchange": "e", "endpoint": "/x", "latency_seconds": value, "ok": chance.random() < 0.9},
        "rate_limit": {"exchange": "e", "remaining": value, "limit": 100},
        "connection": {"exchange": "e", "state": chance.choice(("connected", "disconnected"))},
        "market_data": {"exchange": "e", "symbol": symbol, "price": value},
        "decision": {"action": "buy", "confidence": chance.random(), "outcome": chance.choice(("correct", "wrong"))},
    }
    name = chance.choice([*kind, "trade", "trade", "trade"])
    ago = chance.uniform(0.0, 5.0 if chance.random() < 0.7 else 3 * DAY)
    return event(name, source, id=f"c{number}", **kind[name]) | {"at": time.time() - ago}


async def settled(house: House) -> Figures:
    """The figures when what was last sent is in all of them."""
    found = await figures(house)
    async with asyncio.timeout(10):
        while differences(found, again := await figures(house)):
            found = again
    return found


async def test_after_a_kill_every_figure_is_what_it_was(tmp_path: Path) -> None:
    chance = random.Random(3)
    async with daemon(tmp_path, CONFIG) as house:
        for turn in range(2):
            await told(house, [crowd(chance, number + 10_000 * turn) for number in range(1500)], 300)
            await house.reload(CONFIG)
            before = await settled(house)
            assert len(before) > 100
            await house.kill()
            await house.open()
            assert not (wrong := differences(before, await settled(house))), (len(wrong), wrong[:3])
        assert await house.end() == 0
        await house.open()
        assert not (wrong := differences(before, await settled(house))), (len(wrong), wrong[:3])
        assert not [record for record in house.records() if record["level"] in ("error", "critical")]
        assert "Traceback" not in house.log.read_text()
