"""The rule of polkit, run by a real JavaScript engine: it lets through what it names, and says nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.web.chromium import chromium

RULE = Path(__file__).parents[2] / "systemd" / "50-trader-monitor.rules"
POLKIT = """
(() => {
  const rules = [];
  const polkit = { addRule: rule => rules.push(rule), Result: { YES: "yes", NOT_HANDLED: null } };
  %s;
  return %s.map(([id, user, unit, verb]) => rules[0]({ id, lookup: key => ({ unit, verb })[key] }, { user }));
})()
"""


async def test_the_daemon_may_restart_the_units_that_are_named_and_nothing_else(
    need: Callable[..., str], tmp_path: Path
) -> None:
    manage, us, bot = "org.freedesktop.systemd1.manage-units", "trader-monitor", "freqtrade.service"
    verbs = ("restart", "try-restart", "reload-or-restart", "start")
    allowed = [[manage, us, bot, verb] for verb in verbs]
    refused = [
        [manage, "mallory", bot, "restart"],
        [manage, us, "ssh.service", "restart"],
        [manage, us, bot, "stop"],
        [manage, us, "x-freqtrade.service", "restart"],
        ["org.freedesktop.systemd1.manage-unit-files", us, bot, "restart"],
        [manage, us, None, "restart"],
    ]
    async with chromium(need("chromium"), tmp_path / "profile") as browser:
        page = await browser.open("about:blank")
        answers = await page.run(POLKIT % (RULE.read_text(), json.dumps(allowed + refused)))
    assert answers == ["yes"] * len(allowed) + [None] * len(refused)
