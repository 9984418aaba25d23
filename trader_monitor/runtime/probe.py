"""Probe: what a check answers."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Probe"]


class Probe(NamedTuple):
    """`ok` True or False is an answer with proof; None is *no data*, which neither trips nor heals anything.

    `message` names the value that was seen beside the one that was wanted ("status 503, wanted 200"); `value` is
    the measure behind it, in base units, where there is one.
    """

    ok: bool | None
    message: str
    value: float | None = None
