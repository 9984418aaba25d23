"""Figures over HTTP and on their page: each says how it was made and how sure it is, or why it has no value."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.web.site import site, tab
from tests.web.stage import Stage
from trader_monitor.core.facts import Account, Decision

DAYS = 40


async def furnish(house: Stage) -> None:
    """An account that won and lost by turns on forty days, one of today; an agent that is right three times of four."""
    now = time.time()
    for number in range(DAYS + 1):
        equity = 10_000.0 * (1.01 if number % 2 else 0.995) * 1.001**number
        at = now - (DAYS - number) * 86_400
        await house.journal.record([Account(at=at, source="bot", account="main", currency="USD", equity=equity)])
    await house.journal.record([Account(at=now, source="young", currency="USD", equity=1.0)])
    for number in range(8):
        outcome: Any = "correct" if number % 4 else "wrong"
        await house.journal.record([Decision(at=now, source="agent", action="buy", confidence=0.7, outcome=outcome)])


async def ask(url: str, query: str = "") -> dict[tuple[str, str], dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}v1/figures?{query}") as answer:
        assert answer.status == 200
        told = await answer.json()
    assert told["confidence"] == 0.95
    return {(one["name"], one["labels"].get("source", "")): one for one in told["figures"]}


async def test_every_figure_has_a_convention_and_either_a_value_or_a_reason(tmp_path: Path) -> None:
    async with site(tmp_path) as (house, url):
        await furnish(house)
        found = await ask(url)
    for figure in found.values():
        assert figure["convention"]
        assert isinstance(figure["n"], int)
        if figure["value"] is None:
            assert figure["reason"]
        elif figure["interval"] is None:
            assert figure["why_no_interval"]
        else:
            assert figure["interval"]["low"] <= figure["value"] <= figure["interval"]["high"]
            assert figure["interval"]["method"]
    sharpe = found["account_sharpe_ratio", "bot"]
    # the first report is where the curve begins, and today is not over
    assert (sharpe["n"], sharpe["labels"]["annualisation"], sharpe["room"]) == (DAYS - 1, "365", "accounts")
    young = found["account_sharpe_ratio", "young"]
    assert (young["value"], young["n"]) == (None, 0)
    assert "30" in young["reason"]
    accuracy = found["agent_accuracy_ratio", "agent"]
    assert (accuracy["value"], accuracy["n"]) == (0.75, 8)


async def test_rooms_names_and_labels_choose(tmp_path: Path) -> None:
    async with site(tmp_path) as (house, url):
        await furnish(house)
        assert {one["room"] for one in (await ask(url, "room=agents")).values()} == {"agents"}
        assert list(await ask(url, "name=account_sharpe_ratio&source=bot")) == [("account_sharpe_ratio", "bot")]
        assert not await ask(url, "source=nobody")
        async with aiohttp.ClientSession() as session, session.get(f"{url}v1/figures?room=acounts") as answer:
            assert answer.status == 400
            assert "there are accounts, trades, exchanges, agents" in (await answer.json())["hint"]


async def test_the_page_of_figures_shows_them_with_their_intervals(tmp_path: Path, need: Callable[..., str]) -> None:
    async with site(tmp_path) as (house, url):
        await furnish(house)
        async with tab(need, tmp_path, url + "figures") as shown:
            await shown.until("document.querySelectorAll('.whisker').length > 3")
            text = await shown.text("#figures")
            assert "Sharpe" in text
            assert "30 are needed" in text, text
            await shown.run(
                "[...document.querySelectorAll('#rooms button')].find((b) => b.innerText === 'Agents').click()"
            )
            await shown.until("document.querySelector('#figures h2').innerText.toLowerCase() === 'agent'")
            assert "75.00 %" in await shown.text("#figures")
            await shown.resize(390, 800, mobile=True)
            assert await shown.run("document.documentElement.scrollWidth <= innerWidth")


async def test_the_page_of_figures_of_a_monitor_that_knows_nothing_yet(
    tmp_path: Path, need: Callable[..., str]
) -> None:
    async with site(tmp_path) as (_, url), tab(need, tmp_path, url + "figures") as shown:
        await shown.until("document.querySelector('.empty').innerText.includes('No figure yet')")
