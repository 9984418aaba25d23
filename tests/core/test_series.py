"""Series: what a store keeps, gives back and refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_monitor.core.matcher import Matcher
from trader_monitor.core.series import NEVER, STALE, SeriesStore, is_stale, stale_mask


def labels(name: str, **more: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({"__name__": name, **more}.items()))


def test_a_label_set_has_one_id_however_its_labels_are_ordered() -> None:
    store = SeriesStore()
    sid = store.intern(labels("up", job="a"))
    assert store.intern((("job", "a"), ("__name__", "up"), ("empty", ""))) == sid
    assert store.labels_of(sid) == labels("up", job="a")
    assert len(store) == 1


def test_beyond_max_series_new_label_sets_are_refused_and_counted() -> None:
    store = SeriesStore(max_series=2)
    first = store.intern(labels("a"))
    store.intern(labels("b"))
    assert store.intern(labels("c")) == -1
    assert store.intern(labels("a")) == first
    assert store.refused == 1
    assert not store.append(-1, 1, 1.0)
    store.forget([first])
    assert store.intern(labels("c")) == 2, "an id is never given twice"


def test_the_same_time_again_replaces_the_value() -> None:
    store = SeriesStore()
    sid = store.intern(labels("a"))
    assert store.append(sid, 1000, 1.0)
    assert store.append(sid, 1000, 2.0)
    assert store.head(sid)[1].tolist() == [2.0]


def test_a_value_replaced_after_it_was_flushed_is_to_be_flushed_again() -> None:
    store = SeriesStore()
    sid = store.intern(labels("a"))
    store.append(sid, 1000, 1.0)
    store.mark_flushed(sid, 1000)
    assert not len(store.unflushed(sid)[0])
    store.append(sid, 1000, 2.0)
    assert store.unflushed(sid)[1].tolist() == [2.0]


def test_a_sample_older_than_a_head_that_let_go_of_some_is_refused() -> None:
    store = SeriesStore(head=8)
    sid = store.intern(labels("a"))
    for t in range(100):
        store.append(sid, 1000 + t, float(t))
        store.mark_flushed(sid, 1000 + t)
    assert not store.append(sid, 5, 0.0)
    assert len(store.head(sid)[0]) <= 10
    assert store.lost == 0


def test_unflushed_samples_are_kept_four_times_as_long_and_then_counted_as_lost() -> None:
    store = SeriesStore(head=8)
    sid = store.intern(labels("a"))
    for t in range(32):
        store.append(sid, t, float(t))
    assert len(store.unflushed(sid)[0]) == 32
    assert store.lost == 0
    assert sid in store.crowded
    for t in range(32, 64):
        store.append(sid, t, float(t))
    assert store.lost == 64 - len(store.unflushed(sid)[0]) > 0
    store.mark_flushed(sid, 63)
    assert sid not in store.crowded


def test_a_series_that_is_to_reach_further_back_does() -> None:
    store = SeriesStore(head=8)
    long = store.intern(labels("long"))
    for window_ms in (50, 10, 50):
        store.keep((Matcher("__name__", "=~", "long.*"),), window_ms)
    longer, short = store.intern(labels("longer")), store.intern(labels("short"))
    for t in range(500):
        for sid in (long, longer, short):
            store.append(sid, t, float(t))
            store.mark_flushed(sid, t)
    for sid in (long, longer):
        assert store.head(sid)[0][0] <= 450
        assert len(store.head(sid)[0]) < 200
    assert len(store.head(short)[0]) <= 10


def test_older_samples_from_history_go_before_the_head() -> None:
    store = SeriesStore(head=8)
    sid = store.intern(labels("a"))
    store.append(sid, 100, 1.0)
    store.load(sid, np.array([90, 95, 100, 110]), np.array([0.1, 0.2, 9.0, 9.0]))
    t, v = store.head(sid)
    assert t.tolist() == [90, 95, 100]
    assert v.tolist() == [0.1, 0.2, 1.0]
    assert store.unflushed(sid)[0].tolist() == [100]


def test_the_newest_sample_is_stale_missing_or_there() -> None:
    store = SeriesStore()
    cases = {"there": 1.0, "nan": math.nan, "stale": STALE}
    sids = np.array([store.intern(labels(name)) for name in [*cases, "none"]])
    for sid, value in zip(sids.tolist(), cases.values(), strict=False):
        store.append(sid, 1000, value)
    times, values = store.last(sids, 1000, 300_000)
    assert (times != NEVER).tolist() == [True, True, False, False]
    assert math.isnan(values[1])
    assert (store.last(sids, 301_000, 300_000)[0] == NEVER).all(), "the window is open on the left"
    assert (store.last(sids, 300_999, 300_000)[0] != NEVER).tolist() == [True, True, False, False]
    assert (store.last(sids, 999, 300_000)[0] == NEVER).all()


def test_the_staleness_marker_is_not_any_other_nan() -> None:
    assert is_stale(STALE)
    assert not is_stale(math.nan)
    assert stale_mask(np.array([STALE, math.nan, 1.0, math.inf])).tolist() == [True, False, False, False]


def test_what_was_touched_is_told_once() -> None:
    store = SeriesStore()
    a, b = store.intern(labels("a")), store.intern(labels("b"))
    store.append_many([a, b], 1000, [1.0, 2.0])
    store.append(a, 2000, 1.0)
    assert store.take_touched() == (frozenset({a, b}), (1000, 2000))
    assert store.take_touched() == (frozenset(), ())


def test_of_very_many_touched_times_the_newest_thousand_are_told() -> None:
    store = SeriesStore(head=10_000)
    sid = store.intern(labels("a"))
    for t in range(9000):
        store.append(sid, t, 0.0)
    assert store.take_touched().times_ms == tuple(range(8000, 9000))


def test_samples_of_history_go_back_as_far_as_is_wanted() -> None:
    store = SeriesStore(head=8)
    short, long = store.intern(labels("short")), store.intern(labels("long"))
    store.keep((Matcher("__name__", "=", "long"),), 50)
    times = np.arange(100)
    for sid in (short, long):
        store.load(sid, times, times.astype(float))
        store.load(sid, times, times.astype(float))
    assert store.head(short)[0].tolist() == list(range(92, 100))
    assert store.head(long)[0].tolist() == list(range(49, 100))
    assert store.last_t[long] == 99


def test_what_is_remembered_of_selections_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trader_monitor.core.series._MAX_SELECTED", 10)
    store = SeriesStore()
    sids = [store.intern(labels("a", i=str(i))) for i in range(8)]
    for number in range(20):
        assert store.select((Matcher("i", "!=", f"x{number}"),)).tolist() == sids
    assert sum(one.size for one in store._selections.values()) <= 24


def test_a_forgotten_series_answers_nothing() -> None:
    store = SeriesStore()
    sid = store.intern(labels("a"))
    store.append(sid, 1, 1.0)
    store.forget([sid, sid])
    assert store.labels_of(sid) == ()
    assert store.find(labels("a")) == -1
    assert not store.append(sid, 2, 1.0)
    store.load(sid, np.array([1]), np.array([1.0]))
    store.mark_flushed(sid, 1)
    for t, v in (store.head(sid), store.unflushed(sid), store.window(sid, 0, 10)):
        assert len(t) == len(v) == 0
    assert len(store) == 0
    assert store.sids() == []


def test_what_there_is_can_be_listed() -> None:
    store = SeriesStore()
    store.intern(labels("a", job="x"))
    store.intern(labels("b", job="w", zone="z"))
    store.describe("a", "gauge", "An a.", "s")
    assert store.label_names() == ["__name__", "job", "zone"]
    assert store.label_values("job") == ["w", "x"]
    assert store.metadata["a"] == ("gauge", "An a.", "s")


def test_an_earlier_value_can_be_set_right() -> None:
    store = SeriesStore()
    sid = store.intern(labels("a"))
    for t in (10, 20, 30):
        store.append(sid, t, float(t))
    store.mark_flushed(sid, 20)
    assert store.append(sid, 10, 1.0)
    assert store.append(sid, 15, 1.5)
    assert store.late == 2, "both lie behind what is on disk"
    assert store.head(sid)[1].tolist() == [1.0, 1.5, 20.0, 30.0]
    assert store.unflushed(sid)[0].tolist() == [30]


def test_a_view_is_not_disturbed_by_what_comes_later() -> None:
    store = SeriesStore(head=8)
    sid = store.intern(labels("a"))
    for t in range(10):
        store.append(sid, t * 2, float(t))
    seen, _ = store.head(sid)
    before = seen.tolist()
    for t in range(10, 60):
        store.append(sid, t * 2, float(t))
        store.append(sid, t * 2 - 1, 0.0)
    assert seen.tolist() == before


def test_a_selection_follows_series_that_appear_and_go() -> None:
    store = SeriesStore()
    matchers = (Matcher("__name__", "=", "a"), Matcher("job", "!~", "x.*"))
    assert not len(store.select(matchers))
    first = store.intern(labels("a", job="y"))
    store.intern(labels("a", job="xx"))
    store.intern(labels("b", job="y"))
    assert store.select(matchers).tolist() == [first]
    second = store.intern(labels("a"))
    assert store.select(matchers).tolist() == [first, second]
    generation = store.generation
    store.forget([first])
    assert store.generation > generation
    assert store.select(matchers).tolist() == [second]
    assert store.select((Matcher("job", "=~", "xx|y"),)).tolist() == [1, 2]


def test_five_hundred_series_of_an_hour_cost_less_than_five_megabytes() -> None:
    store = SeriesStore()
    sids = [store.intern(labels("a", i=str(i))) for i in range(500)]
    for t in range(600):
        store.append_many(sids, t * 15_000, [1.0] * 500)
        if t % 20 == 0:
            for sid in sids:
                store.mark_flushed(sid, t * 15_000)
    held = sum(head.t.nbytes + head.v.nbytes + 400 for head in store._heads if head is not None)
    assert held < 5_000_000


@given(st.lists(st.tuples(st.integers(0, 60), st.floats(allow_nan=False)), max_size=80), st.integers(4, 16))
def test_a_head_is_always_ascending_and_holds_the_newest(samples: list[tuple[int, float]], bound: int) -> None:
    store = SeriesStore(head=bound)
    sid = store.intern(labels("a"))
    taken: dict[int, float] = {}
    for t, value in samples:
        if store.append(sid, t, value):
            taken[t] = value
        t_head, v_head = store.head(sid)
        assert (np.diff(t_head) > 0).all()
        assert t_head[-1] == max(taken)
        assert all(taken[t] == v for t, v in zip(t_head.tolist(), v_head.tolist(), strict=True))
        assert store.last_t[sid] == t_head[-1]
        assert store.last_v[sid] == v_head[-1]


def test_where_all_room_is_taken_the_daemon_s_own_series_still_find_some() -> None:
    store = SeriesStore(max_series=100)
    for n in range(150):
        store.intern(labels("flood", n=str(n)))
    assert (len(store), store.refused) == (100, 50)
    for n in range(store.reserve):
        assert store.intern(labels("monitor_x", n=str(n)), own=True) >= 0
    assert store.intern(labels("monitor_x", n="one more"), own=True) == -1
    assert store.intern(labels("monitor_x", n="somebody's")) == -1, "the name alone gives no right"
    assert len(store) == 100 + store.reserve
    store.forget(store.sids()[:50])
    assert store.intern(labels("flood", n="late")) == -1, "what is given back goes to the reserve first"


def test_the_reserve_grows_with_the_store() -> None:
    assert SeriesStore(max_series=100).reserve == 2_500
    assert SeriesStore(max_series=50_000).reserve == 5_000


def test_refusals_are_told_by_metric_and_however_many_names_come_they_stay_few() -> None:
    store = SeriesStore(max_series=1)
    store.intern(labels("first"))
    for n in range(3):
        store.intern(labels("orders", id=str(n)))
    for n in range(1000):
        store.intern(labels(f"name_{n}"))
    told = store.refusals.by_metric
    assert len(told) == 17
    assert told["orders"] == (3, labels("orders", id="2"))
    assert told[""] == (985, labels("name_999"))
    assert sum(refusal.number for refusal in told.values()) == store.refused == 1003


def test_the_largest_metrics() -> None:
    store = SeriesStore()
    for name, number in (("a", 1), ("b", 3), ("c", 2)):
        for n in range(number):
            store.intern(labels(name, n=str(n)))
    assert store.largest(2) == [("b", 3), ("c", 2)]
