"""The performance report of one model version: each window beside the baseline, and what to do."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trader_monitor.core.figure import Figure
from trader_monitor.core.models.performance.performance import Change, PerformanceResult, WindowResult
from trader_monitor.reports.sheet import Bars, Block, Cell, Fact, Gallery, Sentences, Sheet, Table, Tone
from trader_monitor.reports.words import ENGLISH, Words, said
from trader_monitor.reports.writing import count, moment, number, percent

__all__ = ["performance_report", "performance_sheet"]

_RELIABILITY: Final = "model_reliability_ratio"
_SAID: Final = "model_reliability_said_ratio"
_TOLD: Final = {"model_labels", "model_degradation_severity", "model_coverage_ratio"}
_TONE: Final[dict[str, Tone]] = {
    "ok": "good",
    "minor": "warning",
    "moderate": "bad",
    "severe": "bad",
    "insufficient_evidence": "quiet",
    "no_baseline": "quiet",
}


def performance_report(result: PerformanceResult) -> dict[str, Any]:
    """For programs: the result, with each window's coverage."""
    whole: dict[str, Any] = msgspec.to_builtins(result)
    windows = [
        told | {"coverage": coverage(window)} for told, window in zip(whole["windows"], result.windows, strict=True)
    ]
    return {"report": "performance", **whole, "windows": windows}


def performance_sheet(result: PerformanceResult, words: Words = ENGLISH) -> Sheet:
    """For people. The last window is the longest and is what the facts are about."""
    longest = result.windows[-1] if result.windows else None
    tone = _TONE[result.verdict]
    facts = [Fact(words["performance.severity"], words[f"degradation.{result.verdict}"], tone)]
    if longest is not None:
        labels = longest.labels
        facts += [
            Fact(words["performance.predictions"], count(labels.predictions)),
            Fact(words["performance.joined"], count(labels.joined)),
            Fact(words["performance.coverage"], percent(coverage(longest)), _coverage_tone(longest)),
            Fact(words["performance.pending"], count(labels.pending)),
        ]
    facts += [
        Fact(words["performance.subjects"], count(result.subjects)),
        Fact(words["performance.task"], words[f"task.{result.task}"]),
        Fact(
            words["performance.baseline"],
            words["performance.baseline.none"] if result.baseline is None else result.baseline.provenance,
        ),
    ]
    deciding = next((window for window in result.windows if window.verdict == result.verdict), longest)
    lines = tuple(f"{each.action}: {each.words}" for each in result.recommendations)
    blocks: list[Block] = [Sentences(words["performance.recommendations"], lines)] if lines else []
    for window in result.windows:
        blocks += _window(window, words)
    if longest is not None:
        blocks += _reliability(longest, words)
    if result.concept is not None:
        blocks.append(_concept(result, words))
    if result.estimates:
        note = words["performance.estimates.note"]
        blocks.append(_figures(words["performance.estimates"], result.estimates, words, note))
    if result.remarks:
        blocks.append(Sentences(words["performance.remarks"], result.remarks))
    return Sheet(
        language=words["language"],
        title=f"{words['performance.title']}: {result.model} {result.version}",
        about=moment(result.at),
        headline=words[f"degradation.{result.verdict}"] if deciding is None else deciding.reason,
        tone=tone,
        facts=tuple(facts),
        blocks=tuple(blocks),
    )


def coverage(window: WindowResult) -> float | None:
    """The share of what was due that has an outcome."""
    due = window.labels.predictions
    return window.labels.joined / due if due else None


def _coverage_tone(window: WindowResult) -> Tone:
    share = coverage(window)
    return "bad" if share is not None and share < 0.5 else ""


def _window(window: WindowResult, words: Words) -> list[Block]:
    title = said(words, "performance.window", window=window.window)
    tone = _TONE[window.verdict]
    labels = {name: count(value) for name, value in msgspec.to_builtins(window.labels).items()}
    labels["coverage"] = percent(coverage(window))
    counted = said(words, "performance.labels.said", **labels)
    lines = (f"{words[f'degradation.{window.verdict}']}: {window.reason}", counted)
    blocks: list[Block] = [Sentences(title, lines, tone)]
    if window.changes:
        head = ("score", "baseline", "production", "drop", "n")
        blocks.append(
            Table(
                f"{title}, {words['performance.scores']}",
                tuple(words[f"column.{name}"] for name in head),
                tuple(_change(each) for each in window.changes),
            )
        )
    if others := _others(window):
        blocks.append(_figures(f"{title}, {words['performance.others']}", others, words, folded=True))
    return blocks


