"""Files of features: what is in them, and in one line what is wrong with them, with its row and column."""

from __future__ import annotations

import builtins
import datetime
import json
import math
import tracemalloc
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from trader_monitor.cli import column_spool
from trader_monitor.cli.feature_file import Chosen, read_columns
from trader_monitor.cli.outcome import Failure
from trader_monitor.cli.progress import Progress


def columns_in(path: Path, **chosen: Any) -> tuple[int, dict[str, list[Any]], dict[str, int]]:
    """Rows, the columns (NaN as "nan", null as None), and the nulls of each."""
    with read_columns(path, Chosen(**chosen), Progress(1, quiet=True)) as found:
        values: dict[str, list[Any]] = {}
        for name in found.names:
            column = found.values(name)
            listed = column.tolist() if isinstance(column, np.ndarray) else column
            values[name] = ["nan" if isinstance(each, float) and math.isnan(each) else each for each in listed]
        return found.rows, values, {name: found.nulls(name) for name in found.names}


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    if isinstance(content, dict):
        parquet.write_table(pyarrow.table(content), path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


DAY = datetime.datetime(2026, 1, 1)
RIGHT: list[tuple[str, str, Any, dict[str, Any], dict[str, list[Any]]]] = [
    ("numbers, with a byte order mark", "a.csv", b"\xef\xbb\xbfa,b\n1,2.5\n-3,1e3\n", {},
     {"a": [1, -3], "b": [2.5, 1e3]}),
    ("a cell without anything is null, nan is not a number, inf is infinite", "a.csv", "a\n\"\"\nnan\ninf\nNA\n", {},
     {"a": ["nan", "nan", math.inf, "nan"]}),
    ("texts are categories", "a.csv", "a,b\nx,1\n,2\ny,3\n", {}, {"a": ["x", None, "y"], "b": [1, 2, 3]}),
    ("numbers that are names", "a.csv", "a\n1\n2.5\n1.0\n", {"categories": frozenset("a")}, {"a": ["1", "2.5", "1"]}),
    ("semicolons, and quotes over lines", "a.csv", 'a;b\n"x\ny";1\n', {}, {"a": ["x\ny"], "b": [1]}),
    ("some of the columns", "a.csv", "a,b,c\n1,2,3\n", {"columns": ("c", "a")}, {"a": [1], "c": [3]}),
    ("columns that are what the model said", "a.csv", "a,p\n1,2\n", {"renamed": {"p": "(output)"}},
     {"a": [1], "(output)": [2]}),
    ("a column of time is no feature", "a.csv", "t,a\n2026-01-01,1\n2026-01-02T00:00:00Z,2\n", {"time": "t"},
     {"a": [1, 2]}),
    ("an empty line is none", "a.csv", "a\n1\n\n2\n", {}, {"a": [1, 2]}),
    ("lines of JSON, in which keys come and go", "a.jsonl", '{"a":1}\n\n{"a":null,"b":"x"}\n{"b":"y"}\n', {},
     {"a": [1, "nan", "nan"], "b": [None, "x", "y"]}),
    ("truth is one and nought", "a.jsonl", '{"a":true}\n{"a":false}\n', {}, {"a": [1, 0]}),
    ("NaN as Python writes it", "a.jsonl", '{"a":NaN}\n{"a":-Infinity}\n', {}, {"a": ["nan", -math.inf]}),
    ("predictions as bots report them", "a.jsonl",
     '{"type":"prediction","at":1,"model":"m","version":"1","output":0.5,"label":"up","features":{"a":1}}\n', {},
     {"a": [1], "(output)": [0.5], "(label)": ["up"]}),
    ("parquet of all kinds of numbers", "a.parquet",
     {"i": pyarrow.array([1, None], pyarrow.int64()), "h": pyarrow.array([1, 2], pyarrow.uint8()),
      "d": pyarrow.array([Decimal("1.50"), None]), "b": [True, None], "n": pyarrow.nulls(2)}, {},
     {"i": [1, "nan"], "h": [1, 2], "d": [1.5, "nan"], "b": [1, "nan"], "n": ["nan", "nan"]}),
    ("parquet of categories", "a.parquet",
     {"s": ["x", None], "d": pyarrow.array(["u", "v"]).dictionary_encode()}, {}, {"s": ["x", None], "d": ["u", "v"]}),
    ("parquet with a column of time", "a.parquet", {"t": [DAY, DAY], "a": [1.0, float("nan")]}, {"time": "t"},
     {"a": [1, "nan"]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "chosen", "expected"), [c[1:] for c in RIGHT], ids=[c[0] for c in RIGHT])
def test_what_is_in_a_file(
    tmp_path: Path, name: str, content: Any, chosen: dict[str, Any], expected: dict[str, list[Any]]
) -> None:
    rows, values, _ = columns_in(written(tmp_path, name, content), **chosen)
    assert values == expected
    assert rows == len(next(iter(expected.values())))


WRONG: list[tuple[str, str, Any, dict[str, Any], str]] = [
    ("a text in a column of numbers", "a.csv", "a,b\n1,2\n1,x\n", {},
     "a.csv, row 3, column b: expected a number as in the rows before, got 'x'"),
    ("a number in a column of texts", "a.csv", "a\nx\n7\n", {}, "row 3, column a: 7.0 is a number among texts"),
    ("a date", "a.csv", "a,when\n1,2026-01-02\n", {},
     "row 2, column when: '2026-01-02' is a date, which is no feature"),
    ("a row that is too short", "a.csv", "a,b\n1,2\n1\n", {}, "row 3: it has 1 cells, the head has 2"),
    ("a name that comes twice", "a.csv", "a,a\n1,2\n", {}, "row 1: 'a' is no name of one column"),
    ("a name that is none", "a.csv", "a,\n1,2\n", {}, "row 1: '' is no name"),
    ("no head", "a.csv", "", {}, "row 1: there is no head"),
    ("bytes that are no text", "a.csv", b"a\n\xff\n", {}, "not UTF-8 text"),
    ("an open quote", "a.csv", 'a\n"x\n', {}, "row 2: unexpected end of data"),
    ("a column that is not there", "a.csv", "alpha,b\n1,2\n", {"columns": ("alpa",)},
     "there is no column 'alpa'; did you mean \"alpha\"?"),
    ("a time that is none", "a.csv", "t,a\nsoon,1\n", {"time": "t"}, "row 2, column t: 'soon' is not a time"),
    ("times that go back", "a.csv", "t,a\n2,1\n1,1\n", {"time": "t"}, "row 3, column t: it is before the row above"),
    ("what is no JSON", "a.jsonl", '{"a":1}\n{"a":}\n', {}, "row 2: not JSON"),
    ("an array where an object is", "a.jsonl", "[1]\n", {}, "row 1: expected an object, got list"),
    ("an object in a column", "a.jsonl", '{"a":{"b":1}}\n', {}, "row 1, column a: expected a number or a text"),
    ("an array in a column", "a.jsonl", '{"a":1}\n{"a":[1]}\n', {}, "column a: expected a number or a text, got"),
    ("a number beyond a double", "a.jsonl", '{"a":1' + "0" * 400 + "}\n", {}, "row 1, column a: the number is beyond"),
    ("another event", "a.jsonl", '{"type":"trade","features":{}}\n', {}, "row 1: expected predictions, got a 'trade'"),
    ("no line has what was named", "a.jsonl", '{"a":1}\n', {"renamed": {"p": "(output)"}}, "no line has 'p'"),
    ("parquet with a date", "a.parquet", {"when": [datetime.date(2026, 1, 1)]}, {},
     "column when: it is of type date32[day], which is no feature: name it with --time"),
    ("parquet with nested columns", "a.parquet", {"a": [[1, 2]]}, {}, "column a: it is of type list<"),
    ("parquet with bytes", "a.parquet", {"a": [b"x"]}, {}, "column a: it is of type binary"),
    ("parquet with a name that is none", "a.parquet", {"": [1.0], "b": [2.0]}, {}, "'' is no name of one column"),
    ("parquet that is none", "a.parquet", "PAR1 no", {}, "not a Parquet file that can be read"),
    ("parquet with texts that are meant as numbers", "a.parquet", {"a": ["1", "x"]}, {"columns": ("b",)},
     "there is no column 'b'; there are a"),
    ("another kind of file", "a.xlsx", "x", {}, "none of .csv, .parquet, .jsonl"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "chosen", "said"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG])
def test_what_is_wrong_is_told_in_one_line(
    tmp_path: Path, name: str, content: Any, chosen: dict[str, Any], said: str
) -> None:
    with pytest.raises(Failure) as failed:
        columns_in(written(tmp_path, name, content), **chosen)
    text = str(failed.value)
    assert said in text
    assert str(tmp_path / name) in text
    assert "\n" not in text


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"cannot read .*nowhere\.csv: No such file"):
        columns_in(tmp_path / "nowhere.csv")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "a.parquet", {"a": [1.0]})
    real = builtins.__import__

    def without(name: str, *given: Any, **more: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *given, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Failure, match=r"needs pyarrow: pip install 'trader-monitor\[parquet\]'"):
        columns_in(path)


