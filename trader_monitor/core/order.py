"""Order: sorting, and going through arrays, in a way that lets other threads run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Any, TypeVar

from numpy.typing import NDArray

__all__ = ["elements", "in_order"]

T = TypeVar("T", bound=Any)
_PART = 2_000


def in_order(things: Iterable[T]) -> list[T]:
    """The things, ascending. Many of them in parts: no other thread can run during a sort, and one of 50,000 label
    sets takes a tenth of a second."""
    things = list(things)
    if len(things) <= _PART:
        return sorted(things)
    return list(merge(*(sorted(things[first : first + _PART]) for first in range(0, len(things), _PART))))


def elements(array: NDArray[Any]) -> Iterator[Any]:
    """The array's elements (rows, where it has two dimensions) as Python's own, some at a time: a list of five
    million takes a quarter of a second."""
    for first in range(0, len(array), _PART):
        yield from array[first : first + _PART].tolist()
