"""Baseline: what one feature or output of one model version looked like when the model was fit for use.

Everything that a later window is compared with is fixed here, once: the decile edges, the grid of 256 cells, the
ordered sample, and how far windows of the baseline's own kind stray by chance (`Calibration`). Edges are quantiles
of the finite values, so one bad tick moves none of them; infinities and NaN are counted and kept apart.

Memory: at most 16,384 ordered values (64 KiB as float32, 128 KiB as float64) and 2 KiB for the grid; of categories
the 1,000 most frequent. Up to 16,384 finite values the Kolmogorov-Smirnov statistic is exact; of more, every k-th
order statistic is kept, which moves the statistic by less than 1 / 16,384, and `thinned` says so.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec
import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from trader_monitor.core.models.columns import Column, Kind, Ordered, Values, column_of, narrowed
from trader_monitor.core.models.drift.calibration import Calibration, Refusal, calibrate
from trader_monitor.core.models.drift.dependence import tau_of
from trader_monitor.core.samples import Floats

__all__ = [
    "CATEGORIES",
    "CELLS",
    "PERCENTILES",
    "SAMPLE",
    "VERSION",
    "Baseline",
    "BaselineError",
    "Kind",
    "Moments",
    "Ordered",
    "Provenance",
    "baseline_of",
]

VERSION = 1
"""Of the encoding. Fields added later have defaults; it grows when older bytes cannot be read any more."""

BINS = 10
CELLS = 256
SAMPLE = 16_384
CATEGORIES = 1_000
FOLLOWED = 64
"""Categories whose dependence is known one by one."""
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)

_MAGIC = b"baseline"


class BaselineError(ValueError):
    """Not a baseline, or one of another version."""


class Moments(Struct, frozen=True, kw_only=True):
    """Of the finite values; `std` with ddof 1, `skewness` and `kurtosis` (excess) as central moments, 0 if constant."""

    mean: float
    std: float
    skewness: float
    kurtosis: float
    minimum: float
    maximum: float


class Provenance(Struct, frozen=True, kw_only=True):
    """Where a baseline comes from; times in Unix seconds."""

    source: str = ""
    rows: int = 0
    first_at: float | None = None
    last_at: float | None = None
    created: float | None = None


class Baseline(Struct, frozen=True, kw_only=True):
    """One feature (or the output) of one model version.

    `rows` = `finite` + `nulls` + `nans` + `infinities` for numbers, `nulls` and the counts for categories.
    `out_of_range` counts finite values outside `accepted`, which stay in the distribution. `edges` (at most 9, fewer
    with ties) and `grid` (255 cell borders, ascending, repeated where values are) are values of the baseline; a bin
    is closed on the right.
    """

    name: str
    kind: Kind
    rows: int
    finite: int = 0
    nulls: int = 0
    nans: int = 0
    infinities: int = 0
    out_of_range: int = 0
    accepted: tuple[float, float] | None = None
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    """Finite values in each bin of `edges`."""
    grid: bytes = b""
    cells: tuple[int, ...] = ()
    """Finite values in each of the 256 cells of `grid`."""
    moments: Moments | None = None
    percentiles: tuple[float, ...] = ()
    """At `PERCENTILES`, linear interpolation."""
    sample: bytes = b""
    precision: Literal["float32", "float64"] = "float64"
    """Of `sample`: float32 where every value is one."""
    thinned: bool = False
    categories: dict[str, int] = {}
    """Most frequent first."""
    other: int = 0
    """Values of the categories beyond the 1,000 most frequent."""
    calibration: Calibration | None = None
    refusal: Refusal | None = None
    """Why numbers have no calibration; None where they have one."""
    taus: dict[str, float] = {}
    """The autocorrelation time of each of the most frequent categories, and of all others together under ""."""
    missing_tau: float = 1.0
    """The autocorrelation time of a value's being missing."""
    provenance: Provenance = Provenance()

    @property
    def missing(self) -> int:
        """Rows without a usable value: null, NaN and infinite."""
        return self.nulls + self.nans + self.infinities

    @property
    def constant(self) -> bool:
        """Whether there is one finite value, or one category, only."""
        if self.kind == "category":
            return len(self.categories) == 1 and not self.other
        return self.moments is not None and self.moments.minimum == self.moments.maximum

    def ordered(self) -> Ordered:
        """The finite values (or every k-th of them), ascending; not to be written to."""
        found: Ordered = np.frombuffer(self.sample, dtype=f"<f{4 if self.precision == 'float32' else 8}")
        return found

    def borders(self) -> Floats:
        """The 255 borders between the cells of the grid, ascending; empty without finite values."""
        found: Floats = np.frombuffer(self.grid, dtype="<f8")
        return found

    def encode(self) -> bytes:
        return _MAGIC + bytes([VERSION]) + _ENCODER.encode(self)

    @classmethod
    def decode(cls, raw: bytes) -> Baseline:
        """Raises BaselineError."""
        if raw[: len(_MAGIC)] != _MAGIC or len(raw) <= len(_MAGIC):
            raise BaselineError("this is not a baseline")
        if raw[len(_MAGIC)] != VERSION:
            raise BaselineError(f"the baseline is of version {raw[len(_MAGIC)]}, this program reads {VERSION}")
        try:
            return _DECODER.decode(raw[len(_MAGIC) + 1 :])
        except msgspec.MsgspecError as error:
            raise BaselineError(f"the baseline is damaged: {error}") from None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Baseline)


