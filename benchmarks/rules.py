"""Rule evaluation: 10,000 series and 100 rules of every kind; one sample changes, then all rules in full.

Limits, not a peer: 1 ms for the step in which one sample changes, 100 ms for all rules. The step is measured for
every rule, and the slowest rule's median counts.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from types import SimpleNamespace

from benchmarks.table import Row
from trader_monitor.core.alerts.judge import RuleSet, compile_rules
from trader_monitor.core.alerts.rule import Rule
from trader_monitor.core.facts import Now
from trader_monitor.core.series import SeriesStore

METRICS = 100
SERIES_EACH = 100
EVERY_MS = 15_000
SAMPLES = 80
STEP_GOAL_MS = 1.0
FULL_GOAL_MS = 100.0
START_MS = 1_700_000_000_000

SHAPES = (
    "{m} > 5e6",
    'm{n}{{group=~"g[1-3]"}} > 5e6',
    "sum by (group) ({m}) > 5e9",
    "rate({m}[5m]) > 5e6",
    "avg_over_time({m}[5m]) > 5e6",
    "max_over_time({m}[10m]) > 5e6",
    "{m} / on (group, instance) {m} > 2",
    "quantile(0.9, {m}) > 5e6",
    "{m} > 5e6 and on (group) {m} > 6e6",
    "time() - timestamp({m}) > 1e6",
)


def build() -> tuple[SimpleNamespace, RuleSet, list[list[int]], Now]:
    """A board of quiet series (nothing fires), the rules, and the series of each metric."""
    series = SeriesStore()
    sids: list[list[int]] = []
    for metric in range(METRICS):
        mine = [
            series.intern((("__name__", f"m{metric}"), ("group", f"g{number % 10}"), ("instance", f"i{number}")))
            for number in range(SERIES_EACH)
        ]
        sids.append(mine)
        for at in range(SAMPLES):
            series.append_many(mine, START_MS + at * EVERY_MS, [float(at + number) for number in range(SERIES_EACH)])
    series.take_touched()
    rules = compile_rules(
        Rule(name=f"rule {n}", expr=SHAPES[n % len(SHAPES)].format(m=f"m{n}", n=n)) for n in range(METRICS)
    )
    now = Now((START_MS + SAMPLES * EVERY_MS) / 1000, 1000.0)
    return SimpleNamespace(series=series, alerts={}), rules, sids, now


def measure() -> tuple[float, float, float]:
    """Milliseconds: the median step, the step of the slowest rule, all rules in full."""
    board, rules, sids, now = build()
    series: SeriesStore = board.series
    full = []
    for _ in range(5):
        series._touched.update(sid for mine in sids for sid in mine)
        touched = series.take_touched()
        began = time.perf_counter()
        assert rules.touched(board, touched, now) == []
        full.append((time.perf_counter() - began) * 1000)
    assert not rules.failures, rules.failures
    steps: list[float] = []
    t_ms = round(now.wall * 1000)
    for mine in sids:
        mine_steps = []
        for round_ in range(15):
            t_ms += 1
            began = time.perf_counter()
            series.append(mine[round_], t_ms, 1.0)
            changed = rules.touched(board, series.take_touched(), Now(t_ms / 1000, now.mono))
            mine_steps.append((time.perf_counter() - began) * 1000)
            assert changed == []
        steps.append(statistics.median(mine_steps))
    return statistics.median(steps), max(steps), statistics.median(full)


def rows(_: Path) -> list[Row]:
    step, slowest, full = measure()
    work = f"rules, {METRICS * SERIES_EACH:,} series, {METRICS} rules"
    figures = (
        ("one sample changes, median rule", step, STEP_GOAL_MS),
        ("one sample changes, slowest rule", slowest, STEP_GOAL_MS),
        ("all in full", full, FULL_GOAL_MS),
    )
    return [Row(f"{work}: {what}", f"{ms:.3f} ms", "", "", f"<= {goal:g} ms", ms <= goal) for what, ms, goal in figures]
