"""Predictions as rows: replay finds the same facts, a reader finds one model's, and neither is fooled by a restart."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import subprocess
import sys
import tempfile
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from trader_monitor.config.tables import Store as StoreTable
from trader_monitor.core.facts import Event, Fact, Prediction, Trade
from trader_monitor.core.models.features import MAX_WORDS
from trader_monitor.loops.retain import expire
from trader_monitor.runtime import prediction_rows
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.journal import Journal
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.model_store import detector_states
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.predictions import Predictions, known, read
from trader_monitor.runtime.replay import batches
from trader_monitor.runtime.rows import Damaged, labels_by_id
from trader_monitor.runtime.snapshot import snapshot
from trader_monitor.runtime.store import open_read_only

NOW = 1_700_000_000.0


async def opened(path: Path) -> Journal:
    return await open_journal(path, clock=ManualClock(), meters=Meters())


async def left(journal: Journal) -> None:
    """Closes as `kill -9` does: without a snapshot."""
    journal.since_snapshot = 0
    await journal.close()


def predicted(number: int, **fields: Any) -> Prediction:
    given: dict[str, Any] = {
        "at": NOW + number,
        "model": "m",
        "version": "1",
        "output": number / 4,
        "features": {"a": number * 0.5},
    }
    return Prediction(**given | fields)


def trade(number: int) -> Trade:
    return Trade(at=NOW + number, id=f"t{number}", source="bot", symbol="A", side="buy", quantity=1.0, price=2.0)


def facts_of(path: Path) -> list[Fact]:
    """All facts as replay would fold them, in their order."""
    with closing(open_read_only(path)) as db:
        found = batches(db, labels_by_id(db), 0)
        return [fact for _, _, _, steps in found for step in steps for fact in step if isinstance(fact, Event)]


def rounded(fact: Event) -> Event:
    """What of a fact is kept."""
    if not isinstance(fact, Prediction) or fact.features is None:
        return fact
    kept = {name: float(np.float32(v)) if isinstance(v, float) else v for name, v in fact.features.items()}
    return replace(fact, features=kept)


WORDS = st.sampled_from(["", "x", "y", "ü" * 30])
PREDICTIONS = st.builds(
    Prediction,
    at=st.floats(0, 2e9),
    id=st.none() | st.uuids().map(str),
    context=st.none() | st.just({"a": 1, "trace_id": "t"}),
    model=st.sampled_from(["m", "n"]),
    version=st.sampled_from(["1", "2"]),
    output=st.floats(-9, 9) | WORDS,
    source=st.none() | WORDS,
    subject=st.none() | WORDS,
    features=st.none() | st.dictionaries(st.sampled_from("abc"), st.none() | st.floats(-9, 9) | WORDS),
    label=st.none() | WORDS,
    probability=st.none() | st.floats(0, 1),
    confidence=st.none() | st.floats(0, 1),
    horizon_seconds=st.none() | st.floats(0, 9),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(PREDICTIONS | st.integers(0, 9).map(trade), min_size=1, max_size=12), max_size=4))
def test_replay_finds_the_facts_in_their_order_and_the_reader_each_models(batched: list[list[Event]]) -> None:
    """The features' order in an object is none; all else of a fact is as it came, its features as float32."""

    async def recorded(path: Path) -> list[Event]:
        journal = await opened(path)
        kept: list[Event] = []
        seen: set[str] = set()
        for batch in batched:
            await journal.record(batch)
            kept += [fact for fact in batch if fact.id is None or not (fact.id in seen or seen.add(fact.id))]  # type: ignore[func-returns-value]
        await left(journal)
        return kept

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        kept = [rounded(fact) for fact in asyncio.run(recorded(path))]
        assert facts_of(path) == kept
        for model, version in {(fact.model, fact.version) for fact in kept if isinstance(fact, Prediction)}:
            ours = [f for f in kept if isinstance(f, Prediction) and (f.model, f.version) == (model, version)]
            by_time = sorted(ours, key=lambda fact: fact.at)
            found = read(path, model, version)
            assert sorted(rows_of(found), key=repr) == sorted(map(row_of, ours), key=repr)
            assert found.at.tolist() == [fact.at for fact in by_time]


def row_of(fact: Prediction) -> tuple[Any, ...]:
    features = {name: value for name, value in (fact.features or {}).items() if value is not None}
    rest = (fact.label, fact.probability, fact.confidence, fact.horizon_seconds, fact.subject, fact.source, fact.id)
    return (fact.at, fact.output, sorted(features.items()), *rest, fact.version)


