"""Counters, states and reports: how they reach their series, and what they never do there."""

from __future__ import annotations

from typing import Any

import pytest

from trader_monitor.core.series import SeriesStore, is_stale
from trader_monitor.core.tally import ASLEEP_AFTER_MS, BOUNDS, REFRESH_MS, SLICE, Tally, labels_for


def samples(series: SeriesStore, name: str) -> list[tuple[int, float]]:
    """All samples of the one series of that name."""
    (sid,) = [sid for sid in series.sids() if dict(series.labels_of(sid))["__name__"] == name]
    t, v = series.head(sid)
    return list(zip(t.tolist(), v.tolist(), strict=True))


def test_a_counter_is_written_once_per_step_at_the_newest_time() -> None:
    tally = Tally(SeriesStore())
    counter = tally.counter("c_total", "help", "a")
    for t in (1000, 3000, 2000):
        counter.add(("x",), t)
    assert samples(tally.series, "c_total") == []
    tally.settle()
    assert samples(tally.series, "c_total") == [(3000, 3.0)]


def test_a_counters_time_never_goes_back() -> None:
    tally = Tally(SeriesStore())
    counter = tally.counter("c_total", "help", "a")
    for t in (5000, 1000):
        counter.add(("x",), t)
        tally.settle()
    assert samples(tally.series, "c_total") == [(5000, 2.0)], "or it would look like a restart"


