"""The client against real doors: nothing is lost that need not be, and the bot is never held up."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Required, TypeAlias, get_origin, get_type_hints

import msgspec
import pytest

from tests.parts import until
from tests.web.doors import Doors, doors
from trader_monitor.client import AsyncMonitor, Monitor, fields
from trader_monitor.core.facts import EVENT_TYPES, Trade

UNUSED = "http://127.0.0.1:9"

Answer: TypeAlias = tuple[int, dict[str, Any], dict[str, str]]


def some_trade(monitor: Any, **more: Any) -> None:
    monitor.trade(symbol="BTC", side="buy", quantity=1.0, price=100.0, **more)


@contextmanager
def answering(*answers: Answer) -> Iterator[tuple[str, list[list[str]]]]:
    """An HTTP server that gives these answers in turn, the last one for ever; with the lines of each request."""
    came: list[list[str]] = []

    class Stub(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            lines = self.rfile.read(int(self.headers["Content-Length"])).decode().splitlines()
            status, body, headers = answers[min(len(came), len(answers) - 1)]
            came.append(lines)
            if status == 0:  # hangs up instead of answering
                self.close_connection = True
                return
            raw = json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


OK: Answer = (202, {"accepted": 1, "duplicates": 0}, {})


def addresses(house: Doors) -> tuple[str, str]:
    return house.url, f"unix:{house.path}"


async def test_every_type_of_event_arrives_over_http_and_the_socket(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        for address in addresses(house):
            before = dict(house.env.board.counts)
            async with AsyncMonitor(address, source="bot") as monitor:
                some_trade(monitor, fee=0.5, context={"note": "x"})
                monitor.order(order_id="1", symbol="BTC", side="buy", status="filled")
                monitor.position(symbol="BTC", quantity=-1.0)
                monitor.account(equity=100.0)
                monitor.request(exchange="e", endpoint="/o", latency_seconds=0.1, ok=True)
                monitor.rate_limit(exchange="e", remaining=5.0)
                monitor.connection(exchange="e", state="connected")
                monitor.market_data(exchange="e", symbol="BTC", price=1.0)
                monitor.decision(action="buy", confidence=0.5)
                monitor.prediction(model="m", version="1", output=0.5)
                monitor.outcome(actual=1.0, prediction_id="1")
                monitor.heartbeat(interval_seconds=10.0)
                monitor.sample(name="queue_length", value=3.0)
                monitor.http_request(endpoint="/", method="GET", status=200, duration_seconds=0.1)
                assert await monitor.flush()
                assert (monitor.accepted, monitor.refused, monitor.dropped) == (14, 0, 0), monitor.last_error
            counts = house.env.board.counts
            assert {name: counts[name] - before.get(name, 0) for name in counts} == dict.fromkeys(counts, 1)
        assert len(counts) == len(EVENT_TYPES)


async def test_what_is_handed_over_while_the_daemon_is_away_arrives_once_when_it_is_back(tmp_path: Path) -> None:
    async with doors(tmp_path) as house:
        url = house.url
        monitor = Monitor(url, source="bot")
        for _ in range(700):
            some_trade(monitor)
        await until(lambda: house.env.board.counts.get("trade", 0) > 0)
    for _ in range(300):
        some_trade(monitor)
    assert monitor.dropped == 0
    port = int(url.rpartition(":")[2])
    async with doors(tmp_path, port=port) as house:
        await until(lambda: monitor.waiting == 0)
        assert house.env.board.counts == {"trade": 1000}
        assert await asyncio.to_thread(monitor.close)
    assert (monitor.accepted, monitor.dropped, monitor.refused) == (1000, 0, 0)


async def test_an_answer_that_was_lost_does_not_count_twice(tmp_path: Path) -> None:
    with (
        answering((0, {}, {}), (503, {}, {"Retry-After": "0"}), OK) as (url, came),
        Monitor(url, source="bot") as monitor,
    ):
        some_trade(monitor)
        assert monitor.flush()
        ids = [json.loads(line)["id"] for lines in came for line in lines]
        assert len(ids) == 3
        assert len(set(ids)) == 1, "the same id each time"
        assert monitor.accepted == 1


def test_ids_differ_between_events_and_monitors() -> None:
    with answering(OK) as (url, came):
        with Monitor(url, source="a") as one, Monitor(url, source="a") as two:
            for monitor in (one, two):
                some_trade(monitor)
                some_trade(monitor)
        ids = [json.loads(line)["id"] for lines in came for line in lines]
        assert len(set(ids)) == 4


def test_an_id_of_the_bots_own_is_kept() -> None:
    with answering(OK) as (url, came), Monitor(url) as monitor:
        monitor.send(Trade(at=1.0, id="mine", source="b", symbol="s", side="buy", quantity=1.0, price=1.0))
        assert monitor.flush()
        assert json.loads(came[0][0])["id"] == "mine"


def test_handing_over_takes_microseconds_and_the_buffer_is_bounded() -> None:
    monitor = Monitor(UNUSED, source="bot", capacity=2_000, linger=0.0)
    best = float("inf")
    for _ in range(30):
        began = time.perf_counter()
        for _ in range(500):
            monitor.trade(symbol="BTC", side="buy", quantity=1.0, price=100.0, fee=0.1, currency="USDT")
        best = min(best, (time.perf_counter() - began) / 500)
    assert best <= 5e-6
    assert monitor.waiting <= 2_500
    assert monitor.dropped >= 15_000 - 2_500
    assert not monitor.close(0.1)
    assert monitor.dropped == 15_000, "every one that did not arrive is counted"


def test_what_was_dropped_is_reported_when_it_can_be() -> None:
    with (
        answering((503, {}, {"Retry-After": "1"}), OK) as (url, came),
        Monitor(url, source="bot", capacity=10) as monitor,
    ):
        some_trade(monitor)
        deadline = time.monotonic() + 5
        while not came:
            assert time.monotonic() < deadline
        for _ in range(30):
            some_trade(monitor)
        assert monitor.flush(8)
        lost = [json.loads(line) for lines in came for line in lines if "client_events_dropped_total" in line]
        assert [(event["value"], event["source"]) for event in lost] == [(20.0, "bot")]


def test_nothing_that_a_bot_does_wrong_raises() -> None:
    with answering(OK) as (url, _), Monitor(url, source="bot") as monitor:
        monitor.trade(symbl="BTC")  # type: ignore[call-arg]
        monitor.trade(symbol="BTC")  # type: ignore[call-arg]
        monitor.trade(symbol=object(), side="buy", quantity=1.0, price=1.0)  # type: ignore[arg-type]
        monitor.trade(symbol="\ud800", side="buy", quantity=1.0, price=1.0)
        some_trade(monitor)
        assert monitor.flush()
        assert (monitor.refused, monitor.accepted) == (4, 1)
        assert monitor.last_error
    some_trade(monitor)
    assert monitor.dropped == 1, "after the end nothing is sent, and that is counted"


def test_an_address_that_is_none_is_told_at_once() -> None:
    for address in ("localhost:8008", "ftp://x", "http://"):
        with pytest.raises(ValueError, match="expected http://"):
            Monitor(address)


def test_what_the_daemon_refuses_is_counted_and_named_and_not_sent_again() -> None:
    errors = [{"line": 1, "path": "$.price", "error": "expected a finite number, got null"}]
    refused: Answer = (400, {"errors": errors, "refused": 1, "accepted": 0, "duplicates": 0}, {})
    with answering(refused, OK) as (url, came), Monitor(url, source="bot") as monitor:
        some_trade(monitor)
        assert monitor.flush()
        some_trade(monitor)
        assert monitor.flush()
        assert (monitor.refused, monitor.accepted, len(came)) == (1, 1, 2)
        assert monitor.last_error == "$.price: expected a finite number, got null"


def test_a_batch_that_is_too_large_is_halved() -> None:
    with answering((413, {"error": "too large"}, {}), OK) as (url, came), Monitor(url, source="bot") as monitor:
        batch = [f'{{"n":{n}}}'.encode() for n in range(5)]
        assert monitor._sender is not None
        monitor._sender._deliver(batch)
        assert [len(lines) for lines in came] == [5, 2, 3]


def test_a_wrong_token_keeps_the_events_until_it_is_mended() -> None:
    with answering((401, {"error": "the token is not known"}, {})) as (url, _):
        monitor = Monitor(url, source="bot", token="wrong")
        some_trade(monitor)
        assert not monitor.flush(0.2)
        assert (monitor.waiting, monitor.refused) == (1, 0)
        assert "401" in monitor.last_error
        assert not monitor.close(0.1)
        assert monitor.dropped == 1


def test_what_came_too_slowly_over_the_socket_is_sent_again(tmp_path: Path) -> None:
    import socket

    answers = [{"status": 408, "error": "too slowly", "through": 1}, {"status": 202, "accepted": 1, "through": 1}]
    came: list[bytes] = []

    def answer(listening: socket.socket) -> None:
        for said in answers:
            connection, _ = listening.accept()
            with connection, connection.makefile("rwb") as file:
                came.append(file.readline())
                file.write(json.dumps(said).encode() + b"\n")

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "slow.sock"))
        listening.listen()
        thread = threading.Thread(target=answer, args=[listening], daemon=True)
        thread.start()
        with Monitor(f"unix:{tmp_path / 'slow.sock'}", source="bot") as monitor:
            some_trade(monitor)
            assert monitor.flush(5)
            assert (monitor.accepted, monitor.refused) == (1, 0)
        thread.join(5)
    assert len(came) == 2
    assert came[0] == came[1]


def test_closing_does_not_wait_for_a_daemon_that_hangs(tmp_path: Path) -> None:
    import socket

    for family, address in ((socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_UNIX, str(tmp_path / "hung.sock"))):
        with socket.socket(family) as listening:
            listening.bind(address)
            listening.listen()
            name = listening.getsockname()
            url = f"unix:{name}" if family == socket.AF_UNIX else f"http://127.0.0.1:{name[1]}"
            monitor = Monitor(url, source="bot")
            some_trade(monitor)
            began = time.monotonic()
            assert not monitor.close(0.3)
            assert time.monotonic() - began < 1.5
            assert monitor.dropped == 1


async def test_the_programs_exit_waits_for_what_is_left(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom trader_monitor.client import Monitor\n"
        "monitor = Monitor(sys.argv[1], source='bot')\n"
        "for _ in range(2000): monitor.trade(symbol='BTC', side='buy', quantity=1.0, price=1.0)\n"
    )
    async with doors(tmp_path) as house:
        for address in addresses(house):
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, address)
            assert await process.wait() == 0
        assert house.env.board.counts == {"trade": 4000}


async def test_a_forked_child_has_a_way_of_its_own(tmp_path: Path) -> None:
    script = (
        "import os, sys\nfrom trader_monitor.client import Monitor\n"
        "monitor = Monitor(sys.argv[1], source='bot')\n"
        "def report(n):\n"
        "    for _ in range(n): monitor.trade(symbol='BTC', side='buy', quantity=1.0, price=1.0)\n"
        "report(100)\nassert monitor.flush()\n"
        "pid = os.fork()\n"
        "report(10 if pid == 0 else 1)\nassert monitor.flush()\n"
        "if pid == 0:\n    monitor.close()\n    os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
    )
    async with doors(tmp_path) as house:
        for address in addresses(house):
            process = await asyncio.create_subprocess_exec(sys.executable, "-W", "ignore", "-c", script, address)
            assert await process.wait() == 0
        assert house.env.board.counts == {"trade": 222}


def test_importing_the_client_brings_nothing_of_the_daemon() -> None:
    script = (
        "import sys\nimport trader_monitor.client\n"
        "heavy = {'numpy', 'aiohttp', 'anyio', 'asyncio', 'structlog', 'sqlite3'} & set(sys.modules)\n"
        "ours = {n for n in sys.modules if n.startswith('trader_monitor.')}\n"
        "ours = {n for n in ours if not n.startswith('trader_monitor.client')}\n"
        "assert not heavy, heavy\n"
        "assert ours == {'trader_monitor.core', 'trader_monitor.core.facts'}, ours\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ)


def test_the_typed_calls_have_the_fields_of_the_wire_contract() -> None:
    for kind in EVENT_TYPES:
        typed = getattr(fields, f"{kind.__name__}Fields")
        assert set(get_type_hints(typed)) == set(kind.__struct_fields__), kind
        required = {field.name for field in msgspec.structs.fields(kind) if field.required}
        hints = get_type_hints(typed, include_extras=True)
        assert {name for name, hint in hints.items() if get_origin(hint) is Required} == required - {"at", "source"}
        assert callable(getattr(Monitor, str(kind.__struct_config__.tag)))
