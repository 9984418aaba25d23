"""Numbers, moments and names as a report writes them."""

from __future__ import annotations

import pytest

from trader_monitor.reports.writing import clean, count, moment, number, percent, probability


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"), (0.0, "0.000"), (0.12345, "0.123"), (-1.5, "-1.500"), (999.0, "999.000"), (1234.56, "1,235"),
        (1.5e7, "1.5e+07"), (0.0001, "0.0001"), (1e300, "1e+300"),
    ],
)  # fmt: skip
def test_numbers(value: float | None, written: str) -> None:
    assert number(value) == written


@pytest.mark.parametrize(("value", "written"), [(None, "–"), (0.0004, "< 0.001"), (0.0123, "0.012"), (1.0, "1.000")])
def test_probabilities(value: float | None, written: str) -> None:
    assert probability(value) == written


def test_shares_counts_and_moments() -> None:
    assert (percent(None), percent(0.1234)) == ("–", "12.3 %")
    assert (count(None), count(12345)) == ("–", "12,345")
    assert (moment(None), moment(0.0), moment(1e300)) == ("–", "1970-01-01 00:00 UTC", "1e+300")


def test_names_stay_on_one_line_and_move_no_cursor() -> None:
    assert clean("a\nb\x1b[31m\u202ec") == "a\\u000ab\\u001b[31m\\u202ec"
    assert clean("漲跌 é") == "漲跌 é"
