"""A runner for Prometheus's promqltest scripting language: load, eval, expect, clear, in the old and new syntax.

    python -m tests.core.promql.promqltest FOLDER [--failures]

runs every *.test file of a folder (Prometheus's own `promql/promqltest/testdata`, say) and prints each file's
pass rate. Cases that need native histograms or experimental syntax are skipped, and counted.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import promql_parser as pp

from trader_monitor.core.facts import Labels
from trader_monitor.core.promql import Instant, Plan, PromQLError, compile
from trader_monitor.core.series import STALE, SeriesStore

EPSILON = 1e-6
NATIVE = "native histogram"
EXPERIMENTAL = "experimental"

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|y|w|d|h|m|s)")
_UNITS_MS = {"ms": 1, "s": 1e3, "m": 6e4, "h": 3.6e6, "d": 8.64e7, "w": 6.048e8, "y": 3.1536e10}
_LOAD = re.compile(r"load(_with_nhcb)?\s+(\S+)$")
_EVAL_RANGE = re.compile(r"eval(?:_(\w+))?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)$")
_EVAL_INSTANT = re.compile(r"eval(?:_(\w+))?\s+instant\s+(?:at\s+(\S+)\s+)?(.+)$")
_EXPECT = re.compile(r"expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?$")
_EXPECT_RANGE = re.compile(r"expect\s+range\s+vector\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)$")
_NUMBER = r"[+-]?(?:[Ii]nf|NaN|nan|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_POINT = re.compile(rf"(?:(_)|(stale)|({_NUMBER})(?:([+-])({_NUMBER}))?)(?:x(\d+))?$")
_QUOTED = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`"
_METRIC = re.compile(rf"(?:[^\s{{}}]+)?(?:\s*\{{(?!\{{)(?:{_QUOTED}|[^}}\"'`])*\}})?")
_HISTOGRAM = re.compile(r"\{\{.*?\}\}(?:[+-]\{\{.*?\}\})?(?:x\d+)?")
_STRINGS = re.compile(_QUOTED)
_NATIVE_CALLS = re.compile(r"\bhistogram_(?:count|sum|avg|stddev|stdvar)\b|\{\{")
_EXPERIMENTAL = re.compile(
    r"\b(?:limitk|limit_ratio|info|histogram_quantiles|anchored|smoothed|fill|fill_left|fill_right|max_of|min_of"
    r"|start_timestamp|step|range)\b|</|>/|\[[^\]]*[-+*/%^()][^\]]*\]|(?<!@ )(?<!@)\b(?:start|end)\(\)"
    r"|(?:offset|@)\s*[-+]?\s*\(|\b(?:offset|@)\s+-?\w+\s*[*/^%]",
    re.IGNORECASE,
)


@dataclass
class Case:
    """One eval and what it expects."""

    line: int
    query: str
    start: int
    end: int
    step: int
    instant: bool
    fails: bool = False
    fail_message: str | None = None
    fail_pattern: str | None = None
    ordered: bool = False
    text: str | None = None
    window: tuple[int, int, int] | None = None
    expected: list[tuple[Labels | None, list[float | None]]] = field(default_factory=list)
    needs: str | None = None


@dataclass
class Report:
    """How a script went: `failures` are (line, query, what was wrong)."""

    passed: int = 0
    failures: list[tuple[int, str, str]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        total = self.passed + len(self.failures)
        return self.passed / total if total else 1.0


def milliseconds(text: str) -> int:
    """A duration such as `1h5m`, or seconds."""
    negative = text.startswith("-")
    body = text.lstrip("+-")
    parts = _DURATION.findall(body)
    if parts and "".join(number + unit for number, unit in parts) == body:
        total = sum(float(number) * _UNITS_MS[unit] for number, unit in parts)
    else:
        total = float(body) * 1000
    return round(-total if negative else total)


def parse_series(line: str) -> tuple[Labels | None, list[float | None], bool]:
    """Labels (None for a bare number), the points, and whether any of them is a native histogram."""
    end = _metric_end(line)
    metric, rest = line[:end].strip(), line[end:]
    native = "{{" in rest
    points: list[float | None] = []
    for word in _HISTOGRAM.sub(" _ ", rest).split():
        points.extend(_points(word))
    return (None if metric == "" else _labels(metric)), points, native


def _metric_end(line: str) -> int:
    """Where the metric ends; 0 where the line has none and begins with a value."""
    if re.match(rf"(?:{_NUMBER}|_|stale)(?:[x+-]|\s|$)", line):
        return 0
    match = _METRIC.match(line)
    return match.end() if match else 0


def _labels(metric: str) -> Labels:
    if re.fullmatch(r"\{\s*\}", metric):
        return ()
    selector: Any = pp.parse(metric)
    pairs = {m.name: m.value for m in selector.matchers.matchers}
    if selector.name:
        pairs["__name__"] = selector.name
    return tuple(sorted((name, value) for name, value in pairs.items() if value))


def _points(word: str) -> Iterator[float | None]:
    match = _POINT.match(word)
    if match is None:
        raise ValueError(f"not a sequence of points: {word!r}")
    missing, stale, first, sign, delta, times = match.groups()
    if missing:
        yield from [None] * int(times or 1)
        return
    if stale:
        yield from [STALE] * (int(times or 0) + 1)
        return
    value = float(first)
    step = 0.0 if delta is None else float(delta) * (-1 if sign == "-" else 1)
    for _ in range(int(times or 0) + 1):
        yield value
        value += step


class Script:
    """One script in progress: the samples that are loaded, and the cases as they come."""

    def __init__(self, text: str) -> None:
        self._lines = ["" if line.lstrip().startswith("#") else line.strip() for line in text.splitlines()]
        self._at = 0
        self.store = SeriesStore(head=1 << 20)
        self._native_names: set[str] = set()
        self._start_times = False

    def cases(self) -> Iterator[Case]:
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            if not line:
                continue
            if line == "clear":
                self.store = SeriesStore(head=1 << 20)
                self._native_names.clear()
                self._start_times = False
            elif line.startswith("load"):
                self._load(line)
            elif line.startswith("eval"):
                yield self._case(line)
            else:
                raise ValueError(f"line {self._at}: invalid command {line!r}")

    def _block(self) -> Iterator[str]:
        while self._at < len(self._lines) and self._lines[self._at]:
            yield self._lines[self._at]
            self._at += 1

    def _load(self, line: str) -> None:
        match = _LOAD.match(line)
        if match is None:
            raise ValueError(f"line {self._at}: invalid load {line!r}")
        step = milliseconds(match[2])
        for series in self._block():
            if "@st" in series:
                self._start_times = True
                continue
            labels, points, native = parse_series(series)
            name = dict(labels or ()).get("__name__", "")
            if native:
                self._native_names.add(name)
            if match[1]:
                self._native_names.add(re.sub(r"_(?:bucket|count|sum)$", "", name))
            sid = self.store.intern(labels or ())
            for number, value in enumerate(points):
                if value is not None:
                    self.store.append(sid, number * step, value)

    def _case(self, line: str) -> Case:
        number = self._at
        if match := _EVAL_RANGE.match(line):
            kind, start, end, step, query = match.groups()
            case = Case(number, query, milliseconds(start), milliseconds(end), milliseconds(step), instant=False)
        elif match := _EVAL_INSTANT.match(line):
            kind, at, query = match.groups()
            moment = milliseconds(at or "0")
            case = Case(number, query, moment, moment, 1, instant=True)
        else:
            raise ValueError(f"line {number}: invalid eval {line!r}")
        case.fails = kind == "fail"
        case.ordered = kind == "ordered"
        for expectation in self._block():
            self._expect(case, expectation)
        if self._reads_native(query):
            case.needs = NATIVE
        elif self._start_times or _EXPERIMENTAL.search(_STRINGS.sub('""', query)):
            case.needs = EXPERIMENTAL
        return case

    def _reads_native(self, query: str) -> bool:
        if _NATIVE_CALLS.search(query):
            return True
        names = "|".join(map(re.escape, sorted(self._native_names - {""})))
        named = names and re.search(rf"(?<![\w:])(?:{names})(?![\w:])", query)
        return bool(named or (self._native_names and re.search(r"(?<![\w:\"])\{|__name__", query)))

    def _expect(self, case: Case, line: str) -> None:
        if line.startswith(("expected_fail_message", "expected_fail_regexp")):
            keyword, _, text = line.partition(" ")
            if keyword.endswith("message"):
                case.fail_message = text.strip()
            else:
                case.fail_pattern = text.strip()
        elif match := _EXPECT_RANGE.match(line):
            case.window = tuple(map(milliseconds, match.groups()))  # type: ignore[assignment]
        elif line.startswith("expect string"):
            text_node: Any = pp.parse(line.removeprefix("expect string").strip())
            case.text = text_node.val
        elif match := _EXPECT.match(line):
            if match[1] == "fail":
                case.fails = True
                text = (match[3] or "").strip()
                if match[2] == "msg":
                    case.fail_message = text
                elif match[2] == "regex":
                    case.fail_pattern = text
            case.ordered |= match[1] == "ordered"
        else:
            labels, points, native = parse_series(line)
            if native:
                case.needs = NATIVE
            case.expected.append((labels, points))


def run(text: str, *, messages: bool = False) -> Report:
    """Runs a script. `messages` also compares the wording of expected errors."""
    script = Script(text)
    report = Report()
    for case in script.cases():
        if case.needs is not None:
            report.skipped[case.needs] += 1
            continue
        wrong = check(case, script.store, messages=messages)
        if wrong is None:
            report.passed += 1
        else:
            report.failures.append((case.line, case.query, wrong))
    return report


def check(case: Case, store: SeriesStore, *, messages: bool = False) -> str | None:
    """What is wrong with the case's result, None where it is as expected."""
    try:
        plan = compile(case.query)
        if case.instant:
            instant = plan.instant(store, case.start)
            wrong = _check_instant(case, instant) or _check_steps(case, plan, instant, store)
        else:
            wrong = _check_range(case, plan, store)
    except PromQLError as error:
        if not case.fails:
            return f"refused: {error}"
        if messages and case.fail_message is not None and case.fail_message != error.message:
            return f"error is {error.message!r}, not {case.fail_message!r}"
        if messages and case.fail_pattern is not None and not re.search(case.fail_pattern, error.message):
            return f"error is {error.message!r}, which does not match {case.fail_pattern!r}"
        return None
    return "should have been refused" if case.fails else wrong


