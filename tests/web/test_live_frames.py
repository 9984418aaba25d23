"""The pure half of the feed: topics, frames, what can be resumed, what is told, and whether all is well."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode

from tests.web.stage import alert, check, samples, trade
from trader_monitor.core.board import Board
from trader_monitor.core.facts import Breaker, Now
from trader_monitor.core.series import SeriesStore
from trader_monitor.web.feed import MAX_TRADES, Feed, Replaced
from trader_monitor.web.frames import ALL, MAX_FRAME, Frame, Recent, UnknownTopic, pack, parse_topics, wire
from trader_monitor.web.status import ChildView, judge, per_second

NOW = Now(1_800_000_000.0, 5_000.0)


def told(frame: Frame) -> dict[str, Any]:
    """A frame's message, without its header of two, four or ten bytes (a length may hold any byte, a `{` too)."""
    message: dict[str, Any] = json.loads(frame.wire[{126: 4, 127: 10}.get(frame.wire[1], 2) :])
    return message


# --- topics and frames -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "taken", "left"),
    [
        (None, [("alerts", ""), ("metrics", "host")], []),
        ("", [("children", "")], []),
        ("alerts, checks", [("alerts", ""), ("checks", "")], [("metrics", "host"), ("trades", "")]),
        ("metrics", [("metrics", "host"), ("metrics", "pnl")], [("alerts", "")]),
        ("metrics.host", [("metrics", "host")], [("metrics", "pnl"), ("metrics", "")]),
        ("metrics.host,metrics", [("metrics", "pnl")], [("trades", "")]),
    ],
)
def test_topics_take_what_was_asked_for_and_nothing_else(text: str | None, taken: list[Any], left: list[Any]) -> None:
    topics = parse_topics(text)
    assert all(topics.takes(*one) for one in taken)
    assert not any(topics.takes(*one) for one in left)


@pytest.mark.parametrize("text", ["x", "alerts,x", "alerts.x", "metrics.", "metrics.a.b", "metrics.-", "alerts," * 65])
def test_what_is_no_topic_is_refused_in_few_words(text: str) -> None:
    with pytest.raises(UnknownTopic) as error:
        parse_topics(text)
    assert len(str(error.value).encode()) <= 123, "a close reason has no more room"


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 200_000])
def test_a_frame_is_what_the_library_would_have_sent(size: int) -> None:
    payload = b"x" * size
    assert wire(payload) == WebSocketFrame(Opcode.TEXT, payload).serialize(mask=False)


@given(st.lists(st.tuples(st.sampled_from(["alerts", "trades"]), st.integers(1, 20_000)), max_size=30))
def test_packing_keeps_order_and_content_and_stays_small(shape: list[tuple[str, int]]) -> None:
    frames = [Frame(n, topic, "", bytes([n]) * size) for n, (topic, size) in enumerate(shape)]
    writes = pack(frames, parse_topics("alerts"))
    assert b"".join(writes) == b"".join(frame.wire for frame in frames if frame.topic == "alerts")
    assert all(len(one) <= MAX_FRAME for one in writes)


class Resuming(RuleBasedStateMachine):
    """A client that was away gets exactly what it missed, or is told that this cannot be."""

    def __init__(self) -> None:
        super().__init__()
        self.recent = Recent(100, max_frames=5, max_bytes=60)
        self.given: list[Frame] = []

    @rule(size=st.integers(1, 30))
    def add(self, size: int) -> None:
        frame = Frame(self.recent.seq + 1, "alerts", "", b"x" * size)
        self.given.append(frame)
        self.recent.add(frame)

    @rule()
    def forget(self) -> None:
        self.recent.forget()
        self.recent.seq += 1
        self.given.clear()

    @precondition(lambda self: self.given)
    @rule(back=st.integers(0, 8))
    def resume(self, back: int) -> None:
        seq = self.recent.seq - back
        missed = self.recent.after(seq)
        if missed is not None:
            assert missed == [frame for frame in self.given if frame.seq > seq]
        else:
            assert back > len(self.recent)

    @rule(ahead=st.integers(1, 9))
    def a_number_that_was_never_given(self, ahead: int) -> None:
        assert self.recent.after(self.recent.seq + ahead) is None

    @invariant()
    def it_is_bounded(self) -> None:
        assert len(self.recent) <= 5
        assert self.recent.size <= 60


TestResuming = Resuming.TestCase


# --- what is told ------------------------------------------------------------------------------------------------


def test_a_burst_of_alerts_is_split_into_frames_that_fit() -> None:
    feed = Feed(Board(SeriesStore()), 0)
    feed.collect([alert(f"rule{n}", summary="s" * 500) for n in range(300)])
    frames = feed.step(feed._board, (), NOW)
    assert len(frames) > 1
    assert all(len(frame.wire) <= MAX_FRAME + 10 for frame in frames)
    assert [a["rule"] for frame in frames for a in told(frame)["alerts"]] == [f"rule{n}" for n in range(300)]
    assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))


def test_of_a_flood_of_trades_the_newest_are_told_and_the_rest_is_counted() -> None:
    feed = Feed(Board(SeriesStore()), 0)
    feed.collect([trade(n) for n in range(1000)])
    messages = [told(frame) for frame in feed.step(feed._board, (), NOW)]
    assert sum(len(m["trades"]) for m in messages) == MAX_TRADES
    assert sum(m.get("skipped", 0) for m in messages) == 1000 - MAX_TRADES
    assert messages[-1]["trades"][-1]["id"] == "t999"


