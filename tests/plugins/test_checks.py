"""Checks against real sockets: good answers, bad ones, and questions that could not be asked."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from tests.plugins.house import house, server
from trader_monitor.config.values import Duration, Secret
from trader_monitor.core.facts import Heartbeat
from trader_monitor.core.series import STALE
from trader_monitor.plugins.checks import heartbeat as heartbeats
from trader_monitor.plugins.checks import http as https
from trader_monitor.plugins.checks import process as processes
from trader_monitor.plugins.checks import promql as queries
from trader_monitor.plugins.checks import tcp as sockets
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.probe import Probe


def page(status: int = 200, body: str = "all systems go", **how: Any) -> Any:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body, **how)

    return answer


async def ask(answer: Any, **options: Any) -> Probe:
    async with house() as env, server(answer) as url:
        probe: Probe = await https.http(https.Options(url=url, **options), env)
        return probe


HTTP: list[tuple[str, Any, dict[str, Any], bool, str]] = [
    ("any 2xx will do", page(204, ""), {}, True, "status 204 in"),
    ("a 503 will not", page(503), {}, False, "status 503, wanted 2xx"),
    ("a status that is wanted will do", page(401), {"status": (200, 401)}, True, "status 401"),
    ("another one will not, though it is 2xx", page(202), {"status": (200,)}, False, "status 202, wanted 200"),
    ("a redirect is not followed", page(302, headers={"Location": "/x"}), {}, False, "status 302"),
    ("a text that is there", page(), {"contains": "systems"}, True, ""),
    ("a text that is not", page(), {"contains": "pong"}, False, "the body lacks 'pong'"),
    ("a pattern that matches", page(), {"matches": "all .* go$"}, True, ""),
    ("a pattern that could take for ever", page(body="a" * 300_000), {"matches": "(a+)+$b"}, False, "does not match"),
    ("a pattern that does not", page(), {"matches": "^go"}, False, "does not match '^go'"),
    ("a latency within its limit", page(), {"max_latency": Duration(5)}, True, ""),
    ("a latency beyond it", page(), {"max_latency": Duration(1e-9)}, False, "wanted 1e-09 s"),
    ("an unknown charset is read as UTF-8", page(body="ja"), {"contains": "ja"}, True, ""),
]


@pytest.mark.parametrize(
    ("answer", "options", "ok", "message"), [case[1:] for case in HTTP], ids=[case[0] for case in HTTP]
)
async def test_http(answer: Any, options: dict[str, Any], ok: bool, message: str) -> None:
    probe = await ask(answer, **options)
    assert probe.ok is ok, probe
    assert message in probe.message
    assert probe.value is not None
    assert 0 < probe.value < 5


async def test_each_question_is_a_connection_of_its_own_with_the_headers_that_were_asked_for() -> None:
    seen: list[tuple[Any, str]] = []

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        seen.append((request.transport.get_extra_info("peername"), request.headers.get("X-Probe", "")))
        return web.Response()

    async with house() as env, server(answer) as url:
        options = https.Options(url=url, headers={"X-Probe": Secret("1", "env PROBE")})
        assert (await https.http(options, env)).ok
        assert (await https.http(options, env)).ok
    assert seen[0][0] != seen[1][0]
    assert {header for _, header in seen} == {"1"}


async def test_nobody_listens(unused_port: int) -> None:
    async with house() as env:
        probe = await https.http(https.Options(url=f"http://127.0.0.1:{unused_port}"), env)
    assert probe.ok is False


async def test_a_name_that_does_not_resolve_is_no_proof_against_the_one_asked() -> None:
    async with house() as env:
        with pytest.raises(OSError):  # noqa: PT011 (aiohttp wraps what the resolver says)
            await https.http(https.Options(url="http://no-such-host.invalid/"), env)
        with pytest.raises(OSError):  # noqa: PT011
            await sockets.tcp(sockets.Options(host="no-such-host.invalid", port=80), env)


async def test_no_descriptors_left_is_no_proof_either() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with house() as env:
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            with pytest.raises(OSError, match=r"Too many open files|Cannot connect"):
                await https.http(https.Options(url="http://127.0.0.1:1/"), env)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_of_an_endless_body_only_the_beginning_is_read() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"x" * 65536)
        except ConnectionError:
            return answer

    probe = await ask(endless, contains="xxx")
    assert probe.ok is True


async def raw(say: bytes) -> Any:
    """A server that says these bytes and closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(say)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