def _check_instant(case: Case, result: Instant) -> str | None:
    if result.kind == "string":
        return None if case.text == result.text else f"is {result.text!r}"
    if result.kind == "scalar":
        wanted = case.expected[0][1][0] if case.expected else None
        return None if wanted is not None and _same(result.scalar, wanted) else f"is {result.scalar}, not {wanted}"
    if result.kind == "matrix":
        return _check_matrix(case, result)
    found = dict(result.vector)
    if len(found) != len(result.vector):
        return "has a label set twice"
    wanted_by_labels = {labels or (): points[0] for labels, points in case.expected}
    if case.ordered and [labels for labels, _ in result.vector] != list(wanted_by_labels):
        return f"is in the order {[labels for labels, _ in result.vector]}"
    return _compare(found, wanted_by_labels)


def _compare(found: dict[Labels, float], wanted: dict[Labels, float | None]) -> str | None:
    for labels, value in wanted.items():
        if labels not in found:
            return f"lacks {labels}: {found}"
        if value is None or not _same(found[labels], value):
            return f"{labels} is {found[labels]!r}, not {value!r}"
    extra = found.keys() - wanted.keys()
    return f"has too much: {extra}" if extra else None


def _check_matrix(case: Case, result: Instant) -> str | None:
    if case.window is None:
        return "a range vector was not expected"
    start, _, step = case.window
    wanted = {
        labels or (): {start + n * step: value for n, value in enumerate(points) if value is not None}
        for labels, points in case.expected
    }
    found = {labels: dict(zip(t.tolist(), v.tolist(), strict=True)) for labels, t, v in result.matrix}
    return _compare_points(found, wanted)


