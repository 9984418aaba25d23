"""Other programs' /metrics, in Prometheus's text format or OpenMetrics."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import ClassVar

import aiohttp
import anyio
from msgspec import Struct, field
from yarl import URL

from trader_monitor.config.values import Secret, Size
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.exposition import OPENMETRICS, Page, Refused, read
from trader_monitor.runtime.options import refuse, wrong_address
from trader_monitor.runtime.readings import Partial, Reading, gauge
from trader_monitor.runtime.registry import collector
from trader_monitor.runtime.threads import StillRunning

UP = gauge("up", "1 where the target answered the last scrape, else 0.")
DURATION = gauge("scrape_duration_seconds", "How long the scrape took.")
SAMPLES = gauge("scrape_samples_scraped", "Samples that the target exposed.")

ACCEPT = f"{OPENMETRICS};version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.6,*/*;q=0.1"
UNTIMED = aiohttp.ClientTimeout(total=None)
MARGIN_SECONDS = 0.25
"""Kept back from the caller's deadline, so that a target that hangs is recorded as down before it."""


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """`labels` are added to every series; the target's own labels give way (`exported_NAME`) or, with
    `honor_labels`, win. A target with more than `max_samples`, `max_labels` or `max_body` is refused as a whole.
    """

    SPREAD: ClassVar[bool] = True

    url: str
    labels: dict[str, str] = field(default_factory=dict)
    honor_labels: bool = False
    token: Secret | None = None
    max_body: Size = Size(16 << 20)
    max_samples: int = 20_000
    max_labels: int = 30

    def __post_init__(self) -> None:
        refuse(wrong_address("url", self.url))


@collector("scrape", Options)
async def scrape(options: Options, env: Env) -> list[Reading]:
    """Scrapes a target's /metrics; its timestamps are not taken over, a scrape is one instant."""
    target = {"instance": _instance(options.url), **options.labels}
    began = time.monotonic()
    readings: list[Reading] = []
    problem = ""
    left = anyio.current_effective_deadline() - anyio.current_time()
    try:
        with anyio.fail_after(left - min(MARGIN_SECONDS, left / 10)):
            page = await _fetched(options, env)
        question = ("scrape", options.url)
        readings = await env.threads.run(question, _read, page, options, target, mono=time.monotonic)
    except TimeoutError:
        problem = f"{options.url}: no whole answer in time"
    except (Refused, StillRunning, aiohttp.ClientError, OSError) as error:
        problem = f"{options.url}: {str(error) or type(error).__name__}"
    own = [
        UP(float(not problem), **target),
        DURATION(time.monotonic() - began, **target),
        SAMPLES(len(readings), **target),
    ]
    if problem:
        raise Partial(problem, own)
    return own + readings


def _instance(url: str) -> str:
    parsed = URL(url)
    return f"{parsed.host}:{parsed.port}"


async def _fetched(options: Options, env: Env) -> Page:
    headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
    if options.token is not None:
        headers["Authorization"] = f"Bearer {options.token.reveal()}"
    async with env.http().get(options.url, headers=headers, allow_redirects=False, timeout=UNTIMED) as answer:
        if answer.status != 200:
            raise Refused(f"status {answer.status}, wanted 200")
        chunks: list[bytes] = []
        left = int(options.max_body)
        async for chunk in answer.content.iter_chunked(1 << 16):
            left -= len(chunk)
            if left < 0:  # refused before it is put together, which for much takes long
                raise Refused(f"the body is larger than {options.max_body} bytes")
            chunks.append(chunk)
        encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        return Page(b"".join(chunks), answer.content_type, encoding)


def _read(page: Page, options: Options, target: Mapping[str, str]) -> list[Reading]:
    """Every sample with the target's labels; runs in a thread."""
    found = []
    for name, own, value, metric in read(page, max_body=options.max_body, max_samples=options.max_samples):
        if len(own) + len(target) > options.max_labels:
            raise Refused(f"{name} has more than {options.max_labels} labels")
        found.append(Reading(name, _merged(own, target, options.honor_labels), value, metric))
    return found


def _merged(own: Mapping[str, str], target: Mapping[str, str], honor: bool) -> dict[str, str]:
    if honor:
        return {**target, **{name: value for name, value in own.items() if value}}
    moved = {f"exported_{name}" if name in target else name: value for name, value in own.items()}
    return {**moved, **target}
