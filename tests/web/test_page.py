"""The page in a real Chromium, over a real application, feed and journal."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from yarl import URL

from tests.web.site import browsing, site, tab
from tests.web.stage import CLOCK, Stage, account, alert, check, child, samples, trade
from trader_monitor.core.facts import ActionStep
from trader_monitor.web.live import live

WORD = "document.getElementById('word').innerText.toLowerCase()"
HEADLINE = "document.getElementById('headline').innerText"


async def furnish(house: Stage) -> None:
    """A bot that trades, a host, checks that pass and one alert that is over."""
    for number in range(1, 9):
        await house.journal.record([trade(number, price=100 + number, fee=0.5, account="main", exchange="sim")])
        await house.journal.record([account(10_000 + 5 * number, account="main")])
    await house.journal.record([samples({"host_cpu_usage_ratio": 0.25, "host_memory_usage_ratio": 0.5})])
    await house.journal.record([check("exchange-api", True), check("database", True)])
    past = time.time() - 300
    await house.journal.record([alert("latency", at=past, severity="warning")])
    await house.journal.record([alert("latency", "resolved", at=past + 60, severity="warning", transition=2)])


async def test_all_is_well_then_critical_then_well_again(tmp_path: Path, need: Callable[..., str]) -> None:
    async with site(tmp_path) as (house, url), tab(need, tmp_path, url) as shown:
        await shown.until(f"{WORD} === 'all well'")
        assert "since" in await shown.text("#since")
        assert (await shown.run("document.title")).startswith("● All well")
        calm = await shown.run("document.getElementById('icon').href")
        await house.journal.record([alert(summary="bot is 12.0 % below its peak")])
        await shown.until(f"{WORD} === 'critical:' && {HEADLINE} === 'bot is 12.0 % below its peak'")
        assert await shown.run("document.getElementById('band').dataset.state") == "critical"
        assert await shown.run("document.getElementById('shape').getAttribute('href')") == "#s-critical"
        assert (await shown.run("document.title")).startswith("⬣ Critical: bot is 12.0 %")
        assert await shown.run("document.getElementById('icon').href") != calm
        assert "bot is 12.0 % below its peak" in await shown.text("#firing")
        assert "critical alert: bot is 12.0 %" in await shown.run("document.getElementById('tell').textContent")
        await house.journal.record([alert(state="resolved", transition=2, fired_at=time.time() - 5)])
        await shown.until(f"{WORD} === 'all well' && document.getElementById('firing').hidden")
        assert "resolved" in await shown.text("#alerts")


async def test_an_alert_of_a_check_says_what_was_answered_and_what_was_done(
    tmp_path: Path, need: Callable[..., str]
) -> None:
    def step(phase: Any, incident: str = "gateway-2") -> ActionStep:
        now = CLOCK.now()
        more: Any = {"at": now.wall, "mono": now.mono, "who": "recover", "why": "it failed"}
        return ActionStep(incident=incident, check="gateway", action="restart", rung=0, phase=phase, **more)

    async with site(tmp_path) as (house, url), tab(need, tmp_path, url) as shown:
        await house.journal.record([step("over_budget", "gateway-1")])
        await house.journal.record(
            [check("gateway", False, state="open", failures=3, message="status 503, wanted 2xx")]
        )
        fired = alert("check_failing", summary="The check gateway fails")
        labels = {**fired.labels, "check": "gateway"}
        await house.journal.record([msgspec.structs.replace(fired, labels=labels)])
        await house.journal.record([step("started"), step("failed")])
        await shown.until("document.querySelector('#firing small')?.innerText.includes('failed')")
        assert await shown.text("#firing small") == "status 503, wanted 2xx · restart failed"
        await house.journal.record([step("verified")])
        await house.journal.record([check("gateway", True)])
        await shown.until("document.querySelector('#firing small').innerText === ''")


async def test_figures_move_as_the_facts_come(tmp_path: Path, need: Callable[..., str]) -> None:
    async with site(tmp_path) as (house, url):
        await furnish(house)
        async with tab(need, tmp_path, url) as shown:
            await shown.until("document.querySelector('#accounts .facts')")
            text = await shown.text("#accounts")
            assert "10,040.00 USD" in text
            assert re.search(r"Fees\s+4\.00 USD", text)
            assert re.search(r"Win rate\s+\d", text)
            await house.journal.record([account(12_345.67, account="main")])
            await shown.until("document.getElementById('accounts').innerText.includes('12,345.67 USD')", within=2)
            await shown.until("document.querySelector('#desk-charts figure').innerText.includes('12,345.67')", within=2)
            await house.journal.record(
                [check("database", False, state="open", failures=3, message="connection refused")]
            )
            await shown.until("document.getElementById('checks').innerText.includes('connection refused')")
            await shown.until(f"{WORD} === 'warning:'")
            house.children[1] = child("live", "parked", restarts=5)
            await shown.until("document.getElementById('children').innerText.includes('parked')")


async def test_where_the_account_says_otherwise_both_figures_are_shown(
    tmp_path: Path, need: Callable[..., str]
) -> None:
    async with site(tmp_path) as (house, url):
        await house.journal.record([account(1000.0)])
        await house.journal.record([trade(1, price=10), trade(2, price=35.43)])
        await house.journal.record([account(1025.46)])
        async with tab(need, tmp_path, url) as shown:
            await shown.until("document.querySelector('#accounts .own')")
            text = (await shown.text("#accounts")).replace("\n", " ")
            assert "+25.43 USD" in text
            assert "By the account's own equity: +25.46 USD (+0.03 USD against ours)" in text


async def test_a_page_whose_feed_is_gone_says_since_when_and_comes_back(
    tmp_path: Path, need: Callable[..., str]
) -> None:
    async with site(tmp_path, serve=False) as (house, url):
        await furnish(house)
        server = asyncio.create_task(live(house.env, house.sock))
        async with tab(need, tmp_path, url) as shown:
            await shown.until(f"{WORD} === 'all well'")
            server.cancel()
            with suppress(asyncio.CancelledError):
                await server
            await shown.until(f"{WORD} === 'no contact'")
            assert re.search(r"Since .+ Last known: all well\. Trying", await shown.text("#since"))
            assert await shown.run("document.getElementById('band').dataset.state") == "stale"
            assert (await shown.run("document.title")).startswith("○ No contact")
            await house.journal.record([account(7_777.0, account="main")])
            server = asyncio.create_task(live(house.env, house.sock))
            await shown.until(f"{WORD} === 'all well'", within=20)
            await shown.until("document.getElementById('accounts').innerText.includes('7,777.00 USD')")
        server.cancel()
        with suppress(asyncio.CancelledError):
            await server


async def test_charts_have_history_and_can_be_read_and_zoomed_by_keys(tmp_path: Path, need: Callable[..., str]) -> None:
    async with site(tmp_path) as (house, url):
        now = time.time()
        for back in range(600, 0, -15):
            await house.journal.record([samples({"host_cpu_usage_ratio": back / 1000}, at=now - back)])
        async with tab(need, tmp_path, url) as shown:
            figure = "document.querySelector('#host-charts figure')"
            await shown.until(f"{figure}.innerText.includes('1.5 %')")
            await shown.run(f"{figure}.querySelector('canvas').focus()")
            for _ in range(8):
                await shown.press("ArrowLeft", shift=True)
            await shown.until(f"/[2-9]\\d\\.\\d %/.test({figure}.innerText)")
            label = await shown.run(f"{figure}.querySelector('canvas').getAttribute('aria-label')")
            assert re.match(r"Processor at .+: in use \d+\.\d %", label)
            await shown.press("+")
            await shown.until("!document.querySelector('#ranges button[hidden]')")
            await shown.press("Escape")
            await shown.until("document.querySelector('#ranges button[hidden]')")


async def test_a_drag_across_a_chart_zooms_into_that_time(tmp_path: Path, need: Callable[..., str]) -> None:
    async with site(tmp_path) as (house, url):
        await furnish(house)
        async with tab(need, tmp_path, url) as shown:
            await shown.until("document.querySelector('#accounts .facts')")
            box = await shown.run(
                "(({ left, top, width }) => [left, top, width])("
                "document.querySelector('canvas').getBoundingClientRect())"
            )
            y = box[1] + 60
            await shown.mouse("mouseMoved", box[0] + box[2] * 0.3, y)
            await shown.mouse("mousePressed", box[0] + box[2] * 0.3, y, button="left", clickCount=1)
            await shown.mouse("mouseMoved", box[0] + box[2] * 0.5, y, button="left", buttons=1)
            await shown.mouse("mouseReleased", box[0] + box[2] * 0.5, y, button="left", clickCount=1)
            await shown.until("document.querySelector('#ranges').innerText.includes('Back to now')")
            await shown.run(
                "[...document.querySelectorAll('#ranges button')].find((b) => b.innerText === 'Back to now').click()"
            )
            await shown.until("document.querySelector('#ranges button[aria-pressed=true]') === null")


LAYOUTS = [(1280, "dark"), (1280, "light"), (390, "dark"), (390, "light")]


@pytest.mark.parametrize(("width", "scheme"), LAYOUTS)
async def test_nothing_overflows_and_all_text_has_contrast(
    tmp_path: Path, need: Callable[..., str], width: int, scheme: str
) -> None:
    async with site(tmp_path) as (house, url):
        await furnish(house)
        await house.journal.record([alert(summary="a-very-long-strategy-name-without-any-space is below its peak")])
        async with tab(need, tmp_path, "about:blank", width=width, height=844, mobile=width < 500) as shown:
            await shown.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
            await shown.goto(url)
            await shown.until("document.querySelector('#accounts .facts') && document.querySelector('.alarm')")
            assert await shown.run("document.documentElement.scrollWidth") == width
            await shown.screenshot(tmp_path / "page.png")
            assert (tmp_path / "page.png").stat().st_size > 20_000
            assert await shown.run(CONTRAST) == []


CONTRAST = """(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (it) => {
    for (; it; it = it.parentElement) {
      const color = parse(getComputedStyle(it).backgroundColor);
      if (color.length < 4 || color[3] > 0.99) return color;
    }
    return [255, 255, 255];
  };
  const written = (it) => [...it.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  const poor = [];
  for (const it of document.querySelectorAll("body *")) {
    if (!written(it) || !it.getClientRects().length || it.closest(".unseen,.symbols,.skip,noscript,svg")) continue;
    const [b, a] = [light(parse(getComputedStyle(it).color)), light(behind(it))].sort((x, y) => x - y);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push([it.tagName, it.className, it.textContent.slice(0, 30), ratio]);
  }
  return poor;
})()"""


async def test_every_control_is_reached_by_the_keyboard(tmp_path: Path, need: Callable[..., str]) -> None:
    async with site(tmp_path) as (house, url):
        await furnish(house)
        async with tab(need, tmp_path, url) as shown:
            await shown.until("document.querySelector('#accounts .facts')")
            reached = set()
            for _ in range(40):
                await shown.press("Tab")
                reached.add(await shown.run("document.activeElement.className || document.activeElement.tagName"))
                if await shown.run("document.activeElement.tagName") == "BUTTON":
                    assert await shown.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            assert {"skip", "BUTTON", "tall", "low"} <= reached


async def test_with_a_token_the_page_asks_for_it_and_then_opens(tmp_path: Path, need: Callable[..., str]) -> None:
    async with site(tmp_path, tokens=("open sesame",)) as (_, url), browsing(need, tmp_path) as browser:
        shown = await browser.open(url)
        await shown.until("!document.getElementById('door').hidden")
        for attempt in ("wrong", "open sesame"):
            await shown.run(f"document.getElementById('token').value = '{attempt}'")
            await shown.run("document.querySelector('#door button').click()")
            if attempt == "wrong":
                await shown.until("document.getElementById('refused').innerText.includes('not known')")
                assert not await shown.run("document.getElementById('main').checkVisibility()")
        await shown.until(f"{WORD} === 'all well' && document.getElementById('main').checkVisibility()")
        assert [error for error in shown.errors if "401" not in error] == []


async def test_an_empty_house_teaches(tmp_path: Path, need: Callable[..., str]) -> None:
    async with site(tmp_path) as (_, url), tab(need, tmp_path, url) as shown:
        await shown.until("document.querySelector('#accounts pre')")
        assert f"curl {url}v1/events" in await shown.text("#accounts pre")
        assert "trader-monitor play" in await shown.text("#accounts pre")
        assert "no bot and no check reports yet" in await shown.text("#since")


async def test_eight_charts_of_four_series_are_redrawn_within_a_frame(tmp_path: Path, need: Callable[..., str]) -> None:
    async with site(tmp_path) as (_, url), tab(need, tmp_path, url) as shown:
        await shown.until(f"{WORD} === 'all well'")
        spent = await shown.run(
            """(async () => {
              const { Chart, View } = await import("/page/chart.js");
              const now = Date.now() / 1000, view = new View(() => now), charts = [];
              const hall = document.createElement("div");
              hall.style.width = "600px";
              document.body.append(hall);
              for (let n = 0; n < 8; n++) {
                const chart = new Chart(view, { title: "c" + n, format: String, area: n === 0 });
                hall.append(chart.element);
                chart.fit();
                const many = (of) => Array.from({ length: 600 }, (_, i) => of(i));
                const t = many((i) => now - 3600 + 6 * i);
                const line = (k) => ({ name: "s" + k, t, v: many((i) => Math.sin(i / 20 + k)) });
                chart.set([0, 1, 2, 3].map(line));
                charts.push(chart);
              }
              const turns = [];
              for (let turn = 0; turn < 15; turn++) {
                const began = performance.now();
                for (const chart of charts) chart.draw();
                turns.push(performance.now() - began);
              }
              return turns.sort((a, b) => a - b)[7];
            })()"""
        )
        print(f"8 charts of 4 series with 600 points: {spent:.1f} ms")
        assert spent < 16


# --- what is served, without a browser ---------------------------------------------------------------------------


async def test_the_whole_page_is_small(tmp_path: Path) -> None:
    sizes = {item.name: len(item.read_bytes()) for item in (files("trader_monitor.web") / "page").iterdir()}
    figures = sum(size for name, size in sizes.items() if name.startswith("figures"))  # a page of its own
    assert sum(sizes.values()) - figures < 61_000, sizes
    assert figures < 12_000, sizes


async def test_the_policy_lets_nothing_in_and_a_known_file_is_not_sent_again(tmp_path: Path) -> None:
    async with site(tmp_path) as (house, url), aiohttp.ClientSession() as session:
        async with session.get(url) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            assert f"ws://127.0.0.1:{house.port}" in policy
            assert "unsafe" not in policy
            html = await answer.text()
            assert answer.headers["Content-Encoding"] == "gzip"
        assert not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=", html)
        assert not re.search(r"https?://(?!www\.w3\.org)", html)
        async with session.get(url, headers={"If-None-Match": answer.headers["ETag"]}) as again:
            assert (again.status, await again.read()) == (304, b"")


@pytest.mark.parametrize(
    "path", ["page/nothing.js", "page/../live.py", "page/%2e%2e/live.py", "page/..%2flive.py", "page/"]
)
async def test_only_the_page_s_own_files_are_served(tmp_path: Path, path: str) -> None:
    async with (
        site(tmp_path) as (_, url),
        aiohttp.ClientSession() as session,
        session.get(URL(url + path, encoded=True)) as answer,
    ):
        assert answer.status == 404


async def test_a_host_header_cannot_write_into_the_policy(tmp_path: Path) -> None:
    async with (
        site(tmp_path, tokens=("t",)) as (_, url),
        aiohttp.ClientSession() as session,
        session.get(url, headers={"Host": "x; script-src *:1"}) as answer,
    ):
        assert "script-src *" not in answer.headers.get("Content-Security-Policy", "")


async def test_status_alerts_and_board_answer(tmp_path: Path) -> None:
    async with site(tmp_path) as (house, url), aiohttp.ClientSession() as session:
        await furnish(house)
        await house.journal.record([alert()])
        async with session.get(url + "v1/status") as answer:
            status = await answer.json()
        assert (status["state"], status["alerts"]) == ("critical", {"firing": {"critical": 1}, "pending": 0})
        assert [c["name"] for c in status["checks"]] == ["exchange-api", "database"]
        assert {c["name"] for c in status["children"]} == {"journal", "live"}
        assert status["ingest"]["events_total"] == 16
        assert status["store"]["degraded"] is None
        async with session.get(url + "v1/alerts") as answer:
            alerts = await answer.json()
        assert [a["rule"] for a in alerts["history"]][:2] == ["drawdown", "latency"]
        async with session.get(url + "v1/board") as answer:
            desk = await answer.json()
        (mine,) = desk["accounts"]
        assert (mine["source"], mine["account"], mine["currency"]) == ("bot", "main", "USD")
        assert (mine["account_equity"], mine["trade_fees_total"]) == (10_040.0, 4.0)
        assert mine["trades_closed_total"] == {"win": 0.0, "loss": 0.0, "flat": 4.0}
