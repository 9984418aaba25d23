"""The border: every kind of bad input is refused with its path, in words; and nothing bad gets through."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from trader_monitor.core.facts import EVENT_TYPES, Event, Sample, Trade
from trader_monitor.web.border import (
    MAX_EVENTS,
    Border,
    TooMany,
    numbered_items,
    numbered_lines,
    numbered_pieces,
)
from trader_monitor.web.cut import Cut
from trader_monitor.web.fields import Window

NOW = 1_700_000_000.0
WINDOW = Window(NOW, NOW - 90 * 86400, NOW + 60, {"pnl_realized"})
TRADE = '{"type":"trade","at":1.7e9,"source":"b","symbol":"x","side":"buy","quantity":1,"price":1,%s}'
SAMPLE = '{"type":"sample","at":1.7e9,"name":"x","value":1,%s}'


def crossed(line: bytes | str) -> Border:
    border = Border(WINDOW)
    border.take([(1, line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line)])
    return border


def packed(body: bytes) -> Border:
    border = Border(WINDOW)
    border.take_packed(numbered_pieces(body))
    return border


def trade(fields: str) -> str:
    """A trade in which the given fields stand instead of the right ones."""
    right = {"type": '"trade"', "at": "1.7e9", "source": '"b"', "symbol": '"x"', "side": '"buy"'}
    right |= {"quantity": "1", "price": "1"}
    kept = [f'"{name}":{value}' for name, value in right.items() if f'"{name}"' not in fields]
    return "{" + ",".join([*kept, fields]) + "}"


NUMBERS = [
    ("NaN", "expected a finite number, got NaN"),
    ("Infinity", "expected a finite number, got Infinity"),
    ("-Infinity", "expected a finite number, got -Infinity"),
    ("1e999", "expected a finite number, got 1e999"),
    ("-1e999", "expected a finite number, got -1e999"),
    ('"1e5"', "expected a finite number, got the text '1e5'"),
    ("true", "expected a finite number, got true"),
    ("null", "expected a finite number, got null"),
    ("[1]", "expected a finite number, got an array"),
    ('{"a":1}', "expected a finite number, got an object"),
    ("1" * 310, "expected a finite number, got a number that is too large"),
    ("9" * 5000, "expected a finite number, got a number of 5,000 characters"),
]


@pytest.mark.parametrize(("number", "error"), NUMBERS, ids=[n[0][:12] for n in NUMBERS])
def test_what_is_no_finite_number_is_named(number: str, error: str) -> None:
    border = crossed(trade(f'"price":{number}'))
    assert [(e.line, e.path, e.error) for e in border.errors] == [(1, "$.price", error)]
    assert (border.facts, border.refused) == ([], 1)


CASES = [
    ("A key that comes twice.", trade('"price":1,"price":2'), "$.price", "comes twice"),
    ("The type comes twice.", trade('"fee":1,"type":"order","type":"trade"'), "$.type", "comes twice"),
    ("A key twice, with a space before the colon.", trade('"fee":1,"fee" :2'), "$.fee", "comes twice"),
    ("A key twice, one of them escaped.", trade('"fee":1,"f\\u0065e":2'), "$.fee", "comes twice"),
    ("A key twice, with colons in texts.", trade('"account":"a:b","fee":1,"fee":2'), "$.fee", "comes twice"),
    ("A key twice, one of them null.", trade('"fee":null,"fee":2'), "$.fee", "comes twice"),
    ("A key twice within the context.", trade('"context":{"a":1,"a":1}'), "$.context.a", "comes twice"),
    ("A label twice.", SAMPLE % '"labels":{"a":"1","a":"1"}', "$.labels.a", "comes twice"),
    ("Empty labels and a key twice.", SAMPLE % '"labels":{},"value":2', "$.value", "comes twice"),
    ("No labels and a key twice.", SAMPLE % '"value":2', "$.value", "comes twice"),
    ("Brackets 200,000 deep.", "[" * 200_000, "$", "64 KiB"),
    ("Brackets 20,000 deep.", trade('"context":' + "[" * 20_000 + "]" * 20_000), "$", "nested more than"),
    ("Objects 9,000 deep.", '{"a":' * 9_000 + "1" + "}" * 9_000, "$", "nested more than"),
    ("A text of 10 MB.", trade('"account":"' + "x" * 10_000_000 + '"'), "$", "64 KiB"),
    ("A text of 600 characters.", trade('"account":"' + "x" * 600 + '"'), "$.account", "1 to 512"),
    ("Half of a surrogate pair.", trade('"account":"\\ud800"'), "$.account", "half of a surrogate pair"),
    ("Half of a surrogate pair in a key.", trade('"context":{"\\udfff":1}'), "$.context", "half of a surrogate"),
    ("Half of a surrogate pair as bytes.", trade('"account":"\ud800"'), "$", "expected UTF-8"),
    ("A byte that is no UTF-8.", b'{"type":"trade\xff"}', "$", "the byte 0xff at 15"),
    ("1970.", trade('"at":0'), "$.at", "older than the retention of 90 days"),
    ("Before 1970.", trade('"at":-1e9'), "$.at", "older than the retention"),
    ("The year 9999.", trade('"at":"9999-12-31T23:59:59Z"'), "$.at", "in the future"),
    ("Nanoseconds.", trade('"at":1700000000000000000'), "$.at", "looks like nanoseconds"),
    ("Microseconds.", trade('"at":1700000000000000'), "$.at", "looks like microseconds"),
    ("Milliseconds.", trade('"at":1700000000000'), "$.at", "looks like milliseconds"),
    ("61 s ahead.", trade('"at":1700000061'), "$.at", "is 61 s in the future: at most 60 s is accepted"),
    ("A time without an offset.", trade('"at":"2023-11-14T22:13:20"'), "$.at", "RFC 3339 with an offset"),
    ("A day that there is not.", trade('"at":"2023-02-30T22:13:20Z"'), "$.at", "RFC 3339"),
    ("Not a time.", trade('"at":"yesterday"'), "$.at", "RFC 3339"),
    (
        "A time of an exchange in milliseconds.",
        '{"type":"market_data","at":1.7e9,"exchange":"e","symbol":"s","exchange_at":1.7e12}',
        "$.exchange_at",
        "a time in Unix seconds",
    ),
    ("No JSON.", "hello", "$", "expected JSON"),
    ("Cut in the middle.", trade('"fee":1')[:-10], "$", "expected JSON"),
    ("An array.", "[1]", "$", "expected an object, got an array"),
    ("A text.", '"trade"', "$", "expected an object"),
    ("No type.", '{"at":1}', "$.type", "it is missing"),
    ("An unknown type.", '{"type":"trad"}', "$.type", "did you mean trade?"),
    ("A type that is a number.", '{"type":7}', "$.type", "expected one of trade"),
    ("A field that is missing.", '{"type":"heartbeat","at":1.7e9}', "$.source", "expected a text; it is missing"),
    ("An unknown field.", trade('"acount":"x"'), "$.acount", "did you mean account?"),
    ("An unknown word.", trade('"liquidity":"takr"'), "$.liquidity", "did you mean taker?"),
    ("A cancellation of nothing.", trade('"cancelled":true'), "$.corrects", "the id of the trade that is cancelled"),
    ("A correction of itself.", trade('"id":"7","corrects":"7"'), "$.corrects", "cannot correct itself"),
    ("An empty correction.", trade('"corrects":""'), "$.corrects", "1 to 512 characters"),
    ("A cancellation that is a word.", trade('"corrects":"7","cancelled":"yes"'), "$.cancelled", "true or false"),
    ("A negative quantity.", trade('"quantity":-1'), "$.quantity", "a positive number, got -1"),
    ("No quantity.", trade('"quantity":0'), "$.quantity", "a positive number"),
    ("More money than there is.", trade('"quantity":1e200,"price":1e200'), "$.quantity", "quantity times price"),
    ("An empty source.", trade('"source":""'), "$.source", "1 to 512 characters"),
    ("An empty id.", trade('"id":""'), "$.id", "1 to 512 characters"),
    ("A context that is nested.", trade('"context":{"a":{"b":1}}'), "$.context.a", "got an object"),
    ("NaN in the context.", trade('"context":{"a":NaN}'), "$.context.a", "got NaN"),
    ("An integer of 100 bits in the context.", trade('"context":{"a":' + "9" * 30 + "}"), "$.context.a", "64 bits"),
    ("A context of 65 entries.", trade('"context":' + json.dumps({str(i): i for i in range(65)})), "$.context", "64"),
    (
        "A metric that Prometheus refuses.",
        '{"type":"sample","at":1.7e9,"name":"a-b","value":1}',
        "$.name",
        "a metric name",
    ),
    (
        "A metric that begins with a digit.",
        '{"type":"sample","at":1.7e9,"name":"1a","value":1}',
        "$.name",
        "a metric name",
    ),
    ("A metric with a newline.", '{"type":"sample","at":1.7e9,"name":"a\\n","value":1}', "$.name", "a metric name"),
    ("A metric of the monitor's.", '{"type":"sample","at":1.7e9,"name":"pnl_realized","value":1}', "$.name", "itself"),
    ("The alerts' own metric.", '{"type":"sample","at":1.7e9,"name":"ALERTS","value":1}', "$.name", "itself"),
    ("A label that Prometheus refuses.", SAMPLE % '"labels":{"a-b":"1"}', "$.labels", "label names"),
    ("A label that is reserved.", SAMPLE % '"labels":{"__name__":"y"}', "$.labels.__name__", "reserved"),
    (
        "A label that the source is already.",
        SAMPLE % '"source":"b","labels":{"source":"c"}',
        "$.labels.source",
        "already",
    ),
    ("A label that is no text.", SAMPLE % '"labels":{"a":1}', "$.labels.a", "expected a text, got 1"),
    ("33 labels.", SAMPLE % ('"labels":' + json.dumps({f"a{i}": "" for i in range(33)})), "$.labels", "at most 32"),
    ("A label of 1,025 characters.", SAMPLE % ('"labels":{"a":"' + "x" * 1025 + '"}'), "$.labels.a", "1024"),
    (
        "A confidence of 101 %.",
        '{"type":"decision","at":1.7e9,"source":"a","action":"buy","confidence":1.01}',
        "$.confidence",
        "a ratio from 0 to 1",
    ),
    (
        "A latency below zero.",
        '{"type":"request","at":1.7e9,"exchange":"e","endpoint":"/","latency_seconds":-1,"ok":true}',
        "$.latency_seconds",
        "at least 0",
    ),
    (
        "ok as a number.",
        '{"type":"request","at":1.7e9,"exchange":"e","endpoint":"/","latency_seconds":1,"ok":1}',
        "$.ok",
        "true or false",
    ),
    (
        "Status 42.",
        '{"type":"http_request","at":1.7e9,"endpoint":"/","method":"GET","status":42,"duration_seconds":1}',
        "$.status",
        "an HTTP status",
    ),
    (
        "A feature that is neither a number nor a category.",
        '{"type":"prediction","at":1.7e9,"model":"m","version":"1","output":1,"features":{"a":true}}',
        "$.features.a",
        "expected a finite number or a text, got true",
    ),
    (
        "Features that are no object.",
        '{"type":"prediction","at":1.7e9,"model":"m","version":"1","output":1,"features":[1,2]}',
        "$.features",
        "an object of numbers, texts or null",
    ),
    (
        "A feature beyond float32.",
        '{"type":"prediction","at":1.7e9,"model":"m","version":"1","output":1,"features":{"a":1,"b":-3.5e38}}',
        "$.features.b",
        "within float32",
    ),
    (
        "A category that is a novel.",
        '{"type":"prediction","at":1.7e9,"model":"m","version":"1","output":1,"features":{"a":"%s"}}' % ("x" * 129),
        "$.features.a",
        "at most 128 characters, got 129",
    ),
    (
        "A feature without a name.",
        '{"type":"prediction","at":1.7e9,"model":"m","version":"1","output":1,"features":{"":1}}',
        "$.features",
        "1 to 256 characters",
    ),
    (
        "A feature whose name is a novel.",
        '{"type":"prediction","at":1.7e9,"model":"m","version":"1","output":1,"features":{"%s":1}}' % ("x" * 257),
        "$.features",
        "1 to 256 characters",
    ),
    (
        "More features than a row may have.",
        '{"type":"prediction","at":1.7e9,"model":"m","version":"1","output":1,"features":{'
        + ",".join(f'"f{n}":1' for n in range(2001))
        + "}}",
        "$.features",
        "at most 2,000 features",
    ),
    (
        "An outcome of nothing.",
        '{"type":"outcome","at":1.7e9,"actual":1,"model":"m"}',
        "$.subject",
        "prediction_id, or",
    ),
    (
        "An own fact of the daemon's.",
        '{"type":"check_result","at":1.7e9,"check":"x","ok":true}',
        "$.type",
        "expected one of",
    ),
]


@pytest.mark.parametrize(("sentence", "line", "path", "error"), CASES, ids=[c[0] for c in CASES])
def test_bad_input_is_refused_with_its_path(sentence: str, line: str | bytes, path: str, error: str) -> None:
    border = crossed(line)
    assert border.facts == [], sentence
    (first, *_) = border.errors
    assert (first.line, first.path) == (1, path), (sentence, first)
    assert error in first.error, (sentence, first)
    assert len(first.error) < 400, "no message repeats what was sent"


RIGHT = [
    ("Null is a field that is left out.", trade('"fee":null')),
    ("Colons and quotes in texts.", trade('"account":"a\\": b:\\"c\\":","symbol":"BTC/USDT:USDT"')),
    ("Spaces before colons.", trade('"fee" : 1 , "account"\t: "x:y"')),
    ("A negative price: oil was there.", trade('"price":-37.63')),
    ("A time in RFC 3339.", trade('"at":"2023-11-14T22:13:20.5Z"')),
    ("A time with an offset.", trade('"at":"2023-11-15T00:13:20+02:00"')),
    ("60 s ahead.", trade('"at":1700000060')),
    ("An integer where a number is.", trade('"fee":10000000000000000000000')),
    ("A flat context.", trade('"context":{"a":1,"b":"x:y","c":null,"d":true,"e":1.5}')),
    ("An empty context.", trade('"context":{}')),
    ("Empty labels.", SAMPLE % '"labels":{}'),
    ("A histogram's bucket.", SAMPLE % '"labels":{"le":"+Inf"},"kind":"counter"'),
    (
        "A prediction with features.",
        '{"type":"prediction","at":1.7e9,"model":"m","version":"1","output":"up","features":{"a":1}}',
    ),
    (
        "A feature that is not a number, and one that is a category.",
        '{"type":"prediction","at":1.7e9,"model":"m","version":"1","output":1,"features":{"a":null,"b":"x:y","c":2}}',
    ),
    ("Terminal escapes are only a text.", trade('"account":"\\u001b[31m"')),
]


@pytest.mark.parametrize(("sentence", "line"), RIGHT, ids=[c[0] for c in RIGHT])
def test_what_is_right_gets_through(sentence: str, line: str) -> None:
    border = crossed(line)
    assert border.errors == [], sentence
    assert len(border.facts) == 1


def test_a_time_as_text_is_the_same_moment() -> None:
    for text in ("2023-11-14T22:13:20.5Z", "2023-11-15T00:13:20.5+02:00", "2023-11-14 22:13:20.500000z"):
        assert crossed(trade(f'"at":"{text}"')).facts[0].at == 1_700_000_000.5


PACKED = [
    ("NaN as a float.", {"price": math.nan}, "$.price", "got NaN"),
    ("Infinity as a time.", {"at": math.inf}, "$.at", "got Infinity"),
    ("NaN in the context.", {"context": {"a": math.nan}}, "$.context.a", "got NaN"),
    ("Bytes for a text.", {"source": b"x"}, "$.source", "expected"),
    ("An unknown field.", {"acount": 1}, "$.acount", "did you mean account?"),
]


@pytest.mark.parametrize(("sentence", "fields", "path", "error"), PACKED, ids=[c[0] for c in PACKED])
def test_bad_messagepack_is_refused_with_its_path(sentence: str, fields: dict[str, Any], path: str, error: str) -> None:
    event = json.loads(trade('"fee":1')) | fields
    border = packed(msgspec.msgpack.encode([event]))
    assert border.facts == []
    assert border.errors[0].path == path, border.errors
    assert error in border.errors[0].error


PACKED_TRADE = msgspec.msgpack.encode(json.loads(trade('"price":1')))[1:]
BYTES = [
    ("A map that promises four billion entries.", b"\xdf\xff\xff\xff\xff", "promises more"),
    ("A text that promises four billion bytes.", b"\x81\xdb\xff\xff\xff\xffa", "promises more"),
    ("An array that ends early.", b"\xdc\x00\x05", "ends early"),
    ("Nesting 200,000 deep.", b"\x81\xa1a" * 200_000, "nested more than"),
    ("A byte that is never used.", b"\xc1", "0xc1 begins no value"),
    ("Something behind the array.", b"\x90\x01", "follow the array"),
    ("A key twice.", b"\x82\xa1a\x01\xd9\x01a\x02", "comes twice"),
    ("A key twice in an array.", b"\x91\x89" + PACKED_TRADE + b"\xa3fee\x01\xa3fee\x02", "comes twice"),
    ("A context's key twice.", b"\x91\x88" + PACKED_TRADE + b"\xa7context\x82\xa1a\x01\xa1a\x02", "comes twice"),
    ("Not a map.", b"\x01", "expected an object, got 1"),
    ("An extension.", b"\xd4\x01a", "got something that JSON has not"),
    ("Nesting that goes on for half a MiB.", b"\x91" * (1 << 19) + b"\x01", "at most 64 KiB an event"),
    ("Nesting that goes on, and ends in nothing.", b"\x91" * (1 << 19), "nested more than 8 deep, and"),
    ("More values than an event may have.", b"\x81\xa1a\xdc\x9c\x40" + b"\x01" * 40_000, "32,768 keys and values"),
]


@pytest.mark.parametrize(("sentence", "body", "error"), BYTES, ids=[c[0] for c in BYTES])
def test_malformed_messagepack_is_refused_before_it_is_built(sentence: str, body: bytes, error: str) -> None:
    border = packed(body)
    assert border.facts == []
    assert error in border.errors[-1].error, border.errors


def test_every_type_gets_through_both_ways_with_all_its_fields() -> None:
    for kind in EVENT_TYPES:
        event = everything(kind)
        fields = {"type": kind.__struct_config__.tag} | asdict(event)
        bare = {name: value for name, value in fields.items() if name not in ("context", "labels", "features")}
        for sent in (fields, bare):
            one = msgspec.msgpack.encode(sent)
            for border in (crossed(json.dumps(sent)), packed(one), packed(b"\x91" + one)):
                assert border.errors == []
                (fact,) = border.facts
                assert msgspec.to_builtins(fact) == sent


def everything(kind: type[Event]) -> Event:
    """An event of the type with every field."""
    words = {"side": "buy", "status": 200, "state": "running", "outcome": "correct", "liquidity": "maker"}
    words |= {"kind": "gauge", "context": {"a": "b"}, "labels": {"l": "v"}, "name": "metric"}
    words |= {"features": {"f": 1.0, "category": "x", "null": None}}
    words |= {"ok": True, "failed": False, "at": NOW, "exchange_at": NOW, "predicted_at": NOW, "resets_at": NOW}
    words |= {"output": 0.5, "actual": "up", "corrects": "earlier", "cancelled": True}
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        value: Any = words.get(field.name)
        if value is None:
            value = 0.5 if "float" in str(field.type) else "text"
        fields[field.name] = value
    if kind.__struct_config__.tag == "order":
        fields["status"] = "filled"
    if kind.__struct_config__.tag == "connection":
        fields["state"] = "connected"
    return kind(**fields)


def test_the_border_holds_too_many_before_it_builds_them() -> None:
    with pytest.raises(TooMany):
        numbered_lines(b"{}\n" * (MAX_EVENTS + 1))
    with pytest.raises(TooMany):
        numbered_items(b"[" + b"{}," * (2 * MAX_EVENTS) + b"{}]")
    for item, times in ((b"{}", 4 * MAX_EVENTS), (b"1", 16 * MAX_EVENTS + 1)):
        body = b"[" + (item + b",") * times + item + b"]"
        assert numbered_items(body) is None
        with pytest.raises(TooMany):
            Cut(body, MAX_EVENTS).scan()


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(sorted({name for kind in EVENT_TYPES for name in kind.__struct_fields__} | {"type", "x"}))
tags = st.sampled_from([str(kind.__struct_config__.tag) for kind in EVENT_TYPES])


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(names, json_values, max_size=8), tags)
@example({"labels": {"": ""}}, "sample")
def test_nothing_crosses_that_is_not_what_it_says(fields: dict[str, Any], tag: str) -> None:
    kind = next(kind for kind in EVENT_TYPES if kind.__struct_config__.tag == tag)
    whole = {"type": tag} | asdict(everything(kind)) | fields
    for border in (crossed(json.dumps(whole)), packed_or_none(whole)):
        if border is None:
            continue
        assert len(border.facts) + border.refused == 1
        for fact in border.facts:
            msgspec.json.encode(fact)
            assert all(math.isfinite(v) for v in msgspec.structs.astuple(fact) if isinstance(v, float))


ODD_FEATURES = [
    ({"a": math.nan, "b": 1.0}, "$.features.a", "expected a finite number, or null, got NaN"),
    ({"b": 1.0, "a": -math.inf}, "$.features.a", "expected a finite number, or null, got -Infinity"),
    ({"a": 1e39, "b": None}, "$.features.a", "expected a number within float32 (3.4e38), got 1e+39"),
    ({"a": b"x"}, "$.features.a", "expected a finite number or a text"),
    ({"a": True}, "$.features.a", "expected a finite number or a text"),
]


@pytest.mark.parametrize(("features", "path", "error"), ODD_FEATURES)
def test_features_that_only_messagepack_can_say_are_refused_too(
    features: dict[str, object], path: str, error: str
) -> None:
    event = {"type": "prediction", "at": NOW, "model": "m", "version": "1", "output": 1.0}
    one = msgspec.msgpack.encode(event | {"features": features})
    for body in (one, b"\x91" + one):
        (first,) = packed(body).errors
        assert (first.path, error in first.error) == (path, True), first


def packed_or_none(value: object) -> Border | None:
    try:
        return packed(msgspec.msgpack.encode(value))
    except (OverflowError, UnicodeEncodeError):
        return None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_answered(body: bytes) -> None:
    border = Border(WINDOW)
    border.take(numbered_lines(body))
    border.take(numbered_items(body) or ())
    assert border.facts == []
    with suppress(TooMany):
        packed(body)


def test_types_are_kept() -> None:
    assert isinstance(crossed(trade('"fee":1')).facts[0], Trade)
    assert isinstance(crossed(SAMPLE % '"unit":"s"').facts[0], Sample)
