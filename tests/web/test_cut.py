"""Arrays with bad items: the good ones are kept, the bad ones named, exactly as if each stood on a line of its own."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.web.doors import doors
from trader_monitor.web.border import (
    MAX_EVENTS,
    Border,
    LineError,
    TooMany,
    numbered_items,
    numbered_lines,
    numbered_pieces,
)
from trader_monitor.web.cut import Cut, Torn
from trader_monitor.web.fields import Window

NOW = 1_700_000_000.0
WINDOW = Window(NOW, NOW - 90 * 86400, NOW + 60, {"pnl_realized"})
PACK = msgspec.msgpack.encode


def good(number: int = 0, text: str = "b") -> bytes:
    fields = {"type": "trade", "at": NOW, "source": text, "symbol": "x", "side": "buy", "quantity": 1, "price": number}
    return json.dumps(fields).encode()


def instead(value: bytes) -> bytes:
    """A trade with this for its price."""
    return good(77).replace(b"77", value)


BAD = [
    instead(b"NaN"),
    instead(b"-Infinity"),
    instead(b"1e999"),
    instead(b'"\\ud800"'),
    instead(b'"\xed\xa0\x80"'),
    instead(b'"\xff"'),
    instead(b'1,"price":2'),
    instead(b"[" * 20_000 + b"]" * 20_000),
    instead(b'{"a":' * 5_000 + b"1" + b"}" * 5_000),
    instead(b"9" * 5_000),
    instead(b"01"),
    instead(b"nul"),
    instead(b'"\\x"'),
    instead(b'"\t"'),
    instead(b'"' + b"\\\\" * 40_000 + b'"'),
    instead(b'"' + b"{" * 50_000 + b'"'),
    instead(b'"' + b"," * 60_000 + b'"'),
    instead(b'"],[{\\"},{\\\\"'),
    b"[]",
    b'"]"',
    b"{}",
    b"nope",
    b"1 2",
    b'{"a" 1}',
    b'{"a":1,}',
]


def lines(body: bytes) -> Border:
    border = Border(WINDOW)
    border.take(numbered_lines(body))
    return border


def items(body: bytes) -> Border:
    border = Border(WINDOW)
    border.take(numbered_items(body) or cut(body))
    return border


def cut(body: bytes, **options: int) -> Iterator[tuple[int, bytes]]:
    array = Cut(body, MAX_EVENTS, **options)
    while array.scan():
        pass
    return array.items()


def packed(body: bytes) -> Border:
    border = Border(WINDOW)
    border.take_packed(numbered_pieces(body))
    return border


def found(border: Border) -> tuple[object, ...]:
    return border.facts, border.lines, border.errors, border.refused


@pytest.mark.parametrize("bad", BAD, ids=[bad[:90][-22:].decode("latin1") for bad in BAD])
def test_one_bad_item_costs_the_others_nothing(bad: bytes) -> None:
    border = items(b"[" + b",".join([good(1), bad, good(3)]) + b"]")
    assert [getattr(fact, "price", None) for fact in border.facts] == [1, 3]
    assert border.lines == [1, 3]
    assert {error.line for error in border.errors} == {2}
    assert found(border) == found(lines(b"\n".join([good(1), bad, good(3)])))


_events = st.builds(good, st.integers(0, 1000), st.text(max_size=20)) | st.sampled_from(BAD)
_white = st.sampled_from([b"", b" ", b"\n\t ", b"\r\n"])


@settings(max_examples=200, deadline=None)
@given(st.lists(_events, max_size=12), _white, _white)
@example([BAD[0]] * 12, b" ", b"")
def test_an_array_and_lines_of_the_same_events_have_the_same_end(sent: list[bytes], a: bytes, b: bytes) -> None:
    array = a + b"[" + b + (b + b"," + a).join(sent) + a + b"]" + b
    assert found(items(array)) == found(lines(b"\n".join(sent)))


_TREE: st.SearchStrategy[object] = st.recursive(
    st.integers(0, 9) | st.text(st.sampled_from('"\\[]{},a'), max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('"\\[]{},', max_size=3), inner, max_size=3),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_TREE, max_size=8), st.integers(1, 9))
def test_items_are_cut_where_a_parser_sees_their_ends(sent: list[object], block: int) -> None:
    """In blocks so small that every sign, text and escape comes to lie across their borders."""
    body = json.dumps(sent).encode()
    assert [json.loads(item) for _, item in cut(body, block=block)] == sent


TORN = [
    ("An array without its end.", b"[%s,%s", 2, "ends in the middle of item 2", 0),
    ("An array that ends within a text.", b'[%s,{"a":"}]', 2, "ends in the middle of item 2", 0),
    ("An array that ends within an object.", b'[%s,{"a":1]', 2, "brackets do not match at byte", 0),
    ("A brace that was never opened.", b"[%s,}]", 2, "brackets do not match at byte", 0),
    ("Nothing but brackets.", b"[" * 200_000, 1, "ends in the middle of item 1", 0),
    ("Something behind it.", b"[%s,%s] %s", 3, "text follows it at byte", 2),
    ("A second array behind it.", b"[%s][%s]", 2, "text follows it at byte", 1),
    ("A comma behind the last.", b"[%s,]", 2, "expected JSON", 1),
    ("Two commas.", b"[%s,,%s]", 2, "expected JSON", 2),
]


@pytest.mark.parametrize(("sentence", "body", "line", "error", "kept"), TORN, ids=[case[0] for case in TORN])
def test_where_the_items_cannot_be_told_apart_it_is_said(
    sentence: str, body: bytes, line: int, error: str, kept: int
) -> None:
    border = items(body.replace(b"%s", good()))
    assert [(one.line, one.path) for one in border.errors] == [(line, "$")], sentence
    assert error in border.errors[0].error
    assert len(border.facts) == kept


def test_blanks_between_brackets_are_no_item() -> None:
    for body in (b"[]", b" [ \n ] "):
        assert list(cut(body)) == []
    with pytest.raises(Torn):
        list(cut(b"[ ] x"))


def test_more_items_than_a_request_may_hold_are_refused_before_one_is_taken() -> None:
    body = b"[" + b",".join([BAD[0]] * (MAX_EVENTS + 1)) + b"]"
    assert numbered_items(body) is None
    with pytest.raises(TooMany):
        cut(body)
    assert items(body[: -len(BAD[0]) - 2] + b"]").refused == MAX_EVENTS


def took(work: Callable[[], object]) -> float:
    """Seconds of the fastest of three."""

    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return min(once() for _ in range(3))


WORST = [
    ("bad items", b",".join([b'{"a":NaN,"b":"%s"}' % (b"x" * 800)] * 1200)),
    ("brackets", b"[" * (1 << 20)),
    ("pairs of brackets", b"[]" * (1 << 19)),
    ("quotes", b'"' * (1 << 20)),
    ("backslashes", b'"' + b"\\" * (1 << 20) + b'"'),
    ("commas in an array", b"[" + b"," * (1 << 20) + b"]"),
]


@pytest.mark.parametrize("content", [case[1] for case in WORST], ids=[case[0] for case in WORST])
def test_eight_mebibytes_of_the_worst_cost_eight_times_one(content: bytes) -> None:
    def walk(body: bytes) -> None:
        with pytest.raises(Torn):  # it always has an end too few
            list(cut(body))

    one, eight = b"[[" + content + b"]", b"[[" + b",".join([content] * 8) + b"]"
    assert took(lambda: walk(eight)) < 8 * 4 * took(lambda: walk(one)) + 0.05
    assert took(lambda: walk(eight)) < 2.0


def test_what_is_looked_into_with_care_comes_in_turns() -> None:
    """Bad events are a hundred times slower than good ones: none of them costs others more than its own turn."""
    bad = instead(b'"' + b"x" * 10_000 + b'\\x"')
    border = Border(WINDOW)
    numbered = cut(b"[" + b",".join([bad] * 20 + [good()] * 20) + b"]")
    turns, asked = [border.refused], itertools.count(1)
    while border.take(numbered, lambda: next(asked) % 7 == 0):
        turns.append(border.refused)
    assert turns == [0, 7, 14, 20]
    assert (len(border.facts), border.lines[0]) == (20, 21)


DEEP = b"\x91" * 30_000 + b"\x01"
PACKED_BAD = [
    PACK({"type": "trade", "price": float("nan")}),
    b"\x81\xa1a" + DEEP,
    b"\x81\xa1a" + b"\x81\x01" * 20_000 + b"\x01",
    b"\x81\xa1a" + b"\xdd\x00\x00\x00\x01" * 9_000 + b"\xdf\x00\x00\x00\x00",
    b"\x92" * 12 + b"\xa1x\xa1y" + b"\x01" * 11,
    b"\x81\xa1a\xa1\xff",
    b"\x82\xa1a\x01\xa1a\x02",
    b"\x81\x81\x01\x02\x03",
    b"\xde\xff\xff" + b"\xa1a\x01" * 65_535,
    PACK("x" * 70_000),
    b"\x01",
]
_packed = st.builds(lambda n: PACK(json.loads(good(n))), st.integers(0, 1000)) | st.sampled_from(PACKED_BAD)


@settings(max_examples=100, deadline=None)
@given(st.lists(_packed, max_size=12))
@example([PACK(json.loads(good(1))), PACKED_BAD[1], PACK(json.loads(good(3)))])
def test_the_same_in_messagepack(sent: list[bytes]) -> None:
    sent = [PACK(json.loads(good(0))), *sent]  # a row may not begin with what looks like an array of all
    row, array = packed(b"".join(sent)), packed(PACK([msgspec.Raw(one) for one in sent]))
    expected = [number for number, one in enumerate(sent, 1) if one not in PACKED_BAD]
    for border in (row, array):
        assert border.lines == expected
        assert border.refused == len(sent) - len(expected)
        assert {error.line for error in border.errors} == {n for n, one in enumerate(sent, 1) if one in PACKED_BAD}
    assert row.errors == array.errors


async def test_an_array_is_answered_as_lines_are(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        now = str(time.time()).encode()
        sent = [one.replace(b"1700000000.0", now) for one in (good(1), BAD[0], good(2), BAD[3], good(3))]
        array = await house.post(b"[" + b",".join(sent) + b"]", "application/json")
        told = await house.post(b"\n".join(sent))
        assert array == told
        assert (array[0], array[1]["accepted"]) == (400, 3)
        assert msgspec.convert(array[1]["errors"], list[LineError]) == [
            LineError(2, "$.price", "expected a finite number, got NaN"),
            LineError(4, "$.price", "half of a surrogate pair: the text is not Unicode"),
        ]
        status, answer = await house.post(b"[" + b",".join(sent), "application/json")
        assert (status, answer["accepted"], len(answer["errors"])) == (400, 0, 1)
        assert house.env.board.counts == {"trade": 6}
