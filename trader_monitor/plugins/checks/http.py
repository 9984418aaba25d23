"""Asks an HTTP endpoint."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from email.message import Message
from typing import Literal

import aiohttp
from msgspec import Struct, field
from yarl import URL

from trader_monitor.config.values import Duration, Secret, plain
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.probe import Probe
from trader_monitor.runtime.registry import check
from trader_monitor.runtime.unasked import could_not_ask

MAX_BODY = 1 << 20
DAY = 86_400.0
UNTIMED = aiohttp.ClientTimeout(total=None)


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Without `status` any 2xx will do. `contains` and `matches` (a regular expression) look at the first MiB of
    the body, `max_latency` at the time to its end; `min_tls_days` is for https alone. `ca` is a private CA's file.
    """

    url: str
    method: Literal["GET", "HEAD", "POST", "OPTIONS"] = "GET"
    headers: dict[str, Secret | str] = field(default_factory=dict)
    token: Secret | None = None
    status: tuple[int, ...] = ()
    contains: str | None = None
    matches: str | None = None
    max_latency: Duration | None = None
    min_tls_days: float | None = None
    ca: str | None = None
    follow_redirects: bool = False

    def __post_init__(self) -> None:
        if URL(self.url).scheme not in {"http", "https"} or not URL(self.url).host:
            raise ValueError("expected url to be http://… or https://…")
        try:
            re.compile(self.matches or "")
        except re.error as error:
            raise ValueError(f"matches is no regular expression: {error}") from None


@check("http", Options)
async def http(options: Options, env: Env) -> Probe:
    """Asks an HTTP endpoint: its status, body, latency and certificate."""
    headers = {
        "Connection": "close",
        **{name: plain(value) for name, value in options.headers.items()},
    }  # a new connection each time: that it accepts is half the question
    if options.token is not None:
        headers["Authorization"] = f"Bearer {options.token.reveal()}"
    began = time.monotonic()
    try:
        tls = _tls(options)
        async with env.http().request(
            options.method,
            options.url,
            headers=headers,
            allow_redirects=options.follow_redirects,
            ssl=tls if tls is not None else True,
            timeout=UNTIMED,
        ) as answer:
            body = await _body(answer)
        seconds = time.monotonic() - began
        wrong = _wrong(options, answer.status, answer.headers.get("Content-Type", ""), body, seconds)
        if wrong is None and options.min_tls_days is not None:
            wrong = await _certificate(options, tls or ssl.create_default_context())
    except (aiohttp.ClientError, OSError) as error:
        if could_not_ask(error):
            raise
        return Probe(False, str(error) or type(error).__name__, time.monotonic() - began)
    return Probe(wrong is None, wrong or f"status {answer.status} in {seconds:.3f} s", seconds)


def _tls(options: Options) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=options.ca) if options.ca is not None else None


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """The first MiB; an endless body is not read on."""
    body = bytearray()
    async for chunk in answer.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > MAX_BODY:
            break
    return bytes(body[:MAX_BODY])


def _wrong(options: Options, status: int, content_type: str, body: bytes, seconds: float) -> str | None:
    """What is not as it should be, with the value that was seen."""
    if options.status and status not in options.status:
        return f"status {status}, wanted {' or '.join(map(str, options.status))}"
    if not options.status and not 200 <= status < 300:
        return f"status {status}, wanted 2xx"
    if options.contains is not None or options.matches is not None:
        head = Message()
        head["Content-Type"] = content_type
        text = _decoded(body, head.get_content_charset("utf-8"))
        if options.contains is not None and options.contains not in text:
            return f"the body lacks {options.contains!r}"
        if options.matches is not None and not re.search(options.matches, text):
            return f"the body does not match {options.matches!r}"
    if options.max_latency is not None and seconds > options.max_latency:
        return f"answered after {seconds:.3f} s, wanted {options.max_latency:g} s"
    return None


def _decoded(body: bytes, charset: str) -> str:
    try:
        return body.decode(charset, "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


async def _certificate(options: Options, tls: ssl.SSLContext) -> str | None:
    """Looks at the certificate in a handshake of its own."""
    url = URL(options.url)
    if url.scheme != "https":
        return "no certificate: the address is not https"
    _, writer = await asyncio.open_connection(url.host, url.port, ssl=tls, server_hostname=url.host)
    try:
        certificate = writer.get_extra_info("peercert")
    finally:
        writer.transport.abort()
    days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / DAY
    wanted = options.min_tls_days or 0.0
    return f"the certificate ends in {days:.1f} days, wanted {wanted:g}" if days < wanted else None
