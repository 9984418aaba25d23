"""A compiled query, ready to be evaluated again and again over whatever the series hold by then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from trader_monitor.core.facts import Labels
from trader_monitor.core.matcher import Matcher
from trader_monitor.core.order import in_order
from trader_monitor.core.promql.compiler import LOOKBACK_MS, parse
from trader_monitor.core.promql.errors import PromQLError
from trader_monitor.core.promql.frame import Bools, Context, Frame, LabelSets
from trader_monitor.core.promql.nodes import Text, is_scalar, is_vector
from trader_monitor.core.promql.selectors import RangeSelector, Selector, Subquery
from trader_monitor.core.samples import Floats, Source, Times

__all__ = ["Instant", "Matrix", "Plan", "compile", "series_matchers"]

MAX_CELLS = 20_000_000
_DEFAULT_STEP_MS = 60_000

ResultType: TypeAlias = Literal["vector", "scalar", "string", "matrix"]


class Matrix(NamedTuple):
    """The result at every step: `values[row, step]` of the series `labels[row]`, where `present[row, step]`.

    A scalar has one row without labels. Arrays may be shared: they are not to be written to.
    """

    kind: Literal["vector", "scalar"]
    times: Times
    labels: LabelSets
    values: Floats
    present: Bools
    order: tuple[int, ...] | None = None

    def at(self, step: int) -> list[tuple[Labels, float]]:
        """The elements of one step, in sort()'s or topk()'s order where the query asked for one."""
        values, present = self.values[:, step], self.present[:, step]
        rows = np.flatnonzero(present).tolist() if self.order is None else [r for r in self.order if present[r]]
        return [(self.labels[row], float(values[row])) for row in rows]

    def rows(self) -> Iterator[tuple[Labels, Times, Floats]]:
        """Each series that is present at any step, sorted by its labels, with its times and values."""
        alive = np.flatnonzero(self.present.any(axis=1)).tolist()
        for _, row in in_order((self.labels[row], row) for row in alive):
            mask = self.present[row]
            if mask.all():
                yield self.labels[row], self.times, self.values[row]
            else:
                yield self.labels[row], self.times[mask], self.values[row][mask]


class Instant(NamedTuple):
    """The result at one moment: of the four, the one that `kind` names is meant."""

    kind: ResultType
    t_ms: int
    vector: list[tuple[Labels, float]] = []  # noqa: RUF012
    scalar: float = 0.0
    text: str = ""
    matrix: list[tuple[Labels, Times, Floats]] = []  # noqa: RUF012


class Plan:
    """What `compile` makes of a query.

    `selectors` are the label matchers of everything it reads, `lookback_ms` is how far before an evaluation time
    it reads, and `time_driven` says that its result can change although no sample comes (beside by staleness).
    """

    __slots__ = ("_root", "_uses_bounds", "lookback_ms", "selectors", "text", "time_driven")

    def __init__(self, text: str) -> None:
        tree = parse(text)
        self.text = text
        self.selectors: tuple[tuple[Matcher, ...], ...] = tree.selectors
        self.lookback_ms: int = tree.lookback_ms
        self.time_driven: bool = tree.time_driven
        self._root = tree.root
        self._uses_bounds = tree.uses_bounds

    @property
    def kind(self) -> ResultType:
        """What an instant query returns."""
        root = self._root
        if isinstance(root, Text):
            return "string"
        if isinstance(root, RangeSelector | Subquery):
            return "matrix"
        return "vector" if is_vector(root) else "scalar"

    def evaluate(
        self,
        source: Source,
        times_ms: Times,
        *,
        bounds: tuple[int, int] | None = None,
        lookback_ms: int = LOOKBACK_MS,
        default_step_ms: int = _DEFAULT_STEP_MS,
        max_cells: int = MAX_CELLS,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> Matrix:
        """The result at each of `times_ms` (ascending), each by itself as an instant query would have it.

        `bounds` are what `@ start()` and `@ end()` mean, in a range query. `checkpoint` is called now and then,
        and may raise to give up. Raises PromQLError.
        """
        times = np.asarray(times_ms, np.int64)
        if self._uses_bounds and bounds is None and len(times) > 1:
            return self._one_by_one(source, times, lookback_ms, default_step_ms, max_cells, checkpoint)
        if not len(times) and self.kind in ("vector", "scalar"):
            return Matrix("vector", times, (), np.zeros((0, 0)), np.zeros((0, 0), np.bool_))
        start, end = bounds or (int(times[0]), int(times[-1]))
        ctx = Context(source, times, start, end, lookback_ms, default_step_ms, max_cells, checkpoint)
        root = self._root
        with np.errstate(all="ignore"):
            if is_vector(root):
                frame: Frame = root.vector(ctx)
                order = None if frame.order is None else tuple(frame.order.tolist())
                return Matrix("vector", times, frame.labels, frame.values, frame.present, order)
            if is_scalar(root):
                values = np.broadcast_to(root.scalar(ctx), (1, len(times)))
                return Matrix("scalar", times, ((),), values, np.ones(values.shape, np.bool_))
        raise PromQLError(
            f'invalid expression type "{"range vector" if self.kind == "matrix" else "string"}" '
            "for range query, must be Scalar or instant Vector"
        )

    def _one_by_one(
        self,
        source: Source,
        times: Times,
        lookback_ms: int,
        default_step_ms: int,
        max_cells: int,
        checkpoint: Callable[[], None],
    ) -> Matrix:
        """For `@ start()` and `@ end()`, which differ from one evaluation time to the next."""
        parts = [
            self.evaluate(
                source,
                times[step : step + 1],
                lookback_ms=lookback_ms,
                default_step_ms=default_step_ms,
                max_cells=max_cells,
                checkpoint=checkpoint,
            )
            for step in range(len(times))
        ]
        index: dict[Labels, int] = {}
        for part in parts:
            for labels in part.labels:
                index.setdefault(labels, len(index))
        values = np.zeros((len(index), len(times)))
        present = np.zeros(values.shape, np.bool_)
        for step, part in enumerate(parts):
            rows = np.array([index[labels] for labels in part.labels], np.int64)
            values[rows, step] = part.values[:, 0]
            present[rows, step] = part.present[:, 0]
        return Matrix(parts[0].kind, times, tuple(index), values, present)

    def instant(
        self,
        source: Source,
        t_ms: int,
        *,
        lookback_ms: int = LOOKBACK_MS,
        default_step_ms: int = _DEFAULT_STEP_MS,
        max_cells: int = MAX_CELLS,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> Instant:
        """The result at one moment. Raises PromQLError."""
        times = np.array([t_ms], np.int64)
        root = self._root
        if isinstance(root, Text):
            return Instant("string", t_ms, text=root.value)
        if isinstance(root, RangeSelector | Subquery):
            ctx = Context(source, times, t_ms, t_ms, lookback_ms, default_step_ms, max_cells, checkpoint)
            with np.errstate(all="ignore"):
                w = root.windows(ctx)
            found = [
                (labels, w.t[lo:hi], w.v[lo:hi]) for labels, (lo,), (hi,) in zip(w.labels, w.lo, w.hi, strict=True)
            ]
            return Instant("matrix", t_ms, matrix=sorted((one for one in found if len(one[1])), key=lambda one: one[0]))
        matrix = self.evaluate(
            source,
            times,
            lookback_ms=lookback_ms,
            default_step_ms=default_step_ms,
            max_cells=max_cells,
            checkpoint=checkpoint,
        )
        if matrix.kind == "scalar":
            return Instant("scalar", t_ms, scalar=float(matrix.values[0, 0]))
        return Instant("vector", t_ms, vector=matrix.at(0))


def compile(text: str) -> Plan:
    """The plan of a query. Raises PromQLError, which names what is wrong or not supported."""
    return Plan(text)


def series_matchers(text: str) -> tuple[Matcher, ...]:
    """The matchers of a bare series selector. Raises PromQLError on any other expression."""
    root = parse(text).root
    if not isinstance(root, Selector) or root.shift != (0, None):
        raise PromQLError(f"expected a series selector without modifiers, got {text!r}")
    return root.matchers
