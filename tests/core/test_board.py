"""The board: every fact is folded, a snapshot is the whole of it, and batches do not matter where they must not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trader_monitor.core import facts as f
from trader_monitor.core.board import Board
from trader_monitor.core.facts import (
    EVENT_TYPES,
    OWN_TYPES,
    Account,
    ActionStep,
    AlertChanged,
    Breaker,
    ChannelTried,
    CheckResult,
    ChildDied,
    Connection,
    Fact,
    Heartbeat,
    MarketData,
    NoticeSent,
    Now,
    Sample,
    Samples,
    Trade,
)
from trader_monitor.core.series import NEVER, SeriesStore, is_stale
from trader_monitor.core.snapshot import SnapshotError

T0 = 1_700_000_000.0
NOW = Now(T0, 500.0)


def board_of(*facts: Fact, now: Now = NOW) -> Board:
    board = Board(SeriesStore())
    board.fold_many(facts, now)
    return board


def newest(board: Board) -> dict[str, float]:
    """Every series' newest value, by its name and labels as PromQL writes them; ended ones are left out."""
    found = {}
    for sid in board.series.sids():
        labels = dict(board.series.labels_of(sid))
        name = labels.pop("__name__")
        inner = ",".join(f"{key}={value}" for key, value in labels.items())
        if board.series.last_t[sid] != NEVER and not is_stale(float(board.series.last_v[sid])):
            found[f"{name}{{{inner}}}" if inner else name] = float(board.series.last_v[sid])
    return found


def alert(state: Any, *, at: float = T0, transition: int = 1, **more: Any) -> AlertChanged:
    labels = {"alertname": "drawdown", "severity": "critical"}
    return AlertChanged(
        at=at,
        fingerprint="f",
        rule="drawdown",
        state=state,
        transition=transition,
        severity="critical",
        labels=labels,
        summary="",
        active_at=at,
        mono=400.0,
        **more,
    )


def step(phase: Any, **more: Any) -> ActionStep:
    given: dict[str, Any] = {
        "at": T0,
        "incident": "i",
        "check": "api",
        "action": "restart",
        "rung": 0,
        "who": "w",
        "why": "y",
        "mono": 7.0,
    }
    return ActionStep(phase=phase, **given | more)


def check(ok: bool | None, state: Any = "closed", **more: Any) -> CheckResult:
    breaker = Breaker(state=state, failures=0, since=450.0, retry_at=480.0)
    return CheckResult(at=more.pop("at", T0), check="api", ok=ok, breaker=breaker, seconds=0.25, **more)


def tried(outcome: Any, state: Any = "closed", **more: Any) -> ChannelTried:
    breaker = Breaker(state=state, failures=more.pop("failures", 0), since=450.0, retry_at=510.0)
    given: dict[str, Any] = {
        "at": T0,
        "channel": "log",
        "mono": 490.0,
        "fingerprint": "f",
        "transition": 1,
        "retry_at": 500.0,
    }
    return ChannelTried(outcome=outcome, breaker=breaker, **given | more)


def test_a_fill_reaches_every_series_of_the_contract() -> None:
    common: dict[str, Any] = {"source": "b", "account": "a", "exchange": "e", "symbol": "S", "currency": "USD"}
    board = board_of(
        Trade(
            at=T0, side="buy", quantity=2.0, price=100.0, fee=1.0, execution_seconds=0.02, expected_price=99.0, **common
        ),
        Trade(at=T0 + 1, side="sell", quantity=2.0, price=110.0, fee=1.0, realized_pnl=19.5, **common),
    )
    series = newest(board)
    where, money = "account=a,exchange=e", "account=a,currency=USD,source=b"
    assert series[f"trade_fills_total{{{where},side=buy,source=b,symbol=S}}"] == 1
    assert series["trade_volume_total{account=a,currency=USD,exchange=e,side=sell,source=b,symbol=S}"] == 220
    assert series[f"trade_fees_total{{{money}}}"] == 2
    assert series[f"pnl_realized{{{money}}}"] == 18
    assert series["pnl_realized_symbol{account=a,currency=USD,source=b,symbol=S}"] == 18
    assert series[f"pnl_realized_reported{{{money}}}"] == 19.5
    assert series[f"pnl_drawdown{{{money}}}"] == 0
    assert series[f"pnl_drawdown_max{{{money}}}"] == 1, "the first fee"
    assert series["trades_closed_total{account=a,result=win,source=b}"] == 1
    assert series["trade_win_ratio{account=a,source=b}"] == 1
    assert not any(name.startswith("trade_profit_factor") for name in series), "no loss, no factor"
    assert series[f"position_quantity{{{where},source=b,symbol=S}}"] == 0
    assert series["trade_execution_seconds_bucket{exchange=e,le=0.025,source=b}"] == 1
    assert series["trade_slippage_ratio{exchange=e,source=b,symbol=S}"] == pytest.approx(1 / 99)
    assert series["events_total{type=trade}"] == 2