def rows_of(found: Predictions) -> list[tuple[Any, ...]]:
    """The reader's rows in the same shape."""

    def maybe(value: float) -> float | None:
        return None if np.isnan(value) else value

    categories = {name: found.category(name) for name in found.columns}
    rows = []
    for place in range(len(found)):
        features: dict[str, Any] = {}
        for column, name in enumerate(found.columns):
            number = float(found.matrix[place, column])
            word = categories[name][place]
            if word is not None:
                features[name] = word
            elif not np.isnan(number):
                features[name] = number
        text = found.texts[place]
        output = text if text is not None else float(found.output[place])
        numbers = (maybe(float(each[place])) for each in (found.probability, found.confidence, found.horizon))
        names = (found.subject[place], found.source[place], found.ids[place], found.versions[place])
        rows.append((float(found.at[place]), output, sorted(features.items()), found.label[place], *numbers, *names))
    return rows


async def test_the_same_prediction_again_after_a_restart_is_a_duplicate_and_another_a_conflict(tmp_path: Path) -> None:
    """0.1 is no float32: what replay finds is another number than was sent."""
    path = tmp_path / "store.db"
    first = predicted(1, id="p1", features={"b": 0.1, "a": None, "c": "up"})
    again = replace(first, at=NOW + 9, features={"a": None, "b": 0.1, "c": "up"})
    other = replace(first, features={"b": 0.2, "a": None, "c": "up"})
    journal = await opened(path)
    assert (await journal.record([first])).accepted == 1
    assert (await journal.record([again])).duplicates == 1
    await left(journal)
    journal = await opened(path)
    assert (await journal.record([again])).duplicates == 1
    assert (await journal.record([other])).conflicts == (0,)
    await journal.close()
    journal = await opened(path)
    assert (await journal.record([again])).duplicates == 1, "by the snapshot too"
    await journal.close()


SELECTIONS: list[tuple[str, dict[str, Any], list[int]]] = [
    ("all of a version", {"version": "1"}, [0, 1, 2, 3, 4, 5, 6, 7]),
    ("all versions", {}, [0, 1, 2, 3, 4, 5, 6, 7, 100]),
    ("since a moment, that moment included", {"version": "1", "since": NOW + 5}, [5, 6, 7]),
    ("until a moment, that moment not", {"version": "1", "until": NOW + 2}, [0, 1]),
    ("the last that came", {"version": "1", "last": 3}, [3, 5, 6]),
    ("the last that came within a time", {"version": "1", "until": NOW + 5, "last": 2}, [3, 4]),
    ("none of a version that is not there", {"version": "9"}, []),
    ("none of a time of which there are none", {"version": "1", "since": NOW + 50}, []),
]


@pytest.mark.parametrize(("question", "numbers"), [case[1:] for case in SELECTIONS], ids=[c[0] for c in SELECTIONS])
async def test_what_a_reader_is_given(tmp_path: Path, question: dict[str, Any], numbers: list[int]) -> None:
    """Numbers 7, 4 and 3 come late, and last of all 6 and 5 … in the order of their coming: see below."""
    path = tmp_path / "store.db"
    journal = await opened(path)
    for batch in ([0, 1, 2], [7, 4], [6, 5, 3]):
        await journal.record([predicted(number) for number in batch])
    await journal.record([predicted(100, version="2")])
    await left(journal)
    found = read(path, "m", **question)
    assert (found.at - NOW).tolist() == numbers
    assert found.matrix.tolist() == [[number * 0.5] for number in numbers]
    assert found.output.tolist() == [number / 4 for number in numbers]


