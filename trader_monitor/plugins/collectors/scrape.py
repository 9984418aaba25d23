"""Other programs' /metrics, in Prometheus's text format or OpenMetrics."""

from __future__ import annotations

import io
import re
import time
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, cast, get_args

import aiohttp
import anyio
from msgspec import Struct, field
from yarl import URL

from trader_monitor.config.values import Secret, Size
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.options import refuse, wrong_address
from trader_monitor.runtime.readings import Metric, MetricKind, Partial, Reading, gauge
from trader_monitor.runtime.registry import collector
from trader_monitor.runtime.threads import StillRunning

UP = gauge("up", "1 where the target answered the last scrape, else 0.")
DURATION = gauge("scrape_duration_seconds", "How long the scrape took.")
SAMPLES = gauge("scrape_samples_scraped", "Samples that the target exposed.")

OPENMETRICS = "application/openmetrics-text"
ACCEPT = f"{OPENMETRICS};version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.6,*/*;q=0.1"
UNTIMED = aiohttp.ClientTimeout(total=None)
MARGIN_SECONDS = 0.25
"""Kept back from the caller's deadline, so that a target that hangs is recorded as down before it."""
MAX_LINE = 1 << 16
LINES_PER_SAMPLE = 8  # a sample has a line, and its family two or three more
BARE_COUNTER = re.compile(r"#[ \t]+TYPE[ \t]+(\S+)(?<!_total)[ \t]+counter[ \t]*$")


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


class Refused(Exception):
    """What the target said cannot be taken."""


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
            page = await _fetch(options, env)
        question = ("scrape", options.url)
        readings = await env.threads.run(question, _parsed, page, options, target, mono=time.monotonic)
    except TimeoutError:
        problem = f"{options.url}: no whole answer in time"
    except (Refused, StillRunning, aiohttp.ClientError, OSError, UnicodeDecodeError) as error:
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


class _Page(NamedTuple):
    """A target's answer, as it came."""

    body: bytes
    openmetrics: bool
    encoding: str


async def _fetch(options: Options, env: Env) -> _Page:
    headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
    if options.token is not None:
        headers["Authorization"] = f"Bearer {options.token.reveal()}"
    async with env.http().get(options.url, headers=headers, allow_redirects=False, timeout=UNTIMED) as answer:
        if answer.status != 200:
            raise Refused(f"status {answer.status}, wanted 200")
        chunks: list[bytes] = []
        size = 0
        async for chunk in answer.content.iter_chunked(1 << 16):
            size += len(chunk)
            if size > options.max_body:
                raise Refused(f"the body is larger than {options.max_body} bytes")
            chunks.append(chunk)
        encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        return _Page(b"".join(chunks), answer.content_type == OPENMETRICS, encoding)


def _parsed(page: _Page, options: Options, target: Mapping[str, str]) -> list[Reading]:
    """Every sample; runs in a thread. Raises Refused, whatever the parser stumbled over."""
    try:
        return list(_readings(_Lines(_unpacked(page, options), options), page.openmetrics, options, target))
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"not in the format that it claims: {error}") from error


def _unpacked(page: _Page, options: Options) -> bytes:
    """The body without its encoding. Raises Refused on one that was not asked for, and on a bomb."""
    if page.encoding == "identity":
        return page.body
    if page.encoding not in {"gzip", "x-gzip"}:
        raise Refused(f"Content-Encoding {page.encoding[:100]!r}, wanted gzip or none")
    body = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(page.body, options.max_body + 1)
    if len(body) > options.max_body:
        raise Refused(f"the body is larger than {options.max_body} bytes")
    return body


class _Lines:
    """The body's lines one by one, so that neither a look at the whole of it holds up the daemon, nor a family
    without end fills its memory."""

    def __init__(self, body: bytes, options: Options) -> None:
        self._body = body
        self._most = options.max_samples
        self.bare: set[str] = set()
        """prometheus_client gives every counter of the text format the name that OpenMetrics wants; the target
        did not give it to these."""

    def __iter__(self) -> Iterator[str]:
        samples, left = 0, LINES_PER_SAMPLE * self._most
        with io.TextIOWrapper(io.BytesIO(self._body), "utf-8", newline="\n") as text:
            while line := text.readline(MAX_LINE):
                if len(line) == MAX_LINE:
                    raise Refused(f"a line is longer than {MAX_LINE - 1:,} characters")
                left -= 1
                if left < 0:
                    raise Refused(f"more than {LINES_PER_SAMPLE * self._most} lines")
                if not line.startswith("#"):
                    samples += not line.isspace()
                    if samples > self._most:
                        raise Refused(f"more than {self._most} samples")
                elif counter := BARE_COUNTER.match(line):
                    self.bare.add(counter[1])
                yield line


def _readings(lines: _Lines, openmetrics: bool, options: Options, target: Mapping[str, str]) -> Iterator[Reading]:
    """Every sample with its family's kind."""
    # Imported here: it costs every daemon that scrapes nothing a megabyte.
    import prometheus_client.openmetrics.parser as newer
    import prometheus_client.parser as older

    parse: Any = newer.text_fd_to_metric_families if openmetrics else older.text_fd_to_metric_families
    for family in parse(lines):
        kind = cast(MetricKind, family.type if family.type in get_args(MetricKind) else "unknown")
        renamed = not openmetrics and kind == "counter" and family.name in lines.bare
        suffix = "_total" if kind == "counter" and not renamed else ""
        metric = Metric(family.name + suffix, kind, family.documentation)
        for sample in family.samples:
            if len(sample.labels) + len(target) > options.max_labels:
                raise Refused(f"{sample.name} has more than {options.max_labels} labels")
            if isinstance(sample.value, int | float):  # a native histogram's is neither
                name = sample.name.removesuffix("_total") if renamed else sample.name
                yield Reading(name, _merged(sample.labels, target, options.honor_labels), sample.value, metric)


def _merged(own: Mapping[str, str], target: Mapping[str, str], honor: bool) -> dict[str, str]:
    if honor:
        return {**target, **{name: value for name, value in own.items() if value}}
    moved = {f"exported_{name}" if name in target else name: value for name, value in own.items()}
    return {**moved, **target}