CELLS = st.none() | st.sampled_from(["x", "y", "ü"]) | st.floats(allow_nan=False, allow_infinity=False)
NAN = float("nan")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.none() | st.floats(), st.none() | st.sampled_from(["x", "y", "ü"])), min_size=1, max_size=40),
    st.integers(1, 7),
)
def test_rows_come_back_as_columns_whatever_the_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: Sequence[tuple[float | None, str | None]], chunk: int
) -> None:
    monkeypatch.setattr(column_spool, "CHUNK", chunk)
    path = written(tmp_path, "a.jsonl", "\n".join(json.dumps({"n": n, "w": w}) for n, w in rows))
    count, values, nulls = columns_in(path)
    assert count == len(rows)
    np.testing.assert_array_equal(
        np.array([NAN if each == "nan" else each for each in values["n"]], float),
        np.array([NAN if number is None else number for number, _ in rows], float),
    )
    assert nulls == {"n": sum(n is None for n, _ in rows), "w": sum(w is None for _, w in rows)}
    if any(word is not None for _, word in rows):
        assert values["w"] == [word for _, word in rows]


BOUNDS = [
    ("MOST_COLUMNS", 2, '{"a":1,"b":1,"c":1}\n', "row 1: there are more than 2 columns"),
    ("MOST_WORDS", 2, '{"a":"x"}\n{"a":"y"}\n{"a":"z"}\n', "row 3, column a: more than 2 different texts"),
    ("MOST_ROWS", 2, '{"a":1}\n' * 3, "there are more than 2 rows"),
]


@pytest.mark.parametrize(("bound", "most", "content", "said"), BOUNDS)
def test_what_a_file_may_hold_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, most: int, content: str, said: str
) -> None:
    monkeypatch.setattr(column_spool, bound, most)
    with pytest.raises(Failure, match=said):
        columns_in(written(tmp_path, "a.jsonl", content))


def test_a_large_file_takes_the_memory_of_some_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """6,000 rows of 20 columns: as lists of floats 4 MB, as one array 1 MB."""
    monkeypatch.setattr(column_spool, "CHUNK", 256)
    line = ",".join(["0.123456789"] * 20) + "\n"
    head = ",".join(f"c{number}" for number in range(20)) + "\n"
    path = written(tmp_path, "a.csv", head + line * 6_000)
    tracemalloc.start()
    with read_columns(path, Chosen(), Progress(1, quiet=True)) as found:
        assert found.values("c19")[-1] == 0.123456789
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 800_000
