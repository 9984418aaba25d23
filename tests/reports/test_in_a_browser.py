"""The reports in a real Chromium: nothing to scroll sideways on a phone, nothing loaded, no complaint."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.reports.test_drift_report import runs
from tests.reports.test_performance_report import turned
from tests.web.chromium import chromium
from trader_monitor.reports.drift import drift_sheet
from trader_monitor.reports.html import as_html
from trader_monitor.reports.performance import performance_sheet

PROGRAM = shutil.which("chromium") or ""


@pytest.mark.real
async def test_reports_fit_a_phone_and_a_desk(tmp_path: Path) -> None:
    assert PROGRAM, "the distribution's chromium is missing"
    for name, sheets in (("drift", [drift_sheet(runs())]), ("performance", [performance_sheet(turned())])):
        (tmp_path / f"{name}.html").write_text(as_html(sheets))
    async with chromium(PROGRAM, tmp_path / "profile") as browser:
        for name in ("drift", "performance"):
            for width in (390, 1280):
                page = await browser.open((tmp_path / f"{name}.html").as_uri(), width=width, mobile=width < 500)
                await page.until("document.readyState === 'complete' && document.querySelector('h1')")
                assert await page.run("document.documentElement.scrollWidth") <= width, (name, width)
                assert await page.run("performance.getEntriesByType('resource').length") == 0
                small = "[...document.querySelectorAll('td')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
                assert await page.run(small) == 0, "no cell is cut"
                assert page.errors == []
            backgrounds = set()
            for scheme in ("light", "dark"):
                await page.prefer(prefers_color_scheme=scheme)
                backgrounds.add(await page.run("getComputedStyle(document.body).backgroundColor"))
            assert len(backgrounds) == 2
