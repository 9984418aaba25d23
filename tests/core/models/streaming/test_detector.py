"""Detectors: the recursion against one written row by row, what is told of an alarm, and what leaves it unmoved."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader_monitor.core.figure import points
from trader_monitor.core.models.streaming.detector import Alarm, DetectorError, Detectors
from trader_monitor.core.models.streaming.threshold import DIRECTIONS, WEIGHTS, costs, shifts, threshold
from trader_monitor.core.models.streaming.whitening import Whitening, whitening_of

NAMES = ("calm", "sticky", "skewed")


def streams(rows: int, seed: int = 0) -> np.ndarray:
    """Three features: independent, AR(1) with phi 0.8, lognormal."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((rows, 3))
    for row in range(1, rows):
        noise[row, 1] += 0.8 * noise[row - 1, 1]
    noise[:, 2] = np.exp(noise[:, 2])
    return noise


BASELINE = streams(1_000)
FRESH = Detectors.of(BASELINE, NAMES).encode()


def fresh() -> Detectors:
    return Detectors.decode(FRESH)


def one(values: np.ndarray, baseline: np.ndarray | None = None) -> tuple[Detectors, tuple[Alarm, ...]]:
    """A single feature `x`, over standard normal rows if not told otherwise."""
    rows = np.random.default_rng(1).standard_normal(2_000) if baseline is None else baseline
    detectors = Detectors.of(rows[:, None], ("x",))
    return detectors, detectors.update(np.asarray(values, dtype=float)[:, None])


def by_hand(law: Whitening, values: list[float]) -> list[tuple[int, int, str]]:
    """Row, onset and direction of each alarm, from the definition: one value after the other, sums in a list."""
    steps, prices, worth = shifts(law).tolist(), costs(law, 10_000).tolist(), law.scores().tolist()
    limit, past = threshold(law, 10_000), [0.0] * 5
    sums, history, found = [0.0] * 6, [], []
    for row, value in enumerate(values):
        if not math.isfinite(value):
            continue
        standard = (min(max(value, law.low), law.high) - law.centre) / law.deviation
        residual = standard - sum(c * p for c, p in zip(law.coefficients, past, strict=True))
        past = [standard, *past[:4]]
        score = worth[sum(edge <= residual for edge in law.edges)]
        sums = [
            (each + weight) * math.exp(step * score - price)
            for each, weight, step, price in zip(sums, WEIGHTS, steps, prices, strict=True)
        ]
        history.append((row, score))
        if sum(sums) >= limit:
            best = sums.index(max(sums))
            # The change is where the path from there to here gained most.
            gains = np.cumsum([steps[best] * each - prices[best] for _, each in reversed(history)])
            onset = history[len(history) - 1 - int(gains.argmax())][0]
            found.append((row, onset, "up" if DIRECTIONS[best] > 0 else "down"))
            sums, history = [0.0] * 6, []
    return found


def test_the_alarms_are_those_of_the_definition() -> None:
    """Quiet, then a shift that lasts, which alarms again and again; in one block and over many."""
    rows = streams(600, seed=3)
    rows[250:] += (0.7, -2.0, 1.5)
    rows[::17, 0] = np.nan
    found = fresh().update(rows)
    assert {alarm.feature for alarm in found} == set(NAMES)
    assert [alarm.row for alarm in found] == sorted(alarm.row for alarm in found)
    for at, name in enumerate(NAMES):
        law = whitening_of(BASELINE[:, at])
        assert isinstance(law, Whitening)
        wanted = by_hand(law, rows[:, at].tolist())
        mine = [(alarm.row, alarm.onset, alarm.direction) for alarm in found if alarm.feature == name]
        assert [(row, way) for row, _, way in mine] == [(row, way) for row, _, way in wanted]
        # By hand the row itself is named, here the one after the row before: the same where no value is missing.
        assert all(abs(mine_ - hand) <= 1 for (_, mine_, _), (_, hand, _) in zip(mine, wanted, strict=True))


