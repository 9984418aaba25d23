"""The query API of Prometheus, so that Grafana, promtool and everything else that speaks it works against us.

`/api/v1/query`, `/query_range`, `/series`, `/labels`, `/label/NAME/values`, `/metadata`, `/rules`, `/alerts` and
`/status/buildinfo`, by GET and form POST. Evaluation runs in a thread, a few at a time, each with a deadline.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import msgspec
import numpy as np
from aiohttp import web
from aiohttp.payload import Payload
from anyio import to_thread

from trader_monitor.core.facts import Labels
from trader_monitor.core.matcher import Matcher
from trader_monitor.core.order import in_order
from trader_monitor.core.promql import PromQLError, compile, series_matchers
from trader_monitor.core.samples import Source
from trader_monitor.web import prometheus_json as shape
from trader_monitor.web import rules_view
from trader_monitor.web.query_parameters import (
    Parameters,
    Refused,
    bad,
    limit,
    moment,
    one,
    parameters,
    required,
    seconds_of,
)
from trader_monitor.web.unsent import UNSENT, Overfull

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

__all__ = ["MAX_POINTS", "routes"]

MAX_POINTS = 11_000
MAX_RUNNING = 2
MAX_WAITING = 32
TIMEOUT = 30.0
MAX_CELLS = 5_000_000
Answer: TypeAlias = tuple[shape.Pieces, list[str]]


class _Expired(Exception):
    """The deadline passed, or the client went away, while a thread was evaluating."""


def routes(env: Env) -> list[web.RouteDef]:
    queries = _Queries(env)

    async def query(request: web.Request, given: Parameters) -> Answer:
        text, t_ms = required(given, "query"), moment(given, "time", _now(env))
        most = limit(given)

        def work(source: Source, checkpoint: Callable[[], None]) -> tuple[shape.Pieces, bool]:
            plan = _compiled(text)
            return shape.instant(plan.instant(source, t_ms, max_cells=MAX_CELLS, checkpoint=checkpoint), most)

        return _with_warning(await queries.run(given, work))

    async def query_range(request: web.Request, given: Parameters) -> Answer:
        text = required(given, "query")
        start, end = moment(given, "start"), moment(given, "end")
        step = round(seconds_of(required(given, "step"), "step") * 1000)
        if end < start:
            raise bad("end", "end timestamp must not be before start time")
        if step <= 0:
            raise bad("step", "zero or negative query resolution step widths are not accepted")
        if (end - start) // step + 1 > MAX_POINTS:
            raise Refused(
                400,
                "bad_data",
                f"exceeded maximum resolution of {MAX_POINTS:,} points per timeseries. Try a larger step",
            )
        times = np.arange(start, end + 1, step, dtype=np.int64)
        most = limit(given)

        def work(source: Source, checkpoint: Callable[[], None]) -> tuple[shape.Pieces, bool]:
            plan = _compiled(text)
            if plan.kind in ("matrix", "string"):
                raise bad("query", f"invalid expression type {_KINDS[plan.kind]!r} for range query")
            bounds = (start, end)
            result = plan.evaluate(source, times, bounds=bounds, max_cells=MAX_CELLS, checkpoint=checkpoint)
            return shape.matrix(result, most)

        return _with_warning(await queries.run(given, work))

    async def series(request: web.Request, given: Parameters) -> Answer:
        def work(source: Source, checkpoint: Callable[[], None]) -> Answer:
            return _cut([dict(labels) for labels in in_order(_known(source, given, needed=True))], given)

        answer: Answer = await queries.run(given, work)
        return answer

    async def labels(request: web.Request, given: Parameters) -> Answer:
        def work(source: Source, checkpoint: Callable[[], None]) -> Answer:
            return _cut(in_order({name for labels in _known(source, given) for name, _ in labels}), given)

        answer: Answer = await queries.run(given, work)
        return answer

    async def label_values(request: web.Request, given: Parameters) -> Answer:
        name = request.match_info["name"]

        def work(source: Source, checkpoint: Callable[[], None]) -> Answer:
            found = _known(source, given)
            return _cut(in_order({value for labels in found for key, value in labels if key == name}), given)

        answer: Answer = await queries.run(given, work)
        return answer

    async def metadata(request: web.Request, given: Parameters) -> Answer:
        metric = one(given, "metric")
        known = dict(sorted(env.board.series.metadata.items()))
        if metric is not None:
            known = {metric: known[metric]} if metric in known else {}
        shown = {name: [{"type": told.kind, "help": told.help, "unit": told.unit}] for name, told in known.items()}
        most = limit(given)
        return _json(dict(list(shown.items())[:most]) if most else shown), []

    async def rules(request: web.Request, given: Parameters) -> Answer:
        return _json({"groups": rules_view.rule_groups(env)}), []

    async def alerts(request: web.Request, given: Parameters) -> Answer:
        return _json({"alerts": rules_view.alerts(env)}), []

    async def buildinfo(request: web.Request, given: Parameters) -> Answer:
        ours = version("trader-monitor")
        return _json({"version": "3.0.0", "revision": f"trader-monitor {ours}", "branch": "", "buildUser": "",
                      "buildDate": "", "goVersion": ""}), []  # fmt: skip

    out: list[web.RouteDef] = []
    for path, answer, posts in (
        ("query", query, True),
        ("query_range", query_range, True),
        ("series", series, True),
        ("labels", labels, True),
        ("label/{name}/values", label_values, False),
        ("metadata", metadata, False),
        ("rules", rules, False),
        ("alerts", alerts, False),
        ("status/buildinfo", buildinfo, False),
    ):
        serve = _served(answer)
        out.append(web.get(f"/api/v1/{path}", serve))
        if posts:
            out.append(web.post(f"/api/v1/{path}", serve))
    return out


_KINDS = {"matrix": "range vector", "string": "string"}


class _Queries:
    """Parsing and evaluation in threads: a few run, some more wait, and all have a deadline."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._limiter: anyio.CapacityLimiter | None = None

    async def run(self, given: Parameters, work: Callable[[Source, Callable[[], None]], Any]) -> Any:
        limiter = self._limiter = self._limiter or anyio.CapacityLimiter(MAX_RUNNING)
        if limiter.statistics().tasks_waiting >= MAX_WAITING:
            raise Refused(503, "unavailable", "too many queries are waiting: try again later")
        wanted = one(given, "timeout")
        timeout = min(TIMEOUT, seconds_of(wanted, "timeout")) if wanted else TIMEOUT
        over = False

        def checkpoint() -> None:
            if over:
                raise _Expired

        source = self._source()
        try:
            with anyio.fail_after(timeout):
                return await to_thread.run_sync(work, source, checkpoint, limiter=limiter, abandon_on_cancel=True)
        except TimeoutError:
            raise Refused(503, "timeout", f"query timed out after {timeout:g} s") from None
        except PromQLError as error:
            raise Refused(422, "execution", error.message) from None
        finally:
            over = True

    def _source(self) -> Source:
        """Heads and history together, where there is a history."""
        history: Any = getattr(self._env, "history", None)
        return history if hasattr(history, "window") else self._env.board.series