def test_what_two_currencies_realise_is_not_added_up() -> None:
    board = board_of(
        Trade(at=T0, source="b", symbol="S", side="buy", quantity=1.0, price=1.0, fee=1.0, currency="USD"),
        Trade(at=T0, source="b", symbol="T", side="buy", quantity=1.0, price=1.0, fee=5.0, currency="EUR"),
    )
    assert newest(board)["pnl_realized{currency=EUR,source=b}"] == -5
    assert newest(board)["pnl_realized{currency=USD,source=b}"] == -1


def test_a_dip_within_a_batch_is_seen() -> None:
    """Three reports in one millisecond: the middle one is what a rule must see."""
    board = board_of(*(Account(at=T0, source="b", equity=equity) for equity in (100.0, 40.0, 100.0)))
    touched = board.series.take_touched()
    (sid,) = [s for s in board.series.sids() if ("__name__", "account_equity") in board.series.labels_of(s)]
    t, v = board.series.head(sid)
    assert v.tolist() == [100.0, 40.0, 100.0]
    assert set(t.tolist()) <= set(touched.times_ms)
    assert newest(board)["account_drawdown_max_ratio{source=b}"] == pytest.approx(0.6)


def test_a_bot_whose_clock_is_ahead_hides_nothing() -> None:
    board = board_of(Heartbeat(at=T0 + 59, source="fast"), Account(at=T0 + 59, source="fast", equity=5.0))
    board.fold(Heartbeat(at=T0 + 1, source="right"), Now(T0 + 1, 501.0))
    (sid,) = [s for s in board.series.sids() if ("type", "heartbeat") in board.series.labels_of(s)]
    t, v = board.series.head(sid)
    assert (t.tolist(), v.tolist()) == ([int(T0 * 1000), int(T0 * 1000) + 1000], [1.0, 2.0])
    assert newest(board)["heartbeat_timestamp_seconds{source=fast}"] == T0 + 59, "what it said stays what it said"
    assert max(board.series.last_t[: len(board.series)]) == int(T0 * 1000) + 1000


def test_the_three_ages_of_a_stream() -> None:
    frames = [
        MarketData(at=T0, exchange="e", symbol="S", price=5.0, exchange_at=T0 - 1),
        MarketData(at=T0 + 1, exchange="e", symbol="S", price=6.0),
        MarketData(at=T0 + 2, exchange="e", symbol="S", price=6.0, exchange_at=T0 - 2),
    ]
    series = newest(board_of(*frames))
    assert series["market_data_frame_timestamp_seconds{exchange=e,symbol=S}"] == T0 + 2
    assert series["market_data_change_timestamp_seconds{exchange=e,symbol=S}"] == T0 + 1
    assert series["market_data_exchange_timestamp_seconds{exchange=e,symbol=S}"] == T0 - 1, "the newest, not the last"


def test_reports_that_come_late_do_not_undo_newer_ones() -> None:
    board = board_of(
        Heartbeat(at=T0, source="b", state="running"),
        Heartbeat(at=T0 - 5, source="b", state="stopped"),
        Connection(at=T0, exchange="e", state="disconnected"),
        Connection(at=T0 - 5, exchange="e", state="connected"),
        MarketData(at=T0, exchange="e", symbol="S", price=5.0),
        MarketData(at=T0 - 5, exchange="e", symbol="S", price=4.0),
    )
    series = newest(board)
    assert board.heartbeats["b"].state == "running"
    assert series["heartbeat_timestamp_seconds{source=b}"] == T0
    assert series["heartbeat_state{source=b,state=running}"] == 1
    assert series["exchange_connected{exchange=e}"] == 0
    assert series["market_data_frame_timestamp_seconds{exchange=e,symbol=S}"] == T0
    assert series["market_data_price{exchange=e,symbol=S}"] == 5.0


