"""Drift: a window of a model's features and outputs against their baselines, one verdict for each and one for all."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from trader_monitor.core.models.columns import Column, ColumnError, Ordered, Values, column_of
from trader_monitor.core.models.drift.baseline import Baseline
from trader_monitor.core.models.drift.calibration import cells_of, evidence
from trader_monitor.core.models.drift.categories import aligned, homogeneity, unseen
from trader_monitor.core.models.drift.distances import (
    Reference,
    bin_counts,
    jensen_shannon,
    kolmogorov_smirnov,
    population_stability,
    reference_of,
    wasserstein,
)
from trader_monitor.core.models.drift.fdr import ALPHA, Online, benjamini_hochberg, level, stepped
from trader_monitor.core.models.drift.verdict import (
    MISSING_DRIFT,
    DriftResult,
    FeatureDrift,
    Histogram,
    effect_of,
    severity_of,
)

__all__ = ["LEAST_ROWS", "FloatMatrix", "drift", "feature_drift"]

FloatMatrix: TypeAlias = NDArray[np.floating[Any]]

LEAST_ROWS = 30
"""A window of fewer usable rows is too short for a verdict."""
LEAST_EFFECTIVE = 3.0
"""So is one of categories that is worth fewer independent rows."""

_BARS = 24
_NAMED = 12


def drift(
    baselines: Mapping[str, Baseline],
    window: FloatMatrix,
    columns: Sequence[str],
    *,
    values: Mapping[str, Values] | None = None,
    nulls: Mapping[str, int] | None = None,
    model: str = "",
    version: str = "",
    label: str = "",
    outputs: Collection[str] = (),
    important: Collection[str] = (),
    degraded: bool = False,
    online: Online | None = None,
    at: float | None = None,
    first_at: float | None = None,
    last_at: float | None = None,
) -> DriftResult:
    """The drift of `window` (rows x columns in the order of time; NaN is no number).

    `values` has the columns that are no numbers (and overrides those of the same name), `nulls` how many of a
    column's NaN were null. `outputs` names the columns that are the model's predictions, `important` those whose
    drift alone is severe. `label` names the window as it was asked for ("7d"). With `online`, which the last run's
    result holds, the level is such that false discoveries stay rare over the runs; without, it is 0.05 in this run.
    """
    given: dict[str, Values] = {name: window[:, place] for place, name in enumerate(columns)}
    given.update(values or {})
    rows = max(len(window), *(len(each) for each in given.values())) if given else len(window)
    found = []
    for name in dict.fromkeys((*baselines, *given)):
        one = feature_drift(baselines.get(name), given.get(name), name, nulls=(nulls or {}).get(name, 0))
        role = "output" if name in outputs else "feature"
        found.append(structs.replace(one, role=role, important=name in important))
    threshold = ALPHA if online is None else level(online)
    judged, discovered = _judged(found, threshold)
    inputs = [each for each in judged if each.role == "feature" and each.verdict != "insufficient_evidence"]
    drifted = sum(each.verdict == "drift" for each in inputs)
    known = any(each.verdict != "insufficient_evidence" for each in judged)
    return DriftResult(
        model=model,
        version=version,
        window=label or f"{rows} rows",
        rows=rows,
        features=judged,
        tested=len(inputs),
        drifted=drifted,
        share=drifted / len(inputs) if inputs else None,
        severity=severity_of(judged, threshold, degraded=degraded) if known else None,
        level=threshold,
        online=stepped(online or Online(), discovered=discovered),
        at=at,
        first_at=first_at,
        last_at=last_at,
    )


def feature_drift(baseline: Baseline | None, given: Values | None, name: str, *, nulls: int = 0) -> FeatureDrift:
    """One column against its baseline, measured and not yet judged: `q` and the verdict need the run's others."""
    if baseline is None:
        column = column_of(given if given is not None else ())
        return FeatureDrift(name=name, kind=column.kind, status="appeared", reason="no_baseline", rows=column.usable)
    known = FeatureDrift(name=name, kind=baseline.kind, baseline_rows=baseline.rows - baseline.missing)
    if given is None:
        return structs.replace(known, status="vanished", reason="no_column")
    try:
        column = column_of(given, baseline.kind)
    except ColumnError:
        return structs.replace(known, status="kind_changed", reason="kind_changed")
    if baseline.kind == "category" and _turned_to_numbers(baseline, column, given):
        return structs.replace(known, status="kind_changed", reason="kind_changed")
    known = structs.replace(known, rows=column.usable, **_missing(baseline, column, nulls))
    if not column.usable:
        return structs.replace(known, status="all_missing", reason="no_values")
    if not known.baseline_rows:
        return structs.replace(known, status="missing_baseline", reason="no_baseline_values")
    if baseline.kind == "category":
        return _categories(known, baseline, column)
    return _numbers(known, baseline, column)