@st.composite
def histories(draw: st.DrawFn) -> tuple[np.ndarray, list[int]]:
    """Rows with a shift, holes, infinities and outliers, and where they are cut."""
    rows = streams(draw(st.integers(1, 200)), seed=draw(st.integers(0, 5)))
    rows[draw(st.integers(0, len(rows))) :] += draw(st.sampled_from([0.0, 1.5, -6.0]))
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, len(rows) - 1)), draw(st.integers(0, 2))
        rows[at] = draw(st.sampled_from([math.nan, math.inf, -math.inf, 1e4, -1e300]))
    return rows, sorted(draw(st.lists(st.integers(0, len(rows)), max_size=6)))


@given(histories())
@settings(max_examples=60, deadline=None)
def test_rows_give_the_same_bits_however_they_come(history: tuple[np.ndarray, list[int]]) -> None:
    """In one piece, in pieces, and with a restart between the pieces."""
    rows, cuts = history
    whole, parts, restarted = fresh(), fresh(), fresh()
    wanted = whole.update(rows)
    found: tuple[Alarm, ...] = ()
    again: tuple[Alarm, ...] = ()
    for piece in np.split(rows, cuts):
        found += parts.update(piece)
        again += restarted.update(piece)
        restarted = Detectors.decode(restarted.encode())
    assert found == wanted == again
    assert whole.encode() == parts.encode() == restarted.encode()


@given(st.lists(st.tuples(st.integers(0, 120), st.sampled_from([math.nan, math.inf, -math.inf])), max_size=10))
@settings(max_examples=40, deadline=None)
def test_what_is_no_number_says_nothing(holes: list[tuple[int, float]]) -> None:
    """With rows of no numbers in between, every statistic and alarm but its row is the same."""
    rows = streams(120, seed=4)
    rows[60:] += 1.5
    longer = np.insert(rows, [at for at, _ in holes], np.asarray([[value] * 3 for _, value in holes]).reshape(-1, 3), 0)
    plain, holed = fresh(), fresh()
    wanted, found = plain.update(rows), holed.update(longer)
    assert [(a.feature, a.direction, a.size, a.statistic) for a in found] == [
        (a.feature, a.direction, a.size, a.statistic) for a in wanted
    ]
    assert holed.state == plain.state
    ignored = [f.value for f in holed.figures("m", "1") if f.name == "model_stream_drift_ignored_total"]
    assert ignored == [len(holes)] * 3


def test_a_larger_shift_is_told_sooner() -> None:
    """Of the same 100 streams, in their median and in their slowest tenth."""
    rng = np.random.default_rng(21)
    names = [str(at) for at in range(100)]
    law = Detectors.of(rng.standard_normal((1_000, 100)), names).encode()
    quiet = rng.standard_normal((600, 100))
    waits = []
    for shift in (0.25, 0.4, 0.6, 1.0, 2.0, 6.0):
        first = dict.fromkeys(names, 600)
        for alarm in reversed(Detectors.decode(law).update(quiet + shift)):
            first[alarm.feature] = alarm.row + 1
        waits.append(np.quantile(list(first.values()), (0.5, 0.9)))
    assert (np.diff(waits, axis=0) < 0).all()
    assert waits[-1][1] <= 6


@pytest.mark.parametrize(("shift", "direction"), [(1.0, "up"), (-1.0, "down"), (5.0, "up"), (-0.7, "down")])
def test_an_alarm_says_since_when_which_way_and_how_far(shift: float, direction: str) -> None:
    rows = np.random.default_rng(8).standard_normal(1_000)
    rows[500:] += shift
    _, found = one(rows)
    first = found[0]
    assert first.row >= 500
    assert first.row - 500 < 50 / min(abs(shift), 1.0) ** 2
    assert abs(first.onset - 500) <= 8 / shift**2 + 2
    assert first.direction == direction
    # The scores are bounded: of five deviations it is known that they are more than two.
    assert first.size == pytest.approx(shift, abs=0.4) if abs(shift) < 2 else first.size > 2
    assert first.statistic >= 1.0
    assert len(found) > 1, "the shift lasts"


