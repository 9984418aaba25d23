"""Channels: the payload field by field, and receivers that behave badly, on real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import structlog
from structlog.testing import capture_logs

from trader_monitor.config.tables import ChannelTable, Config
from trader_monitor.config.values import Secret
from trader_monitor.core.alerts.notice import Notice
from trader_monitor.core.facts import AlertChanged, NoticeSent
from trader_monitor.plugins.channels.console import ConsoleOptions, console, line
from trader_monitor.plugins.channels.log import LogOptions, log
from trader_monitor.plugins.channels.webhook import WebhookOptions, payload, retry_after, signature, webhook
from trader_monitor.runtime import delivery
from trader_monitor.runtime.clock import SystemClock
from trader_monitor.runtime.registry import DeliveryError, Registry

NASTY = "\x1b[31m\x1b]0;owned\x07 @everyone <b>&\n\u202e"

FIRING = AlertChanged(
    at=1_700_000_001.5,
    fingerprint="0123456789abcdef",
    rule="drawdown",
    state="firing",
    transition=2,
    severity="critical",
    labels={"alertname": "drawdown", "severity": "critical", "source": "bot"},
    summary="bot is 12.0% below its peak",
    active_at=1_700_000_000.0,
    mono=5.0,
    value=0.12,
    fired_at=1_700_000_001.5,
    fired_value=0.12,
    fired_transition=2,
    runbook="https://wiki/drawdown",
)


def notice(alert: AlertChanged = FIRING, **options: Any) -> Notice:
    plain = {"channel": "desk", "transition": alert.transition, "state": "firing", "external_url": "http://h:8008"}
    return Notice(alert=alert, **{**plain, **options})


@dataclass
class House:
    """What a channel uses of the house."""

    session: aiohttp.ClientSession
    clock: SystemClock
    config: Callable[[], Config]

    def http(self) -> aiohttp.ClientSession:
        return self.session


@pytest.fixture
async def house() -> AsyncIterator[Any]:
    async with aiohttp.ClientSession() as session:
        yield House(session, SystemClock(), Config)


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def receiver(script: Script) -> AsyncIterator[str]:
    """A server that does with each connection what the script says; yields its URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook/s3cr3t-path"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """One request: its first line, its headers (lower case) and its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *rest = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
    return first, headers, await reader.readexactly(int(headers.get("content-length", "0")))


def answering(*answers: str, heard: list[Any] | None = None) -> Script:
    """Answers the requests in turn (the last one for ever), whichever connection they come by."""
    left = list(answers)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            got = await request(reader)
            if heard is not None:
                heard.append((*got, writer.get_extra_info("peername")))
            answer = left.pop(0) if len(left) > 1 else left[0]
            writer.write(answer.replace("\n", "\r\n").encode())
            await writer.drain()

    return script


OK = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"


# --- the payload -------------------------------------------------------------------------------------------------


def test_the_payload_has_every_field_of_alertmanagers_version_4() -> None:
    body = json.loads(msgspec.json.encode(payload(notice())))
    annotations = {"summary": "bot is 12.0% below its peak", "value": "0.12", "runbook_url": "https://wiki/drawdown"}
    assert body == {
        "version": "4",
        "groupKey": '{}:{alertname="drawdown", fingerprint="0123456789abcdef"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "desk",
        "groupLabels": {"alertname": "drawdown"},
        "commonLabels": FIRING.labels,
        "commonAnnotations": annotations,
        "externalURL": "http://h:8008",
        "alerts": [
            {
                "status": "firing",
                "labels": FIRING.labels,
                "annotations": annotations,
                "startsAt": "2023-11-14T22:13:21.500Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://h:8008/#alert=0123456789abcdef",
                "fingerprint": "0123456789abcdef",
            }
        ],
    }


