"""Counts processes."""

from __future__ import annotations

import re

from msgspec import Struct

from trader_monitor.runtime.env import Env
from trader_monitor.runtime.options import refuse, unless, wrong_pattern
from trader_monitor.runtime.probe import Probe
from trader_monitor.runtime.processes import matching
from trader_monitor.runtime.registry import check


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """`match` is a regular expression sought in command lines; `least` to `most` processes must be there."""

    match: str
    least: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        refuse(
            wrong_pattern("match", self.match),
            unless(self.least >= 0, "least", "expected at least 0"),
            unless(self.most is None or self.most >= self.least, "most", "expected at least as many as `least`"),
        )


@check("process", Options)
def process(options: Options, env: Env) -> Probe:
    """Counts the processes whose command lines match."""
    count = len(matching(re.compile(options.match)))
    wanted = f"at least {options.least}" if options.most is None else f"{options.least} to {options.most}"
    ok = options.least <= count and (options.most is None or count <= options.most)
    return Probe(ok, f"{count} processes match, wanted {wanted}", float(count))