def test_one_outlier_neither_alarms_nor_masks() -> None:
    """1e4 among standard normal rows, up, down and both; a shift of 0.7 sd is found as soon as without them."""
    quiet = np.random.default_rng(11).standard_normal(1_500)
    clean, _ = one(quiet[:400])
    for bad in (1e4, -1e4, 1e300):
        rows = quiet.copy()
        rows[200] = bad
        detectors, found = one(rows[:400])
        assert found == ()
        # At most e^2.5, of the component with the longest step, and the filter passes none of it on.
        assert one(rows[:201])[0].state["x"] <= 12.2 * (one(rows[:200])[0].state["x"] + 1e-4)
        assert detectors.state["x"] < 0.05
        shifted = rows + np.where(np.arange(1_500) >= 800, 0.7, 0.0)
        wanted = [alarm for alarm in one(quiet + np.where(np.arange(1_500) >= 800, 0.7, 0.0))[1] if alarm.row >= 800]
        late = [alarm for alarm in one(shifted)[1] if alarm.row >= 800]
        assert abs(late[0].row - wanted[0].row) <= 3
    assert clean.state["x"] < 0.05


def test_a_bad_tick_in_the_baseline_costs_nothing() -> None:
    """One value of 1e4 in 2,000 rows; the shift is told within the same fifty samples."""
    baseline = np.random.default_rng(1).standard_normal(2_000)
    spoilt = baseline.copy()
    spoilt[700] = 1e4
    rows = np.random.default_rng(12).standard_normal(600) + np.where(np.arange(600) >= 300, 1.0, 0.0)
    clean, dirty = one(rows, baseline)[1], one(rows, spoilt)[1]
    assert abs(dirty[0].row - clean[0].row) <= 3
    assert 300 <= dirty[0].row < 350


CONSTANT, SHORT = (
    np.full(1_000, 3.5),
    np.concatenate((np.random.default_rng(0).standard_normal(499), np.full(501, np.nan))),
)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (CONSTANT, "constant"),
        (SHORT, "499 finite rows, and at least 500"),
        (np.full(1_000, np.nan), "0 finite rows"),
        (np.arange(1_000) % 7, "7 distinct values"),
        (np.where(np.arange(9_000) < 8_960, 0.0, np.arange(9_000)), "99 % of the baseline is one value"),
        (1e9 + np.random.default_rng(0).standard_normal(1_000) * 1e-3, "too near to it"),
        (1e200 * np.random.default_rng(0).standard_normal(1_000), "too large"),
        (np.sin(np.arange(1_000)), "without error"),
    ],
    ids=[
        "constant",
        "few rows",
        "all NaN",
        "category",
        "nearly constant",
        "below precision",
        "beyond range",
        "foretold",
    ],
)
def test_a_feature_that_cannot_be_watched_says_why(values: np.ndarray, why: str) -> None:
    """It has no state, gives no alarm whatever comes, and does not disturb its neighbour."""
    good = np.random.default_rng(2).standard_normal(len(values))
    detectors = Detectors.of(np.column_stack((values, good)), ("odd", "good"))
    assert why in detectors.why[0]
    assert detectors.why[1] == ""
    rows = np.column_stack((np.full(300, 77.0), np.random.default_rng(3).standard_normal(300) + 2.0))
    assert {alarm.feature for alarm in detectors.update(rows)} == {"good"}
    assert set(detectors.state) == {"good"}
    told = {f.name: f for f in detectors.figures("m", "1") if ("feature", "odd") in f.labels}
    assert set(told) == {"model_stream_drift_ratio"}
    assert told["model_stream_drift_ratio"].value is None
    assert told["model_stream_drift_ratio"].reason == detectors.why[0]
    assert Detectors.decode(detectors.encode()).why == detectors.why


def test_where_nothing_can_be_watched_rows_are_taken_all_the_same() -> None:
    detectors = Detectors.of(np.full((1_000, 2), 1.0), ("a", "b"), family=True)
    assert detectors.update(np.ones((130, 2))) == ()
    assert detectors.state == {}
    assert detectors.row == 130
    assert Detectors.decode(detectors.encode()).encode() == detectors.encode()


