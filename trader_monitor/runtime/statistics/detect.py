"""The job that takes new predictions into the streaming detectors of a model version."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
from msgspec import Struct, structs

from trader_monitor.core.figure import Figure
from trader_monitor.core.models.names import OUTPUTS
from trader_monitor.core.models.streaming.detector import Alarm, Detectors
from trader_monitor.runtime import model_store
from trader_monitor.runtime.predictions import read
from trader_monitor.runtime.statistics.columns import table_of
from trader_monitor.runtime.statistics.wire import Job, Told
from trader_monitor.runtime.store import open_read_only

__all__ = ["JOB", "Answered", "Asked", "State", "run"]


class Asked(Struct, frozen=True, kw_only=True):
    """At most so many rows, or a few more: they are taken in by whole parts. With `reset` the alarms of those features
    (of all, where none is named) are let go, and their streams begin from nought."""

    path: str
    model: str
    version: str
    rows: int = 0
    reset: bool = False
    features: tuple[str, ...] = ()


class State(Struct, frozen=True):
    """Detectors as bytes, and where they are kept."""

    id: int
    body: bytes


class Answered(Struct, frozen=True, kw_only=True):
    """The states after the rows behind the cursor `before`, up to the cursor `after`. `alarms` are those of features
    that had none since their reset: a shift that lasts alarms again and again."""

    before: int
    after: int
    rows: int
    states: list[State]
    alarms: list[Alarm]
    figures: list[Figure]
    reset: list[str] = []
    """Features whose alarms were let go."""


JOB = Job(__name__, Asked, Answered)


def run(asked: Asked, told: Told) -> Answered:
    path, model, version = Path(asked.path), asked.model, asked.version
    with closing(open_read_only(path)) as db:
        kept = model_store.detector_states(db, model, version)
    if not kept:
        return Answered(before=0, after=0, rows=0, states=[], alarms=[], figures=[])
    detectors = [Detectors.decode(each.body) for each in kept]
    before = after = kept[0].cursor
    rows = 0
    alarms: list[Alarm] = []
    if asked.rows:
        names = [name for each in detectors for name in each.names]
        features = [name for name in names if name not in OUTPUTS]
        found = read(path, model, version, after=before, last=asked.rows, columns=features)
        rows, after = len(found), found.cursor or before
        table = table_of(found, set(names))
        places = {name: place for place, name in enumerate(table.names) if name not in table.values}
        for each in detectors:
            matrix = np.full((rows, len(each.names)), np.nan)
            for column, name in enumerate(each.names):
                if name in places:
                    matrix[:, column] = table.numbers[:, places[name]]
            latched = {alarm.feature for alarm in each.latched}
            each.update(matrix)
            alarms += [alarm for alarm in each.latched if alarm.feature not in latched]
    let_go: list[str] = []
    if asked.reset:
        for each in detectors:
            before_it = {alarm.feature for alarm in each.latched}
            each.reset(asked.features or None)
            let_go += sorted(before_it - {alarm.feature for alarm in each.latched})
    changed = rows or asked.reset
    states = [State(one.id, each.encode()) for one, each in zip(kept, detectors, strict=True)] if changed else []
    figures = _together([figure for each in detectors for figure in each.figures(model, version)])
    return Answered(before=before, after=after, rows=rows, states=states, alarms=alarms, figures=figures, reset=let_go)


def _together(figures: list[Figure]) -> list[Figure]:
    """What several detectors say of the same model is added up."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Figure] = {}
    for figure in figures:
        key = (figure.name, figure.labels)
        earlier = found.get(key)
        if earlier is not None and earlier.value is not None and figure.value is not None:
            figure = structs.replace(figure, value=earlier.value + figure.value)
        found[key] = figure
    return list(found.values())
