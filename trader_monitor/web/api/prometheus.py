"""The query API of Prometheus, so that Grafana, promtool and everything else that speaks it works against us.

`/api/v1/query`, `/query_range`, `/series`, `/labels`, `/label/NAME/values`, `/metadata`, `/rules`, `/alerts` and
`/status/buildinfo`, by GET and form POST. Evaluation runs in a thread, a few at a time, each with a deadline.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import wraps
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import msgspec
import numpy as np
from aiohttp import web
from anyio import to_thread

from trader_monitor.core.facts import AlertChanged, Labels
from trader_monitor.core.matcher import Matcher
from trader_monitor.core.promql import PromQLError, compile, series_matchers
from trader_monitor.core.samples import Source
from trader_monitor.web import prometheus_json as shape

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

__all__ = ["MAX_POINTS", "routes"]

MAX_POINTS = 11_000
MAX_RUNNING = 2
MAX_WAITING = 32
TIMEOUT = 30.0
MAX_CELLS = 5_000_000
_DURATION = re.compile(r"(\d+)(ms|[smhdwy])")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}

Parameters: TypeAlias = Mapping[str, list[str]]
Answer: TypeAlias = tuple[bytes, list[str]]


class _Refused(Exception):
    """A request that has no answer: HTTP status, Prometheus's kind of error, and why."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


class _Expired(Exception):
    """The deadline passed, or the client went away, while a thread was evaluating."""


