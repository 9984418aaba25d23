"""A baseline as it is shown: what a person wants to know of it, without the sample."""

from __future__ import annotations

from msgspec import Struct

from trader_monitor.core.models.drift.baseline import PERCENTILES, Baseline, Kind

__all__ = ["BaselineView", "Share", "view"]

SHOWN = 20


class Share(Struct, frozen=True):
    """A category, and how often it was there."""

    name: str
    count: int


class BaselineView(Struct, frozen=True, kw_only=True):
    """`percentiles` are by their number ("50"). `evidence` is empty where p-values can be had, else it says why not."""

    feature: str
    kind: Kind
    rows: int
    usable: int
    nulls: int
    nans: int
    infinities: int
    out_of_range: int
    constant: bool
    evidence: str
    source: str
    first_at: float | None
    last_at: float | None
    created: float | None
    mean: float | None = None
    std: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    percentiles: dict[str, float] = {}
    edges: tuple[float, ...] = ()
    categories: tuple[Share, ...] = ()
    other: int = 0
    """Values of the categories beyond those shown."""


def view(baseline: Baseline) -> BaselineView:
    """The baseline without its sample."""
    moments, made = baseline.moments, baseline.provenance
    categories = list(baseline.categories.items())
    return BaselineView(
        feature=baseline.name,
        kind=baseline.kind,
        rows=baseline.rows,
        usable=baseline.rows - baseline.missing,
        nulls=baseline.nulls,
        nans=baseline.nans,
        infinities=baseline.infinities,
        out_of_range=baseline.out_of_range,
        constant=baseline.constant,
        evidence=baseline.refusal.reason if baseline.refusal is not None else "",
        source=made.source,
        first_at=made.first_at,
        last_at=made.last_at,
        created=made.created,
        mean=None if moments is None else moments.mean,
        std=None if moments is None else moments.std,
        minimum=None if moments is None else moments.minimum,
        maximum=None if moments is None else moments.maximum,
        percentiles=dict(zip(map(str, PERCENTILES), baseline.percentiles, strict=False)),
        edges=baseline.edges,
        categories=tuple(Share(name, count) for name, count in categories[:SHOWN]),
        other=baseline.other + sum(count for _, count in categories[SHOWN:]),
    )
