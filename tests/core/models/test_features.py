"""Features as rows of float32: numbers rounded, nulls and categories told apart, the same in any order."""

from __future__ import annotations

import math
import struct
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_monitor.core.facts import Prediction
from trader_monitor.core.ids import digest, raw_of
from trader_monitor.core.models import features as module
from trader_monitor.core.models.features import coded, codes_of, features_of, layout_of, packed_row

NAMES = st.text(min_size=1, max_size=6)
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = st.dictionaries(NAMES, NUMBERS | st.none() | st.sampled_from(["", "a", "b", "ü"]), max_size=8)


def through(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the same names, kept and read again."""
    names = layout_of(rows[0]).names
    matrix, words = coded([packed_row(row) for row in rows], len(names))
    return features_of(np.frombuffer(matrix, "<u4").reshape(len(rows), len(names)), names, words)


@given(st.data())
def test_what_float32_holds_comes_back_as_it_was(data: st.DataObject) -> None:
    first = data.draw(ROWS)
    values = NUMBERS | st.none() | st.sampled_from(["", "a", "b", "c"])
    more = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(first, values)), max_size=4))
    assert through([first, *more]) == [first, *more]


@given(st.dictionaries(NAMES, st.floats(-1e300, 1e300), min_size=1, max_size=5))
def test_other_numbers_are_rounded_as_ieee_754_says(row: dict[str, float]) -> None:
    with np.errstate(over="ignore"):
        expected = {name: float(np.float32(value)) for name, value in row.items()}
    assert through([row]) == [expected]


@given(ROWS, st.randoms())
def test_the_order_of_features_means_nothing(row: dict[str, Any], random: Any) -> None:
    names = list(row)
    random.shuffle(names)
    shuffled = {name: row[name] for name in names}
    assert layout_of(shuffled).names == layout_of(row).names == tuple(sorted(row))
    assert packed_row(shuffled) == packed_row(row)


CASES: list[tuple[str, dict[str, Any] | None, dict[str, Any] | None, bool]] = [
    ("what was rounded away makes no other prediction", {"a": 0.1}, {"a": float(np.float32(0.1))}, True),
    ("another number does", {"a": 0.1}, {"a": 0.2}, False),
    ("another name does", {"a": 0.1}, {"b": 0.1}, False),
    ("null is not nought", {"a": None}, {"a": 0.0}, False),
    ("another category does", {"a": "x"}, {"a": "y"}, False),
    ("a category in another column does", {"a": "x", "b": None}, {"a": None, "b": "x"}, False),
    ("two categories do not run together", {"a": "xy", "b": "z"}, {"a": "x", "b": "yz"}, False),
    ("no features are not an empty object of them", None, {}, False),
    ("an integer is its number", {"a": 3}, {"a": 3.0}, True),
]


@pytest.mark.parametrize(("one", "other", "same"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_digest_is_of_what_is_kept(one: dict[str, Any] | None, other: dict[str, Any] | None, same: bool) -> None:
    first, second = (
        Prediction(at=at, id="x", model="m", version="1", output=1.0, features=features)
        for at, features in ((1.0, one), (2.0, other))
    )
    assert (digest(first, raw_of(first)) == digest(second, raw_of(second))) is same


def test_the_digest_of_a_prediction_is_a_promise_to_the_files_of_today() -> None:
    prediction = Prediction(
        at=1.0, id="x", model="m", version="1", output=1.0, features={"b": 0.1, "a": None, "c": "d"}
    )
    assert digest(prediction, raw_of(prediction))[1] == 0xEC5F7C25D55426BF


def test_the_codes_of_categories_are_theirs_in_the_list_and_nought_elsewhere() -> None:
    rows: list[dict[str, Any]] = [{"a": "x", "b": 1.0}, {"a": "y", "b": None}, {"a": "x", "b": "y"}]
    matrix, words = coded([packed_row(row) for row in rows], 2)
    cells = np.frombuffer(matrix, "<u4").reshape(3, 2)
    assert (codes_of(cells).tolist(), words) == ([[1, 0], [2, 0], [1, 2]], ["x", "y"])
    numbers = cells.view("<f4")
    assert np.isnan(numbers[0, 0])
    assert numbers[0, 1] == 1.0


def test_more_categories_than_a_list_holds_become_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WORDS", 2)
    rows = [{"a": word} for word in ("x", "y", "z", "x")]
    matrix, words = coded([packed_row(row) for row in rows], 1)
    cells = np.frombuffer(matrix, "<u4").reshape(4, 1)
    assert (cells[:, 0] & 3).tolist() == [1, 2, 0, 1]
    assert words == ["x", "y"]


def test_a_number_that_is_none_is_null() -> None:
    """Only code that does not come through the border can give one."""
    assert through([{"a": math.nan, "b": 1.0}]) == [{"a": None, "b": 1.0}]
    assert struct.unpack("<f", packed_row({"a": math.inf})) == (math.inf,)


def test_layouts_that_are_remembered_are_bounded() -> None:
    for number in range(module._ROOM + 10):
        layout_of({f"feature {number}": 1.0})
    assert len(module._KNOWN) <= module._ROOM
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(layout_of({"b": 1.0, "a": 1.0}).names)) == ["a", "b"]
