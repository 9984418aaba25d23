"""Which series belong together in an exposition: families, their type, and the order that the formats want.

A family is a metric with its series: `x` alone, or for a histogram `x_bucket`, `x_sum` and `x_count`. OpenMetrics
takes the `_total` off a counter's family and wants no two families to share a sample's name; where two would, the
later one is told as of unknown type under its full name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from trader_monitor.core.facts import Labels
from trader_monitor.core.series import Metadata

__all__ = ["Family", "Row", "families"]

PAUSE_EVERY = 500
COMPOSED = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
DIMENSION = {"histogram": "le", "summary": "quantile"}
PLAIN = {"counter": "counter", "gauge": "gauge", "info": "gauge"}
CLAIMS = {
    "counter": ("", "_total", "_created"),
    "histogram": ("", "_bucket", "_sum", "_count", "_created"),
    "summary": ("", "_sum", "_count", "_created"),
}
_UNKNOWN = Metadata("unknown")


class Row(NamedTuple):
    """One series: its id, its sample's name, its labels without that name."""

    sid: int
    name: str
    labels: Labels


class Family(NamedTuple):
    """One metric. `kind` is a word of the format, "" for unknown."""

    name: str
    kind: str
    help: str
    rows: list[Row]


def families(
    series: Iterable[tuple[int, Labels]], metadata: Mapping[str, Metadata], *, openmetrics: bool
) -> Iterator[Family | None]:
    """The families by name, and None now and then: a good moment to pause."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for number, (sid, labels) in enumerate(series):
        if number % PAUSE_EVERY == 0:
            yield None
        name = next((value for key, value in labels if key == "__name__"), "")
        if name and not _creation(name, metadata):
            groups[_family(name, metadata)].append(Row(sid, name, tuple(x for x in labels if x[0] != "__name__")))
    taken: set[str] = set()
    since = 0
    for name in sorted(groups):
        rows = groups[name]
        since += len(rows)
        if since > PAUSE_EVERY:
            since = 0
            yield None
        about = metadata.get(name, _UNKNOWN)
        if about.kind in COMPOSED:
            yield from _ordered(rows, DIMENSION[about.kind])
        kind = about.kind if about.kind in COMPOSED else PLAIN.get(about.kind, "")
        if not openmetrics:
            yield Family(name, kind, about.help, rows)
        else:
            yield from _open(Family(name, kind, about.help, rows), taken)


def _family(name: str, metadata: Mapping[str, Metadata]) -> str:
    """The family that a sample's name belongs to: its own, unless a histogram or summary claims it."""
    if name in metadata:
        return name
    base, _, suffix = name.rpartition("_")
    about = metadata.get(base)
    return base if about is not None and f"_{suffix}" in COMPOSED.get(about.kind, ()) else name


def _creation(name: str, metadata: Mapping[str, Metadata]) -> bool:
    """Whether the name is that of a creation time, which OpenMetrics has beside a counter: not worth a series."""
    base = name.removesuffix("_created")
    return base != name and name not in metadata and (base in metadata or f"{base}_total" in metadata)


def _ordered(rows: list[Row], dimension: str) -> Iterator[None]:
    """Puts each label set's buckets (or quantiles) together, ascending, then its sum and count."""
    sets: defaultdict[Labels, list[tuple[int, float, Row]]] = defaultdict(list)
    for number, row in enumerate(rows):
        if number % PAUSE_EVERY == PAUSE_EVERY - 1:
            yield None
        bound = next((value for key, value in row.labels if key == dimension), None)
        rank = 0 if bound is not None else 1 if row.name.endswith("_sum") else 2
        sets[tuple(x for x in row.labels if x[0] != dimension)].append((rank, _number(bound), row))
    rows.clear()
    for number, members in enumerate(sets.values()):
        if number % (PAUSE_EVERY // 10) == 0:
            yield None
        rows += [row for _, _, row in sorted(members, key=lambda member: member[:2])]


def _number(text: str | None) -> float:
    try:
        return float(text or "inf")
    except ValueError:
        return float("inf")


def _open(family: Family, taken: set[str]) -> Iterator[Family]:
    """The family as OpenMetrics has it; as unknown ones, one per name, where its names are taken or it is not whole."""
    name, kind = family.name, family.kind
    if kind == "counter":
        kind, name = ("counter", name.removesuffix("_total")) if name.endswith("_total") else ("", name)
    whole = kind != "histogram" or _whole(family.rows)
    claims = {name + suffix for suffix in CLAIMS.get(kind, ("",))}
    if whole and not claims & taken:
        taken |= claims
        yield Family(name, kind, family.help, family.rows)
        return
    for sample in dict.fromkeys(row.name for row in family.rows):
        if sample not in taken:
            taken.add(sample)
            yield Family(sample, "", family.help, [row for row in family.rows if row.name == sample])


def _whole(rows: list[Row]) -> bool:
    """Whether each of a histogram's label sets has its last bucket: strict readers refuse a scrape without."""
    sets = {tuple(x for x in row.labels if x[0] != "le") for row in rows}
    return sum(("le", "+Inf") in row.labels for row in rows) == len(sets)
