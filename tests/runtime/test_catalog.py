"""The catalog of series: what it enters, and what never."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from trader_monitor.core.facts import Labels, Samples
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.journal import Journal
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.rows import labels_by_id

ROOM = 20


async def opened(path: Path) -> Journal:
    return await open_journal(path / "store.db", clock=ManualClock(), meters=Meters(), max_series=ROOM)


async def entered(journal: Journal) -> list[Labels]:
    return list((await journal.store.write(labels_by_id)).values())


def scrape(number: int, at: float) -> Samples:
    """Ten series: one of the daemon, one that stays, eight that never come again, four of them by an empty label."""
    here: list[Labels] = [(("__name__", "monitor_up"),), (("instance", "a"), ("__name__", "stays"))]
    here += [(("__name__", "drifts"), ("n", f"{number}-{each}")) for each in range(4)]
    here += [(("__name__", "blank"), (f"n{number}_{each}", "")) for each in range(4)]
    return Samples(at=at, origin="target", labels=tuple(here), values=(float(number),) * 10, own=1)


def heads(journal: Journal) -> Iterator[tuple[Labels, list[int], list[bytes]]]:
    series = journal.board.series
    for sid in series.sids():
        t, v = series.head(sid)
        yield series.labels_of(sid), t.tolist(), [value.tobytes() for value in v]


@pytest.mark.parametrize("at_once", [True, False])
async def test_label_sets_that_are_refused_are_not_entered(tmp_path: Path, at_once: bool) -> None:
    journal = await opened(tmp_path)
    rounds = [scrape(number, 1_700_000_000.0 + number) for number in range(100)]
    for facts in [rounds] if at_once else [[each] for each in rounds]:
        await journal.record(facts)
    series = journal.board.series
    assert series.refused > 300
    assert len(await entered(journal)) == len(series) == ROOM
    assert len(journal.pen.catalog) == ROOM
    stays = series.find((("__name__", "stays"), ("instance", "a")))
    assert len(series.head(stays)[0]) == 100
    before = sorted(heads(journal))
    await journal.store.close()  # without a snapshot: the next life replays
    journal = await opened(tmp_path)
    assert sorted(heads(journal)) == before
    await journal.close()
