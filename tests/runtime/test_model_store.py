"""What the store knows of models: sets of baselines that come in pieces, detectors that move once, runs that end."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from trader_monitor.core.facts import Now, Prediction
from trader_monitor.runtime import model_store
from trader_monitor.runtime.model_store import DetectorState
from trader_monitor.runtime.prediction_rows import Damaged
from trader_monitor.runtime.rows import Pen, Row
from trader_monitor.runtime.store import _connected

KEY = ("m", "1")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = _connected(tmp_path / "store.db")
    yield connection
    connection.close()


def stage(db: sqlite3.Connection, token: str, at: float = 1.0, **bodies: bytes) -> None:
    detectors = {"first": b"state of " + token.encode()}
    model_store.stage(db, *KEY, token, at, bodies, detectors)


def predicted(db: sqlite3.Connection, rows: int) -> None:
    facts = [Prediction(at=1.0, model="m", version="1", output=1.0, features={"a": 1.0}) for _ in range(rows)]
    Pen("boot").write(db, Row(facts, None, Now(1.0, 1.0)))


def test_a_set_is_in_force_when_it_is_whole_and_not_before(db: sqlite3.Connection) -> None:
    stage(db, "one", a=b"a1", b=b"b1")
    assert model_store.baselines(db, *KEY) == {}
    assert model_store.baseline_sets(db) == []
    assert model_store.commit(db, *KEY, "one", 5.0) == 2
    stage(db, "two", at=6.0, a=b"a2")
    assert model_store.baselines(db, *KEY) == {"a": b"a1", "b": b"b1"}
    stage(db, "two", at=6.0, c=b"c2")
    assert model_store.commit(db, *KEY, "two", 7.0) == 2
    assert model_store.baselines(db, *KEY) == {"a": b"a2", "c": b"c2"}
    assert model_store.baselines(db, *KEY, ["c", "b"]) == {"c": b"c2"}
    assert model_store.baseline_sets(db) == [("m", "1", 7.0, 2)]
    assert [state.body for state in model_store.detector_states(db, *KEY)] == [b"state of two"]


def test_nothing_staged_changes_nothing(db: sqlite3.Connection) -> None:
    stage(db, "one", a=b"a1")
    model_store.commit(db, *KEY, "one", 5.0)
    assert model_store.commit(db, *KEY, "never", 6.0) == 0
    assert model_store.commit(db, "m", "2", "one", 6.0) == 0
    assert model_store.baseline_sets(db) == [("m", "1", 5.0, 1)]


def test_what_never_became_a_set_is_taken_out_after_a_while(db: sqlite3.Connection) -> None:
    stage(db, "one", at=1.0, a=b"a1")
    model_store.commit(db, *KEY, "one", 1.0)
    stage(db, "left", at=10.0, a=b"a2")
    stage(db, "under way", at=20.0, a=b"a3")
    assert model_store.abandon(db, 15.0) == 2, "a baseline and a detector"
    assert model_store.commit(db, *KEY, "left", 30.0) == 0
    assert model_store.baselines(db, *KEY) == {"a": b"a1"}
    assert model_store.commit(db, *KEY, "under way", 30.0) == 1


def test_detectors_begin_with_what_comes_after_the_set_and_move_once(db: sqlite3.Connection) -> None:
    predicted(db, 3)
    stage(db, "one", a=b"a1")
    model_store.commit(db, *KEY, "one", 5.0)
    (state,) = model_store.detector_states(db, *KEY)
    assert (state.cursor, model_store.rows_since(db, *KEY, state.cursor)) == (1, 0)
    predicted(db, 4)
    assert model_store.rows_since(db, *KEY, state.cursor) == 4
    moved = DetectorState(state.id, 4, b"moved")
    assert model_store.keep_detectors(db, 6.0, state.cursor, [moved])
    assert model_store.detector_states(db, *KEY) == [moved]
    assert not model_store.keep_detectors(db, 7.0, state.cursor, [moved._replace(body=b"twice")]), "they are ahead"
    assert model_store.detector_states(db, *KEY) == [moved]
    stage(db, "two", a=b"a2")
    model_store.commit(db, *KEY, "two", 8.0)
    assert not model_store.keep_detectors(db, 9.0, 4, [moved]), "another set has others"
    assert [state.body for state in model_store.detector_states(db, *KEY)] == [b"state of two"]


def test_the_newest_runs_are_kept(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_store, "RUNS", 3)
    for number in range(6):
        model_store.keep_run(db, *KEY, at=float(number), cursor=number, body=b"%d" % number)
        model_store.keep_run(db, "m", "2", at=float(number), cursor=number, body=b"other")
    assert [run.body for run in model_store.runs(db, *KEY)] == [b"3", b"4", b"5"]
    assert [run.cursor for run in model_store.runs(db, *KEY, last=2)] == [4, 5]
    assert [run.at for run in model_store.runs(db, *KEY, since=5.0)] == [5.0]
    assert model_store.runs(db, "other", "1") == []


@pytest.mark.parametrize("table", ["baseline", "detector", "drift_run"])
def test_what_is_damaged_is_told(db: sqlite3.Connection, table: str) -> None:
    stage(db, "one", a=b"a1")
    model_store.commit(db, *KEY, "one", 5.0)
    model_store.keep_run(db, *KEY, at=1.0, cursor=1, body=b"run")
    db.execute(f"UPDATE {table} SET body = zeroblob(length(body))")
    with pytest.raises(Damaged, match="another checksum"):
        [model_store.baselines(db, *KEY), model_store.detector_states(db, *KEY), model_store.runs(db, *KEY)]
