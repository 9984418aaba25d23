"""Counts processes."""

from __future__ import annotations

import re

from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.probe import Probe
from trader_monitor.runtime.processes import matching
from trader_monitor.runtime.registry import check


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """`match` is a regular expression sought in command lines; `least` to `most` processes must be there."""

    match: str
    least: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.match)
        except re.error as error:
            raise ValueError(f"match is no regular expression: {error}") from None
        if self.least < 0 or (self.most is not None and self.most < self.least):
            raise ValueError("expected 0 <= least <= most")


@check("process", Options)
def process(options: Options, env: Env) -> Probe:
    """Counts the processes whose command lines match."""
    count = len(matching(re.compile(options.match)))
    wanted = f"at least {options.least}" if options.most is None else f"{options.least} to {options.most}"
    ok = options.least <= count and (options.most is None or count <= options.most)
    return Probe(ok, f"{count} processes match, wanted {wanted}", float(count))