def _others(window: WindowResult) -> tuple[Figure, ...]:
    """The figures that are not told elsewhere in the report."""
    told = {(each.production.name, each.production.labels) for each in window.changes}
    return tuple(
        each
        for each in window.figures
        if (each.name, each.labels) not in told
        and each.name not in _TOLD
        and not each.name.startswith((_RELIABILITY, "model_reliability_said"))
        and not (each.name.endswith("_drop_ratio") and window.changes)
    )


def _reliability(window: WindowResult, words: Words) -> list[Block]:
    """What was said beside what came true, by bins of the probability."""
    by_bin: dict[str, dict[str, Figure]] = {}
    for each in window.figures:
        if each.name in (_RELIABILITY, _SAID) and each.value is not None:
            by_bin.setdefault(dict(each.labels).get("bin", ""), {})[each.name] = each
    whole = {name: pair for name, pair in sorted(by_bin.items()) if len(pair) == 2}
    if not whole:
        return []
    said_shares, true_shares = (
        tuple(pair[key].value or 0.0 for pair in whole.values()) for key in (_SAID, _RELIABILITY)
    )
    n = sum(pair[_RELIABILITY].n for pair in whole.values())
    picture = Bars(window.window, said(words, "rows", n=count(n)), said_shares, true_shares, names=tuple(whole))
    title, before, after = (words[f"performance.reliability{key}"] for key in ("", ".said", ".true"))
    note = said(words, "performance.reliability.note", window=window.window)
    return [Gallery(title, note, before, after, "", (picture,))]


def _change(change: Change) -> tuple[Cell, ...]:
    drop = change.drop
    tone: Tone = ""
    if drop.value is not None:
        tone = "bad" if drop.value >= 0.05 else "warning" if drop.value >= 0.03 else "good"
    around = drop.interval
    return (
        Cell(change.score),
        Cell(number(change.baseline.value), _interval(change.baseline), numeric=True),
        Cell(number(change.production.value), _interval(change.production), numeric=True),
        Cell(
            "–" if drop.value is None else f"{-drop.value * 100.0:+.1f} %",
            drop.reason if around is None else f"[{-around.high * 100.0:+.1f} %, {-around.low * 100.0:+.1f} %]",
            tone,
            numeric=True,
        ),
        Cell(count(change.production.n), numeric=True),
    )


def _figures(title: str, figures: tuple[Figure, ...], words: Words, note: str = "", *, folded: bool = False) -> Table:
    head = tuple(words[f"column.{name}"] for name in ("figure", "value", "interval", "n", "convention"))
    rows = []
    for each in figures:
        of = ", ".join(value for name, value in each.labels if name not in {"model", "version", "window"} and value)
        rows.append(
            (
                Cell(each.name, of),
                Cell(number(each.value), each.reason, "quiet" if each.value is None else "", numeric=True),
                Cell(_interval(each) or "–", each.reason_open, numeric=True),
                Cell(count(each.n), numeric=True),
                Cell(each.convention, tone="quiet"),
            )
        )
    return Table(title, head, tuple(rows), note, folded=folded, aside=1)


def _interval(figure: Figure) -> str:
    return "" if figure.interval is None else f"[{number(figure.interval.low)}, {number(figure.interval.high)}]"


def _concept(result: PerformanceResult, words: Words) -> Sentences:
    concept = result.concept
    assert concept is not None
    key = "performance.concept.yes" if concept.drifted else "performance.concept.no"
    line = said(
        words, key, value=number(concept.evidence.value), threshold=number(concept.threshold), at=moment(concept.at)
    )
    return Sentences(words["performance.concept"], (line,), "bad" if concept.drifted else "")