def test_ten_thousand_series_are_told_in_several_steps_that_miss_none() -> None:
    board = Board(SeriesStore())
    feed = Feed(board, 0)
    board.fold(samples({f"bulk_value/n={n}": float(n) for n in range(10_000)}), NOW)
    seen: dict[str, float] = {}
    names: dict[str, str] = {}
    steps = 0
    while True:
        steps += 1
        for frame in feed.step(board, (), NOW):
            assert len(frame.wire) <= MAX_FRAME * 1.2
            message = told(frame)
            names |= {sid: labels["n"] for sid, labels in message["series"].items()}
            seen |= {names[str(sid)]: value for sid, _, value in message["samples"]}
        if not feed.more:
            break
    assert steps == 3
    assert seen == {str(n): float(n) for n in range(10_000)}
    assert feed.step(board, (), NOW) == []


def test_a_value_that_is_not_a_number_is_told_once_and_as_null() -> None:
    board = Board(SeriesStore())
    feed = Feed(board, 0)
    board.fold(samples({"host_load1": float("nan")}), NOW)
    (frame,) = feed.step(board, (), NOW)
    assert told(frame)["samples"][0][2] is None
    assert feed.step(board, (), NOW) == []


def test_a_forgotten_series_is_gone_and_its_id_is_not_spoken_of_again() -> None:
    board = Board(SeriesStore())
    feed = Feed(board, 0)
    board.fold(samples({"host_load1": 1.0}), NOW)
    (frame,) = feed.step(board, (), NOW)
    sid = told(frame)["samples"][0][0]
    board.series.forget([sid])
    (frame,) = feed.step(board, (), NOW)
    assert (told(frame)["gone"], told(frame)["samples"]) == ([sid], [])
    assert feed.step(board, (), NOW) == []


def test_another_board_is_said_and_nobody_resumes_across_it() -> None:
    feed = Feed(Board(SeriesStore()), 7)
    rebuilt = Board(SeriesStore())
    with pytest.raises(Replaced):
        feed.step(rebuilt, (), NOW)
    assert feed.recent.after(7) is None
    assert feed.step(rebuilt, (), NOW) == []


def test_families_are_the_first_word_of_a_metric() -> None:
    board = Board(SeriesStore())
    feed = Feed(board, 0)
    board.fold(samples({"host_load1": 1.0, "pnl_realized": 2.0, "up": 1.0}), NOW)
    assert {frame.family for frame in feed.step(board, (), NOW)} == {"host", "pnl", "up"}
    assert all(ALL.takes("metrics", family) for family in ("host", "pnl", "up"))


# --- whether all is well -----------------------------------------------------------------------------------------

BEGAN = NOW.wall - 1000
T90, T9, T5, T4 = (NOW.wall - ago for ago in (90, 9, 5, 4))
PARKED = ChildView(name="api", state="parked", essential=False, restarts=5, since=T5)
VITAL = msgspec.structs.replace(PARKED, essential=True)
CASES = [
    ("nothing is known: well since the daemon began", [], (), None, ("ok", BEGAN)),
    (
        "mere information leaves all well",
        [alert("i", severity="info", at=T9)],
        (),
        None,
        ("ok", BEGAN),
    ),
    ("a pending alert is none yet", [alert("p", "pending", at=T9)], (), None, ("ok", BEGAN)),
    (
        "the worst alert speaks",
        [alert("w", severity="warning", at=T90), alert(at=T9)],
        (),
        None,
        ("critical", T9),
    ),
    (
        "among equals the oldest",
        [alert("a", at=T9), alert("b", at=T90)],
        (),
        None,
        ("critical", T90),
    ),
    ("well again since it was resolved", [alert(state="resolved", at=T4)], (), None, ("ok", T4)),
    ("a parked child is an error", [], (PARKED,), None, ("error", T5)),
    (
        "a parked essential child is critical",
        [],
        (VITAL,),
        None,
        ("critical", T5),
    ),
    ("a failing store is critical", [], (), "disk full", ("critical", NOW.wall)),
    ("an open breaker without its alert is a warning", [check("c", False, state="open")], (), None, ("warning", None)),
]


@pytest.mark.parametrize(("facts", "children", "degraded", "wanted"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_the_judgement(
    facts: list[Any], children: tuple[Any, ...], degraded: str | None, wanted: tuple[Any, ...]
) -> None:
    board = Board(SeriesStore())
    for fact in facts:
        board.fold(fact, NOW)
    verdict = judge(board, children, degraded, BEGAN, NOW)
    assert verdict.state == wanted[0]
    if wanted[1] is not None:
        assert verdict.since == pytest.approx(wanted[1])


def test_a_check_fails_since_its_first_failure_though_its_breaker_tries_again_and_again() -> None:
    board = Board(SeriesStore())
    result = check("api", True)
    for back, ok in ((60, True), (50, False), (40, False), (30, False), (5, False)):
        breaker = Breaker("closed" if ok else "open", 3, NOW.mono - 1, NOW.mono + 9, 1, 0 if ok else 4)
        fact = msgspec.structs.replace(result, at=NOW.wall - back, ok=ok, breaker=breaker)
        board.fold(fact, Now(NOW.wall - back, NOW.mono - back))
    assert judge(board, (), None, BEGAN, NOW).since == pytest.approx(NOW.wall - 50)


def test_the_rate_of_events_is_since_the_newest_collection_that_is_old_enough() -> None:
    board = Board(SeriesStore())
    for back, total in ((30, 100.0), (15, 400.0), (2, 900.0)):
        board.fold(samples({"c_total": total}, at=NOW.wall - back), NOW)
    assert per_second(board, "c_total", 1000.0, NOW) == pytest.approx(40.0)
    assert per_second(board, "c_total", 10.0, NOW) == 0.0, "the daemon began anew"
    assert per_second(board, "unknown", 10.0, NOW) == 0.0