def routes(env: Env) -> list[web.RouteDef]:
    queries = _Queries(env)

    async def query(request: web.Request, given: Parameters) -> Answer:
        text, t_ms = _required(given, "query"), _moment(given, "time", _now(env))
        plan = _compiled(text)
        limit = _limit(given)

        def work(source: Source, checkpoint: Callable[[], None]) -> tuple[bytes, bool]:
            return shape.instant(plan.instant(source, t_ms, max_cells=MAX_CELLS, checkpoint=checkpoint), limit)

        return _with_warning(await queries.run(given, work))

    async def query_range(request: web.Request, given: Parameters) -> Answer:
        text = _required(given, "query")
        start, end = _moment(given, "start"), _moment(given, "end")
        step = round(_seconds_of(_required(given, "step"), "step") * 1000)
        if end < start:
            raise _bad("end", "end timestamp must not be before start time")
        if step <= 0:
            raise _bad("step", "zero or negative query resolution step widths are not accepted")
        if (end - start) // step + 1 > MAX_POINTS:
            raise _Refused(
                400,
                "bad_data",
                f"exceeded maximum resolution of {MAX_POINTS:,} points per timeseries. Try a larger step",
            )
        plan = _compiled(text)
        if plan.kind in ("matrix", "string"):
            raise _bad("query", f"invalid expression type {_KINDS[plan.kind]!r} for range query")
        times = np.arange(start, end + 1, step, dtype=np.int64)
        limit = _limit(given)

        def work(source: Source, checkpoint: Callable[[], None]) -> tuple[bytes, bool]:
            bounds = (start, end)
            result = plan.evaluate(source, times, bounds=bounds, max_cells=MAX_CELLS, checkpoint=checkpoint)
            return shape.matrix(result, limit)

        return _with_warning(await queries.run(given, work))

    async def series(request: web.Request, given: Parameters) -> Answer:
        wanted = _selectors(given, needed=True)
        found = await queries.run(given, lambda source, _: sorted(_known(source, wanted)))
        return _cut([dict(labels) for labels in found], given)

    async def labels(request: web.Request, given: Parameters) -> Answer:
        wanted = _selectors(given)
        found = await queries.run(given, lambda source, _: _known(source, wanted))
        return _cut(sorted({name for one in found for name, _ in one}), given)

    async def label_values(request: web.Request, given: Parameters) -> Answer:
        wanted, name = _selectors(given), request.match_info["name"]
        found = await queries.run(given, lambda source, _: _known(source, wanted))
        return _cut(sorted({value for one in found for key, value in one if key == name}), given)

    async def metadata(request: web.Request, given: Parameters) -> Answer:
        metric = _one(given, "metric")
        known = dict(sorted(env.board.series.metadata.items()))
        if metric is not None:
            known = {metric: known[metric]} if metric in known else {}
        shown = {name: [{"type": one.kind, "help": one.help, "unit": one.unit}] for name, one in known.items()}
        limit = _limit(given)
        return _json(dict(list(shown.items())[:limit]) if limit else shown), []

    async def rules(request: web.Request, given: Parameters) -> Answer:
        return _json({"groups": _rule_groups(env)}), []

    async def alerts(request: web.Request, given: Parameters) -> Answer:
        return _json({"alerts": [_alert(one) for one in _active(env)]}), []

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
    """Evaluation in threads: a few run, some more wait, and all have a deadline."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._limiter: anyio.CapacityLimiter | None = None

    async def run(self, given: Parameters, work: Callable[[Source, Callable[[], None]], Any]) -> Any:
        limiter = self._limiter = self._limiter or anyio.CapacityLimiter(MAX_RUNNING)
        if limiter.statistics().tasks_waiting >= MAX_WAITING:
            raise _Refused(503, "unavailable", "too many queries are waiting: try again later")
        wanted = _one(given, "timeout")
        timeout = min(TIMEOUT, _seconds_of(wanted, "timeout")) if wanted else TIMEOUT
        over = False

        def checkpoint() -> None:
            if over:
                raise _Expired

        source = self._source()
        try:
            with anyio.fail_after(timeout):
                return await to_thread.run_sync(work, source, checkpoint, limiter=limiter, abandon_on_cancel=True)
        except TimeoutError:
            raise _Refused(503, "timeout", f"query timed out after {timeout:g} s") from None
        except PromQLError as error:
            raise _Refused(422, "execution", error.message) from None
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
        try:
            data, warnings = await answer(request, await _parameters(request))
        except _Refused as refused:
            return _response(shape.failure(refused.kind, str(refused)), refused.status)
        return _response(shape.success(data, warnings))

    return serve


def _response(body: bytes, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


async def _parameters(request: web.Request) -> Parameters:
    """Those of the address and, of a POST, of its form."""
    given: dict[str, list[str]] = {}
    for name, value in request.query.items():
        given.setdefault(name, []).append(value)
    if request.method == "POST":
        if request.content_type not in ("application/x-www-form-urlencoded", "multipart/form-data"):
            raise _Refused(400, "bad_data", "expected a form (application/x-www-form-urlencoded)")
        for name, field in (await request.post()).items():
            if isinstance(field, str):
                given.setdefault(name, []).append(field)
    return given


def _one(given: Parameters, name: str) -> str | None:
    values = given.get(name)
    return values[0] if values and values[0] else None


def _required(given: Parameters, name: str) -> str:
    value = _one(given, name)
    if value is None:
        raise _bad(name, "is missing")
    return value


def _bad(name: str, reason: str) -> _Refused:
    return _Refused(400, "bad_data", f"invalid parameter {name!r}: {reason}")


def _compiled(text: str) -> Any:
    try:
        return compile(text)
    except PromQLError as error:
        raise _bad("query", error.message) from None


def _moment(given: Parameters, name: str, default: int | None = None) -> int:
    """Milliseconds out of Unix seconds or RFC 3339."""
    text = _one(given, name)
    if text is None:
        if default is None:
            raise _bad(name, "is missing")
        return default
    try:
        moment = float(text)
    except ValueError:
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError:
            raise _bad(name, f"cannot parse {text!r} to a valid timestamp") from None
        moment = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(moment) or abs(moment) > 9e12:
        raise _bad(name, f"cannot parse {text!r} to a valid timestamp")
    return round(moment * 1000)


def _seconds_of(text: str, name: str) -> float:
    """Seconds out of a number or a duration such as 1h30m."""
    try:
        duration = float(text)
    except ValueError:
        parts = _DURATION.findall(text)
        if not parts or "".join(n + unit for n, unit in parts) != text:
            raise _bad(name, f"cannot parse {text!r} to a valid duration") from None
        duration = sum(float(n) * _UNITS[unit] for n, unit in parts)
    if not math.isfinite(duration) or abs(duration) > 9e12:
        raise _bad(name, f"cannot parse {text!r} to a valid duration")
    return duration


def _limit(given: Parameters) -> int:
    text = _one(given, "limit")
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit():
        raise _bad("limit", f"expected a number of 0 or more, got {text!r}")
    return int(text)


def _with_warning(answer: tuple[bytes, bool]) -> Answer:
    data, cut = answer
    return data, ["results truncated due to limit"] if cut else []


def _cut(rows: list[Any], given: Parameters) -> Answer:
    limit = _limit(given)
    if 0 < limit < len(rows):
        return _json(rows[:limit]), ["results truncated due to limit"]
    return _json(rows), []


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _now(env: Env) -> int:
    return round(env.clock.now().wall * 1000)


# --- what there is -----------------------------------------------------------------------------------------


def _selectors(given: Parameters, *, needed: bool = False) -> list[tuple[Matcher, ...]]:
    texts = given.get("match[]", [])
    if needed and not texts:
        raise _Refused(400, "bad_data", "no match[] parameter provided")
    try:
        return [series_matchers(text) for text in texts]
    except PromQLError as error:
        raise _bad("match[]", error.message) from None


def _known(source: Source, wanted: Iterable[tuple[Matcher, ...]]) -> set[Labels]:
    """The label sets that satisfy any of the selectors; of none, all."""
    found: set[Labels] = set()
    for matchers in wanted or ((Matcher("__name__", "!=", ""),),):
        found.update(map(source.labels_of, source.select(matchers).tolist()))
    found.discard(())
    return found


# --- rules and alerts --------------------------------------------------------------------------------------


def _active(env: Env) -> list[AlertChanged]:
    return [alert for alert in env.board.alerts.values() if alert.state in ("pending", "firing")]


def _alert(alert: AlertChanged) -> dict[str, Any]:
    annotations = {"summary": alert.summary} | ({"runbook": alert.runbook} if alert.runbook else {})
    return {
        "labels": alert.labels,
        "annotations": annotations,
        "state": alert.state,
        "activeAt": _rfc3339(alert.active_at),
        "value": shape.exponent(alert.value if alert.value is not None else math.nan),
    }


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rule_groups(env: Env) -> list[dict[str, Any]]:
    """All rules as one group, as Prometheus shows them."""
    judge: Any = getattr(env.journal, "judge", None)
    by_rule: dict[str, list[AlertChanged]] = {}
    for alert in _active(env):
        by_rule.setdefault(alert.rule, []).append(alert)
    failures: dict[str, str] = {}
    for failure in getattr(judge, "failures", {}).values():
        failures[failure.rule] = failure.message
    now = _rfc3339(env.clock.now().wall)
    rules = []
    for compiled in getattr(judge, "rules", ()):
        rule = compiled.rule
        alerts = by_rule.get(rule.name, [])
        states = {alert.state for alert in alerts}
        rules.append(
            {
                "state": "firing" if "firing" in states else "pending" if states else "inactive",
                "name": rule.name,
                "query": rule.expr,
                "duration": rule.for_,
                "keepFiringFor": rule.keep_firing_for,
                "labels": {**rule.labels, "severity": rule.severity},
                "annotations": {"summary": rule.summary},
                "alerts": [_alert(alert) for alert in alerts],
                "health": "err" if rule.name in failures else "ok",
                "lastError": failures.get(rule.name, ""),
                "evaluationTime": 0.0,
                "lastEvaluation": now,
                "type": "alerting",
            }
        )
    if not rules:
        return []
    return [
        {
            "name": "rules",
            "file": "config.toml",
            "rules": rules,
            "interval": 0,
            "limit": 0,
            "evaluationTime": 0.0,
            "lastEvaluation": now,
        }
    ]