def test_changes_of_a_connection_are_counted_and_repetitions_are_not() -> None:
    states = ("connected", "connected", "disconnected", "degraded", "connected")
    board = board_of(*(Connection(at=T0 + n, exchange="e", state=state) for n, state in enumerate(states)))  # type: ignore[arg-type]
    assert newest(board)["exchange_connection_changes_total{exchange=e}"] == 3
    assert newest(board)["exchange_connected{exchange=e}"] == 1


def test_a_check_that_could_not_ask_ends_its_series() -> None:
    board = board_of(check(True, value=3.0))
    assert newest(board) | {} == {
        "check_up{check=api}": 1,
        "check_value{check=api}": 3,
        "check_duration_seconds{check=api}": 0.25,
        "check_breaker_open{check=api}": 0,
    }
    board.fold(check(None, "open", at=T0 + 1), Now(T0 + 1, 501.0))
    assert newest(board) == {"check_duration_seconds{check=api}": 0.25, "check_breaker_open{check=api}": 1}
    board.fold(check(False, "half_open", at=T0 + 2), Now(T0 + 2, 502.0))
    assert (newest(board)["check_up{check=api}"], newest(board)["check_breaker_open{check=api}"]) == (0, 0.5)


def test_alerts_are_a_series_while_they_last() -> None:
    board = board_of(alert("pending"))
    name = "ALERTS{{alertname=drawdown,alertstate={},severity=critical}}"
    assert newest(board) == {name.format("pending"): 1}
    board.fold(alert("firing", at=T0 + 1, transition=2), Now(T0 + 1, 501.0))
    assert newest(board) == {name.format("firing"): 1}
    board.fold(alert("resolved", at=T0 + 2, transition=3), Now(T0 + 2, 502.0))
    assert newest(board) == {}
    assert board.alerts["f"].state == "resolved"
    assert [change.state for change in board.alert_history] == ["pending", "firing", "resolved"]


def test_an_alert_that_lasts_is_never_stale() -> None:
    board = board_of(alert("firing"))
    for minute in range(1, 20):
        board.fold_many((), Now(T0 + 60 * minute, 500.0 + 60 * minute))
    (sid,) = board.series.sids()
    t, _ = board.series.head(sid)
    assert max(t[1:] - t[:-1]) < 5 * 60_000
    assert int(t[-1]) == int((T0 + 19 * 60) * 1000)


def test_steps_make_up_the_present_incident() -> None:
    board = board_of(step("started"), step("failed"), step("exhausted"))
    assert [s.phase for s in board.incidents["api"]] == ["started", "failed", "exhausted"]
    assert newest(board)["recovery_exhausted{check=api}"] == 1
    board.fold(check(True), NOW)
    assert newest(board)["recovery_exhausted{check=api}"] == 0, "it recovered by itself"
    board.fold(step("started", incident="j"), NOW)
    assert [s.incident for s in board.incidents["api"]] == ["j"]
    assert len(board.steps) == 4
    assert newest(board)["recovery_steps_total{action=restart,check=api,phase=started}"] == 2


def test_a_parked_child_is_shown_until_its_cool_off_is_over() -> None:
    board = board_of(ChildDied(at=T0, child="live", cause="x", decision="park", delay=60.0, restarts=3))
    assert newest(board) == {"monitor_child_parked{child=live}": 1, "monitor_child_deaths_total{child=live}": 1}
    board.fold_many((), Now(T0 + 61, 561.0))
    assert newest(board)["monitor_child_parked{child=live}"] == 0


def test_a_series_that_a_collection_no_longer_has_ends() -> None:
    a, b = (("__name__", "a"),), (("__name__", "b"),)
    board = board_of(Samples(at=T0, origin="host", labels=(a, b), values=(1.0, 2.0), kinds={"a": ("gauge", "A.")}))
    assert newest(board) == {"a": 1, "b": 2}
    assert board.series.metadata["a"][:2] == ("gauge", "A.")
    board.fold(Samples(at=T0, origin="other", labels=(), values=()), NOW)
    board.fold(Samples(at=T0 + 15, origin="host", labels=(b,), values=(3.0,)), NOW)
    assert newest(board) == {"b": 3}
    board.fold(Samples(at=T0 + 15, origin="host", labels=(a,), values=(4.0,)), NOW)
    assert newest(board) == {"a": 4, "b": 3}, "two parts of one collection"


