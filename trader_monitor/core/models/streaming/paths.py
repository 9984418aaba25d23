"""Paths: the detectors' sums from row to row, for many streams at once.

Every operation is done element by element and in the order of the rows, so that the same rows give the same bits
whether they come one by one or by the thousand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trader_monitor.core.models.streaming.threshold import COMPONENTS, WEIGHTS
from trader_monitor.core.samples import Floats

__all__ = ["Live", "Paths", "Rows", "advance", "follow", "total"]

Live = NDArray[np.bool_]
Rows = NDArray[np.int64]

_EACH = np.arange(COMPONENTS)[:, None]


class Paths(NamedTuple):
    """Since each stream's last restart; streams first.

    `sums` (streams x 6) are the components' Shiryaev-Roberts sums; `scores` is the sum of the scores and `seen` how
    many there were. A component's likelihood path, shift * scores - cost * seen, was at its `lowest` just before row
    `since`, when `seen` stood at `lowest_seen`: there its stream most likely changed (the CUSUM's last zero).
    """

    sums: Floats
    scores: Floats
    seen: Floats
    lowest: Floats
    lowest_seen: Floats
    since: Floats

    @classmethod
    def fresh(cls, rows: Rows) -> Paths:
        """Nothing seen; `rows` are each stream's next."""
        each, streams = (len(rows), COMPONENTS), len(rows)
        since = np.repeat(rows[:, None].astype(np.float64), COMPONENTS, axis=1)
        return cls(np.zeros(each), np.zeros(streams), np.zeros(streams), np.zeros(each), np.zeros(each), since)

    def of(self, columns: NDArray[np.intp]) -> Paths:
        return Paths(*(array[columns] for array in self))

    def place(self, columns: NDArray[np.intp], other: Paths) -> Paths:
        """With `other` in these columns."""
        both = Paths(*(array.copy() for array in self))
        for mine, its in zip(both, other, strict=True):
            mine[columns] = its
        return both


def total(sums: Floats) -> Floats:
    """The components' sum, one after the other: a sum over an axis may go another way for another shape."""
    found: Floats = sums[..., 0] + sums[..., 1]
    for component in range(2, COMPONENTS):
        found += sums[..., component]
    return found


def advance(sums: Floats, ratios: Floats, live: Live | None) -> Floats:
    """S <- (S + weight) * ratio, row by row: makes `ratios` (rows x streams x 6) the sums after each row, in place.

    Where `live` (rows x streams) is False the row says nothing and the sums stand.
    """
    rows, streams, _ = ratios.shape
    flat = ratios.reshape(rows, streams * COMPONENTS)
    weights = np.tile(WEIGHTS, streams)
    before, grown = sums.reshape(-1), np.empty_like(weights)
    if live is None:
        for each in flat:
            np.add(before, weights, out=grown)
            np.multiply(grown, each, out=each)
            before = each
        return ratios
    dead = ~np.repeat(live, COMPONENTS, axis=1)
    flat[dead] = 1.0
    for each, given in zip(flat, np.where(dead, 0.0, weights), strict=True):
        np.add(before, given, out=grown)
        np.multiply(grown, each, out=each)
        before = each
    return ratios


def follow(
    paths: Paths,
    sums: Floats,
    scores: Floats,
    steps: Floats,
    prices: Floats,
    rows: Rows,
    live: Live | None,
    out: Floats,
) -> Paths:
    """The paths after these rows, `sums` being what `advance` found last.

    `scores` is rows x streams, `rows` (rows x streams or rows x 1) their numbers; `steps` and `prices` (6 x streams)
    are the components' shifts and costs; `out` has space for 6 x rows x streams.
    """
    path = np.concatenate((paths.scores[None], scores))
    if live is None:
        seen = paths.seen + np.arange(1.0, len(scores) + 1.0)[:, None]
    else:
        seen = paths.seen + np.cumsum(live, axis=0)
        path[1:][~live] = 0.0
    np.cumsum(path, axis=0, out=path)
    along = out.reshape(-1)[: COMPONENTS * scores.size].reshape(COMPONENTS, *scores.shape)
    np.multiply(steps[:, None], path[1:], out=along)
    along -= prices[:, None] * seen
    at = along.argmin(axis=1)
    streams = np.arange(scores.shape[1])
    low = along[_EACH, at, streams]
    new = low < paths.lowest.T
    number = rows[:, 0].take(at) if live is None else rows[at, streams]
    return Paths(
        sums,
        path[-1],
        seen[-1],
        np.where(new, low, paths.lowest.T).T,
        np.where(new, seen[at, streams], paths.lowest_seen.T).T,
        np.where(new, number + 1, paths.since.T).T,
    )
