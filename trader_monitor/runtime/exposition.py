"""Exposition: a page in Prometheus's text format or OpenMetrics; bytes in, readings out, within bounds.

It knows neither the target nor the time, and belongs in a thread: a large page takes seconds. Nothing that a page
holds costs more than its bounds allow.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple, cast, get_args

from trader_monitor.runtime.readings import Metric, MetricKind, Reading

__all__ = ["OPENMETRICS", "Page", "Refused", "read"]

OPENMETRICS = "application/openmetrics-text"
"""The content type that tells it from the text format."""
MAX_LINE = 1 << 16
LINES_PER_SAMPLE = 8  # a sample has a line, and its family two or three more
BARE_COUNTER = re.compile(r"#[ \t]+TYPE[ \t]+(\S+)(?<!_total)[ \t]+counter[ \t]*$")


class Refused(Exception):
    """What the target said cannot be taken."""


class Page(NamedTuple):
    """A target's answer, as it came."""

    body: bytes
    content_type: str = "text/plain"
    encoding: str = "identity"


def read(page: Page, *, max_body: int, max_samples: int) -> Iterator[Reading]:
    """Every sample with its family's kind. Raises Refused, whatever the parser stumbled over."""
    try:
        lines = _Lines(_unpacked(page, max_body), max_samples)
        yield from _readings(lines, page.content_type == OPENMETRICS)
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"not in the format that it claims: {error}") from error


def _unpacked(page: Page, most: int) -> bytes:
    """The body without its encoding. Raises Refused on one that was not asked for, and on a bomb."""
    if page.encoding == "identity" or len(page.body) > most:
        body = page.body
    elif page.encoding in {"gzip", "x-gzip"}:
        body = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(page.body, most + 1)
    else:
        raise Refused(f"Content-Encoding {page.encoding[:100]!r}, wanted gzip or none")
    if len(body) > most:
        raise Refused(f"the body is larger than {most} bytes")
    return body


class _Lines:
    """The body's lines one by one, so that neither a look at the whole of it holds up the daemon, nor a family
    without end fills its memory."""

    def __init__(self, body: bytes, max_samples: int) -> None:
        self._body = body
        self._most = max_samples
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


def _readings(lines: _Lines, openmetrics: bool) -> Iterator[Reading]:
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
            if isinstance(sample.value, int | float):  # a native histogram's is neither
                name = sample.name.removesuffix("_total") if renamed else sample.name
                yield Reading(name, sample.labels, sample.value, metric)
