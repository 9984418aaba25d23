"""Template: a summary's text with places for the value and the labels, and nothing else.

::

    Equity of {labels.account} fell {value:.1%} from its peak
    {labels.exchange} silent for {value:duration}

A place is `{value}` or `{labels.NAME}`. `value` takes a format: `,` for thousands, `.N` for decimals, then one
of `f e g %`, or one of the words `duration` (seconds) and `bytes`. `{{` and `}}` are braces. There is no
attribute, index, conversion or width: a template can neither reach into the program nor ask for 100 MB.
Whatever comes from outside (labels) is shortened, and its control characters are shown escaped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["MAX_RENDERED", "Mistake", "Template", "TemplateError", "harmless"]

MAX_RENDERED = 1000
"""Characters of a rendered summary."""
MAX_LABEL = 200
"""Characters that one label may contribute."""
_MAX_TEXT = 2000

_PLACE = re.compile(r"(value|labels\.([a-zA-Z_][a-zA-Z0-9_]*))(?::([^{}]*))?")
_NUMBER = re.compile(r",?(?:\.\d{1,2})?[feg%]?")
_WORDS = frozenset({"duration", "bytes"})
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


_MOST_MISTAKES = 10


class Mistake(NamedTuple):
    """What is wrong in a text that is no template; `position` is the offending character's index."""

    message: str
    position: int

    def __str__(self) -> str:
        return f"{self.message} (at character {self.position + 1})"


class TemplateError(ValueError):
    """The text is no template: its mistakes, the first ten of them."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)[:_MOST_MISTAKES]
        super().__init__("; ".join(map(str, self.mistakes)))


class _Place(NamedTuple):
    label: str | None
    """The label's name; None for the value."""
    spec: str


class Template(NamedTuple):
    """A checked template: text and places in turn."""

    parts: tuple[str | _Place, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Raises TemplateError, which names the mistakes and where they are."""
        if len(text) > _MAX_TEXT:
            raise TemplateError([Mistake(f"expected at most {_MAX_TEXT} characters", _MAX_TEXT)])
        parts: list[str | _Place] = []
        mistakes: list[Mistake] = []
        position = 0
        while position < len(text):
            found = re.compile(r"[{}]").search(text, position)
            end = found.start() if found else len(text)
            if end > position:
                parts.append(text[position:end])
            if end == len(text):
                break
            if text[end : end + 2] in {"{{", "}}"}:
                parts.append(text[end])
                position = end + 2
                continue
            place, position = _place(text, end)
            if isinstance(place, Mistake):
                mistakes.append(place)
            else:
                parts.append(place)
        if mistakes:
            raise TemplateError(mistakes)
        return cls(tuple(parts))

    def render(self, value: float | None, labels: Mapping[str, str]) -> str:
        """Total: a label that the alert does not have is empty, and so is a value that there is not."""
        out: list[str] = []
        for part in self.parts:
            if isinstance(part, str):
                out.append(part)
            elif part.label is not None:
                out.append(_shortened(labels.get(part.label, ""), MAX_LABEL))
            elif value is not None:
                out.append(_number(value, part.spec))
        return harmless(_shortened("".join(out), MAX_RENDERED))


def harmless(text: str) -> str:
    """The text with control characters, line separators, direction overrides and lone surrogates escaped."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _place(text: str, start: int) -> tuple[_Place | Mistake, int]:
    """The place that begins there, or what is wrong with it; and where the text goes on."""
    if text[start] == "}":
        return Mistake("a single }: write }} for a brace", start), start + 1
    end = text.find("}", start)
    if end < 0:
        return Mistake("this { is never closed: write {{ for a brace", start), len(text)
    inside = text[start + 1 : end]
    after = end + 1 + inside.count("{")
    match = _PLACE.fullmatch(inside)
    if match is None:
        expected = f"expected {{value}} or {{labels.NAME}}, got {{{_shortened(inside, 40)}}}"
        return Mistake(expected, start), after if text[end:after] == "}" * (after - end) else end + 1
    label, spec = match[2], match[3] or ""
    at = start + 1 + inside.find(":")
    if label is not None and match[3] is not None:
        return Mistake("a label takes no format", at), end + 1
    if not (_NUMBER.fullmatch(spec) or spec in _WORDS):
        expected = f"expected a format such as .2f, ,.0f, .1%, duration or bytes, got {_shortened(spec, 40)!r}"
        return Mistake(expected, at), end + 1
    return _Place(label, spec), end + 1


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _number(value: float, spec: str) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if spec == "duration":
        return _duration(value)
    if spec == "bytes":
        return _bytes(value)
    text = format(value, spec if spec and spec[-1] in "feg%" else f"{spec}{'f' if '.' in spec else '.12g'}")
    return _shortened(text, 60)


def _duration(seconds: float) -> str:
    """The two largest units: 45s, 2m 5s, 3h 20m, 4d 1h; below one second in milliseconds."""
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    if seconds < 1:
        return f"{sign}{seconds * 1000:.3g}ms"
    if seconds < 60:
        return f"{sign}{seconds:.3g}s"
    whole = round(min(seconds, 1e15))
    units = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
    first = next(at for at, (size, _) in enumerate(units) if whole >= size)
    size, unit = units[first]
    text = f"{sign}{whole // size}{unit}"
    if first + 1 < len(units) and (rest := whole % size // units[first + 1][0]):
        text += f" {rest}{units[first + 1][1]}"
    return text


def _bytes(size: float) -> str:
    sign, size = ("-", -size) if size < 0 else ("", size)
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{sign}{size:.4g} {units[0]}"
