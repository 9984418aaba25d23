"""Order: the same as sorting at once."""

from __future__ import annotations

import random
import sys
import threading
import time
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trader_monitor.core.order import elements, in_order


@given(st.lists(st.integers()))
def test_few(things: list[int]) -> None:
    assert in_order(iter(things)) == sorted(things)


@given(st.integers(0, 5000), st.booleans())
def test_elements_are_those_of_the_list(number: int, rows: bool) -> None:
    array = np.arange(2 * number).reshape(number, 2) if rows else np.arange(number) / 3
    assert list(elements(array)) == array.tolist()


def test_many_and_others_run_meanwhile() -> None:
    dice = random.Random(7)
    things = [tuple((name, f"value {dice.random()}") for name in ("__name__", "host")) for _ in range(60_000)]
    beats, done = [], threading.Event()

    def beat() -> None:
        while not done.is_set():
            beats.append(time.monotonic())
            time.sleep(0.0005)

    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    beating = threading.Thread(target=beat)
    beating.start()
    try:
        began = time.monotonic()
        found = in_order(things)
        took = time.monotonic() - began
    finally:
        done.set()
        beating.join()
        sys.setswitchinterval(before)
    assert found == sorted(things)
    gaps = [later - earlier for earlier, later in pairwise(beats)]
    assert max(gaps) < took / 3
