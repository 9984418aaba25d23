"""Ids: the same id again is accepted once, another body under it is refused, and memory is bounded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_monitor.core.facts import Event, Fact, Heartbeat, Outcome, Prediction, Sample, Samples, Trade
from trader_monitor.core.ids import Ids, digest, raw_of

encode = raw_of


def beat(key: str | None, state: Any = "running", source: str = "bot", at: float = 1.0) -> Heartbeat:
    return Heartbeat(at=at, id=key, source=source, state=state)


def screen(ids: Ids, *events: Fact) -> tuple[list[int], int, tuple[int, ...]]:
    seen = ids.screen(events, [encode(event) for event in events])
    return seen.fresh, seen.duplicates, seen.conflicts


TRADE = Trade(at=1.0, id="x", source="bot", symbol="A", side="buy", quantity=1.0, price=2.0)

CASES: list[tuple[str, Event, Event, str]] = [
    ("the same event again is a duplicate", TRADE, TRADE, "duplicate"),
    ("another time makes no other event", TRADE, msgspec.structs.replace(TRADE, at=9.5), "duplicate"),
    ("a time without fraction neither", TRADE, msgspec.structs.replace(TRADE, at=9), "duplicate"),
    ("another context makes no other event", TRADE, msgspec.structs.replace(TRADE, context={"a": 1}), "duplicate"),
    ("a context that went neither", msgspec.structs.replace(TRADE, context={"a": 1}), TRADE, "duplicate"),
    ("another price does", TRADE, msgspec.structs.replace(TRADE, price=2.5), "conflict"),
    ("a field that was left out does", TRADE, msgspec.structs.replace(TRADE, fee=0.1), "conflict"),
    ("another type does", TRADE, beat("x"), "conflict"),
    ("another source's id is another id", TRADE, msgspec.structs.replace(TRADE, source="other"), "fresh"),
    ("another id is another event", TRADE, msgspec.structs.replace(TRADE, id="y"), "fresh"),
    ("source and id do not run together", beat("bc", source="a"), beat("c", source="ab"), "fresh"),
    ("no source is not the source 'None'", Outcome(at=1.0, id="x", actual=1.0), beat("x", source="None"), "fresh"),
    ("the empty id is an id", beat(""), beat(""), "duplicate"),
    ("without an id nothing is a duplicate", beat(None), beat(None), "fresh"),
    (
        "labels in another order are the same",
        Sample(at=1.0, id="x", name="n", value=1.0, labels={"a": "1", "b": "2"}),
        Sample(at=1.0, id="x", name="n", value=1.0, labels={"b": "2", "a": "1"}),
        "duplicate",
    ),
    (
        "features in another order are the same",
        Prediction(at=1.0, id="x", model="m", version="1", output=1.0, features={"a": 1.0, "b": 2.0}),
        Prediction(at=2.0, id="x", model="m", version="1", output=1.0, features={"b": 2.0, "a": 1.0}),
        "duplicate",
    ),
    (
        "another label is another body",
        Sample(at=1.0, id="x", name="n", value=1.0, labels={"a": "1"}),
        Sample(at=1.0, id="x", name="n", value=1.0, labels={"a": "2"}),
        "conflict",
    ),
]


@pytest.mark.parametrize(("first", "second", "outcome"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
def test_second_event(first: Event, second: Event, outcome: str, together: bool) -> None:
    ids = Ids()
    if together:
        fresh, duplicates, conflicts = screen(ids, first, second)
        assert fresh == ([0, 1] if outcome == "fresh" else [0])
    else:
        assert screen(ids, first) == ([0], 0, ())
        fresh, duplicates, conflicts = screen(ids, second)
        assert fresh == ([0] if outcome == "fresh" else [])
    assert (duplicates, len(conflicts)) == (int(outcome == "duplicate"), int(outcome == "conflict"))


def test_a_refused_body_does_not_become_the_known_one() -> None:
    ids = Ids()
    screen(ids, beat("a", "running"))
    assert screen(ids, beat("a", "paused"))[2] == (0,)
    assert screen(ids, beat("a", "running"))[1] == 1


def test_the_daemons_own_facts_have_no_ids() -> None:
    own = Samples(at=1.0, origin="host", labels=(), values=())
    assert screen(Ids(), own, own) == ([0, 1], 0, ())


def test_the_digest_does_not_depend_on_who_encoded() -> None:
    """So that ids outlive an upgrade of the library: these bytes are a promise to the files of today."""
    key, body = digest(TRADE, encode(TRADE))
    assert (key.hex(), body) == ("39831cfee9818107", 0x1455152D36C4215E)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["running", "paused"])), max_size=30), max_size=40
    ),
    st.integers(1, 64),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_any_history_of_batches(batches: list[list[tuple[int, str]]], limit: int, data: st.DataObject) -> None:
    """Against a plain list: what is among the newest `limit` is always known; what is fresh was unknown or old."""
    ids = Ids(limit)
    order: list[int] = []
    bodies: dict[int, str] = {}
    for batch in batches:
        fresh, duplicates, conflicts = screen(ids, *(beat(str(key), state) for key, state in batch))
        expected = 0
        for index, (key, state) in enumerate(batch):
            if index in fresh:
                # Those of this very batch are not flushed before its end, so they count beyond the limit.
                assert key not in order[-limit:]
                order = [*(other for other in order if other != key), key]
                bodies[key] = state
            else:
                assert key in bodies
                assert (index in conflicts) == (bodies[key] != state)
                expected += bodies[key] == state
        assert duplicates == expected
        assert len(fresh) + duplicates + len(conflicts) == len(batch)
        assert len(ids) <= limit + 2 * max(limit // 16, 1) + 30
        if data.draw(st.booleans()):
            ids = Ids.load(ids.dump(), ids.sealed())


def test_a_segment_is_written_once_and_never_changes() -> None:
    ids = Ids(1600)
    seen: dict[int, bytes] = {}
    for number in range(3000):
        screen(ids, beat(str(number)))
        for serial, segment in ids.sealed(max(seen, default=0)).items():
            assert serial not in seen
            seen[serial] = segment
    held = ids.sealed()
    assert min(held) == ids.oldest() > 1
    assert all(seen[serial] == segment for serial, segment in held.items())
    assert len(ids.dump()) < 200 * 16 + 64


def test_a_lost_segment_forgets_its_ids_and_no_others() -> None:
    ids = Ids(1600)
    for number in range(400):
        screen(ids, beat(str(number)))
    segments = ids.sealed()
    del segments[min(segments)]
    again = Ids.load(ids.dump(), segments)
    known = [screen(again, beat(str(number)))[1] for number in range(400)]
    assert known[:100] == [0] * 100
    assert known[100:] == [1] * 300
