"""The live feed over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.parts import until
from tests.web.stage import alert, check, child, samples, stage, trade
from trader_monitor.core.board import Board
from trader_monitor.core.facts import Samples
from trader_monitor.core.series import SeriesStore


def is_delta(topic: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: (message["type"], message.get("topic")) == ("delta", topic)


def newest_is(value: float) -> Callable[[dict[str, Any]], bool]:
    """Whether the newest sample that a message tells is this one."""
    return lambda message: [sample[2] for sample in message.get("samples", ())][-1:] == [value]


def values(messages: list[dict[str, Any]]) -> dict[str, float | None]:
    """The state that a client has who was told `messages`, from the snapshot on."""
    names: dict[str, str] = {}
    state: dict[str, float | None] = {}
    for message in messages:
        for sid, labels in (message.get("series") or {}).items():
            names[sid] = ",".join(labels.values())
        for sid, _, value in message.get("samples") or []:
            state[names[str(sid)]] = value
        for sid in message.get("gone", []):
            del state[names.pop(str(sid))]
    return state


async def test_first_a_snapshot_then_deltas_that_lead_to_the_same_state(tmp_path: Path) -> None:
    async with stage(tmp_path) as house:
        await house.journal.record([samples({"host_load1": 0.5, "host_load5/cpu=a": 0.4}), check("api", True)])
        async with house.client() as client:
            snapshot = await client.next()
            assert snapshot["type"] == "snapshot"
            assert snapshot["checks"][0]["name"] == "api"
            assert values([snapshot])["host_load1"] == 0.5
            for step in range(20):
                await house.journal.record([samples({"host_load1": float(step), f"bot_{step}": 1.0})])
            await house.journal.record([alert()])
            await client.want(is_delta("alerts"))
            await client.want(lambda m: "bot_19" in values(client.messages))
            async with house.client() as late:
                await late.want(lambda m: m["seq"] >= client.messages[-1]["seq"])
                assert values(late.messages) == values(client.messages)
            seqs = [message["seq"] for message in client.deltas]
            assert seqs == list(range(snapshot["seq"] + 1, snapshot["seq"] + 1 + len(seqs)))


async def test_a_delta_arrives_within_100_ms_of_its_fact(tmp_path: Path) -> None:
    async with stage(tmp_path) as house, house.client() as client:
        await client.next()
        slowest = 0.0
        for number in range(10):
            await house.journal.record([samples({"host_load1": number})])
            recorded = time.monotonic()
            await client.want(newest_is(number))
            slowest = max(slowest, time.monotonic() - recorded)
        assert slowest < 0.1


async def test_metrics_in_a_burst_are_told_together_and_the_newest_counts(tmp_path: Path) -> None:
    async with stage(tmp_path) as house, house.client("?topics=metrics") as client:
        await client.next()
        for number in range(200):
            await house.journal.record([samples({"host_load1": number})])
        await client.want(lambda m: [s[2] for s in m.get("samples", ())] == [199])
        assert len(client.deltas) < 100


async def test_only_the_topics_that_were_asked_for_are_told(tmp_path: Path) -> None:
    async with stage(tmp_path) as house, house.client("?topics=alerts,metrics.host") as client:
        snapshot = await client.next()
        assert snapshot["topics"] == ["alerts", "metrics.host"]
        assert "checks" not in snapshot
        await house.journal.record([samples({"host_load1": 1, "pnl_realized": 2}), check("a", True), trade(1)])
        await house.journal.record([alert()])
        await client.want(lambda m: {m["topic"] for m in client.deltas} == {"alerts", "metrics"})
        told = [(m["topic"], m.get("family")) for m in client.deltas]
        assert sorted(told, key=str) == [("alerts", None), ("metrics", "host")]


@pytest.mark.parametrize("topics", ["weather", "alerts,weather", "alerts.firing", "metrics.", "metrics.a b"])
async def test_an_unknown_topic_closes_with_a_code_and_says_which(tmp_path: Path, topics: str) -> None:
    async with stage(tmp_path) as house, house.client(f"?topics={topics.replace(' ', '%20')}") as client:
        close = await client.closed()
        assert close.code == 4004
        assert topics.split(",")[-1] in close.reason


async def test_who_resumes_gets_what_it_missed_without_gap_or_duplicate(tmp_path: Path) -> None:
    async with stage(tmp_path) as house:
        async with house.client() as client:
            await client.next()
            await house.journal.record([samples({"host_load1": 1})])
            last = (await client.want(is_delta("metrics")))["seq"]
        for number in range(2, 30):
            await house.journal.record([samples({"host_load1": number, f"new_{number}": 1}), trade(number)])
            if number % 9 == 0:
                async with house.client("?topics=trades") as other:  # forces a step of the feed
                    await other.next()
        async with house.client(f"?resume={last}") as client:
            assert await client.next() == {"type": "resumed", "seq": last}
            await house.journal.record([samples({"host_load1": 99})])
            await client.want(lambda m: [s[2] for s in m.get("samples", ())] == [99])
            seqs = [message["seq"] for message in client.deltas]
            assert seqs == list(range(last + 1, last + 1 + len(seqs)))
            trades = [t["id"] for m in client.deltas for t in m.get("trades", ())]
            assert trades == [f"t{number}" for number in range(2, 30)]


async def test_a_snapshot_after_a_restart_has_the_latest_fills(tmp_path: Path) -> None:
    async with stage(tmp_path) as house:
        await house.journal.record([trade(1), trade(2)])
    async with stage(tmp_path) as house, house.client("?topics=trades") as client:
        assert [told["id"] for told in (await client.next())["trades"]] == ["t1", "t2"]


@pytest.mark.parametrize("resume", ["1", "99999999999999999", "0"])
async def test_a_number_that_cannot_be_resumed_from_is_answered_with_a_snapshot(tmp_path: Path, resume: str) -> None:
    async with stage(tmp_path) as house, house.client(f"?resume={resume}") as client:
        assert (await client.next())["type"] == "snapshot"


async def test_a_resume_that_is_no_number_is_refused(tmp_path: Path) -> None:
    async with stage(tmp_path) as house, house.client("?resume=-1") as client:
        assert (await client.closed()).code == 4000


ORIGINS = [
    ("no Origin is no browser", None, 101),
    ("the page's own", "http://127.0.0.1:8008", 101),
    ("the page's own by its other name", "http://localhost:8008", 101),
    ("one that was configured", "https://desk.example", 101),
    ("a foreign site", "https://evil.example", 403),
    ("the page's host on another port", "http://127.0.0.1:8009", 403),
    ("another scheme", "https://127.0.0.1:8008", 403),
    ("a name that begins like ours", "http://localhost:8008.evil.example", 403),
    ("the opaque origin of a sandbox", "null", 403),
]


@pytest.mark.parametrize(("origin", "status"), [case[1:] for case in ORIGINS], ids=[case[0] for case in ORIGINS])
async def test_the_origin_decides_before_the_upgrade(tmp_path: Path, origin: str | None, status: int) -> None:
    async with stage(tmp_path, origins=("https://desk.example",)) as house:
        try:
            async with house.client(origin=origin):
                answer = 101
        except InvalidStatus as refused:
            answer = refused.response.status_code
        assert answer == status


def offered(token: str) -> str:
    return "bearer." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


TOKENS = [
    ("none", {}, "", 401),
    ("a wrong one", {"additional_headers": {"Authorization": "Bearer wrong"}}, "", 401),
    ("in the header", {"additional_headers": {"Authorization": "Bearer s3cret?&"}}, "", 101),
    ("in the query", {}, "?token=s3cret%3F%26", 101),
    ("as a subprotocol", {"subprotocols": ["trader-monitor", offered("s3cret?&")]}, "", 101),
    ("as a wrong subprotocol", {"subprotocols": ["trader-monitor", offered("other")]}, "", 401),
    ("as a broken subprotocol", {"subprotocols": ["trader-monitor", "bearer.!"]}, "", 401),
]


@pytest.mark.parametrize(
    ("options", "query", "status"), [case[1:] for case in TOKENS], ids=[case[0] for case in TOKENS]
)
async def test_a_token_is_needed_where_there_are_some(
    tmp_path: Path, options: dict[str, Any], query: str, status: int
) -> None:
    async with stage(tmp_path, tokens=("another", "s3cret?&")) as house:
        try:
            async with house.client(query, **options) as client:
                assert (await client.next())["type"] == "snapshot"
                answer = 101
        except InvalidStatus as refused:
            answer = refused.response.status_code
        assert answer == status


async def test_another_path_is_not_found(tmp_path: Path) -> None:
    async with stage(tmp_path) as house:
        with pytest.raises(InvalidStatus) as refused:
            async with house.client("other"):
                pass
        assert refused.value.response.status_code == 404


async def test_a_gigabyte_frame_is_refused_at_its_header(tmp_path: Path) -> None:
    async with stage(tmp_path) as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert b"101" in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x81\xff" + (1 << 30).to_bytes(8, "big") + b"\0\0\0\0" + b"x" * 1000)
        async with asyncio.timeout(5):
            answer = await reader.read()
        assert (1009).to_bytes(2, "big") in answer[-200:]
        writer.close()
        await until(lambda: house.env.meters.get("monitor_live_clients") == 0)


async def test_a_client_that_talks_is_told_that_nothing_is_expected(tmp_path: Path) -> None:
    async with stage(tmp_path) as house, house.client() as client:
        await client.next()
        await client.connection.send("hello")
        assert (await client.closed()).code == 1008


async def test_a_slow_client_is_dropped_with_a_code_and_never_buffered_beyond_its_bound(tmp_path: Path) -> None:
    async with stage(tmp_path) as house:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", house.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
        writer.write(
            b"GET /?topics=metrics HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        names = [(("__name__", "bulk_value"), ("n", f"{n:04}")) for n in range(1000)]
        async with asyncio.timeout(30):
            for turn in range(100_000):
                now = house.env.clock.now().wall
                await house.journal.record(
                    [Samples(at=now, origin="bulk", labels=tuple(names), values=tuple(float(turn) for _ in names))]
                )
                if house.env.meters.get("monitor_live_dropped_total", reason="too_slow"):
                    break
                await asyncio.sleep(0.051)
        rest = b""
        async with asyncio.timeout(10):
            while (4008).to_bytes(2, "big") + b"too slow" not in rest:
                part = await reader.read(1 << 20)
                assert part, "the connection ended without a word"
                rest = rest[-200:] + part
        writer.close()


async def test_a_slow_client_delays_no_other(tmp_path: Path) -> None:
    async with stage(tmp_path) as house, house.client("?topics=metrics") as quick:
        await quick.next()
        _, writer = await asyncio.open_connection("127.0.0.1", house.port, limit=1)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        for number in range(20):
            await house.journal.record([samples({f"bulk_{n}": number for n in range(100)})])
            await quick.want(newest_is(number), within=2)
        writer.close()


async def test_the_state_of_the_house_is_told_as_soon_as_it_changes(tmp_path: Path) -> None:
    async with stage(tmp_path) as house, house.client("?topics=alerts") as client:
        snapshot = await client.next()
        assert (snapshot["status"]["state"], snapshot["status"]["headline"]) == ("ok", "All well")
        fired = alert()
        await house.journal.record([fired])
        status = (await client.want(lambda m: m["type"] == "status" and m["status"]["state"] != "ok"))["status"]
        assert (status["state"], status["headline"]) == ("critical", "bot is 12.0 % below its peak")
        assert status["since"] == pytest.approx(fired.at)
        ended = alert(state="resolved", transition=2, fired_at=fired.at)
        await house.journal.record([ended])
        status = (await client.want(lambda m: m["type"] == "status" and m["status"]["state"] == "ok"))["status"]
        assert status["since"] == pytest.approx(ended.at)


async def test_a_parked_child_is_told_without_any_fact(tmp_path: Path) -> None:
    async with stage(tmp_path) as house, house.client("?topics=children") as client:
        assert {c["name"] for c in (await client.next())["children"]} == {"journal", "live"}
        house.children[1] = child("live", "parked", restarts=5)
        delta = await client.want(is_delta("children"))
        assert {c["name"]: c["state"] for c in delta["children"]} == {"journal": "running", "live": "parked"}
        assert (await client.want(lambda m: m["type"] == "status"))["status"]["state"] == "error"


async def test_after_the_board_was_rebuilt_clients_begin_anew(tmp_path: Path) -> None:
    async with stage(tmp_path) as house:
        await house.journal.record([samples({"host_load1": 2})])
        async with house.client() as client:
            seq = (await client.next())["seq"]
            rebuilt = Board(SeriesStore())
            rebuilt.fold(samples({"host_load1": 1}), house.env.clock.now())
            house.journal.board = rebuilt
            assert (await client.closed()).code == 4012
        async with house.client(f"?resume={seq}") as client:
            snapshot = await client.next()
            assert snapshot["type"] == "snapshot"
            assert values([snapshot]) == {"host_load1": 1}


async def test_the_going_of_the_house_is_said(tmp_path: Path) -> None:
    async with stage(tmp_path) as house:
        connection = await connect(house.url)
        await connection.recv()
    await connection.wait_closed()
    assert connection.close_code == 1001


async def test_a_thousand_clients_get_the_same_delta(tmp_path: Path) -> None:
    async with stage(tmp_path) as house:
        connections = await asyncio.gather(
            *(connect(house.url + "?topics=alerts", compression=None, ping_interval=None) for _ in range(1000))
        )
        snapshots = await asyncio.gather(*(connection.recv(decode=True) for connection in connections))
        assert all(snapshot.startswith('{"type":"snapshot"') for snapshot in snapshots)
        await house.journal.record([alert()])
        told = await asyncio.gather(*(_first_delta(connection) for connection in connections))
        assert len(set(told)) == 1
        assert json.loads(told[0])["alerts"][0]["rule"] == "drawdown"
        await asyncio.gather(*(connection.close() for connection in connections))


async def _first_delta(connection: ClientConnection) -> str:
    async with asyncio.timeout(20):
        while True:
            message = await connection.recv(decode=True)
            if message.startswith('{"type":"delta"'):
                return message