def everything() -> list[Fact]:
    """A fact of every type there is."""
    events: list[Fact] = [
        Trade(at=T0, source="b", account="a", symbol="S", side="buy", quantity=0.1, price=7.0, fee=0.3, currency="USD"),
        Trade(
            at=T0, source="b", account="a", symbol="S", side="sell", quantity=0.3, price=8.0, fee=0.3, currency="USD"
        ),
        f.Order(at=T0, source="b", order_id="1", symbol="S", side="buy", status="filled", latency_seconds=0.1),
        f.Position(at=T0, source="b", symbol="S", quantity=-1.0, mark_price=5.0, multiplier=2.0, unrealized_pnl=1.0),
        Account(at=T0, source="b", equity=100.0, cash=1.0, margin_used=2.0, margin_limit=3.0),
        Account(at=T0 + 1, source="b", equity=90.0, external_flow=5.0),
        f.Request(at=T0, exchange="e", endpoint="/", latency_seconds=0.1, ok=False),
        f.RateLimit(at=T0, exchange="e", remaining=5.0, limit=10.0, resets_at=T0 + 60),
        Connection(at=T0, exchange="e", state="degraded"),
        MarketData(at=T0, exchange="e", symbol="S", price=1.0, bid=0.9, ask=1.1, exchange_at=T0),
        f.Decision(
            at=T0,
            source="g",
            action="buy",
            confidence=0.5,
            consensus=0.5,
            latency_seconds=1.0,
            outcome="wrong",
            failed=True,
        ),
        f.Prediction(at=T0, model="m", version="1", output=0.5, confidence=0.5),
        f.Prediction(at=T0, model="m", version="1", output="up"),
        f.Outcome(at=T0, actual=1.0, prediction_id="p"),
        Heartbeat(at=T0, source="b", interval_seconds=10.0, state="running"),
        Sample(at=T0, name="x", value=1.0, labels={"l": "v", "empty": ""}, source="b", kind="counter", help="X."),
        f.HttpRequest(at=T0, endpoint="/", method="GET", status=500, duration_seconds=0.1),
    ]
    own: list[Fact] = [
        Samples(at=T0, origin="host", labels=((("__name__", "h"),),), values=(float("nan"),)),
        check(False, "open"),
        alert("firing", cleared_mono=450.0),
        NoticeSent(at=T0, channel="log", fingerprint="f", transition=1, state="firing", outcome="delivered"),
        tried("failed", failures=1),
        step("started"),
        ChildDied(at=T0, child="live", cause="x", decision="park", delay=60.0, restarts=3),
    ]
    assert {type(fact) for fact in (*events, *own)} == {*EVENT_TYPES, *OWN_TYPES}
    return [*events, *own]


def test_a_snapshot_is_the_whole_board_but_its_samples() -> None:
    board = board_of(*everything())
    again = Board.load(board.dump(), SeriesStore())
    assert again.dump() == board.dump()
    for name in (
        "checks",
        "alerts",
        "notices",
        "channels",
        "tries",
        "incidents",
        "heartbeats",
        "connections",
        "streams",
        "counts",
        "trading",
    ):
        assert getattr(again, name) == getattr(board, name), name
    for name in ("alert_history", "steps", "deaths"):
        assert list(getattr(again, name)) == list(getattr(board, name)), name
    more = [msgspec.structs.replace(fact, at=fact.at + 1) for fact in everything()]
    later = Now(T0 + 100, 600.0)
    for either in (board, again):
        either.fold_many(more, later)
    assert again.dump() == board.dump(), "and it goes on in the same way"
    counters = {k: v for k, v in newest(board).items() if "_total" in k or "_bucket" in k or k.startswith("pnl")}
    assert counters
    assert {k: v for k, v in newest(again).items() if k in counters} == counters


@pytest.mark.parametrize("raw", [b"", b"x", b"board", b"board\xff", b"board\x01", b"board\x01\x80", b"board\x01\xc1"])
def test_what_is_no_snapshot_of_this_version_is_refused(raw: bytes) -> None:
    with pytest.raises(SnapshotError):
        Board.load(raw, SeriesStore())