def _check_range(case: Case, plan: Plan, store: SeriesStore) -> str | None:
    times = np.arange(case.start, case.end + 1, case.step, dtype=np.int64)
    matrix = plan.evaluate(store, times, bounds=(case.start, case.end))
    found = {labels: dict(zip(t.tolist(), v.tolist(), strict=True)) for labels, t, v in matrix.rows()}
    wanted = {
        labels or (): {case.start + n * case.step: value for n, value in enumerate(points) if value is not None}
        for labels, points in case.expected
    }
    return _compare_points(found, {labels: points for labels, points in wanted.items() if points})


def _compare_points(found: dict[Labels, dict[int, float]], wanted: dict[Labels, dict[int, float]]) -> str | None:
    if found.keys() != wanted.keys():
        return f"has the series {sorted(found)}, not {sorted(wanted)}"
    for labels, points in wanted.items():
        if found[labels].keys() != points.keys():
            return f"{labels} has points at {sorted(found[labels])}, not {sorted(points)}"
        for at, value in points.items():
            if not _same(found[labels][at], value):
                return f"{labels} at {at} is {found[labels][at]!r}, not {value!r}"
    return None


def _check_steps(case: Case, plan: Plan, instant: Instant, store: SeriesStore) -> str | None:
    """Whether the same moment among others comes out the same: the other code paths of an evaluation."""
    if instant.kind not in ("vector", "scalar") or re.search(r"\b(?:start|end)\(\)", case.query):
        return None
    times = np.array([case.start + minutes * 60_000 for minutes in range(-3, 4)], np.int64)
    try:
        matrix = plan.evaluate(store, times)
    except PromQLError:
        return None  # another moment may well be refused
    middle = dict(matrix.at(3))
    alone: dict[Labels, float | None] = dict(instant.vector) if instant.kind == "vector" else {(): instant.scalar}
    wrong = _compare(middle, alone)
    return None if wrong is None else f"among other steps: {wrong}"


