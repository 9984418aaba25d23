"""One incident from the limit's breach to its end, with the daemon killed in the middle."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path

import aiohttp

from tests.acceptance.house import account, daemon, firing, free_port, resolved, sink

RULES = """
[rules.drawdown]
expr = "account_drawdown_ratio > 0.10"
severity = "critical"
summary = "{labels.source} is {value:.1%} below its peak"
"""

EVERYTHING = (Path(__file__).parent.parent.parent / "config.toml").read_text()
EVERYTHING = EVERYTHING[EVERYTHING.index("# --- collectors") :]
"""What the shipped configuration collects, judges and tells."""


def hook(url: str) -> str:
    return f'\n[channels.slack]\ntype = "webhook"\nurl = "{url}"\n'


async def test_a_breach_is_told_within_milliseconds_and_its_end_too(tmp_path: Path) -> None:
    async with sink() as slack, daemon(tmp_path, RULES + hook(slack.url)) as house:
        assert (await house.send(account(100_000.0)))[0] == 202
        began = time.monotonic()
        assert (await house.send(account(88_000.0)))[0] == 202
        alert = await slack.want(firing("drawdown", source="bot", severity="critical"))
        assert time.monotonic() - began < 0.5
        assert alert["annotations"]["summary"] == "bot is 12.0% below its peak"
        await house.send(account(99_000.0))
        await slack.want(resolved("drawdown"))


async def test_an_incident_survives_kill_9_without_a_second_telling(tmp_path: Path) -> None:
    async with sink() as slack, daemon(tmp_path, RULES + hook(slack.url)) as house:
        await house.send(account(100_000.0))
        await house.send(account(80_000.0))
        await slack.want(firing("drawdown"))
        await house.until('count(ALERTS{alertname="drawdown",alertstate="firing"})', lambda n: n == 1)
        await house.delivered("slack")
        await house.kill()
        told = len(slack.alerts)
        await house.open()
        alerts = (await house.get("/v1/alerts"))["alerts"]
        assert [(a["rule"], a["state"]) for a in alerts] == [("drawdown", "firing")]
        await house.send(account(100_000.0))
        await slack.want(resolved("drawdown"), after=told)
        assert [a["status"] for a in slack.alerts[told:]] == ["resolved"], "the firing was told once already"


async def test_a_breach_that_no_channel_could_be_told_of_is_told_after_the_restart(tmp_path: Path) -> None:
    async with sink() as slack, daemon(tmp_path, RULES + hook(slack.url)) as house:
        slack.status = 503
        await house.send(account(100_000.0))
        await house.send(account(50_000.0))
        await house.until('count(ALERTS{alertname="drawdown",alertstate="firing"})', lambda n: n == 1)
        await house.kill()
        slack.status = 200
        await house.open()
        await slack.want(firing("drawdown"), within=15)


async def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    async with daemon(tmp_path, "") as house:
        acknowledged = 0
        for round in range(3):
            killer = asyncio.get_running_loop().call_later(0.25 + 0.1 * round, lambda: house.process.kill())  # type: ignore[union-attr]
            try:
                while True:
                    at = time.time()
                    batch = [
                        {
                            "type": "trade",
                            "at": at,
                            "id": f"{round}-{acknowledged}-{n}",
                            "source": "bot",
                            "symbol": "BTC",
                            "side": "buy",
                            "quantity": 1,
                            "price": 10,
                        }
                        for n in range(20)
                    ]
                    status, answer = await house.send(*batch)
                    assert status == 202, answer
                    acknowledged += answer["accepted"]
            except (aiohttp.ClientError, OSError):
                pass
            killer.cancel()
            await house.kill()
            await house.open()
            kept = await house.value("sum(trade_fills_total)") or 0
            assert acknowledged <= kept <= acknowledged + 20 * (round + 1), "no more than the unanswered batches"


async def test_sigterm_drains_within_ten_seconds_though_the_webhook_hangs(tmp_path: Path) -> None:
    async def accept_and_never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    hung = await asyncio.start_server(accept_and_never_answer, "127.0.0.1", 0)
    port = hung.sockets[0].getsockname()[1]
    async with hung, daemon(tmp_path, RULES + hook(f"http://127.0.0.1:{port}/")) as house:
        await house.send(account(100.0))
        await house.send(account(50.0))
        began = time.monotonic()
        assert await house.end(within=15) == 0
        assert time.monotonic() - began <= 10


async def test_a_reload_with_an_invalid_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    async with sink() as slack, daemon(tmp_path, RULES + hook(slack.url)) as house:
        await house.send(account(100.0))
        house.write(RULES.replace("account_drawdown_ratio >", "acount_drawdown_ratio(") + hook(slack.url))
        house.signal(signal.SIGHUP)
        await house.until("monitor_reload_failed", lambda v: v == 1)
        await slack.want(firing("monitor_reload_failed"))
        assert any("rules.drawdown.expr" in str(record) for record in house.records())
        await house.send(account(50.0))
        await slack.want(firing("drawdown"))
        house.write(RULES.replace("0.10", "0.70") + hook(slack.url))
        house.signal(signal.SIGHUP)
        await house.until("monitor_reload_failed", lambda v: v == 0)
        await slack.want(resolved("drawdown"), within=20)


async def test_a_second_daemon_on_the_same_store_and_a_taken_port_are_refused(tmp_path: Path) -> None:
    async with daemon(tmp_path, "") as house:
        text = house.config.read_text()
        elsewhere = text.replace(str(house.http), str(free_port())).replace(str(house.live), str(free_port()))
        cases = {"store": elsewhere, str(house.http): text.replace("store.db", "other.db")}
        for word, config in cases.items():
            path = tmp_path / f"second-{word}.toml"
            path.write_text(config.replace("ingest.sock", f"{word}.sock"))
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "trader_monitor",
                "run",
                "--config",
                str(path),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            out, _ = await asyncio.wait_for(process.communicate(), 15)
            assert process.returncode not in (0, None)
            assert word in out.decode()
            assert "Traceback" not in out.decode()


async def test_a_first_start_costs_no_child_its_life(tmp_path: Path) -> None:
    async with daemon(tmp_path, EVERYTHING) as house:
        await house.until("count(host_boot_time_seconds)", lambda n: n == 1)
        assert [child for child in (await house.get("/v1/status"))["children"] if child["restarts"]] == []
        assert [record for record in house.records() if record["level"] in ("warning", "error", "critical")] == []