def test_a_channel_has_the_breaker_that_its_newest_attempt_led_to() -> None:
    board = board_of(tried("failed", attempts=1))
    assert (board.channels["log"].breaker.state, board.tries["log", "f"].attempts) == ("closed", 1)
    assert newest(board)["monitor_channel_breaker_open{channel=log}"] == 0
    board.fold(tried("failed", "open", at=T0 + 1, attempts=2), NOW)
    assert newest(board)["monitor_channel_breaker_open{channel=log}"] == 1
    board.fold(tried("trial", "half_open", at=T0 + 2, attempts=3, retry_at=0.0), NOW)
    assert newest(board)["monitor_channel_breaker_open{channel=log}"] == 0.5
    assert board.channels["log"].breaker.state == "half_open"
    assert board.tries["log", "f"].attempts == 2, "a trial is no failure yet"


def test_a_notice_that_was_sent_has_no_failures_any_more() -> None:
    board = board_of(tried("failed"), tried("failed", fingerprint="g"))
    sent = NoticeSent(at=T0, channel="log", fingerprint="f", transition=1, state="firing", outcome="delivered")
    board.fold_many([sent, tried("answered")], NOW)
    assert list(board.tries) == [("log", "g")]
    assert board.channels["log"].outcome == "answered"


def test_a_channel_that_is_gone_is_no_longer_reported_as_failing() -> None:
    board = board_of(tried("failed", "open"), tried("failed", "open", channel="desk"))
    board.fold(ChannelTried(at=T0 + 1, channel="log", outcome="gone", breaker=Breaker(), mono=500.0), NOW)
    assert (list(board.channels), list(board.tries)) == (["desk"], [("desk", "f")])
    assert newest(board)["monitor_channel_breaker_open{channel=log}"] == 0
    assert newest(board)["monitor_channel_breaker_open{channel=desk}"] == 1


def test_after_a_reboot_what_waits_waits_its_full_time_again() -> None:
    board = board_of(*everything())
    board.rebase(Now(T0 + 30, 3.0))
    held = board.alerts["f"]
    assert (held.mono, held.cleared_mono) == (3.0, 3.0)
    breaker = board.checks["api"].breaker
    assert (breaker.since, breaker.retry_at) == (3.0, 33.0), "the cool-down of 30 s runs again"
    for line in (board.channels["log"], board.tries["log", "f"]):
        assert (line.mono, line.breaker.since, line.breaker.retry_at, line.retry_at) == (3.0, 3.0, 23.0, 13.0)
    assert {s.mono for s in (*board.steps, *board.incidents["api"])} == {3.0}


def test_a_flood_of_sources_is_bounded_and_those_that_are_known_go_on() -> None:
    board = Board(SeriesStore(max_series=300))
    mine = Trade(at=T0, source="mine", symbol="S", side="buy", quantity=1.0, price=1.0, fee=1.0)
    board.fold(mine, NOW)
    for n in range(3_000):
        name = f"s{n}"
        board.fold_many(
            [
                Trade(at=T0, source=name, symbol="S", side="buy", quantity=1.0, price=1.0),
                Account(at=T0, source=name, equity=1.0),
                Heartbeat(at=T0, source=name),
                Connection(at=T0, exchange=name, state="connected"),
                MarketData(at=T0, exchange=name, symbol="S", price=1.0),
                Sample(at=T0, name="x", value=1.0, labels={"l": name}),
            ],
            NOW,
        )
    assert len(board.series) == 300
    assert board.series.refused > 10_000
    for kept in (board.trading.books, board.trading.ledgers, board.trading.curves, board.heartbeats):
        assert len(kept) <= 310
    assert len(board.connections) + len(board.streams) <= 620
    board.fold(mine, NOW)
    assert board.trading.ledgers["mine", None, None].fees == 2


def full_board() -> Board:
    board = Board(SeriesStore(max_series=300))
    board.fold_many([Sample(at=T0, name="x", value=1.0, labels={"l": str(n)}) for n in range(400)], NOW)
    return board


ABOUT_ITSELF = {
    "ALERTS{alertname=drawdown,alertstate=firing,severity=critical}",
    "check_breaker_open{check=api}",
    "check_duration_seconds{check=api}",
    "check_up{check=api}",
    "collector_up{collector=host}",
    "events_total{type=sample}",
    "monitor_channel_breaker_open{channel=desk}",
    "monitor_child_deaths_total{child=api}",
    "monitor_child_parked{child=api}",
    "recovery_exhausted{check=api}",
    "recovery_steps_total{action=kick,check=api,phase=started}",
}


