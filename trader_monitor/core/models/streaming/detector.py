"""Detectors: whether a feature's level has shifted, row by row, for all features of one model version at once.

The promise: a stream whose baseline had 1,000 rows or more gives on average at most one false alarm per 10,000
samples, if its values are independent and of any continuous distribution, or AR(1) with phi up to 0.9; of F features
together at most F, or one with `family`, which asks each for F times as much. Between 500 and 999 baseline rows the
dead zone grows with the baseline's error and the promise stands; below there is no detector. It is an average over
baselines: who drew an odd one has more. `benchmarks/false_alarms.py` holds it to that.

A shift of the mean is what is looked for. A change of the spread alone, or of a category, is not. Volatility that
clusters breaks independence and with it the promise, as does a memory of much more than five rows; a random walk (a
price) is refused.

A value that is not finite says nothing: the stream stands as it was. After an alarm its stream starts from zero, so a
shift that lasts alarms again; the first alarm is latched until `reset`. A new baseline is a new `Detectors.of`.

Memory: 12 KiB per feature, and 1 MB per 100 features for a block of 64 rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from trader_monitor.core.figure import Figure, exact, missing
from trader_monitor.core.models.streaming.paths import Live, Paths, Rows, advance, follow, total
from trader_monitor.core.models.streaming.threshold import COMPONENTS, DIRECTIONS, EVERY, MOST_EVERY, laws_of
from trader_monitor.core.models.streaming.whitening import ORDER, Whitening, cells_of, residuals_of, whitening_of
from trader_monitor.core.samples import Floats

__all__ = ["Alarm", "DetectorError", "Detectors", "Direction"]

BLOCK = 64
"""Rows worked on at once. A ratio is at most e^5, so that the sums stay within double precision for as many."""

VERSION = 1
"""Of the encoding."""

CONVENTION = (
    "mixture Shiryaev-Roberts e-detector on normal scores of AR(5) residuals, for shifts of the mean by 0.25, 0.5 and "
    "1 sd; at most one false alarm in {every:,.0f} samples per feature"
)

Direction: TypeAlias = Literal["up", "down"]

_MAGIC = b"detectors"


class DetectorError(ValueError):
    """Not encoded detectors, or of another version."""


class Alarm(Struct, frozen=True, kw_only=True):
    """`row` counts the rows of all updates from 0. The level shifted `direction` with row `onset` (estimated), by some
    `size` standard deviations of the baseline: the mean since then, and as only what stood out is looked at, more often
    too large than too small. `statistic` is the sum that reached the threshold, as a multiple of it."""

    feature: str
    row: int
    onset: int
    direction: Direction
    size: float
    statistic: float


class _Kept(Struct, frozen=True, kw_only=True):
    """Arrays as bytes, little-endian, in the shapes of `_shapes`."""

    names: tuple[str, ...]
    laws: tuple[Whitening | str, ...]
    every: float
    family: bool
    row: int
    arrays: tuple[bytes, ...]
    latched: tuple[Alarm, ...]


class Detectors:
    """Build with `of` or `decode`. `names` are the columns of `update`; `why` says for each why it has no detector.

    `row` is how many rows were seen, `promise` how many samples per false alarm each stream was given.
    """

    def __init__(self, names: Sequence[str], laws: Sequence[Whitening | str], every: float, family: bool) -> None:
        self.names = tuple(names)
        self.every, self.family = every, family
        self.row = 0
        self.why = tuple(law if isinstance(law, str) else "" for law in laws)
        self._whitenings = tuple(laws)
        self._columns = np.asarray([at for at, why in enumerate(self.why) if not why], dtype=np.intp)
        self._active = tuple(name for name, why in zip(names, self.why, strict=True) if not why)
        streams = len(self._active)
        self.promise = every * max(1, streams) if family else every
        self._laws = laws_of([law for law in laws if isinstance(law, Whitening)], self.promise)
        self._paths = Paths.fresh(np.zeros(streams, dtype=np.int64))
        self._recent: Floats = np.zeros((ORDER, streams))
        self._ignored: Floats = np.zeros(streams)
        self._alarms: Floats = np.zeros(streams)
        self._latched: dict[str, Alarm] = {}
        self._space = np.empty((BLOCK, streams, COMPONENTS))  # for each block anew would cost more than the arithmetic

    @classmethod
    def of(cls, rows: Floats, names: Sequence[str], *, every: float = EVERY, family: bool = False) -> Detectors:
        """From baseline rows (n x features) in the order of time.

        `every` is the promise: samples per false alarm, of each feature, or with `family` rows per false alarm of all
        together. Raises ValueError where the shape does not fit the names, a name comes twice, or a stream's share of
        the promise is not in 1,000 to 1e8.
        """
        matrix = np.asarray(rows, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != len(names):
            raise ValueError(f"{len(names)} names need rows x {len(names)} values, not the shape {matrix.shape}")
        if len(set(names)) != len(names):
            raise ValueError("a feature's name comes twice")
        if not 1_000 <= every * (max(1, len(names)) if family else 1) <= MOST_EVERY:
            raise ValueError(f"a stream can promise one false alarm in 1,000 to {MOST_EVERY:,} samples")
        return cls(names, [whitening_of(column) for column in matrix.T], float(every), family)

    @property
    def state(self) -> dict[str, float]:
        """Each feature's statistic as a share of its threshold; only of those that have a detector."""
        return dict(zip(self._active, (total(self._paths.sums) / self._laws.thresholds).tolist(), strict=True))

    @property
    def latched(self) -> tuple[Alarm, ...]:
        """The first alarm of each feature since its last reset, the oldest first."""
        return tuple(sorted(self._latched.values(), key=lambda alarm: alarm.row))

    def reset(self, features: Collection[str] | None = None) -> None:
        """Lets go of the alarms of these features (of all) and starts their streams from zero."""
        wanted = set(self.names if features is None else features)
        at = np.asarray([i for i, name in enumerate(self._active) if name in wanted], dtype=np.intp)
        self._paths = self._paths.place(at, Paths.fresh(np.full(len(at), self.row)))
        for name in wanted:
            self._latched.pop(name, None)

    def update(self, rows: Floats) -> tuple[Alarm, ...]:
        """Takes the next rows (m x features); the alarms they gave, in the order of rows.

        What a row does not have is NaN, as is all of a feature that vanished. Raises ValueError where the shape does
        not fit.
        """
        matrix = np.asarray(rows, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != len(self.names):
            raise ValueError(f"rows x {len(self.names)} values are needed, not the shape {matrix.shape}")
        if len(self._active) < len(self.names):
            matrix = matrix[:, self._columns]
        found: list[Alarm] = []
        for first in range(0, len(matrix), BLOCK):
            found += self._block(matrix[first : first + BLOCK])
        return tuple(found)

    def figures(self, model: str, version: str) -> Iterator[Figure]:
        """Of each feature the statistic as a share of the threshold, whether an alarm is latched, and counts."""
        convention = CONVENTION.format(every=self.promise)
        state, at = self.state, {name: at for at, name in enumerate(self._active)}
        about = (("model", model), ("version", version))
        for name, why in zip(self.names, self.why, strict=True):
            labels = (*about, ("feature", name))
            if why:
                yield missing("model_stream_drift_ratio", labels, 0, convention, why)
                continue
            ignored = int(self._ignored[at[name]])
            n, alarms = self.row - ignored, float(self._alarms[at[name]])
            yield exact("model_stream_drift_ratio", labels, state[name], n, f"statistic / threshold: {convention}")
            latched = float(name in self._latched)
            yield exact("model_stream_drift_alarm", labels, latched, n, f"1 from an alarm to the reset: {convention}")
            yield exact("model_stream_drift_alarms_total", labels, alarms, n, convention)
            yield exact("model_stream_drift_ignored_total", labels, float(ignored), self.row, "rows without a number")
        expected = len(self._active) * EVERY / self.promise
        bound = f"at most so many false alarms of {len(self._active)} features in {EVERY:,} rows without drift"
        yield exact("model_stream_drift_false_alarms", about, expected, self.row, bound)

    def encode(self) -> bytes:
        """Everything; what `decode` gives goes on with the same bits."""
        kept = _Kept(
            names=self.names,
            laws=self._whitenings,
            every=self.every,
            family=self.family,
            row=self.row,
            arrays=tuple(array.astype("<f8").tobytes() for array in self._arrays()),
            latched=self.latched,
        )
        return _MAGIC + bytes([VERSION]) + _ENCODER.encode(kept)

    @classmethod
    def decode(cls, raw: bytes) -> Detectors:
        """Raises DetectorError."""
        if raw[: len(_MAGIC)] != _MAGIC or len(raw) <= len(_MAGIC):
            raise DetectorError("these are not detectors")
        if raw[len(_MAGIC)] != VERSION:
            raise DetectorError(f"the detectors are of version {raw[len(_MAGIC)]}, this program reads {VERSION}")
        try:
            kept = _DECODER.decode(raw[len(_MAGIC) + 1 :])
            found = cls(kept.names, kept.laws, kept.every, kept.family)
            arrays: list[Floats] = [
                np.frombuffer(each, dtype="<f8").astype(np.float64).reshape(mine.shape)
                for each, mine in zip(kept.arrays, found._arrays(), strict=True)
            ]
        except (msgspec.MsgspecError, ValueError) as error:
            raise DetectorError(f"the detectors are damaged: {error}") from None
        found.row = kept.row
        found._paths = Paths(*arrays[:-3])
        found._recent, found._ignored, found._alarms = arrays[-3:]
        found._latched = {alarm.feature: alarm for alarm in kept.latched}
        return found

    def _arrays(self) -> tuple[Floats, ...]:
        return (*self._paths, self._recent, self._ignored, self._alarms)

    def _block(self, block: Floats) -> list[Alarm]:
        """At most BLOCK rows of the features that have a detector."""
        rows: Rows = np.arange(self.row, self.row + len(block))[:, None]
        live: Live | None = None
        there = np.isfinite(block)
        if not there.all():
            # What says nothing goes to the end of its column and the rest moves up.
            order = np.argsort(~there, axis=0, kind="stable")
            block = np.take_along_axis(np.where(there, block, self._laws.centre), order, axis=0)
            rows, live = self.row + order, np.take_along_axis(there, order, axis=0)
            self._ignored += np.count_nonzero(~there, axis=0)
        cells = self._cells(block, live)
        scores = self._laws.scores.take(cells)
        before, laws = self._paths, self._laws
        space = self._space[: len(block)]
        sums = advance(before.sums, laws.ratios.take(cells, axis=0, out=space, mode="clip"), live)
        over = (total(sums) >= laws.thresholds).any(axis=0)
        self._paths = follow(before, sums[-1].copy(), scores, laws.steps, laws.prices, rows, live, space)
        self.row += len(block)
        if not over.any():
            return []
        columns = np.flatnonzero(over)
        live = np.ones(scores.shape, dtype=np.bool_) if live is None else live
        rows = np.broadcast_to(rows, scores.shape)
        found = self._restarted(columns, before.of(columns), cells[:, columns], rows[:, columns], live[:, columns])
        return sorted(found, key=lambda alarm: (alarm.row, self._active.index(alarm.feature)))

    def _restarted(
        self, columns: NDArray[np.intp], paths: Paths, cells: NDArray[np.intp], rows: Rows, live: Live
    ) -> Iterator[Alarm]:
        """The alarms of these streams, each of which starts from zero after one, until the block has no more."""
        while rows.size:
            down = np.arange(len(rows))[:, None]
            here = np.arange(len(columns))
            steps, prices = self._laws.steps[:, columns], self._laws.prices[:, columns]
            scores = self._laws.scores.take(cells)
            sums = advance(paths.sums, self._laws.ratios.take(cells, axis=0), live)
            over = total(sums) >= self._laws.thresholds[columns]
            alarmed = over.any(axis=0)
            last = np.where(alarmed, over.argmax(axis=0), len(rows) - 1)
            ended = follow(
                paths, sums[last, here], scores, steps, prices, rows, live & (down <= last), np.empty(sums.shape)
            )
            self._paths = self._paths.place(columns, ended)
            columns, paths, at = columns[alarmed], ended.of(np.flatnonzero(alarmed)), rows[last, here][alarmed]
            yield from self._told(columns, paths, at)
            paths = Paths.fresh(at + 1)
            self._paths = self._paths.place(columns, paths)
            rest, live = slice(last.min() + 1, None), live[:, alarmed] & (down > last[alarmed])
            cells, rows, live = cells[rest, alarmed], rows[rest, alarmed], live[rest]

    def _told(self, columns: NDArray[np.intp], paths: Paths, rows: Rows) -> Iterator[Alarm]:
        """The alarms of these streams; their component with the largest sum says which way and since when."""
        laws = self._laws
        for at, column in enumerate(columns.tolist()):
            best = int(paths.sums[at].argmax())
            step, price = laws.steps[best, column], laws.prices[best, column]
            before = (paths.lowest[at, best] + price * paths.lowest_seen[at, best]) / step
            mean = (paths.scores[at] - before) / (paths.seen[at] - paths.lowest_seen[at, best])
            alarm = Alarm(
                feature=self._active[column],
                row=int(rows[at]),
                onset=int(paths.since[at, best]),
                direction="up" if DIRECTIONS[best] > 0 else "down",
                size=float(mean / laws.gains[column]),
                statistic=float(total(paths.sums[at]) / laws.thresholds[column]),
            )
            self._alarms[column] += 1
            self._latched.setdefault(alarm.feature, alarm)
            yield alarm

    def _cells(self, block: Floats, live: Live | None) -> NDArray[np.intp]:
        """Where the rows' residuals are among the baseline's; keeps the last five values for the next block."""
        laws = self._laws
        standard = np.clip(block, laws.low, laws.high)
        standard -= laws.centre
        standard /= laws.deviation
        known = np.concatenate((self._recent, standard))
        if live is None:
            self._recent = known[-ORDER:].copy()
        else:
            kept = np.count_nonzero(live, axis=0) + np.arange(ORDER)[:, None]
            self._recent = np.take_along_axis(known, kept, axis=0)
        return cells_of(residuals_of(known, laws.coefficients), laws.edges)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Kept)
