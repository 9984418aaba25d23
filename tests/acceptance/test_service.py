"""The daemon under a service manager that is played by the test, and what its channels promise."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import signal
import socket
import time
from pathlib import Path

import aiohttp

from tests.acceptance.house import account, daemon, firing, resolved, sink

LOW = '[rules.low]\nexpr = "account_equity < 100"\n'


class Manager:
    """systemd's end of NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)
        self.heard: list[str] = []

    async def want(self, beginning: str, *, within: float = 10.0, after: int = 0) -> str:
        async with asyncio.timeout(within):
            while True:
                for message in self.heard[after:]:
                    if any(line.startswith(beginning) for line in message.splitlines()):
                        return message
                self.heard.append((await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode())

    def close(self) -> None:
        self._socket.close()


async def test_the_service_manager_is_told_of_every_stage(tmp_path: Path) -> None:
    manager = Manager(tmp_path)
    try:
        env = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "2000000"}
        async with daemon(tmp_path, LOW, env=env) as house:
            assert "STATUS=" in await manager.want("READY=1")
            await manager.want("WATCHDOG=1")
            await manager.want("STATUS=", after=len(manager.heard))
            before = len(manager.heard)
            await house.reload(LOW.replace("100", "90"))
            assert "MONOTONIC_USEC=" in await manager.want("RELOADING=1", after=before)
            await manager.want("READY=1", after=before)
            before = len(manager.heard)
            await house.reload("[rules.low]\nexpr = 'nonsense('\n", taken=False)
            await manager.want("RELOADING=1", after=before)
            await manager.want("READY=1", after=before)
            before = len(manager.heard)
            house.signal(signal.SIGSTOP)
            await asyncio.sleep(2.5)  # longer than the watchdog's period: it starves, as it should
            assert len(manager.heard) == before
            house.signal(signal.SIGCONT)
            await manager.want("WATCHDOG=1", after=before)
            before = len(manager.heard)
            assert await house.end() == 0
            await manager.want("STOPPING=1", after=before)
    finally:
        manager.close()


async def test_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    hung = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{hung.sockets[0].getsockname()[1]}/"
    async with hung, daemon(tmp_path, LOW + f'[channels.hung]\ntype = "webhook"\nurl = "{url}"\n') as house:
        await house.send(account(1.0))
        house.signal(signal.SIGTERM)
        await house.said("draining")
        began = time.monotonic()
        house.signal(signal.SIGTERM)
        assert house.process is not None
        assert await asyncio.wait_for(house.process.wait(), 5) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 0.5


async def test_a_dead_channel_delays_no_other_and_a_receiver_can_verify_the_signature(tmp_path: Path) -> None:
    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    hung = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    dead = f"http://127.0.0.1:{hung.sockets[0].getsockname()[1]}/"
    async with hung, sink() as slack:
        config = LOW + (
            f'[channels.dead]\ntype = "webhook"\nurl = "{dead}"\n'
            f'[channels.slack]\ntype = "webhook"\nurl = "{slack.url}"\nsecret = {{ env = "SIGN" }}\n'
        )
        async with daemon(tmp_path, config, env={"SIGN": "correct-horse"}) as house:
            for equity, wanted in ((1.0, firing("low")), (200.0, resolved("low")), (2.0, firing("low"))):
                after = len(slack.alerts)
                began = time.monotonic()
                await house.send(account(equity))
                await slack.want(wanted, after=after)
                assert time.monotonic() - began < 0.5
        stamp, sent = slack.headers[0]["X-Signature"].split(",")
        at = stamp.removeprefix("t=")
        assert abs(time.time() - int(at)) < 60
        wanted_sign = hmac.new(b"correct-horse", at.encode() + b"." + slack.bodies[0], hashlib.sha256).hexdigest()
        assert hmac.compare_digest(sent, f"v1={wanted_sign}")
        assert len(set(slack.keys)) == 3, "each notice has a key of its own"


async def test_the_end_is_told_whenever_the_daemon_is_killed(tmp_path: Path) -> None:
    """Killed at moments from before the firing's delivery to after the end's: firing and resolved both arrive."""
    async with (
        sink() as slack,
        daemon(tmp_path, LOW + f'[channels.s]\ntype = "webhook"\nurl = "{slack.url}"\n') as house,
    ):
        for delay in (0.0, 0.001, 0.003, 0.01, 0.05):
            after = len(slack.alerts)
            for equity, wanted in ((1.0, firing("low")), (200.0, resolved("low"))):
                assert (await house.send(account(equity)))[0] == 202
                await asyncio.sleep(delay)
                await house.kill()
                await house.open()
                await slack.want(wanted, after=after)


async def test_grafana_gets_what_it_asks_for(tmp_path: Path) -> None:
    """The requests of Grafana's Prometheus data source: forms by POST, labels by selector, who we are."""
    async with daemon(tmp_path, LOW) as house:
        await house.send(account(150.0))
        now = time.time()
        async with aiohttp.ClientSession() as session:
            form = {"query": "account_equity", "start": str(now - 60), "end": str(now + 1), "step": "15"}
            async with session.post(house.url + "/api/v1/query_range", data=form) as answer:
                body = await answer.json()
                assert (answer.status, body["status"], body["data"]["resultType"]) == (200, "success", "matrix")
                assert body["data"]["result"][0]["values"][-1][1] == "150"
            async with session.post(house.url + "/api/v1/query", data={"query": "1+1"}) as answer:
                assert (await answer.json())["data"]["result"][1] == "2"
            asked = [("match[]", "account_equity"), ("start", str(now - 60)), ("end", str(now))]
            async with session.post(house.url + "/api/v1/labels", data=asked) as answer:
                assert {"__name__", "account", "source"} <= set((await answer.json())["data"])
            async with session.get(house.url + "/api/v1/label/source/values", params=asked) as answer:
                assert (await answer.json())["data"] == ["bot"]
            async with session.get(house.url + "/api/v1/status/buildinfo") as answer:
                assert (await answer.json())["data"]["version"]


async def test_commands_answer_as_tables_and_as_json_with_codes_to_trust(tmp_path: Path) -> None:
    async with daemon(tmp_path, LOW) as house:
        await house.send(account(1.0))
        await house.until('count(ALERTS{alertname="low"})', lambda n: n == 1)
        for words, code, part in (
            (("status",), 0, " run (--json"),
            (("status", "--json"), 0, '"children"'),
            (("alerts",), 0, "low"),
            (("alerts", "--exit-code"), 1, "low"),
            (("alerts", "--json"), 0, '"low"'),
            (("query", "account_equity"), 0, "bot"),
            (("query", "account_equity", "--from", "-1m", "--step", "15s"), 0, "bot"),
            (("query", "account_equity", "--from", "-1m", "--step", "15s", "--json"), 0, '"matrix"'),
            (("query", "nosuch", "--exit-code"), 1, ""),
            (("query", "sum("), 2, "unclosed"),
            (("test-alert", "log"), 0, "log"),
            (("test-alert", "nosuch"), 2, "nosuch"),
        ):
            got, out = await house.command(*words, COLUMNS="120")
            assert (got, part in out) == (code, True), (words, got, out)
        await house.end()
        got, out = await house.command("status")
        assert (got, "Traceback" in out, str(house.http) in out) == (3, False, True), out
