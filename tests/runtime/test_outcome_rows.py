"""Outcomes beside the batches that bear them: found by model, kept as long as facts, never twice."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trader_monitor.config.tables import Store as StoreTable
from trader_monitor.core.facts import Outcome, Trade
from trader_monitor.loops.retain import expire
from trader_monitor.runtime import outcome_rows
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.journal import Journal
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.outcome_rows import newest, read_outcomes
from trader_monitor.runtime.rows import Damaged
from trader_monitor.runtime.snapshot import snapshot

NOW = 1_700_000_000.0


async def opened(path: Path) -> Journal:
    return await open_journal(path, clock=ManualClock(wall=NOW), meters=Meters())


def came(number: int, **fields: Any) -> Outcome:
    given: dict[str, Any] = {"at": NOW + number, "actual": 0.5, "model": "m", "id": f"o{number}"}
    return Outcome(**given | fields)


async def test_a_models_outcomes_come_back_as_they_were_sent(tmp_path: Path) -> None:
    journal = await opened(tmp_path / "store.db")
    trade = Trade(at=NOW, source="bot", symbol="A", side="buy", quantity=1.0, price=2.0)
    await journal.record(
        [
            came(1, subject="A", predicted_at=NOW - 60, version="2", source="labeller"),
            trade,
            came(2, actual="up", model=None, prediction_id="p2"),
            came(3, model="other", subject="A", predicted_at=NOW),
        ]
    )
    await journal.record([came(4, actual="down", prediction_id="p4")])
    found = read_outcomes(tmp_path / "store.db", "m", 0.0)
    assert found.actual == [0.5, "up", "down"]
    assert (found.prediction_ids, found.models) == ([None, "p2", "p4"], ["m", None, "m"])
    assert (found.versions, found.subjects) == (["2", None, None], ["A", None, None])
    assert found.sources == ["labeller", None, None]
    assert found.at.tolist() == [NOW + 1, NOW + 2, NOW + 4]
    assert found.predicted_at[0] == NOW - 60
    assert np.isnan(found.predicted_at[1:]).all()
    assert found.recorded.tolist() == [NOW] * 3
    assert read_outcomes(tmp_path / "store.db", "m", NOW + 3).actual == ["down"]
    nameless = read_outcomes(tmp_path / "store.db", "", 0.0)
    assert nameless.actual == ["up"]
    nobody = read_outcomes(tmp_path / "store.db", "nobody", NOW + 3)
    assert (nobody.actual, len(nobody.at)) == ([], 0)
    assert newest(tmp_path / "store.db") > 0
    await journal.close()


async def test_what_is_sent_again_and_what_is_replayed_is_entered_once(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    journal = await opened(path)
    assert newest(path) == 0
    await journal.record([came(k) for k in range(600)])
    assert (await journal.record([came(5), came(600)])).duplicates == 1
    journal.since_snapshot = 0
    await journal.close()
    journal = await opened(path)
    assert journal.board.counts == {"outcome": 601}
    assert len(read_outcomes(path, "m", 0.0).at) == 601
    await journal.close()


async def test_outcomes_leave_with_the_facts_that_brought_them(tmp_path: Path) -> None:
    """Those that wait for a prediction too: so they are bounded."""
    path = tmp_path / "store.db"
    journal = await opened(path)
    await journal.record([came(k, prediction_id="never predicted") for k in range(3)])
    await snapshot(journal)
    assert isinstance(journal.clock, ManualClock)
    await journal.clock.advance(3 * 86400.0)
    await journal.record([came(3)])
    await expire(journal, StoreTable(retention=86400.0), journal.clock.now())  # type: ignore[arg-type]
    assert len(read_outcomes(path, "m", 0.0).at) == 1
    await journal.close()


async def test_of_very_many_the_newest_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    journal = await opened(path)
    for k in range(10):
        await journal.record([came(2 * k), came(2 * k + 1)])
    monkeypatch.setattr(outcome_rows, "MOST_ROWS", 5)
    assert read_outcomes(path, "m", 0.0).at.tolist() == [NOW + k for k in range(14, 20)], "whole parts"
    await journal.close()


@pytest.mark.parametrize(
    ("body", "crc", "reason"), [(b"x", 0, "checksum"), (b"\xc1", zlib.crc32(b"\xc1"), "do not decode")]
)
async def test_a_damaged_part_is_said(tmp_path: Path, body: bytes, crc: int, reason: str) -> None:
    path = tmp_path / "store.db"
    journal = await opened(path)
    await journal.record([came(1)])
    await journal.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE outcome_batch SET body = ?, crc = ?", (body, crc))
        db.commit()
    with pytest.raises(Damaged, match=reason):
        read_outcomes(path, "m", 0.0)