def _turned_to_numbers(baseline: Baseline, column: Column, given: Values) -> bool:
    """Whether a feature of names now has numbers, none of which was a name before."""
    strings = any(isinstance(value, str) for value in (given.tolist() if isinstance(given, np.ndarray) else given))
    return bool(column.names) and not strings and baseline.categories.keys().isdisjoint(column.names)


def _missing(baseline: Baseline, column: Column, nulls: int) -> dict[str, Any]:
    """What is missing in the window, by kind, and whether its share changed."""
    counts = np.array(
        [[baseline.rows - baseline.missing, baseline.missing], [column.usable, column.rows - column.usable]]
    )
    found: dict[str, Any] = {
        "nulls": column.nulls + nulls,
        "nans": max(column.nans - nulls, 0),
        "infinities": column.infinities,
    }
    if not baseline.rows or not column.rows:
        return found
    before, after = (counts[:, 1] / counts.sum(axis=1)).tolist()
    if not baseline.missing and counts[1, 1]:
        p: float | None = unseen(baseline.rows, column.rows)
    else:
        tested = homogeneity(counts, np.full(2, baseline.missing_tau))
        p = tested.p if tested is not None else None
    # Of what was never missing no dependence is known, and any p-value is one of whole blocks: it is told anyway.
    convincing = not baseline.missing or (p is not None and p <= ALPHA)
    changed = convincing and abs(after - before) > MISSING_DRIFT
    return found | {"missing_before": before, "missing_after": after, "missing_p": p, "missing_changed": changed}


def _numbers(known: FeatureDrift, baseline: Baseline, column: Column) -> FeatureDrift:
    reference = reference_of(baseline, column.finite.dtype)
    ordered = np.sort(column.finite)
    rows = len(ordered)
    ks, psi, js = (
        kolmogorov_smirnov(reference, ordered),
        population_stability(reference.counts, after := bin_counts(ordered, reference.edges)),
        jensen_shannon(reference.counts, after),
    )
    low, high = baseline.accepted or (-math.inf, math.inf)
    moved = ordered[0] != ordered[-1]
    known = structs.replace(
        known,
        status="measured" if moved else "constant_window",
        ks=ks,
        psi=psi,
        jensen_shannon=js,
        wasserstein=wasserstein(reference.ordered, ordered),
        out_of_range=int(((ordered < low) | (ordered > high)).sum()),
        effect=effect_of(ks, psi),
        histogram=_bars(reference, ordered),
    )
    if baseline.constant:
        # No dependence can be learned from what never moved; its blocks still say how often it did not.
        p = 1.0 if ks == 0.0 else unseen(known.baseline_rows, rows)
        # Its one bin has every value, whatever that is: what is measured by bins tells nothing.
        return structs.replace(known, status="constant_baseline", p=p, psi=None, jensen_shannon=None)
    if rows < LEAST_ROWS:
        return structs.replace(known, status="short_window", reason="short_window")
    calibration = baseline.calibration
    if calibration is None:
        reason = baseline.refusal.reason if baseline.refusal is not None else "uncalibrated"
        return structs.replace(known, reason=reason)
    in_cells = evidence(reference.shares, cells_of(ordered, reference.borders), rows)
    stray, root = calibration.critical(rows)[0], math.sqrt(calibration.critical(rows)[1])
    return structs.replace(
        known,
        p=calibration.p_values(float(in_cells[0]), float(in_cells[1]), rows).either,
        ks_interval=(max(ks - stray, 0.0), min(ks + stray, 1.0)),
        psi_interval=(max(math.sqrt(max(psi, 0.0)) - root, 0.0) ** 2, (math.sqrt(max(psi, 0.0)) + root) ** 2),
    )