def test_a_resolved_notice_has_its_end_and_the_value_at_the_end() -> None:
    ended = msgspec.structs.replace(
        FIRING, state="resolved", transition=3, resolved_at=1_700_000_060.0, resolved_value=0.01
    )
    body = payload(notice(ended, state="resolved"))
    (alert,) = body["alerts"]
    assert (body["status"], alert["status"]) == ("resolved", "resolved")
    assert (alert["startsAt"], alert["endsAt"]) == ("2023-11-14T22:13:21.500Z", "2023-11-14T22:14:20.000Z")
    assert alert["annotations"]["value"] == "0.01"


def test_the_group_is_the_same_for_a_firing_and_its_end_and_the_key_is_not() -> None:
    fired, ended = notice(), notice(transition=3, state="resolved")
    assert payload(fired)["groupKey"] == payload(ended)["groupKey"]
    assert fired.key != ended.key


def test_a_late_and_a_test_notice_say_so() -> None:
    assert "ended since" in payload(notice(late=True))["alerts"][0]["annotations"]["late"]
    assert "nothing is wrong" in payload(notice(test=True))["alerts"][0]["annotations"]["test"]


def test_who_is_woken_reads_what_was_done_and_how_long_it_lasted() -> None:
    done = "restart: done, it did not help"
    assert payload(notice(done=done))["alerts"][0]["annotations"]["actions"] == done
    assert f"  ({done})  https://wiki/" in line(notice(done=done), colour=False)
    ended = msgspec.structs.replace(FIRING, state="resolved", transition=3, resolved_at=1_700_000_077.0)
    assert "after 1 min 16 s" in line(notice(ended, state="resolved"), colour=False)


def test_times_beyond_the_calendar_and_values_that_are_no_numbers_still_make_a_payload() -> None:
    odd = msgspec.structs.replace(FIRING, fired_at=1e300, fired_value=float("nan"), active_at=-1e20)
    body = json.loads(msgspec.json.encode(payload(notice(odd))))
    assert body["alerts"][0]["startsAt"] == "0001-01-01T00:00:00Z"
    assert body["alerts"][0]["annotations"]["value"] == "nan"


# --- the request -------------------------------------------------------------------------------------------------


async def test_a_post_with_json_key_and_the_users_headers(house: Any) -> None:
    heard: list[Any] = []
    async with receiver(answering(OK, heard=heard)) as url:
        options = WebhookOptions(url=url, headers={"X-Team": "desk", "Authorization": Secret("Bearer t0k", "env T")})
        assert await webhook(options, house, notice()) == "status 200"
    ((first, headers, body, _),) = heard
    assert first == "POST /hook/s3cr3t-path HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert headers["idempotency-key"] == notice().key
    assert (headers["x-team"], headers["authorization"]) == ("desk", "Bearer t0k")
    assert "x-signature" not in headers
    assert json.loads(body)["version"] == "4"


