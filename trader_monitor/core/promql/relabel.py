"""Functions of labels: label_replace and label_join, and the labels of what is absent."""

from __future__ import annotations

import re
from collections.abc import Callable

from trader_monitor.core.facts import Labels
from trader_monitor.core.matcher import Matcher, compile_pattern
from trader_monitor.core.promql.errors import PromQLError

__all__ = ["absent_labels", "joiner", "natural_key", "replacer"]

_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})", re.ASCII)


def replacer(destination: str, replacement: str, source: str, pattern: str) -> Callable[[Labels], Labels]:
    """label_replace: where `pattern` matches the whole source label, the destination becomes the replacement."""
    try:
        matcher = compile_pattern(pattern)
    except ValueError as error:
        raise PromQLError(f"invalid regular expression in label_replace(): {pattern}: {error}") from None
    if matcher.risk >= 99:
        raise PromQLError(f"the pattern of label_replace() could take for ever: {pattern}")
    _valid(destination, "destination label name in label_replace()")

    def change(labels: Labels) -> Labels:
        values = dict(labels)
        match = matcher.groups(values.get(source, ""))
        if match is None:
            return labels
        return _with(values, destination, _expanded(replacement, match))

    return change


def joiner(destination: str, separator: str, sources: tuple[str, ...]) -> Callable[[Labels], Labels]:
    """label_join: the destination becomes the source labels' values, joined."""
    _valid(destination, "destination label name in label_join()")
    for source in sources:
        _valid(source, "source label name in label_join()")

    def change(labels: Labels) -> Labels:
        values = dict(labels)
        return _with(values, destination, separator.join(values.get(source, "") for source in sources))

    return change


def absent_labels(matchers: tuple[Matcher, ...]) -> Labels:
    """What absent() can say of the series that is not there: labels that one `=` matcher alone determines."""
    values: dict[str, str] = {}
    refuted: set[str] = set()
    for matcher in matchers:
        if matcher.name == "__name__":
            continue
        if matcher.op == "=" and matcher.name not in values:
            values[matcher.name] = matcher.value
        else:
            refuted.add(matcher.name)
    return tuple(sorted((name, value) for name, value in values.items() if value and name not in refuted))


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts "item2" before "item10"."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)


def _valid(name: str, what: str) -> None:
    if not name:
        raise PromQLError(f"invalid {what}: {name}")


def _with(values: dict[str, str], name: str, value: str) -> Labels:
    values[name] = value
    return tuple(sorted((key, one) for key, one in values.items() if one))


def _expanded(template: str, match: re.Match[str]) -> str:
    def reference(found: re.Match[str]) -> str:
        if found[1]:
            return "$"
        name = found[2] or found[3]
        try:
            return match[int(name) if name.isdecimal() else name] or ""
        except IndexError:
            return ""

    return _REFERENCE.sub(reference, template)
