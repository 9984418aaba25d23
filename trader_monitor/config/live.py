"""The configuration of a running daemon: what a reload cannot change, and what the log must conceal."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from trader_monitor.config.tables import Config
from trader_monitor.config.values import Secret

__all__ = ["FIXED", "fixed_changes", "secrets", "with_fixed"]

FIXED = ("http.listen", "live.listen", "ingest.socket", "store.path", "store.max_series")
"""What a reload cannot change: the doors stay bound and the store stays open."""


def secrets(config: Config) -> list[Secret]:
    """Every secret of the configuration, for the log to conceal."""
    found: list[Secret] = list(config.http.tokens)
    options = [table.options for table in config.collectors.values()]
    options += [table.options for table in config.checks.values()]
    options += [table.options for table in config.actions.values()]
    options += [table.options for table in config.channels.values()]
    for chosen in options:
        found += _secrets_in(msgspec.structs.asdict(chosen))
    return found


def _secrets_in(value: object) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _secrets_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets_in(inner)


def fixed_changes(fresh: Config, old: Config) -> list[str]:
    """The keys whose new values take a restart."""
    return [key for key in FIXED if _at(fresh, key) != _at(old, key)]


def _at(config: Config, key: str) -> object:
    table, _, name = key.partition(".")
    return getattr(getattr(config, table), name)


def with_fixed(fresh: Config, old: Config) -> Config:
    """The fresh configuration with the old one's fixed values."""
    tables: dict[str, msgspec.Struct] = {}
    for key in FIXED:
        table, _, name = key.partition(".")
        base = tables.get(table, getattr(fresh, table))
        tables[table] = msgspec.structs.replace(base, **{name: _at(old, key)})
    return msgspec.structs.replace(fresh, **tables)