async def test_the_signature_covers_time_and_body(house: Any) -> None:
    heard: list[Any] = []
    async with receiver(answering(OK, heard=heard)) as url:
        await webhook(WebhookOptions(url=Secret(url, "env U"), secret=Secret("k", "env K")), house, notice())
    ((_, headers, body, _),) = heard
    at, digest = (part.split("=")[1] for part in headers["x-signature"].split(","))
    assert abs(int(at) - time.time()) < 10
    assert digest == hmac.new(b"k", at.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert signature("k", 1, b"x") != signature("k", 2, b"x")


async def test_the_connection_is_kept_for_the_next_notice(house: Any) -> None:
    heard: list[Any] = []
    async with receiver(answering(OK, heard=heard)) as url:
        for _ in range(3):
            await webhook(WebhookOptions(url=url), house, notice())
    assert len({peer for *_, peer in heard}) == 1


async def test_a_kept_connection_that_the_receiver_closed_costs_no_failure(house: Any) -> None:
    served = 0

    async def one_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await request(reader)
        served += 1
        writer.write(OK.replace("\n", "\r\n").encode())
        await reader.read(1)  # the next request, which is not answered

    async with receiver(one_each) as url:
        for _ in range(2):
            assert await webhook(WebhookOptions(url=url), house, notice()) == "status 200"
    assert served == 2


# --- answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "answer", "permanent", "wait", "word"),
    [
        (
            "a server error is tried again",
            "HTTP/1.1 500 Oops\nContent-Length: 4\n\nboom",
            False,
            None,
            "status 500: boom",
        ),
        (
            "with Retry-After it says when",
            "HTTP/1.1 503 No\nRetry-After: 7\nContent-Length: 0\n\n",
            False,
            7.0,
            "status 503",
        ),
        ("too many requests", "HTTP/1.1 429 Slow\nRetry-After: 2.5\nContent-Length: 0\n\n", False, 2.5, "status 429"),
        ("a timeout of the receiver's", "HTTP/1.1 408 Late\nContent-Length: 0\n\n", False, None, "status 408"),
        ("too early", "HTTP/1.1 425 Early\nContent-Length: 0\n\n", False, None, "status 425"),
        ("a bad request is final", "HTTP/1.1 400 Bad\nContent-Length: 5\n\nwrong", True, None, "status 400: wrong"),
        ("not found is final", "HTTP/1.1 404 No\nRetry-After: 7\nContent-Length: 0\n\n", True, None, "status 404"),
        (
            "a redirect is final and not followed",
            "HTTP/1.1 307 Go\nLocation: http://127.0.0.1:1/elsewhere\nContent-Length: 0\n\n",
            True,
            None,
            "status 307: a redirect, which is not followed",
        ),
        ("something that is no HTTP", "SSH-2.0-OpenSSH_9\n\n", False, None, "ClientResponseError: Bad status line"),
    ],
)
async def test_an_answer(
    house: Any, sentence: str, answer: str, permanent: bool, wait: float | None, word: str
) -> None:
    heard: list[Any] = []
    async with receiver(answering(answer, heard=heard)) as url:
        with pytest.raises(DeliveryError) as caught:
            await webhook(WebhookOptions(url=url), house, notice())
    assert (caught.value.permanent, caught.value.retry_after) == (permanent, wait)
    assert word in str(caught.value)
    assert len(heard) == 1, "one request, no other"
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_an_endless_body_is_delivered_and_not_swallowed(house: Any) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with receiver(script) as url:
        began = time.monotonic()
        assert await webhook(WebhookOptions(url=url), house, notice()) == "status 200"
        assert time.monotonic() - began < 1


async def test_a_byte_a_second_in_the_body_does_not_hold_the_notice_up(house: Any) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(1)

    async with receiver(script) as url:
        began = time.monotonic()
        assert await webhook(WebhookOptions(url=url), house, notice()) == "status 200"
        assert time.monotonic() - began < 1


async def test_a_reset_in_mid_body_after_a_2xx_is_delivered(house: Any) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.transport.abort()

    async with receiver(script) as url:
        assert await webhook(WebhookOptions(url=url), house, notice()) == "status 202"


async def test_a_reset_before_any_answer_is_tried_again(house: Any) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.transport.abort()

    async with receiver(script) as url:
        with pytest.raises(DeliveryError) as caught:
            await webhook(WebhookOptions(url=url), house, notice())
    assert not caught.value.permanent


