"""A model's rows as columns for the statistics: features, and beside them what it predicted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from trader_monitor.core.models.columns import Values
from trader_monitor.core.models.drift.baseline import Baseline
from trader_monitor.core.models.names import LABEL, OUTPUT, PROBABILITY
from trader_monitor.runtime.predictions import Predictions

__all__ = ["Table", "nulls_apart", "table_of"]


class Table(NamedTuple):
    """`numbers` is rows x `names`, NaN where there is no number; `values` has the columns with any category, and
    `nulls` how often a column was null, by name. The rows are in the order of the predictions."""

    names: tuple[str, ...]
    numbers: NDArray[np.float32]
    values: Mapping[str, Values]
    nulls: Mapping[str, int]

    def column(self, name: str) -> Values:
        """One column as `core.models.columns.column_of` takes it; its nulls are NaN where it is one of numbers."""
        return self.values[name] if name in self.values else self.numbers[:, self.names.index(name)]


def nulls_apart(made: Baseline, nulls: int) -> Baseline:
    """Of a column of numbers whose nulls were given as NaN: so many of those were nulls."""
    return structs.replace(made, nulls=made.nulls + nulls, nans=made.nans - nulls)


def table_of(found: Predictions, wanted: Collection[str] | None = None) -> Table:
    """All features and outputs that there are values of, or of them those that are wanted."""
    numbers: dict[str, NDArray[np.float32]] = {}
    words: dict[str, list[str | None]] = {}
    categorical = set(found.categorical())
    for place, name in enumerate(found.columns):
        if wanted is None or name in wanted:
            numbers[name] = found.matrix[:, place]
            if name in categorical:
                words[name] = found.category(name)
    none = np.full(len(found), np.nan)
    for name, column, texts in (
        (OUTPUT, found.output, found.texts),
        (PROBABILITY, found.probability, []),
        (LABEL, none, found.label),
    ):
        if name in numbers or not (wanted is None or name in wanted):
            continue
        is_text = any(text is not None for text in texts)
        if is_text or not np.isnan(column).all():
            numbers[name] = column.astype(np.float32)
            if is_text:
                words[name] = list(texts)
    values = {name: _mixed(column, numbers[name]) for name, column in words.items()}
    nulls = {name: int(np.isnan(column).sum()) for name, column in numbers.items() if name not in values}
    matrix = np.column_stack(list(numbers.values())) if numbers else np.empty((len(found), 0), np.float32)
    return Table(tuple(numbers), matrix, values, nulls)


def _mixed(words: list[str | None], numbers: NDArray[np.float32]) -> list[float | str | None]:
    """A column of categories, in which some rows may have a number or nothing."""
    plain = [None if number != number else number for number in numbers.tolist()]
    return [number if word is None else word for word, number in zip(words, plain, strict=True)]
