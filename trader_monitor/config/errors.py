"""What is wrong with a configuration: every error at once, each with its place and a way out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple, TypeAlias

__all__ = ["ConfigError", "ConfigErrors", "Place", "Report", "among", "close_to", "dotted", "shown"]

Place: TypeAlias = tuple[str | int, ...]
"""Where a value stands in the file: ("checks", "api", "recover", 0)."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
SHOWN_LIMIT = 80


def dotted(path: Place) -> str:
    """The path as TOML would write it: `checks."the api".recover[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else shown(part))
    return text


def shown(value: object) -> str:
    """A value of the file on one line, short, with nothing in it that a terminal would obey."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[: SHOWN_LIMIT + 1])
    return text if len(text) <= SHOWN_LIMIT else text[: SHOWN_LIMIT - 1] + "…"


def close_to(word: object, known: Iterable[str]) -> str:
    """`did you mean "every"?`, or the empty string where nothing is near."""
    matches = get_close_matches(word, sorted(known), n=1, cutoff=0.6) if isinstance(word, str) else []
    return f"did you mean {json.dumps(matches[0])}?" if matches else ""


def among(word: object, known: Iterable[str], noun: str) -> str:
    """Like `close_to`, and otherwise all that there are."""
    known = sorted(known)
    return close_to(word, known) or (f"there are {', '.join(known)}" if known else f"there are no {noun}")


class ConfigError(NamedTuple):
    """One wrong place. `value` is None where there is none to show, as with every secret."""

    path: str
    value: str | None
    expected: str
    hint: str = ""
    line: int | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        what = f"{self.path} = {self.value}" if self.path and self.value is not None else self.path
        return where + (f"{what}: " if what else "") + self.expected + (f"; {self.hint}" if self.hint else "")


class ConfigErrors(Exception):
    """A configuration that is not taken, and all the reasons."""

    def __init__(self, errors: list[ConfigError], file: str = "") -> None:
        super().__init__(errors, file)
        self.errors = errors
        self.file = file

    def __str__(self) -> str:
        count = f"{len(self.errors)} error{'' if len(self.errors) == 1 else 's'}"
        return "\n".join([f"{self.file or 'configuration'}: {count}", *(f"  {error}" for error in self.errors)])


class Report:
    """Collects errors while reading goes on."""

    def __init__(self) -> None:
        self.found: list[tuple[Place, ConfigError]] = []

    def wrong(self, path: Place, expected: str, *, value: object = None, hint: str = "") -> None:
        """`value` is left out where it is a secret, or where there is none."""
        text = None if value is None else shown(value)
        self.found.append((path, ConfigError(dotted(path), text, expected, hint)))

    def has(self, path: Place) -> bool:
        """Whether something at or below `path` is wrong."""
        return any(found[: len(path)] == path for found, _ in self.found)