@pytest.mark.parametrize(
    "say",
    [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"],
    ids=["closes at once", "speaks another protocol", "breaks off in the middle"],
)
async def test_a_peer_that_speaks_no_http(say: bytes) -> None:
    listener = await raw(say)
    async with listener, house() as env:
        port = listener.sockets[0].getsockname()[1]
        probe = await https.http(https.Options(url=f"http://127.0.0.1:{port}"), env)
    assert probe.ok is False
    assert probe.message


async def test_a_peer_that_never_answers_is_left_at_the_callers_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with house() as env:
            began = time.monotonic()
            with pytest.raises(TimeoutError), anyio.fail_after(0.2):
                await https.http(https.Options(url=f"http://127.0.0.1:{listener.getsockname()[1]}"), env)
    assert time.monotonic() - began < 1


# --- TLS --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that ends in ten days, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "10", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


TLS = [
    ("a certificate with days enough", {"min_tls_days": 5.0}, True, "status 200"),
    ("one that ends too soon", {"min_tls_days": 14.0}, False, "the certificate ends in"),
    ("one that nobody vouches for", {"ca": None}, False, "certificate verify failed"),
]


@pytest.mark.parametrize(("options", "ok", "message"), [case[1:] for case in TLS], ids=[case[0] for case in TLS])
async def test_certificates(certificate: tuple[Path, Path], options: dict[str, Any], ok: bool, message: str) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await reader.readline():
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
        finally:
            writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    async with listener, house() as env:
        url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
        probe = await https.http(https.Options(url=url, **{"ca": str(certificate[0]), **options}), env)
    assert probe.ok is ok, probe
    assert message in probe.message


async def test_certificate_days_of_an_address_without_tls() -> None:
    probe = await ask(page(), min_tls_days=5.0)
    assert probe.ok is False
    assert "not https" in probe.message


BAD_OPTIONS = [
    ("an address that is none", https.Options, {"url": "ftp://x"}),
    ("an address without a host", https.Options, {"url": "http://"}),
    ("a pattern that is none", https.Options, {"url": "http://x", "matches": "("}),
    ("a pattern that is one only within a group", https.Options, {"url": "http://x", "matches": "a)(b"}),
    ("port 0", sockets.Options, {"host": "x", "port": 0}),
    ("port 65536", sockets.Options, {"host": "x", "port": 65536}),
    ("a pattern of processes that is none", processes.Options, {"match": "["}),
    ("fewer at most than at least", processes.Options, {"match": "x", "least": 2, "most": 1}),
    ("half a missed heartbeat", heartbeats.Options, {"source": "x", "missed": 0.5}),
]


@pytest.mark.parametrize(("options", "fields"), [case[1:] for case in BAD_OPTIONS], ids=[c[0] for c in BAD_OPTIONS])
def test_options_that_make_no_sense_are_refused(options: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|regular expression"):
        options(**fields)


# --- tcp --------------------------------------------------------------------------------------------------------


async def test_tcp_connects_where_somebody_listens_and_not_where_nobody_does(unused_port: int) -> None:
    async with house() as env:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            host, port = listener.getsockname()
            good = await sockets.tcp(sockets.Options(host=host, port=port), env)
            slow = await sockets.tcp(sockets.Options(host=host, port=port, max_latency=Duration(1e-9)), env)
        bad = await sockets.tcp(sockets.Options(host="127.0.0.1", port=unused_port), env)
        page = await https.http(https.Options(url=f"http://127.0.0.1:{unused_port}/"), env)
    assert good.ok is True
    assert slow.ok is False
    assert "wanted" in slow.message
    assert (bad.ok, bad.message) == (False, "no connection: Connection refused")
    assert (page.ok, page.message) == (False, "no connection: Connection refused")


# --- heartbeat --------------------------------------------------------------------------------------------------

BEATS: list[tuple[str, dict[str, Any] | None, float, bool | None]] = [
    ("one that never came is no data", None, 0, None),
    ("a young one is well", {"interval_seconds": 10.0}, 29, True),
    ("three missed are not", {"interval_seconds": 10.0}, 31, False),
    ("without a promise the option's interval counts", {}, 89, True),
    ("and is as strict", {}, 91, False),
    ("a paused bot must still be heard", {"interval_seconds": 10.0, "state": "paused"}, 31, False),
    ("a bot that said it stopped is not missed", {"interval_seconds": 10.0, "state": "stopped"}, 10_000, True),
]


@pytest.mark.parametrize(("beat", "age", "ok"), [case[1:] for case in BEATS], ids=[case[0] for case in BEATS])
async def test_heartbeats(beat: dict[str, Any] | None, age: float, ok: bool | None) -> None:
    clock = ManualClock()
    async with house(clock=clock) as env:
        if beat is not None:
            env.board.fold(Heartbeat(at=clock.now().wall - age, source="bot", **beat))
        probe = await heartbeats.heartbeat(heartbeats.Options(source="bot"), env)
    assert probe.ok is ok, probe


# --- processes --------------------------------------------------------------------------------------------------


def idle(tag: str) -> subprocess.Popen[bytes]:
    code = "import sys; print(1, flush=True); sys.stdin.read()"
    return subprocess.Popen([sys.executable, "-c", code, tag], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def test_processes_are_counted() -> None:
    tag = f"counted{os.getpid()}"
    one = idle(tag)
    try:
        assert one.stdout is not None
        one.stdout.readline()
        async with house() as env:
            assert processes.process(processes.Options(match=tag), env) == Probe(
                True, "1 processes match, wanted at least 1", 1.0
            )
            assert processes.process(processes.Options(match=tag, least=2), env).ok is False
            assert processes.process(processes.Options(match=tag, least=0, most=0), env).ok is False
            assert processes.process(processes.Options(match=tag + "x", least=0, most=0), env).ok is True
    finally:
        one.kill()
        one.communicate()


# --- promql -----------------------------------------------------------------------------------------------------

PROMQL: list[tuple[str, str, bool | None]] = [
    ("a comparison that holds for all", "margin < 0.9", True),
    ("one that one element breaks", "margin < 0.6", False),
    ("one that all break", "margin > 5", False),
    ("nobody knows the series", "nothing > 5", None),
    ("the series went stale", "ended > 0", None),
    ("NaN is no data", "nan_series > 0", None),
    ("NaN is no data for != too", "nan_series != 0", None),
    ("a value of 0 can satisfy a comparison", "zero < 1", True),
    ("bool makes a number of it", "margin < bool 0.6", False),
    ("and one that is all 1 holds", "margin < bool 0.9", True),
    ("a plain value holds unless it is 0", "margin", True),
    ("and 0 does not hold", "zero", False),
    ("a scalar that is not 0", "scalar(zero) + 1", True),
    ("a scalar that is 0", "scalar(zero)", False),
    ("a scalar of nothing is no data", "scalar(nothing)", None),
    ("absence can be wanted", "absent(nothing)", True),
    ("and missed", "absent(zero)", False),
    ("both sides of `and` must hold", "zero < 1 and zero > -1", True),
    ("an aggregate over a filter", "count(margin > 0.1) == 2", True),
]


@pytest.mark.parametrize(("expr", "ok"), [case[1:] for case in PROMQL], ids=[case[0] for case in PROMQL])
async def test_promql(expr: str, ok: bool | None) -> None:
    clock = ManualClock()
    async with house(clock=clock) as env:
        t_ms = int(clock.now().wall * 1000)
        for name, labels, value in [
            ("margin", {"a": "1"}, 0.5),
            ("margin", {"a": "2"}, 0.7),
            ("zero", {}, 0.0),
            ("ended", {}, 1.0),
            ("nan_series", {}, float("nan")),
        ]:
            series = env.board.series
            series.append(series.intern((("__name__", name), *labels.items())), t_ms - 1000, value)
        series.append(series.find((("__name__", "ended"),)), t_ms - 500, STALE)
        probe = await queries.promql(queries.Options(expr=expr), env)
    assert probe.ok is ok, probe
    assert expr in probe.message


async def test_a_broken_expression_names_the_element_and_its_value() -> None:
    clock = ManualClock()
    async with house(clock=clock) as env:
        series = env.board.series
        series.append(series.intern((("__name__", "margin"), ("a", "2"))), int(clock.now().wall * 1000), 0.7)
        probe = await queries.promql(queries.Options(expr="margin < 0.6"), env)
    assert probe.message == '{a="2"} is 0.7, which breaks margin < 0.6'
    assert probe.value == 0.7