def _bars(reference: Reference, ordered: Ordered) -> Histogram:
    """Both sides in bars of equal width between the outer percentiles of the two."""
    ends = [
        float(each[int(share * (len(each) - 1))]) for each in (reference.ordered, ordered) for share in (0.01, 0.99)
    ]
    low, high = min(ends), max(ends)
    # Halved, for the span of two doubles may be beyond the largest one.
    edges = np.unique((low / 2 + (high / 2 - low / 2) * np.arange(1, _BARS) / _BARS) * 2)
    before, after = (bin_counts(each, edges) for each in (reference.ordered, ordered))
    return Histogram(before=tuple(before.tolist()), after=tuple(after.tolist()), edges=tuple(edges.tolist()))


def _categories(known: FeatureDrift, baseline: Baseline, column: Column) -> FeatureDrift:
    seen: dict[str, int] = {}
    for name in column.names:
        seen[name] = seen.get(name, 0) + 1
    names, counts = aligned(baseline.categories, seen)
    if baseline.other:  # too many to be told apart: what is not among the kept ones may have been there
        kept = [name in baseline.categories for name in names]
        strange = int(counts[1, len(baseline.categories) :].sum())
        names, counts = [*baseline.categories, "…"], np.column_stack((counts[:, kept], (baseline.other, strange)))
    psi = population_stability(counts[0], counts[1])
    order = np.argsort(-counts.sum(axis=0), kind="stable")[:_NAMED]
    known = structs.replace(
        known,
        psi=psi,
        jensen_shannon=jensen_shannon(counts[0], counts[1]),
        effect=effect_of(None, psi),
        new=tuple(name for name, (was, now) in zip(names, counts.T.tolist(), strict=True) if now and not was),
        vanished=tuple(name for name, (was, now) in zip(names, counts.T.tolist(), strict=True) if was and not now),
        histogram=Histogram(
            before=tuple(counts[0, order].tolist()),
            after=tuple(counts[1, order].tolist()),
            names=tuple(names[place] for place in order),
        ),
    )
    rows = known.rows
    if baseline.constant:
        return structs.replace(known, status="one_category", p=unseen(known.baseline_rows, rows) if known.new else 1.0)
    if rows < LEAST_ROWS:
        return structs.replace(known, status="short_window", reason="short_window")
    known = structs.replace(known, status="measured" if len(seen) > 1 else "one_category")
    others = baseline.taus[""]
    taus = np.array([baseline.taus.get(name, others) for name in names])
    if known.baseline_rows < 100:
        return structs.replace(known, reason="few_rows")
    usual = float(counts[0] @ taus) / known.baseline_rows
    if known.baseline_rows / usual < 30.0:
        return structs.replace(known, reason="dependent")
    if rows / usual < LEAST_EFFECTIVE:
        return structs.replace(known, reason="dependent_window")
    tested = homogeneity(counts, taus)
    if tested is None:
        return structs.replace(known, reason="few_categories")
    return structs.replace(known, p=tested.p, chi_square=tested.chi_square, degrees=tested.degrees)


def _judged(found: Sequence[FeatureDrift], threshold: float) -> tuple[tuple[FeatureDrift, ...], bool]:
    """With adjusted p-values and verdicts, and whether anything at all was discovered."""
    adjusted = iter(benjamini_hochberg(np.array([each.p for each in found if each.p is not None])).tolist())
    judged = []
    for each in found:
        if each.p is None:
            judged.append(each)
            continue
        q = next(adjusted)
        if each.effect == "drift" and q > threshold:
            judged.append(structs.replace(each, q=q, reason="within_chance"))
        else:
            judged.append(structs.replace(each, q=q, verdict="drift" if each.effect == "drift" else "ok"))
    return tuple(judged), any(each.q is not None and each.q <= threshold for each in judged)