@pytest.mark.parametrize(
    ("sentence", "reports", "expected"),
    [
        ("Each report stands at its own time.", [(1, 5.0), (3, 4.0)], [(1, 5.0), (3, 4.0)]),
        (
            "Reports in one millisecond stay in order, a millisecond apart.",
            [(1, 5.0), (1, 1.0), (1, 6.0)],
            [(1, 5.0), (2, 1.0), (3, 6.0)],
        ),
        (
            "One that comes late is put where it belongs.",
            [(1, 5.0), (9, 4.0), (4, 3.0)],
            [(1, 5.0), (4, 3.0), (9, 4.0)],
        ),
        ("The nudged one does not hide the next.", [(1, 5.0), (1, 1.0), (2, 6.0)], [(1, 5.0), (2, 1.0), (3, 6.0)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_reports(sentence: str, reports: list[Any], expected: list[Any]) -> None:
    tally = Tally(SeriesStore())
    family = tally.report("g", "help", "a")
    for t, value in reports:
        family.place(("x",), t, value)
    assert samples(tally.series, "g") == expected, sentence


def test_a_storm_of_reports_does_not_run_ahead_of_time_without_end() -> None:
    tally = Tally(SeriesStore(head=8192))
    family = tally.report("g", "help", "a")
    for n in range(5000):
        family.place(("x",), 1000, float(n))
    assert samples(tally.series, "g")[-1] == (2000, 4999.0)


def test_what_stands_is_written_again_and_what_was_reported_is_not() -> None:
    tally = Tally(SeriesStore())
    tally.state("s", "help", "a").write(("x",), 1000, 7.0)
    tally.report("g", "help", "a").place(("x",), 1000, 7.0)
    for now in (1000, 1000 + REFRESH_MS, 1001 + REFRESH_MS, 1000 + 2 * REFRESH_MS):
        tally.refresh(now)
    assert samples(tally.series, "s") == [(1000 + n * REFRESH_MS, 7.0) for n in range(3)]
    assert samples(tally.series, "g") == [(1000, 7.0)]


def test_what_nothing_has_changed_for_a_month_falls_asleep_and_goes_on_when_it_is_wanted() -> None:
    tally = Tally(SeriesStore(head=8192))
    counter = tally.counter("c_total", "help", "a")
    counter.add(("x",), 1000, 5.0)
    tally.settle()
    for now in (ASLEEP_AFTER_MS, ASLEEP_AFTER_MS + 1000, ASLEEP_AFTER_MS + 60_000, ASLEEP_AFTER_MS + 120_000):
        tally.refresh(now)
    written = samples(tally.series, "c_total")
    assert [t for t, _ in written] == [1000, ASLEEP_AFTER_MS, ASLEEP_AFTER_MS + 60_000]
    assert is_stale(written[-1][1]), "once, and nothing more"
    tally.series.forget(tally.series.sids())
    counter.add(("x",), ASLEEP_AFTER_MS + 180_000)
    tally.settle()
    assert samples(tally.series, "c_total") == [(ASLEEP_AFTER_MS + 180_000, 6.0)]
    tally.refresh(ASLEEP_AFTER_MS + 240_000)
    assert samples(tally.series, "c_total")[-1] == (ASLEEP_AFTER_MS + 240_000, 6.0)


def test_refreshing_is_done_in_slices() -> None:
    tally = Tally(SeriesStore())
    family = tally.state("s", "help", "a")
    for n in range(SLICE + 10):
        family.write((str(n),), 0, 1.0)
    tally.series.take_touched()
    tally.refresh(REFRESH_MS)
    assert len(tally.series.take_touched().sids) == SLICE
    tally.refresh(REFRESH_MS + 1)
    assert len(tally.series.take_touched().sids) == 10
    tally.refresh(REFRESH_MS + 2)
    assert len(tally.series.take_touched().sids) == 0


def test_a_clock_that_was_set_back_refreshes_again() -> None:
    tally = Tally(SeriesStore())
    tally.state("s", "help", "a").write(("x",), 1_000_000, 7.0)
    tally.refresh(1_000_000 + REFRESH_MS)
    tally.refresh(500_000)
    tally.refresh(500_000 + REFRESH_MS)
    assert samples(tally.series, "s")[-1][0] == 1_000_000 + REFRESH_MS, "never at an earlier time"


def test_a_series_that_ends_gets_a_marker_and_may_begin_again() -> None:
    tally = Tally(SeriesStore())
    family = tally.state("s", "help", "a")
    family.end(("x",), 500)
    family.write(("x",), 1000, 7.0)
    family.end(("x",), 2000)
    tally.refresh(10 * REFRESH_MS)
    ended = samples(tally.series, "s")
    assert ended[0] == (1000, 7.0)
    assert (ended[1][0], is_stale(ended[1][1]), len(ended)) == (2000, True, 2)
    family.write(("x",), 3000, 8.0)
    tally.refresh(30 * REFRESH_MS)
    assert samples(tally.series, "s")[2:] == [(3000, 8.0), (30 * REFRESH_MS, 8.0)]


def test_a_histogram_counts_cumulatively_and_goes_on_after_a_restart() -> None:
    tally = Tally(SeriesStore())
    histogram = tally.histogram("h_seconds", "help", "a")
    for seconds in (0.001, 0.0011, 0.3, 99.0, None):
        histogram.observe(("x",), 1000, seconds)
    tally.settle()
    again = Tally(SeriesStore())
    again.restore(tally.kept())
    again.histogram("h_seconds", "help", "a").observe(("x",), 2000, 0.3)
    again.settle()
    for where, counts, total, count in (
        (tally, {0.001: 1, 0.0025: 2, 0.25: 2, 0.5: 3, 10.0: 3}, 99.3021, 4),
        (again, {0.001: 1, 0.0025: 2, 0.25: 2, 0.5: 4, 10.0: 4}, 99.6021, 5),
    ):
        series = where.series
        newest = {series.labels_of(sid): float(series.last_v[sid]) for sid in series.sids()}
        for bound in BOUNDS:
            key = labels_for("h_seconds_bucket", ("a", "le"), ("x", f"{bound:g}"))
            assert newest[key] == counts.get(bound, newest[key])
        assert newest[labels_for("h_seconds_bucket", ("a", "le"), ("x", "+Inf"))] == count
        assert newest[labels_for("h_seconds_count", ("a",), ("x",))] == count
        assert newest[labels_for("h_seconds_sum", ("a",), ("x",))] == pytest.approx(total)


def test_a_flood_of_label_sets_is_refused_counted_and_leaves_nothing_behind() -> None:
    series = SeriesStore(max_series=100)
    tally = Tally(series)
    counter, state = tally.counter("c_total", "help", "a"), tally.state("s", "help", "a")
    report, histogram = tally.report("g", "help", "a"), tally.histogram("h", "help", "a")
    counter.add(("mine",), 1000)
    for n in range(10_000):
        key = (str(n),)
        counter.add(key, 1000)
        state.write(key, 1000, 1.0)
        report.place(key, 1000, 1.0)
        histogram.observe(key, 1000, 1.0)
    tally.settle()
    assert len(series) == 100
    assert series.refused > 30_000
    assert len(counter.cells) + len(state.cells) + len(report.cells) <= 100
    assert len(tally.cells) <= 100
    counter.add(("mine",), 2000)
    tally.settle()
    assert counter.cell(("mine",)).value == 2.0, "those that are there go on"


def test_a_series_that_retention_took_away_comes_back_with_the_next_value() -> None:
    tally = Tally(SeriesStore())
    report = tally.report("g", "help", "a")
    report.place(("x",), 1000, 7.0)
    tally.series.forget(tally.series.sids())
    report.place(("x",), 2000, 8.0)
    assert samples(tally.series, "g") == [(2000, 8.0)]


def test_empty_labels_are_left_out() -> None:
    assert labels_for("m", ("b", "a", "c"), ("2", None, "")) == (("__name__", "m"), ("b", "2"))
