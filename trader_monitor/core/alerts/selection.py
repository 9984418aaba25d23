"""Selection: from a touched series to the rules that read it, without asking them all.

Rules are found by the metric's name first; those whose selectors do not fix it are asked about every series.
The answer for a series never changes (its id stands for one label set for good), so it is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from trader_monitor.core.matcher import Matcher
from trader_monitor.core.series import SeriesStore

__all__ = ["RuleIndex"]

_MAX_REMEMBERED = 200_000


class _Selector(NamedTuple):
    rule: int
    tests: tuple[tuple[str, Callable[[str], bool]], ...]


class RuleIndex:
    """The rules by what they select; `selectors[i]` are those of rule `i`."""

    def __init__(self, selectors: Sequence[Iterable[tuple[Matcher, ...]]]) -> None:
        self._by_name: dict[str, list[_Selector]] = {}
        self._any_name: list[_Selector] = []
        self._remembered: dict[int, tuple[int, ...]] = {}
        for rule, several in enumerate(selectors):
            for matchers in several:
                name = next((m.value for m in matchers if m.name == "__name__" and m.op == "="), None)
                tests = tuple((m.name, m.predicate()) for m in matchers if m != Matcher("__name__", "=", name or ""))
                place = self._any_name if name is None else self._by_name.setdefault(name, [])
                place.append(_Selector(rule, tests))

    def forget(self) -> None:
        """Another store gives its ids to other series."""
        self._remembered.clear()

    def concerned(self, series: SeriesStore, sids: Iterable[int]) -> set[int]:
        """The rules that read any of these series."""
        found: set[int] = set()
        remembered = self._remembered
        for sid in sids:
            rules = remembered.get(sid)
            if rules is None:
                if len(remembered) >= _MAX_REMEMBERED:
                    remembered.clear()
                rules = remembered[sid] = self._rules_of(dict(series.labels_of(sid)))
            found.update(rules)
        return found

    def _rules_of(self, labels: dict[str, str]) -> tuple[int, ...]:
        candidates = (*self._by_name.get(labels.get("__name__", ""), ()), *self._any_name)
        return tuple(
            {
                selector.rule: None
                for selector in candidates
                if all(test(labels.get(name, "")) for name, test in selector.tests)
            }
        )