def _same(a: float, b: float) -> bool:
    if a != a or b != b:
        return a != a and b != b
    if a == b:
        return True
    if math.isinf(a) or math.isinf(b):
        return False
    size = min(abs(a) + abs(b), sys.float_info.max)
    if a == 0 or b == 0 or size < sys.float_info.min:
        return abs(a - b) < EPSILON * sys.float_info.min
    return abs(a - b) / size < EPSILON


def run_folder(folder: Path) -> dict[str, Report]:
    """Every *.test file of a folder."""
    return {path.name: run(path.read_text()) for path in sorted(folder.glob("*.test"))}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Runs promqltest scripts and prints the pass rate of each file.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--failures", action="store_true", help="print what failed, too")
    options = parser.parse_args(arguments)
    total = Report()
    for name, report in run_folder(options.folder).items():
        total.passed += report.passed
        total.failures += report.failures
        total.skipped += report.skipped
        skipped = ", ".join(f"{count} {reason}" for reason, count in sorted(report.skipped.items()))
        of = report.passed + len(report.failures)
        print(f"{name:28} {report.passed:5} of {of:5}  {report.rate:7.1%}   skipped: {skipped or 'none'}")
        if options.failures:
            for line, query, wrong in report.failures:
                print(f"    {name}:{line}: {query}\n        {wrong[:400]}")
    of = total.passed + len(total.failures)
    print(f"{'all':28} {total.passed:5} of {of:5}  {total.rate:7.1%}   skipped: {dict(total.skipped)}")
    return 0 if total.rate >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
