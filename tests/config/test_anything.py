"""Whatever stands in a file, reading it ends in a configuration or in errors that can be shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trader_monitor.config.errors import ConfigErrors
from trader_monitor.config.load import parse
from trader_monitor.config.tables import Config
from trader_monitor.runtime.registry import Registry

TEXTS = [
    "",
    "up",
    "5s",
    "8MiB",
    "127.0.0.1:9",
    "a",
    "log",
    "http",
    "critical",
    "{value:.1%}",
    "\x7f\u202e",
    "sum(",
    "\u0000",
]
KEYS = [
    *("http", "live", "ingest", "store", "logging", "collectors", "checks", "actions", "rules", "channels"),
    *("listen", "tokens", "origins", "socket", "max_body", "path", "raw", "max_series", "level", "every", "timeout"),
    *("type", "trip_after", "cooldown", "recover", "after", "armed", "expr", "for", "clear", "severity", "labels"),
    *("summary", "enabled", "env", "file", "credential", "match", "url", "status", "headers", "password", "a", "x y"),
]
scalars = st.one_of(
    st.sampled_from(TEXTS),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.booleans(),
    st.just(json.loads),  # written as a date
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
tables = st.dictionaries(st.sampled_from(KEYS[10:]), values, max_size=6)
named = st.dictionaries(
    st.sampled_from(["a", "http", "log", "host", "bots", "systemd", "promql"]), tables | values, max_size=3
)
files = st.dictionaries(st.sampled_from(KEYS[:11]), tables | named | values, min_size=1, max_size=6)


def toml(value: Any) -> str:
    """The value as TOML writes it inline."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
        case int():
            return str(value)
        case str():
            return json.dumps(value).replace("\x7f", "\\u007f")
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
        case _:
            return "1979-05-27T07:32:00Z"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file=files)
def test_reading_ends_well_or_in_errors(file: dict[str, Any], registry: Registry) -> None:
    text = "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in file.items())
    try:
        assert isinstance(parse(text, registry, base=Path("/base")), Config)
    except ConfigErrors as wrong:
        errors = wrong.errors
    else:
        return
    assert errors, "there is a reason"
    for error in errors:
        assert str(error).isprintable()
        assert error.line is None or 1 <= error.line <= len(file)
        assert len(str(error)) < 1000