def itself() -> list[Fact]:
    step = ActionStep(
        at=T0,
        incident="i",
        check="api",
        action="kick",
        rung=0,
        phase="started",
        who="recover",
        why="it fails",
        mono=1.0,
    )
    up = (("__name__", "collector_up"), ("collector", "host"))
    return [
        alert("firing"),
        CheckResult(at=T0, check="api", ok=False, breaker=Breaker(), seconds=0.1),
        ChannelTried(at=T0, channel="desk", outcome="answered", breaker=Breaker(), mono=1.0),
        ChildDied(at=T0, child="api", cause="boom", decision="restart", restarts=1, delay=1.0),
        step,
        Samples(at=T0, origin="host", labels=(up, (("__name__", "load"),)), values=(1.0, 0.5), own=1),
    ]


def test_on_a_full_board_the_daemon_s_own_series_find_room_and_outlive_a_restart() -> None:
    board = full_board()
    board.fold_many(itself(), NOW)
    held = newest(board)
    assert {name for name in held if not name.startswith("x{")} == ABOUT_ITSELF
    assert board.series.refusals.by_metric.keys() == {"x", "load"}
    series = SeriesStore(max_series=300)
    for n in range(400):
        series.intern((("__name__", "x"), ("l", str(n))))
    again = Board.load(board.dump(), series)
    again.fold(Heartbeat(at=T0 + 20, source="a"), Now(T0 + 20, 520.0))
    assert {name for name in newest(again) if not name.startswith("x{")} >= ABOUT_ITSELF - {
        "collector_up{collector=host}"
    }


def test_whoever_takes_an_own_name_on_a_full_board_is_refused_all_the_same() -> None:
    board = full_board()
    before = set(newest(board))
    pretended = ("ALERTS", "monitor_series", "check_up", "recovery_exhausted", "collector_up", "events_total")
    for n, name in enumerate(pretended):
        scraped = (("__name__", name), ("instance", "evil:1"))
        board.fold(Samples(at=T0 + n, origin="evil", labels=(scraped,), values=(1.0,)), NOW)
        board.fold(Sample(at=T0 + n, name=name, value=1.0, labels={"l": "evil"}), NOW)
    assert set(newest(board)) == before
    assert all(board.series.refusals.by_metric[name].number == 2 for name in pretended)


trades = st.lists(
    st.builds(
        Trade,
        at=st.integers(0, 50).map(lambda n: T0 + n / 10),
        source=st.sampled_from(["a", "b"]),
        symbol=st.sampled_from(["S", "T"]),
        side=st.sampled_from(["buy", "sell"]),
        quantity=st.integers(1, 50).map(lambda n: n / 10),
        price=st.integers(1, 500).map(lambda n: n / 100),
        fee=st.none() | st.integers(-5, 5).map(lambda n: n / 100),
        currency=st.sampled_from([None, "USD"]),
    ),
    max_size=40,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trades, st.integers(1, 20))
def test_how_trades_are_batched_changes_nothing_but_how_often_they_are_written(facts: list[Trade], size: int) -> None:
    whole = board_of(*facts)
    pieces = Board(SeriesStore())
    for first in range(0, len(facts), size):
        pieces.fold_many(facts[first : first + size], NOW)
        pieces = Board.load(pieces.dump(), pieces.series, pieces.ids)
    assert pieces.trading == whole.trading
    assert pieces.counts == whole.counts
    assert newest(pieces) == pytest.approx(newest(whole))


numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(st.lists(st.tuples(numbers.filter(lambda x: x > 0), numbers, numbers, st.booleans()), max_size=20))
def test_no_finite_numbers_make_the_fold_raise(values: list[tuple[float, float, float, bool]]) -> None:
    board = Board(SeriesStore())
    for quantity, price, fee, buy in values:
        side: Any = "buy" if buy else "sell"
        trade = Trade(
            at=T0, source="b", symbol="S", side=side, quantity=quantity, price=price, fee=fee, expected_price=fee
        )
        board.fold_many([trade, Account(at=T0, source="b", equity=price, external_flow=fee)], NOW)
    Board.load(board.dump(), SeriesStore())