def _served(
    answer: Callable[[web.Request, Parameters], Awaitable[Answer]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    @wraps(answer)
    async def serve(request: web.Request) -> web.Response:
        unsent = request.app[UNSENT]
        try:
            if unsent.full:
                raise Overfull
            data, warnings = await answer(request, await parameters(request))
            return _response(unsent.body(request, shape.success(data, warnings)))
        except Refused as refused:
            return _response(shape.failure(refused.kind, str(refused)), refused.status)
        except Overfull:
            told = "too many large answers are not read yet by those who asked: try again later"
            return _response(shape.failure("unavailable", told), 503)

    return serve


def _response(body: bytes | Payload, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def _compiled(text: str) -> Any:
    try:
        return compile(text)
    except PromQLError as error:
        raise bad("query", error.message) from None


def _with_warning(answer: tuple[shape.Pieces, bool]) -> Answer:
    data, cut = answer
    return data, ["results truncated due to limit"] if cut else []


def _cut(rows: list[Any], given: Parameters) -> Answer:
    most = limit(given)
    if 0 < most < len(rows):
        return shape.rows(rows[:most]), ["results truncated due to limit"]
    return shape.rows(rows), []


def _json(value: Any) -> shape.Pieces:
    return [msgspec.json.encode(value)]


def _now(env: Env) -> int:
    return round(env.clock.now().wall * 1000)


# --- what there is -----------------------------------------------------------------------------------------


def _selectors(given: Parameters, *, needed: bool = False) -> list[tuple[Matcher, ...]]:
    texts = given.get("match[]", [])
    if needed and not texts:
        raise Refused(400, "bad_data", "no match[] parameter provided")
    try:
        return [series_matchers(text) for text in texts]
    except PromQLError as error:
        raise bad("match[]", error.message) from None


def _known(source: Source, given: Parameters, *, needed: bool = False) -> set[Labels]:
    """The label sets that satisfy any of the selectors; of none, all."""
    found: set[Labels] = set()
    for matchers in _selectors(given, needed=needed) or ((Matcher("__name__", "!=", ""),),):
        found.update(map(source.labels_of, source.select(matchers).tolist()))
    found.discard(())
    return found