async def test_a_refused_connection_and_an_unknown_host_are_tried_again(house: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/s3cr3t", "http://no-such-host.invalid/s3cr3t"):
        with pytest.raises(DeliveryError) as caught:
            await webhook(WebhookOptions(url=url), house, notice())
        assert not caught.value.permanent
        assert "s3cr3t" not in str(caught.value)
        assert "no-such" in url or str(caught.value) == "no connection: Connection refused"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"url": "ftp://s3cr3t"}, "url: expected an address that begins with http://"),
        ({"url": "s3cr3t"}, "url: expected"),
        ({"url": Secret("file:///etc/s3cr3t", "env U")}, "url: expected"),
        ({"url": "http://h/s3cr3t x"}, "url: expected"),
        ({"url": "http://[s3cr3t/"}, "url: expected"),
        ({"url": "http://h:s3cr3t/"}, "url: expected"),
        ({"url": "http://h..s3cr3t/"}, "url: expected"),
        ({"url": "http://h/", "headers": {"Idempotency-Key": "s3cr3t"}}, "headers.Idempotency-Key: expected the name"),
        ({"url": "http://h/", "headers": {"a b": "s3cr3t"}}, "headers.a b: expected the name"),
        ({"url": "http://h/", "headers": {"a": Secret("s3cr3t\r\nb: c", "env H")}}, "headers.a: expected printable"),
    ],
)
def test_options_that_cannot_work_are_refused_without_showing_them(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        WebhookOptions(**options)
    assert word in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("kind", ["never answers", "a byte a second in the head", "never accepts"])
async def test_a_receiver_that_hangs_is_given_up_at_the_deadline(
    house: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "DEADLINE", 0.3)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: yes\r\n\r\n" if kind.startswith("a byte") else b"":
            writer.write(bytes([byte]))
            await asyncio.sleep(1)
        await reader.read(1)

    full = socket.socket()
    fillers = []
    async with receiver(script) as url:
        if kind == "never accepts":
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            url = f"http://127.0.0.1:{full.getsockname()[1]}/"
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
                fillers.append(filler)
        table = ChannelTable(name="desk", plugin=plugin("webhook"), options=WebhookOptions(url=url))
        began = time.monotonic()
        with pytest.raises(DeliveryError) as caught:
            await delivery.deliver(house, table, notice())
        assert time.monotonic() - began < 1
        assert str(caught.value) == "no answer within 0.3 s"
    for one in (full, *fillers):
        one.close()


async def test_secrets_and_controls_in_an_answer_are_not_repeated(house: Any) -> None:
    secret = Secret("t0ps3cret", "env S")
    answer = "HTTP/1.1 403 No\nContent-Length: 30\n\nno \x1b[31m key t0ps3cret is bad!"
    async with receiver(answering(answer)) as url:
        options = WebhookOptions(url=Secret(url, "env U"), secret=secret, headers={"X": Secret("hdr5ecret", "env H")})
        table = ChannelTable(name="desk", plugin=plugin("webhook"), options=options)
        with pytest.raises(DeliveryError) as caught:
            await delivery.deliver(house, table, notice())
    assert str(caught.value) == "status 403: no \\x1b[31m key [redacted] is bad!"
    assert delivery.redacted(f"{url} hdr5ecret", options) == "[redacted] [redacted]"


def test_of_an_address_no_part_that_could_be_a_secret_by_itself_is_shown() -> None:
    options = WebhookOptions(
        url=Secret("https://me:pa55word99@hooks.example/services/T00000001/B00000002?key=xYzxYz123", "env U")
    )
    for said in ("/services/T00000001/B00000002?key=xYzxYz123", "T00000001 B00000002", "key=xYzxYz123", "pa55word99"):
        shown = delivery.redacted(f"no such hook: {said}", options)
        assert shown.startswith("no such hook: "), "words of the receiver stay"
        assert not any(part in shown for part in ("T00000001", "B00000002", "xYzxYz123", "pa55word99")), shown
    assert "s3cr3t" not in repr(options)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("-5", 0.0),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        (formatdate(1_700_000_060, usegmt=True), 60.0),
        (formatdate(1_600_000_000, usegmt=True), 0.0),
        ("Mon, 99 Foo 2023 00:00:00 GMT", None),
        ("soon", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, wanted: float | None) -> None:
    assert retry_after(header, 1_700_000_000.0) == wanted


# --- log and console ---------------------------------------------------------------------------------------------


def plugin(name: str) -> Any:
    found = Registry.load().get("channel", name)
    assert found is not None
    return found


def nasty() -> Notice:
    labels = {"alertname": "r", "severity": "warning", "x": NASTY}
    return notice(msgspec.structs.replace(FIRING, labels=labels, summary=NASTY, rule=NASTY, severity="warning"))


def test_the_console_line_is_one_line_without_commands_to_the_terminal() -> None:
    text = line(nasty(), colour=False)
    assert text.isprintable()
    assert "x=\\x1b[31m" in text


def test_the_console_line_reads_well() -> None:
    assert line(notice(), colour=False) == (
        "22:13:21  FIRING   critical   drawdown  bot is 12.0% below its peak  [source=bot]  https://wiki/drawdown"
    )
    ended = msgspec.structs.replace(FIRING, resolved_at=1_700_000_060.0)
    assert line(notice(ended, state="resolved"), colour=False).startswith("22:14:20  RESOLVED critical ")
    assert line(notice(test=True), colour=False).startswith("22:13:21  TEST ")
    assert line(notice(), colour=True).startswith("22:13:21  \x1b[1;31mFIRING")
    forever = msgspec.structs.replace(FIRING, fired_at=1e300)
    assert line(notice(forever), colour=False).startswith("--:--:--")


async def test_the_console_prints_to_standard_error(house: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert console(ConsoleOptions(colour="never"), house, notice()) == "printed"
    assert capsys.readouterr().err == line(notice(), colour=False) + "\n"


@pytest.mark.parametrize(
    ("severity", "state", "level"),
    [
        ("info", "firing", "info"),
        ("warning", "firing", "warning"),
        ("error", "firing", "error"),
        ("critical", "firing", "critical"),
        ("emergency", "firing", "critical"),
        ("emergency", "resolved", "info"),
    ],
)
def test_the_log_has_the_severity_as_its_level(house: Any, severity: Any, state: Any, level: str) -> None:
    structlog.reset_defaults()
    with capture_logs() as records:
        assert (
            log(LogOptions(), house, notice(msgspec.structs.replace(FIRING, severity=severity), state=state))
            == "logged"
        )
    assert [(r["log_level"], r["alert"], r["severity"]) for r in records] == [(level, "drawdown", severity)]


def test_what_is_logged_holds_no_control_characters(house: Any) -> None:
    structlog.reset_defaults()
    with capture_logs() as records:
        log(LogOptions(), house, nasty())
    (record,) = records
    assert record["labels"]["x"].isprintable()
    assert record["summary"].isprintable()


def test_the_channels_are_registered_with_a_help_line() -> None:
    registry = Registry.load()
    assert {"console", "log", "webhook"} <= set(registry.names("channel"))
    for name in registry.names("channel"):
        assert plugin(name).help.endswith(".")


def test_a_reminder_has_a_key_of_its_own() -> None:
    sent = NoticeSent(at=5.0, channel="desk", fingerprint="f", transition=2, state="firing", outcome="delivered")
    assert notice(repeats=sent).key != notice().key


async def test_a_resolver_that_hangs_counts_against_the_deadline(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "DEADLINE", 0.2)
    answered = threading.Event()

    def resolve(*_: Any, **__: Any) -> Any:
        answered.wait(5)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    table = ChannelTable(name="d", plugin=plugin("webhook"), options=WebhookOptions(url="http://slow.invalid/"))
    began = time.monotonic()
    with pytest.raises(DeliveryError, match="no answer within"):
        await delivery.deliver(house, table, notice())
    assert time.monotonic() - began < 1
    answered.set()


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(
    house: Any, tmp_path: Path, need: Callable[..., str]
) -> None:
    command = (need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1")
    made = await asyncio.create_subprocess_exec(
        *command, "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert"), stderr=asyncio.subprocess.DEVNULL
    )
    assert await made.wait() == 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    heard: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1))
        writer.close()

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's side of the broken handshake
    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/s3cr3t"
    async with server:
        with pytest.raises(DeliveryError, match="certificate verify failed") as caught:
            await webhook(WebhookOptions(url=url), house, notice())
    assert not caught.value.permanent, "certificates are renewed"
    assert "s3cr3t" not in str(caught.value)
    assert not heard