async def test_a_cursor_reads_every_row_once_in_the_order_of_its_coming(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    journal = await opened(path)
    expected: list[float] = []
    for begin in range(0, 60, 6):
        rows = [predicted(begin + step, version="1") for step in (3, 0, 5)]
        rows.append(predicted(begin, features={"other": 1.0}))
        await journal.record([*rows, predicted(begin, version="2"), trade(begin)])
        expected += [row.at for row in rows]
    await left(journal)
    cursor, seen = 0, []
    while len(found := read(path, "m", "1", after=cursor, last=7)):
        assert found.cursor > cursor
        cursor = found.cursor
        seen += found.at.tolist()
    assert seen == expected
    assert [each[:3] for each in known(path)] == [("m", "1", 40), ("m", "2", 10)]
    assert known(path, "m")[0].cursor == cursor
    assert known(path, "other") == []


async def test_columns_are_those_asked_for_or_all_that_any_row_has(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    journal = await opened(path)
    await journal.record([predicted(0, features={"a": 1.0, "b": 2.0}), predicted(1, features={"b": 3.0, "c": "x"})])
    await journal.record([predicted(2, features=None), predicted(3, features={})])
    await left(journal)
    nan = np.nan
    for columns, expected in (
        (None, [[1.0, 2.0, nan], [nan, 3.0, nan], [nan] * 3, [nan] * 3]),
        (["c", "b"], [[nan, 2.0], [nan, 3.0], [nan] * 2, [nan] * 2]),
        (["never"], [[nan]] * 4),
        ([], [[]] * 4),
    ):
        found = read(path, "m", columns=columns)
        np.testing.assert_array_equal(found.matrix, np.array(expected, np.float32))
        assert found.columns == (("a", "b", "c") if columns is None else tuple(columns))
    assert read(path, "m").category("c") == [None, "x", None, None]
    assert read(path, "m").categorical() == ("c",)
    assert read(path, "m", columns=["a"]).categorical() == ()


async def test_categories_have_one_list_over_all_parts(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    journal = await opened(path)
    for words in (["x", "y"], ["y", "z"], ["x"]):
        await journal.record([predicted(0, features={"side": word, "n": None}) for word in words])
    await left(journal)
    found = read(path, "m")
    assert (found.words, found.codes("side").tolist()) == (("x", "y", "z"), [0, 1, 1, 2, 0])
    assert found.codes("n").tolist() == [-1] * 5
    assert MAX_WORDS > 4_000_000


async def test_a_flood_of_feature_names_leaves_events_and_no_schemas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound predictions are kept all the same, and replayed; only the reader does not find them."""
    monkeypatch.setattr(prediction_rows, "MAX_SCHEMAS", 6)
    monkeypatch.setattr(prediction_rows, "MAX_SCHEMAS_EACH", 4)
    path = tmp_path / "store.db"
    journal = await opened(path)
    flood = [predicted(number, features={f"f{number}": 1.0}) for number in range(10)]
    await journal.record([trade(0), *flood[:7], trade(1), *flood[7:]])
    others = [predicted(number, model=f"m{number}") for number in range(5)]
    await journal.record(others)
    assert (len(journal.pen.schemas), journal.pen.schemas.unlisted) == (6, 6 + 3)
    await left(journal)
    assert facts_of(path) == [trade(0), *flood[:7], trade(1), *flood[7:], *others]
    assert len(read(path, "m")) == 4
    assert [each.model for each in known(path)] == ["m", "m0", "m1"]
    journal = await opened(path)
    assert journal.board.counts == {"trade": 2, "prediction": 15}
    await journal.record(flood)
    assert journal.pen.schemas.unlisted == 6
    await journal.close()


async def test_a_commit_that_fails_takes_its_schemas_with_it(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    journal = await opened(path)
    pen = journal.pen

    def fails(db: sqlite3.Connection) -> None:
        pen.schemas.id(db, ("m", "1", ("a",)))
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(sqlite3.OperationalError):
        await journal.store.write(fails)
    await journal.record([predicted(1)])
    await left(journal)
    assert len(read(path, "m")) == 1


async def test_rows_go_with_their_batches_and_schemas_with_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    journal = await opened(path)
    old = replace(predicted(1, version="old"), context={"audit": True})
    await journal.record([old, trade(1), predicted(2)])
    assert isinstance(journal.clock, ManualClock)
    await journal.clock.advance(100.0)
    await journal.record([predicted(3)])
    for number in range(2):  # a snapshot each: the batches before the older one may go
        await journal.record([trade(5 + number)])
        assert await snapshot(journal)
    assert len(read(path, "m")) == 3
    now = journal.clock.now()
    await expire(journal, StoreTable(retention=50.0), now)  # type: ignore[arg-type]
    assert read(path, "m").at.tolist() == [NOW + 3]
    assert [each.version for each in known(path)] == ["1"]
    with closing(open_read_only(path)) as db:
        assert db.execute("SELECT version FROM prediction_schema").fetchall() == [("1",)]
        assert db.execute("SELECT count(*) FROM prediction_audit").fetchone() == (0,)
    await journal.record([predicted(4, version="old"), predicted(5)])
    assert len(read(path, "m")) == 3
    await journal.close()


async def test_a_damaged_part_is_told_and_the_rest_salvaged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    journal = await opened(path)
    for number in range(4):
        await journal.record([trade(number), predicted(number), predicted(number, model="n")])
    await left(journal)
    db = sqlite3.connect(path)
    db.execute(
        "UPDATE prediction_batch SET body = zeroblob(length(body)) WHERE id = (SELECT min(id) FROM prediction_batch)"
    )
    db.commit()
    db.close()
    with pytest.raises(Damaged, match="another checksum"):
        read(path, "m")
    journal = await opened(path)
    assert "1 lost" in (journal.degraded or "")
    assert journal.board.counts == {"trade": 4, "prediction": 7}
    assert (len(read(path, "m")), len(read(path, "n"))) == (3, 4)
    await journal.close()


@pytest.mark.parametrize("batch_is_lost", [False, True])
async def test_numbers_that_were_lost_are_given_again_without_harm(tmp_path: Path, batch_is_lost: bool) -> None:
    """A schema that is lost takes its rows along: another will get its number, and they would be read by its names.
    So does a batch: the next one gets its numbers, and theirs would be taken."""
    path = tmp_path / "store.db"
    journal = await opened(path)
    await journal.record([trade(0)])
    await journal.record([predicted(1, context={"audit": True}), predicted(2, model="n", features={"lost": 7.0})])
    await left(journal)
    db = sqlite3.connect(path)
    db.execute("UPDATE prediction_schema SET names = zeroblob(length(names)) WHERE model = 'n'")
    db.execute("INSERT INTO detector VALUES (1, 'm', '1', 'a', '', 1.0, 99, ?, ?)", (zlib.crc32(b"state"), b"state"))
    damaged = "batch SET crc = crc + 1 WHERE seq = 2" if batch_is_lost else "boot SET name = name || 'x'"
    db.execute(f"UPDATE {damaged}")
    db.execute("UPDATE batch SET crc = crc + 1 WHERE seq = 1")
    db.commit()
    db.close()
    journal = await opened(path)
    assert "put aside" in (journal.degraded or "")
    assert journal.board.counts == ({} if batch_is_lost else {"prediction": 1})
    with closing(open_read_only(path)) as reader:
        assert detector_states(reader, "m", "1")[0].cursor == journal.seq, "it reads what comes next"
    await journal.record([predicted(3, model="n", features={"new": 1.0}), predicted(4, context={"audit": True})])
    found = read(path, "n")
    assert (found.columns, found.matrix.tolist()) == (("new",), [[1.0]])
    assert (read(path, "m").at - NOW).tolist() == ([4.0] if batch_is_lost else [1.0, 4.0])
    assert len(entries(path)) == (1 if batch_is_lost else 2)
    await journal.close()


async def test_predictions_stand_among_others_as_they_did(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    journal = await opened(path)
    await journal.record([predicted(1), predicted(2)])
    await journal.record([trade(1)])
    await journal.record([predicted(3, model="n"), trade(2), predicted(4)])
    await left(journal)
    assert facts_of(path) == [predicted(1), predicted(2), trade(1), predicted(3, model="n"), trade(2), predicted(4)]


READER = """
import sys, pathlib
from trader_monitor.runtime.predictions import read
path = pathlib.Path(sys.argv[1])
print("ready", flush=True)
rows = 0
while rows < int(sys.argv[2]):
    found = read(path, "m", "1", columns=["a"])
    assert len(found) >= rows and len(found) % 50 == 0, (len(found), rows)
    assert (found.matrix[:, 0] == found.output.astype("f4")).all()
    rows = len(found)
print(rows, flush=True)
"""


async def test_another_process_reads_while_the_journal_writes(tmp_path: Path) -> None:
    """It sees whole batches only, and keeps no commit waiting."""
    path = tmp_path / "store.db"
    journal = await opened(path)
    reader = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", READER, str(path), "2000"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert reader.stdout is not None
    assert await reader.stdout.readline() == b"ready\n"
    for _ in range(40):
        await journal.record([predicted(row, output=row * 0.5, features={"a": row * 0.5}) for row in range(50)])
    out, errors = await asyncio.wait_for(reader.communicate(), 30)
    assert (out, errors) == (b"2000\n", b"")
    await journal.close()


def entries(path: Path) -> list[dict[str, Any]]:
    with closing(open_read_only(path)) as db:
        return [json.loads(body) for (body,) in db.execute("SELECT body FROM prediction_audit ORDER BY seq")]


async def test_an_audit_entry_is_written_for_those_that_ask_and_for_all_where_it_is_configured(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    journal = await opened(path)
    features = {"b": 0.1, "a": None, "ü": "up"}
    asks = predicted(1, id="p1", subject="BTC", label="up", probability=0.9, features=features)
    asks = replace(asks, context={"audit": True, "trace_id": "abc"})
    await journal.record([trade(1), predicted(0), asks])
    journal.pen.audit = True
    await journal.record([predicted(2, features=None), predicted(3)])
    first, second, third = entries(path)
    assert first == {
        "recorded_at": first["recorded_at"],
        "at": NOW + 1,
        "id": "p1",
        "source": None,
        "model": "m",
        "version": "1",
        "subject": "BTC",
        "output": 0.25,
        "label": "up",
        "probability": 0.9,
        "confidence": None,
        "trace_id": "abc",
        "inputs_sha256": hashlib.sha256('{"a":null,"b":0.1,"ü":"up"}'.encode()).hexdigest(),
    }
    assert second["inputs_sha256"] is None
    assert third["inputs_sha256"] == hashlib.sha256(b'{"a":1.5}').hexdigest()
    await left(journal)
