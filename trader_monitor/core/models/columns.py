"""Columns: the values of one feature as they come, with what is no number counted apart by its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trader_monitor.core.samples import Bools

__all__ = ["Column", "ColumnError", "Kind", "Ordered", "Values", "column_of", "narrowed"]

Kind: TypeAlias = Literal["numeric", "category"]
Ordered: TypeAlias = NDArray[np.floating[Any]]
Values: TypeAlias = NDArray[Any] | Sequence[float | str | None]

_LARGEST = 3.4028234663852886e38


class ColumnError(ValueError):
    """The values are neither numbers nor names."""


class Column(NamedTuple):
    """One feature's values in the order of time. `finite` has the usable numbers, `names` the usable categories.

    `missing` marks the rows that have neither, so it is as long as there are `rows`.
    """

    kind: Kind
    rows: int
    finite: Ordered
    names: list[str]
    nulls: int
    nans: int
    infinities: int
    missing: Bools

    @property
    def usable(self) -> int:
        return len(self.names) if self.kind == "category" else len(self.finite)


def column_of(values: Values, kind: Kind | None = None) -> Column:
    """Sorts out `values`; without `kind` a single string among them makes them categories. Raises ColumnError.

    Numbers stay float32 where the array is, else they are float64.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        if values.ndim != 1:
            raise ColumnError(f"expected one column, not an array of {values.ndim} dimensions")
        numbers: Ordered = values if values.dtype == np.float32 else values.astype(np.float64, copy=False)
        return _names(numbers.tolist()) if kind == "category" else _numbers(numbers, 0)
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    if kind is None:
        kind = "category" if any(isinstance(value, str) for value in listed) else "numeric"
    if kind == "category":
        return _names(listed)
    try:
        numbers = np.array([np.nan if value is None else value for value in listed], dtype=np.float64)
    except (TypeError, ValueError):
        wrong = next(value for value in listed if not isinstance(value, int | float | None))
        raise ColumnError(f"expected a number, not {wrong!r:.60}") from None
    return _numbers(numbers, sum(value is None for value in listed))


def _numbers(values: Ordered, nulls: int) -> Column:
    usable = np.isfinite(values)
    finite = values[usable]
    nans = int(np.isnan(values).sum()) - nulls
    return Column(
        kind="numeric",
        rows=len(values),
        finite=finite,
        names=[],
        nulls=nulls,
        nans=nans,
        infinities=len(values) - len(finite) - nans - nulls,
        missing=~usable,
    )


def narrowed(values: Ordered) -> Ordered:
    """The same numbers as float32 where each of them is one."""
    if values.dtype == np.float32 or np.abs(values).max(initial=0.0) > _LARGEST:
        return values
    narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow, values) else values


def _names(values: Sequence[float | str | None]) -> Column:
    names: list[str] = []
    missing = np.zeros(len(values), dtype=np.bool_)
    nulls = nans = infinities = 0
    for row, value in enumerate(values):
        if isinstance(value, str):
            names.append(value)
            continue
        if value is None:
            nulls += 1
        elif value != value:
            nans += 1
        elif abs(value) == np.inf:
            infinities += 1
        else:
            names.append(_name(value))
            continue
        missing[row] = True
    return Column(
        kind="category",
        rows=len(values),
        finite=np.empty(0),
        names=names,
        nulls=nulls,
        nans=nans,
        infinities=infinities,
        missing=missing,
    )


def _name(number: float) -> str:
    """A category that is written as a number: 1 and 1.0 are the same one."""
    return str(int(number)) if float(number).is_integer() else repr(float(number))
