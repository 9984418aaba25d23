"""What a plugin finds wrong with its options: every fault at once, each under the key that holds it.

An options struct says it in `__post_init__`, so that no options without sense can exist anywhere:

    def __post_init__(self) -> None:
        refuse(wrong_address("url", self.url), unless(self.missed >= 1, "missed", "expected at least 1"))

The configuration turns each fault into an error at its place in the file, with the value as it stands there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, TypeAlias

from yarl import URL

from trader_monitor.config.values import Secret, plain

__all__ = [
    "Key",
    "OptionError",
    "OptionFault",
    "refuse",
    "unless",
    "wrong_address",
    "wrong_headers",
    "wrong_pattern",
]

Key: TypeAlias = str | tuple[str | int, ...]
"""An option's name, or the way to what is within it: ("headers", "X-Key")."""

_ADDRESS = re.compile(r"(?i:https?)://[^\s/][^\x00-\x20]*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class OptionFault(NamedTuple):
    """One wrong option. `expected` never repeats the value, which may be a secret."""

    key: Key
    expected: str

    @property
    def way(self) -> tuple[str | int, ...]:
        return (self.key,) if isinstance(self.key, str) else self.key

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.way))}: {self.expected}"


class OptionError(ValueError):
    """All that is wrong with one options struct."""

    def __init__(self, faults: Collection[OptionFault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)


def refuse(*found: Collection[OptionFault]) -> None:
    """Raises OptionError where anything was found."""
    faults = [fault for some in found for fault in some]
    if faults:
        raise OptionError(faults)


def unless(holds: bool, key: Key, expected: str) -> tuple[OptionFault, ...]:
    """The fault that it does not hold."""
    return () if holds else (OptionFault(key, expected),)


def wrong_address(key: Key, value: Secret | str) -> tuple[OptionFault, ...]:
    """Whether it is no HTTP address."""
    text = plain(value)
    try:
        host = URL(text).host
        sound = _ADDRESS.fullmatch(text) is not None and bool(host and host.encode("idna"))
    except ValueError:
        sound = False
    return unless(sound, key, "expected an address that begins with http:// or https:// and holds no spaces")


def wrong_pattern(key: Key, text: str | None, compile: Callable[[str], object] = re.compile) -> tuple[OptionFault, ...]:
    """Whether it is no regular expression."""
    try:
        compile(text or "")
    except (re.error, ValueError, RecursionError, OverflowError) as error:
        return (OptionFault(key, f"expected a regular expression: {error}"),)
    return ()


def wrong_headers(
    key: str, headers: Mapping[str, Secret | str], taken: Collection[str] = ()
) -> tuple[OptionFault, ...]:
    """Which of them are no headers, or are `taken` (in lower case) already."""
    names = [name for name in headers if not _HEADER.fullmatch(name) or name.lower() in taken]
    values = [name for name, value in headers.items() if not plain(value).isprintable()]
    return (
        *(OptionFault((key, name), "expected the name of a header that is not set already") for name in names),
        *(OptionFault((key, name), "expected printable characters") for name in values),
    )
