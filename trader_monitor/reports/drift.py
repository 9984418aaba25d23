"""The drift report of one model version: its newest run, and the stability index of the runs before it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any, Final

import msgspec

from trader_monitor.core.models.drift.verdict import (
    PSI_DRIFT,
    PSI_MODERATE,
    DriftResult,
    FeatureDrift,
    Histogram,
    Severity,
)
from trader_monitor.reports.sheet import (
    ROWS,
    SHOWN,
    Bars,
    Block,
    Cell,
    Fact,
    Gallery,
    Heat,
    Heats,
    Sentences,
    Sheet,
    Table,
    Tone,
)
from trader_monitor.reports.words import ENGLISH, Words, said
from trader_monitor.reports.writing import count, moment, number, percent, probability

__all__ = ["drift_report", "drift_sheet"]

MOST_NAMED = 8
MOST_PICTURES = 60
MOST_HEAT = 40
"""Features of the heat map, the least stable first."""
MOST_RUNS = 60
HEAT_LEVELS: Final = (0.05, PSI_MODERATE, PSI_DRIFT, 0.5)

_SEVERITY_TONE: Final[dict[Severity | None, Tone]] = {
    None: "quiet",
    "none": "good",
    "low": "warning",
    "moderate": "bad",
    "high": "bad",
    "critical": "bad",
}
_VERDICT_TONE: Final[dict[str, Tone]] = {"ok": "good", "drift": "bad", "moderate": "warning"}
_ACTIONS: Final[dict[str, str]] = {
    "within_chance": "wait",
    "no_column": "feed",
    "no_values": "feed",
    "kind_changed": "feed",
    "no_baseline": "set",
    "uncalibrated": "set",
    "no_baseline_values": "set",
    "short_window": "wait",
    "dependent_window": "wait",
    "few_categories": "wait",
    "few_rows": "longer",
    "dependent": "longer",
}


def drift_report(runs: Sequence[DriftResult]) -> dict[str, Any]:
    """For programs: the newest of `runs` (oldest first) with an action for each feature, and the index over time."""
    newest = runs[-1]
    features = [
        msgspec.to_builtins(each) | {"action": action_of(each), "moderate": _moderate(each, newest)}
        for each in _sorted(newest)
    ]
    whole = {name: value for name, value in msgspec.to_builtins(newest).items() if name != "features"}
    times = [run.at for run in runs]
    index = {each.name: [_psi(run, each.name) for run in runs] for each in newest.features}
    summary = {
        "tested": newest.tested,
        "drifted": newest.drifted,
        "moderate": sum(_moderate(each, newest) for each in newest.features if each.role == "feature"),
        "without_verdict": sum(
            each.verdict == "insufficient_evidence" for each in newest.features if each.role == "feature"
        ),
        "share": newest.share,
        "severity": newest.severity,
    }
    return {
        "report": "drift",
        **whole,
        "summary": summary,
        "features": features,
        "over_time": {"at": times, "psi": index},
    }


def drift_sheet(runs: Sequence[DriftResult], words: Words = ENGLISH) -> Sheet:
    """For people; `runs` are of one model version, the oldest first, at least one."""
    newest = runs[-1]
    features = _sorted(newest)
    inputs = [each for each in features if each.role == "feature"]
    outputs = [each for each in features if each.role == "output"]
    moderate = sum(_moderate(each, newest) for each in inputs)
    without = sum(each.verdict == "insufficient_evidence" for each in inputs)
    severity = words[f"severity.{newest.severity or 'unknown'}"]
    tone = _SEVERITY_TONE[newest.severity]
    facts = (
        Fact(words["drift.severity"], severity, tone),
        Fact(words["drift.tested"], count(newest.tested)),
        Fact(words["drift.drifted"], count(newest.drifted), "bad" if newest.drifted else ""),
        Fact(words["drift.moderate"], count(moderate), "warning" if moderate else ""),
        Fact(words["drift.without"], count(without), "quiet"),
        Fact(words["drift.share"], percent(newest.share)),
        Fact(words["drift.run"], count(newest.online.runs)),
    )
    blocks: list[Block] = [Sentences(words["drift.do"], (words[f"severity.{newest.severity or 'unknown'}.means"],))]
    for title, each in (("drift.table", inputs), ("drift.outputs.table", outputs)):
        if each:
            blocks.append(_table(words[title], each, newest, words))
    blocks += chain(_categories(features, words), _missing(features, words))
    blocks += chain(_gallery(features, newest, words), _heats(runs, words))
    blocks.append(
        Sentences(
            words["drift.method"],
            (
                words["drift.method.effect"],
                said(words, "drift.method.evidence", level=number(newest.level)),
                words["drift.method.interval"],
            ),
            "quiet",
        )
    )
    return Sheet(
        language=words["language"],
        title=f"{words['drift.title']}: {newest.model} {newest.version}",
        about=f"{moment(newest.at)} · {_window(newest, words)}",
        headline=_headline(newest, inputs, outputs, words),
        tone=tone,
        facts=facts,
        blocks=tuple(blocks),
    )


def _window(run: DriftResult, words: Words) -> str:
    if run.first_at is None or run.last_at is None:
        key = "drift.window.short"
    else:
        key = "drift.window.rows" if run.window == f"{run.rows} rows" else "drift.window"
    first, last = moment(run.first_at), moment(run.last_at)
    return said(words, key, window=run.window, rows=count(run.rows), first=first, last=last)


def action_of(each: FeatureDrift) -> str:
    """What to do about one feature, as a key of the words."""
    if each.verdict == "drift":
        return "find_now" if each.important else "find"
    if each.reason:
        return _ACTIONS[each.reason]
    return "watch" if each.effect == "moderate" or each.missing_changed else "none"


def _moderate(each: FeatureDrift, run: DriftResult) -> bool:
    return each.effect == "moderate" and each.q is not None and each.q <= run.level


def _sorted(run: DriftResult) -> list[FeatureDrift]:
    """What needs a person first: drift, moderate change, what cannot be judged, the rest; in each what is important,
    then the largest."""
    place = {"drift": 0, "insufficient_evidence": 2, "ok": 3}

    def key(each: FeatureDrift) -> tuple[int, bool, float, str]:
        rank = 1 if _moderate(each, run) else place[each.verdict]
        return rank, not each.important, -(each.psi if each.psi is not None else -1.0), each.name

    return sorted(run.features, key=key)


def _psi(run: DriftResult, name: str) -> float | None:
    return next((each.psi for each in run.features if each.name == name), None)


def _named(names: Sequence[str], words: Words) -> str:
    shown = ", ".join(names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return f"{shown} {said(words, 'drift.more', n=more)}" if more > 0 else shown


def _headline(run: DriftResult, inputs: list[FeatureDrift], outputs: list[FeatureDrift], words: Words) -> str:
    if run.severity is None:
        return words["drift.unjudged"]
    drifted = [each.name for each in inputs if each.verdict == "drift"]
    said_of = [
        said(words, "drift.some", drifted=len(drifted), tested=run.tested, names=_named(drifted, words))
        if drifted
        else words["drift.none"]
    ]
    if moved := [each.name for each in outputs if each.verdict == "drift"]:
        said_of.append(said(words, "drift.outputs", names=_named(moved, words)))
    return " ".join(said_of)


def _table(title: str, features: Sequence[FeatureDrift], run: DriftResult, words: Words) -> Table:
    head = ("feature", "ks", "psi", "p", "n", "status", "action")
    return Table(
        title,
        tuple(words[f"column.{name}"] for name in head),
        tuple(_row(each, run, words) for each in features),
        more=said(words, "more", n=max(len(features) - ROWS, 0)),
    )


def _row(each: FeatureDrift, run: DriftResult, words: Words) -> tuple[Cell, ...]:
    moderate = _moderate(each, run)
    verdict = "moderate" if moderate else each.verdict
    tone = _VERDICT_TONE.get(verdict, "quiet")
    why = words[f"reason.{each.reason}"] or words.get(f"status.{each.status}", "")
    return (
        Cell(each.name),
        Cell(number(each.ks), _interval(each.ks_interval), numeric=True),
        Cell(number(each.psi), _interval(each.psi_interval), numeric=True),
        Cell(probability(each.p), numeric=True),
        Cell(count(each.rows), numeric=True),
        Cell(words[f"verdict.{verdict}"], why, tone),
        Cell(words[f"action.{action_of(each)}"]),
    )


def _interval(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"[{number(ends[0])}, {number(ends[1])}]"


def _categories(features: Sequence[FeatureDrift], words: Words) -> list[Block]:
    lines = []
    for each in features:
        parts = [
            said(words, f"drift.{key}", names=_named(names, words))
            for key, names in (("new", each.new), ("vanished", each.vanished))
            if names
        ]
        if parts:
            lines.append(f"{each.name}: {'; '.join(parts)}")
    return [Sentences(words["drift.categories"], tuple(lines))] if lines else []


def _missing(features: Sequence[FeatureDrift], words: Words) -> list[Block]:
    rows = []
    for each in features:
        if not (each.missing_before or each.missing_after or each.out_of_range):
            continue
        changed = each.missing_changed
        rows.append(
            (
                Cell(each.name),
                Cell(percent(each.missing_before), numeric=True),
                Cell(percent(each.missing_after), numeric=True),
                *(Cell(count(n), numeric=True) for n in (each.nulls, each.nans, each.infinities, each.out_of_range)),
                Cell(words["missing.changed" if changed else "missing.same"], "", "bad" if changed else "quiet"),
            )
        )
    head = ("feature", "before", "after", "null", "nan", "infinite", "out_of_range", "status")
    title, note = words["drift.missing"], words["drift.missing.note"]
    return [Table(title, tuple(words[f"column.{name}"] for name in head), tuple(rows), note)] if rows else []


def _gallery(features: Sequence[FeatureDrift], run: DriftResult, words: Words) -> list[Block]:
    pictures: list[Bars] = []
    for each in features:
        if each.histogram is not None and len(pictures) < MOST_PICTURES:
            verdict = "moderate" if _moderate(each, run) else each.verdict
            tone: Tone = "bad" if verdict == "drift" else "warning" if verdict == "moderate" else ""
            small = f"{words['column.psi']} {number(each.psi)}"
            pictures.append(_bars(each.name, f"{small} · {words[f'verdict.{verdict}']}", each.histogram, tone, words))
    keys = ("drift.histograms", "drift.histograms.note", "histogram.before", "histogram.after")
    title, note, before, after = (words[key] for key in keys)
    more = said(words, "more", n=max(len(pictures) - SHOWN, 0))
    return [Gallery(title, note, before, after, more, tuple(pictures))] if pictures else []


def _bars(title: str, small: str, histogram: Histogram, tone: Tone, words: Words) -> Bars:
    sides = []
    for counts in (histogram.before, histogram.after):
        whole = max(sum(counts), 1)
        sides.append(tuple(each / whole for each in counts))
    if histogram.names:
        names = tuple(words["histogram.other"] if name == "…" else name for name in histogram.names)
        return Bars(title, small, sides[0], sides[1], names=names, tone=tone)
    edges = histogram.edges
    return Bars(title, small, sides[0], sides[1], ends=(_end(edges[0]), _end(edges[-1])), tone=tone)


def _end(edge: float) -> str:
    return f"{edge:.4g}"


def _heats(runs: Sequence[DriftResult], words: Words) -> list[Block]:
    """The least stable features, run by run."""
    shown = runs[-MOST_RUNS:]
    if len(shown) < 2:
        return []
    tables = [{each.name: each.psi for each in run.features} for run in shown]
    indexes = {name: [table.get(name) for table in tables] for name in dict.fromkeys(chain.from_iterable(tables))}
    measured = {name: row for name, row in indexes.items() if any(value is not None for value in row)}
    order = sorted(measured, key=lambda name: (-max(value for value in measured[name] if value is not None), name))
    times = [moment(run.at) for run in shown]
    rows = tuple(
        Heat(
            name,
            tuple(None if value is None else sum(value >= each for each in HEAT_LEVELS) for value in measured[name]),
            tuple(f"{at}: {number(value)}" for at, value in zip(times, measured[name], strict=True)),
        )
        for name in order[:MOST_HEAT]
    )
    if not rows:
        return []
    texts = [number(each, 2) for each in HEAT_LEVELS]
    legend = (
        said(words, "heat.under", value=texts[0]),
        *(said(words, "heat.between", low=low, high=high) for low, high in pairwise(texts)),
        said(words, "heat.from", value=texts[-1]),
    )
    note = said(words, "drift.heat.note", n=len(rows), all=len(measured))
    span = said(words, "drift.heat.times", first=times[0], last=times[-1])
    return [Heats(words["drift.heat"], note, span, legend, words["heat.unmeasured"], rows)]