def test_an_alarm_is_latched_until_it_is_let_go() -> None:
    """The first one is kept though the shift goes on; a reset lets it go, of one feature or of all."""
    detectors = fresh()
    rows = streams(400, seed=5)
    rows[100:] += (1.0, 0.0, 2.0)
    found = detectors.update(rows)
    first = {name: next(a for a in found if a.feature == name) for name in ("calm", "skewed")}
    assert {alarm.feature: alarm for alarm in detectors.latched} == first
    values = {f.labels: f.value for f in detectors.figures("m", "1") if f.name == "model_stream_drift_alarm"}
    about = (("model", "m"), ("version", "1"))
    assert values == {(*about, ("feature", name)): float(name in first) for name in NAMES}
    detectors.reset(["calm", "unheard of"])
    assert [alarm.feature for alarm in detectors.latched] == ["skewed"]
    assert detectors.state["calm"] == 0.0
    assert detectors.state["skewed"] > 0.0
    detectors.reset()
    assert detectors.latched == ()
    assert set(detectors.state.values()) == {0.0}
    again = detectors.update(rows[100:200])
    assert all(alarm.onset >= 400 for alarm in again)


def test_the_figures_name_their_promise() -> None:
    """Three features at one in 10,000 each: at most three; as a family: at most one."""
    each, family = fresh(), Detectors.of(BASELINE, NAMES, family=True)
    assert family.promise == 30_000
    for detectors, bound, promise in ((each, 3.0, "10,000"), (family, 1.0, "30,000")):
        detectors.update(streams(50, seed=6))
        figures = list(detectors.figures("m", "1"))
        assert len(list(points(figures))) == len(figures) == 13
        told = [f for f in figures if f.name == "model_stream_drift_false_alarms"]
        assert [f.value for f in told] == [pytest.approx(bound)]
        assert all(promise in f.convention for f in figures if f.name == "model_stream_drift_ratio")
        assert all(0.0 <= (f.value or 0.0) < 1.0 for f in figures if f.name == "model_stream_drift_ratio")
    assert all(a < b for a, b in zip(family.state.values(), each.state.values(), strict=True))


@pytest.mark.parametrize(
    ("shape", "names", "options", "fault"),
    [
        ((1_000, 2), ("a",), {}, "1 names need rows x 1 values"),
        ((1_000,), ("a",), {}, "not the shape"),
        ((1_000, 2), ("a", "a"), {}, "comes twice"),
        ((1_000, 1), ("a",), {"every": 999}, "1,000 to 100,000,000"),
        ((1_000, 2), ("a", "b"), {"every": 6e7, "family": True}, "1,000 to 100,000,000"),
    ],
)
def test_what_does_not_fit_is_refused(
    shape: tuple[int, ...], names: tuple[str, ...], options: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        Detectors.of(np.zeros(shape), names, **options)


@pytest.mark.parametrize("shape", [(3,), (2, 4)])
def test_rows_of_another_width_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rows x 3 values"):
        fresh().update(np.zeros(shape))


def damaged(field: str) -> bytes:
    """Encoded detectors of which one field has too little: a number of the first array, or the last item."""
    kept = msgspec.msgpack.decode(FRESH[10:])
    kept[field] = [kept[field][0][:-8], *kept[field][1:]] if field == "arrays" else kept[field][:-1]
    return FRESH[:10] + msgspec.msgpack.encode(kept)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", "not detectors"),
        (b"baseline\x01", "not detectors"),
        (b"detectors", "not detectors"),
        (b"detectors\x07", "version 7"),
        (FRESH[:-20], "damaged"),
        (FRESH[:10] + msgspec.msgpack.encode({"names": []}), "damaged"),
        (damaged("arrays"), "damaged"),
        (damaged("names"), "damaged"),
        (damaged("laws"), "damaged"),
    ],
)
def test_other_bytes_are_refused(raw: bytes, fault: str) -> None:
    with pytest.raises(DetectorError, match=fault):
        Detectors.decode(raw)
