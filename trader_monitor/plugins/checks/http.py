"""Asks an HTTP endpoint."""

from __future__ import annotations

import asyncio
import ssl
import time
from email.message import Message
from typing import Literal

import aiohttp
from msgspec import Struct, field
from yarl import URL

from trader_monitor.config.values import Duration, Secret, plain
from trader_monitor.core.matcher import Pattern, compile_pattern
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.names import connect, look_up
from trader_monitor.runtime.options import refuse, wrong_address, wrong_headers, wrong_pattern
from trader_monitor.runtime.outgoing import beginning
from trader_monitor.runtime.probe import Probe
from trader_monitor.runtime.registry import check
from trader_monitor.runtime.unasked import could_not_ask, in_words

MAX_BODY = 1 << 18
DAY = 86_400.0
UNTIMED = aiohttp.ClientTimeout(total=None)


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Without `status` any 2xx will do. `contains` and `matches` (a regular expression as in PromQL, found anywhere)
    look at the first 256 KiB of the body, `max_latency` at the time to its end; `min_tls_days` is for https alone.
    `ca` is a private CA's file.
    """

    url: Secret | str
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
        refuse(
            wrong_address("url", self.url),
            wrong_headers("headers", self.headers),
            wrong_pattern("matches", self.matches, _anywhere),
        )


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
        await _resolved(options, env)
        tls = _tls(options)
        async with env.http().request(
            options.method,
            plain(options.url),
            headers=headers,
            allow_redirects=options.follow_redirects,
            ssl=tls if tls is not None else True,
            timeout=UNTIMED,
        ) as answer:
            body = await beginning(answer, MAX_BODY)
        seconds = time.monotonic() - began
        kind = answer.headers.get("Content-Type", "")
        looked = (_wrong, options, answer.status, kind, body, seconds)
        wrong = await env.threads.run(("http", options), *looked, mono=time.monotonic)  # a pattern may take a second
        if wrong is None and options.min_tls_days is not None:
            wrong = await _certificate(options, env, tls or ssl.create_default_context())
    except (aiohttp.ClientError, OSError) as error:
        if could_not_ask(error):
            raise
        return Probe(False, in_words(error), time.monotonic() - began)
    return Probe(wrong is None, wrong or f"status {answer.status} in {seconds:.3f} s", seconds)


async def _resolved(options: Options, env: Env) -> None:
    """Raises socket.gaierror where the host cannot be looked up: the session could not say what it waits for."""
    url = URL(plain(options.url))
    await look_up(env.threads, url.host or "", url.port or 0)


def _tls(options: Options) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=options.ca) if options.ca is not None else None


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
        if options.matches is not None and not _anywhere(options.matches).matches(text):
            return f"the body does not match {options.matches!r}"
    if options.max_latency is not None and seconds > options.max_latency:
        return f"answered after {seconds:.3f} s, wanted {options.max_latency:g} s"
    return None


def _anywhere(pattern: str) -> Pattern:
    compile_pattern(pattern)  # alone first: `a)(b` is none, and would be one within these
    return compile_pattern(f"(?s:.*)(?:{pattern})(?s:.*)")


def _decoded(body: bytes, charset: str) -> str:
    try:
        return body.decode(charset, "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


async def _certificate(options: Options, env: Env, tls: ssl.SSLContext) -> str | None:
    """Looks at the certificate in a handshake of its own."""
    url = URL(plain(options.url))
    if url.scheme != "https":
        return "no certificate: the address is not https"
    connection = await connect(env, url.host or "", url.port or 443)
    _, writer = await asyncio.open_connection(sock=connection, ssl=tls, server_hostname=url.host)
    try:
        certificate = writer.get_extra_info("peercert")
    finally:
        writer.transport.abort()
    days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / DAY
    wanted = options.min_tls_days or 0.0
    return f"the certificate ends in {days:.1f} days, wanted {wanted:g}" if days < wanted else None