def baseline_of(
    name: str,
    values: Values,
    *,
    kind: Kind | None = None,
    accepted: tuple[float, float] | None = None,
    source: str = "",
    first_at: float | None = None,
    last_at: float | None = None,
    created: float | None = None,
    calibrated: bool = True,
) -> Baseline:
    """The baseline of `values`, one per row in the order of time (the order carries the evidence).

    `values` is an array of numbers, or a sequence of numbers or strings in which None is null. Without `kind` one
    string among them makes it a category. `accepted` is the range outside which a value is counted as out of range.
    Without `calibrated` (0.2 s) no evidence can be had of it. Raises ColumnError where values are neither.
    """
    column = column_of(values, kind)
    made = Baseline(
        name=name,
        kind=column.kind,
        rows=column.rows,
        finite=len(column.finite),
        nulls=column.nulls,
        nans=column.nans,
        infinities=column.infinities,
        accepted=accepted,
        missing_tau=tau_of(column.missing.astype(np.float64)),
        provenance=Provenance(source=source, rows=column.rows, first_at=first_at, last_at=last_at, created=created),
    )
    if column.kind == "category":
        frequent = Counter(column.names).most_common()
        return structs.replace(
            made,
            categories=dict(frequent[:CATEGORIES]),
            other=sum(count for _, count in frequent[CATEGORIES:]),
            taus=_taus(column.names, [name for name, _ in frequent[:FOLLOWED]]),
        )
    if not len(column.finite):
        return made
    found = calibrate(column.finite) if calibrated else Refusal(reason="uncalibrated")
    return structs.replace(
        _with_distribution(made, column),
        calibration=found if isinstance(found, Calibration) else None,
        refusal=found if isinstance(found, Refusal) else None,
    )


def _taus(names: list[str], followed: list[str]) -> dict[str, float]:
    known = {name: code for code, name in enumerate(followed)}
    codes = np.array([known.get(name, len(known)) for name in names])
    return {name: tau_of((codes == code).astype(np.float64)) for code, name in enumerate((*followed, ""))}


def _with_distribution(made: Baseline, column: Column) -> Baseline:
    ordered = narrowed(np.sort(column.finite))
    n = len(ordered)
    edges = np.unique(_quantiles(ordered, BINS))
    edges = edges[edges < ordered[-1]]
    borders = _quantiles(ordered, CELLS)
    low, high = made.accepted or (-np.inf, np.inf)
    thinned = n > SAMPLE
    kept = ordered[_ranks(n)] if thinned else ordered
    return structs.replace(
        made,
        out_of_range=int(((column.finite < low) | (column.finite > high)).sum()),
        edges=tuple(edges.tolist()),
        counts=tuple(np.diff(np.searchsorted(ordered, edges, side="right"), prepend=0, append=n).tolist()),
        grid=borders.astype("<f8").tobytes(),
        cells=tuple(np.diff(np.searchsorted(ordered, borders, side="right"), prepend=0, append=n).tolist()),
        moments=_moments(ordered),
        percentiles=tuple((np.percentile(ordered * np.float64(0.5), PERCENTILES) * 2.0).tolist()),
        sample=kept.astype(kept.dtype.newbyteorder("<")).tobytes(),
        precision="float32" if kept.dtype == np.float32 else "float64",
        thinned=thinned,
    )


def _quantiles(ordered: Ordered, parts: int) -> Ordered:
    """The inner borders of `parts` equal parts, each a value that was seen (inverse of the distribution function)."""
    ranks = np.ceil(np.arange(1, parts) * len(ordered) / parts).astype(np.int64) - 1
    found: Ordered = ordered[ranks]
    return found


def _ranks(n: int) -> NDArray[np.int64]:
    """The ranks that are kept of `n` ordered values: the middles of 16,384 equal parts."""
    return ((np.arange(SAMPLE) + 0.5) * n / SAMPLE).astype(np.int64)


def _moments(ordered: Ordered) -> Moments:
    """Scaled before they are raised to a power, so that 1e200 has a kurtosis as well."""
    values = ordered.astype(np.float64)
    low, high = float(values[0]), float(values[-1])
    scale = max(abs(low), abs(high)) or 1.0
    scaled = values / scale
    mean = float(scaled.mean())
    away = scaled - mean
    variance = float(np.square(away).mean())
    std = variance**0.5
    if low == high or std == 0.0:
        return Moments(mean=low, std=0.0, skewness=0.0, kurtosis=0.0, minimum=low, maximum=high)
    unit = away / std
    return Moments(
        mean=mean * scale,
        std=std * scale * (len(values) / (len(values) - 1)) ** 0.5,
        skewness=float((unit**3).mean()),
        kurtosis=float((unit**4).mean()) - 3.0,
        minimum=low,
        maximum=high,
    )
