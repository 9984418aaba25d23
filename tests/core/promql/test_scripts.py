"""Our promqltest scripts, and anybody's: PROMQLTEST_DIR names a folder, 95 % of whose cases must pass."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

DATA = Path(__file__).parents[2] / "data" / "promql"


def _runner() -> ModuleType:
    """The runner beside this file, wherever the tests are started from."""
    spec = importlib.util.spec_from_file_location("promqltest", Path(__file__).with_name("promqltest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


promqltest = _runner()


@pytest.mark.parametrize("path", sorted(DATA.glob("*.test")), ids=lambda path: path.stem)
def test_our_scripts_pass_whole(path: Path) -> None:
    report = promqltest.run(path.read_text(), messages=True)
    assert not report.failures, "\n".join(f"line {line}: {query}: {wrong}" for line, query, wrong in report.failures)
    assert report.passed >= 20
    assert not report.skipped


def test_scripts_of_a_folder_outside_pass_for_the_most_part() -> None:
    folder = os.environ.get("PROMQLTEST_DIR", str(DATA))
    reports = promqltest.run_folder(Path(folder))
    passed = sum(report.passed for report in reports.values())
    failed = sum(len(report.failures) for report in reports.values())
    lines = [f"{name}: {r.passed} of {r.passed + len(r.failures)}" for name, r in reports.items()]
    assert passed >= 0.95 * (passed + failed) > 0, "\n".join(lines)


TWO = "load 1m\n a{i='1'} 1\n a{i='2'} 2\n"
SPAN = "expect range vector from 0 to 0 step 1m"
WRONG = [
    ("a value that differs", "load 1m\n a 1\n\neval instant at 0 a\n a 2\n"),
    ("a series that is missing", "load 1m\n a 1\n\neval instant at 0 a\n a 1\n b 1\n"),
    ("a series too much", "load 1m\n a 1\n b 1\n\neval instant at 0 {__name__=~'.+'}\n a 1\n"),
    ("another order", f"{TWO}\neval_ordered instant at 0 sort(a)\n a{{i='2'}} 2\n a{{i='1'}} 1\n"),
    ("a failure that does not come", "eval_fail instant at 0 1\n"),
    ("an unexpected failure", "eval instant at 0 nosuch(a)\n"),
    ("another message", "eval instant at 0 1 and 2\n expect fail msg: something else\n"),
    ("a point too much", "load 1m\n a 1 1\n\neval range from 0 to 1m step 1m a\n a 1 _\n"),
    ("a point that is missing", "load 1m\n a 1 _\n\neval range from 0 to 9m step 9m a\n a 1 1\n"),
    ("another string", "eval instant at 0 'x'\n expect string 'y'\n"),
    ("another scalar", "eval instant at 0 1\n 2\n"),
    ("a range vector with other points", f"{TWO}\neval instant at 0 a[1h]\n {SPAN}\n a{{i='1'}} 1\n a{{i='2'}} 3\n"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "script"), WRONG, ids=[what for what, _ in WRONG])
def test_the_runner_notices(what: str, script: str) -> None:
    report = promqltest.run(script, messages=True)
    assert (report.passed, len(report.failures)) == (0, 1)


def test_the_runner_skips_and_counts_what_needs_native_histograms() -> None:
    script = """
load 1m
  h {{schema:0 sum:5 count:4 buckets:[1 2 1]}}x3
  f 1+1x3

eval instant at 0 h
  h {{schema:0 sum:5 count:4 buckets:[1 2 1]}}

eval instant at 0 histogram_count(f)

eval instant at 0 limitk(1, f)
  f 1

eval instant at 1m f
  f 2

clear

load_with_nhcb 1m
  b_bucket{le="+Inf"} 1

eval instant at 0 b

eval instant at 0 b_bucket
  b_bucket{le="+Inf"} 1
"""
    report = promqltest.run(script)
    assert report.failures == []
    assert report.passed == 2
    assert report.skipped == {promqltest.NATIVE: 3, promqltest.EXPERIMENTAL: 1}


def test_a_script_that_is_none_is_refused() -> None:
    for script in ("nonsense", "load", "eval sometime x", "load 1m\n a 1 $\n"):
        with pytest.raises(ValueError, match=r"."):
            promqltest.run(script)
