"""A secret is given in every place that takes one, and looked for in everything that the daemon lets out."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.house import account, daemon, patient, sink

TOKEN = "marker-token-6f1c0a"
CHECK = "marker-check-90bb12"
ACTION = "marker-action-77e3d4"
SCRAPE = "marker-scrape-5d5d01"
HEADER = "marker-header-c0ffee"
SIGN = "marker-sign-1badb0"
WAY = "marker-way-ab12cd"
ASK = "marker-ask-4d0e11"
HEAL = "marker-heal-7bb29c"
AWAY = "127.77.31.99"  # where nobody listens: the error names it
USER = "marker-user-58c2b7"
MARKERS = (TOKEN, CHECK, ACTION, SCRAPE, HEADER, SIGN, WAY, ASK, HEAL, AWAY, USER)

CONFIG = """
http.tokens = [{ env = "M_TOKEN" }]

[collectors.monitor]
every = "1s"
[collectors.gateway]
type = "scrape"
url = "PATIENT/ping"
every = "1s"
token = { env = "M_SCRAPE" }

[checks.gateway]
type = "http"
url = { env = "M_ASK" }
every = "1s"
trip_after = 1
cooldown = "1s"
contains = "never"
recover = ["mend"]
token = { env = "M_CHECK" }

[checks.away]
type = "http"
url = { env = "M_AWAY" }
every = "1s"
trip_after = 1

[actions.mend]
type = "http"
url = { env = "M_HEAL" }
armed = true
token = { env = "M_ACTION" }

[rules.equity]
expr = "account_equity < 10"

[channels.slack]
type = "webhook"
url = { env = "M_WAY" }
secret = { env = "M_SIGN" }
headers = { X-Key = { env = "M_HEADER" } }

[channels.log]
"""

PATHS = (
    "/",
    "/v1/status",
    "/v1/alerts",
    "/v1/board",
    "/v1/checks",
    "/metrics",
    "/health",
    "/ready",
    "/api/v1/alerts",
    "/api/v1/rules",
    "/api/v1/metadata",
    "/api/v1/series?match[]={__name__!=''}",
    "/api/v1/query?query=nonsense(",
    "/nothing-here",
)


async def test_no_secret_leaves_by_log_page_metrics_answers_or_commands(tmp_path: Path) -> None:
    async with sink() as slack, patient() as gateway:
        gateway.echo, gateway.well = True, True  # a careless server that answers with what it was sent
        slack.status = 500
        slack.answer = f"no: {HEADER} {SIGN} {WAY}"
        env = {
            "M_TOKEN": TOKEN,
            "M_CHECK": CHECK,
            "M_ACTION": ACTION,
            "M_SCRAPE": SCRAPE,
            "M_ASK": f"{gateway.url}/ping?key={ASK}",
            "M_HEAL": f"{gateway.url}/treat/mend?key={HEAL}#x",
            "M_AWAY": f"https://me:{USER}@{AWAY}:1/",
            "M_HEADER": HEADER,
            "M_SIGN": SIGN,
            "M_WAY": f"{slack.url}?{WAY}",
        }
        config = CONFIG.replace("PATIENT", gateway.url)
        async with daemon(tmp_path, config, env=env) as house:
            house.headers = {"Authorization": f"Bearer {TOKEN}"}
            assert (await house.send(account(1.0)))[0] == 202
            await house.said("recovery exhausted", within=20)
            assert gateway.called
            await house.said("a notice could not be delivered and stays due")
            house.write(config.replace("< 10", "< nonsense("))
            house.signal(signal.SIGHUP)
            await house.said("the new configuration is not taken")
            let_out = {path: await house.text(path) for path in PATHS}
            async with aiohttp.ClientSession(headers=house.headers) as session:
                async with session.post(house.url + "/v1/test-alert", json={"channel": "slack"}) as answer:
                    let_out["test-alert"] = await answer.text()
                async with session.ws_connect(f"ws://127.0.0.1:{house.live}/") as feed:
                    let_out["live"] = (await feed.receive_str(timeout=5)) + (await feed.receive_str(timeout=5))
            house.write(config)
            for words in (
                ("status",),
                ("status", "--json"),
                ("alerts",),
                ("alerts", "--json"),
                ("check-config",),
                ("check-config", "--json"),
                ("test-alert", "slack"),
                ("query", "check_up"),
            ):
                let_out[" ".join(words)] = (await house.command(*words, **env))[1]
            await house.end()
        let_out["log"] = house.log.read_text()
    assert "monitor_" in let_out["/metrics"]
    found = [(where, marker) for where, text in let_out.items() for marker in MARKERS if marker in text]
    assert not found, "\n".join(map(str, found))


async def test_a_token_that_is_not_known_opens_nothing(tmp_path: Path) -> None:
    """Every route but the page, /health and /ready wants one of the tokens; a wrong one is not let through."""
    opened = {"/", "/health", "/ready", "/favicon.ico"}
    config = 'http.tokens = [{ env = "M_TOKEN" }, { env = "M_OTHER" }]\n'
    env = {"M_TOKEN": TOKEN, "M_OTHER": "another-token-12345"}
    async with daemon(tmp_path, config, env=env) as house:
        for headers, wanted in (
            ({}, 401),
            ({"Authorization": f"Bearer {TOKEN}x"}, 401),
            ({"Authorization": "Bearer "}, 401),
            ({"Authorization": f"Basic {TOKEN}"}, 401),
            ({"Authorization": f"Bearer {TOKEN}"}, None),
            ({"Authorization": "bearer another-token-12345"}, None),
        ):
            async with aiohttp.ClientSession(headers=headers) as session:
                for path in (*PATHS, "/api/v1/status/buildinfo", "/api/v1/labels", "/v1/events", "/v1/test-alert"):
                    async with session.get(house.url + path) as answer:
                        if path in opened:
                            assert answer.status == 200, path
                        elif wanted:
                            assert answer.status == wanted, (path, headers)
                        else:
                            assert answer.status != 401, (path, headers)
                async with session.post(house.url + "/v1/events", json=account(1.0)) as answer:
                    assert answer.status == (wanted or 202)
                if wanted is None:
                    async with session.ws_connect(f"ws://127.0.0.1:{house.live}/") as feed:
                        await feed.close()
                    continue
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await session.ws_connect(f"ws://127.0.0.1:{house.live}/")
                assert refused.value.status == wanted


async def test_an_open_address_without_tokens_is_refused_at_the_start(tmp_path: Path) -> None:
    async with daemon(tmp_path, "") as house:
        await house.end()
        text = house.config.read_text()
        for door in ("http", "live"):
            port = house.http if door == "http" else house.live
            house.config.write_text(text.replace(f"127.0.0.1:{port}", f"0.0.0.0:{port}"))
            began = time.monotonic()
            code, out = await asyncio.wait_for(house.command("run"), 10)
            assert code == 2
            assert f"{door}.listen" in out
            assert "tokens" in out
            assert time.monotonic() - began < 5
