"""`/v1/models`: which models predict, their baselines, their runs of drift, and the audit of their predictions."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from trader_monitor.core.models.names import OUTPUTS
from trader_monitor.runtime import model_store
from trader_monitor.runtime.performance_store import performance_runs
from trader_monitor.runtime.prediction_rows import Damaged
from trader_monitor.runtime.predictions import columns_of, known
from trader_monitor.runtime.statistics.worker import Busy, JobFailed, Refused
from trader_monitor.web.app import refusal
from trader_monitor.web.body import Allowance, read_body

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env
    from trader_monitor.runtime.watched import Watch

__all__ = ["routes"]

T = TypeVar("T")
Name = Annotated[str, Meta(min_length=1, max_length=512)]

MAX_COLUMNS = 50
"""Columns of one request: each takes a fifth of a second."""
WITHIN, PATIENCE = 50.0, 5.0
"""Seconds for a job, and until its turn comes: together less than an answer may take."""
MAX_BODY = 32 << 20
MOST_ENTRIES = 10_000
MOST_RUNS = 100


class Computed(Struct, forbid_unknown_fields=True):
    """Baselines to be made of predictions with `since` <= at < `until`, and staged under `token`."""

    model: Name
    version: Name
    token: Name
    columns: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=MAX_COLUMNS)]
    since: float
    until: float


class Staged(Struct, forbid_unknown_fields=True):
    """Baselines as bytes by feature, and detectors by the first feature that they watch (MessagePack)."""

    model: Name
    version: Name
    token: Name
    baselines: dict[Name, bytes]
    detectors: dict[Name, bytes] = {}


class Whole(Struct, forbid_unknown_fields=True):
    """All pieces are there."""

    model: Name
    version: Name
    token: Name


class Reset(Struct, forbid_unknown_fields=True):
    """The alarms of these features (of all, where none is named) are let go."""

    model: Name
    version: Name
    features: Annotated[tuple[Name, ...], Meta(max_length=2_000)] = ()


def routes(env: Env) -> list[web.RouteDef]:
    """GET /v1/models and columns, baselines, runs, performance, audit below it; POST, PUT baselines."""
    allowance = Allowance(2 * MAX_BODY)
    path = env.config().store.path

    async def asked(function: Callable[..., T], *given: Any) -> T:
        """A question to the store's file, in a thread."""

        def run() -> T:
            with closing(env.journal.store.reader()) as db:
                db.execute("BEGIN")
                return function(db, *given)

        return await asyncio.to_thread(run)

    async def models(request: web.Request) -> web.Response:
        """Each model version that has predictions or a baseline."""
        there = {(each.model, each.version): each for each in await asyncio.to_thread(known, path)}
        sets = {(each.model, each.version): each for each in await asked(model_store.baseline_sets)}
        found = []
        for model, version in sorted(there.keys() | sets.keys()):
            rows, baseline = there.get((model, version)), sets.get((model, version))
            watch = env.watched.versions.get((model, version))
            found.append(
                {
                    "model": model,
                    "version": version,
                    "rows": 0 if rows is None else rows.rows,
                    "first_at": None if rows is None else rows.first_at,
                    "last_at": None if rows is None else rows.last_at,
                    "baseline": None if baseline is None else {"at": baseline.at, "features": baseline.features},
                    "drift": None if watch is None else _last_run(watch),
                }
            )
        return _json({"models": found})

    async def columns(request: web.Request) -> web.Response:
        """The columns that a baseline of a time would have."""
        model, version = _names(request)
        since, until = _number(request, "since", 0.0), _number(request, "until", 1e300)
        names, rows = await asyncio.to_thread(columns_of, path, model, version, since, until)
        return _json({"columns": [*names, *OUTPUTS], "rows": rows})

    async def baselines(request: web.Request) -> web.Response:
        """The baselines of a model version, or one of them."""
        from trader_monitor.core.models.drift.baseline import Baseline
        from trader_monitor.core.models.drift.baseline_view import view

        model, version = _names(request)
        feature = request.query.get("feature")
        found = await asked(model_store.baselines, model, version, None if feature is None else [feature])
        views = await asyncio.to_thread(lambda: [view(Baseline.decode(body)) for body in found.values()])
        return _json({"model": model, "version": version, "baselines": views})

    async def compute(request: web.Request) -> web.Response:
        """Makes baselines of predictions, in the statistics worker."""
        from trader_monitor.runtime.statistics import baseline

        ask = msgspec.json.decode(await request.read(), type=Computed)
        now = env.clock.now().wall
        question = baseline.Asked(
            path=str(path.absolute()),
            model=ask.model,
            version=ask.version,
            columns=ask.columns,
            since=ask.since,
            until=ask.until,
            now=now,
        )
        answer = await env.statistics.run(baseline.JOB, question, within=WITHIN, patience=PATIENCE)
        watched = {} if answer.detectors is None else {ask.columns[0]: answer.detectors}
        write = partial(model_store.stage, model=ask.model, version=ask.version, token=ask.token, at=now)
        await _written(partial(write, bodies=answer.baselines, detectors=watched))
        told = {"baselines": len(answer.baselines), "rows": answer.rows}
        return _json(told | {"first_at": answer.first_at, "last_at": answer.last_at})

    async def stage(request: web.Request) -> web.Response:
        """Takes baselines that were made elsewhere."""
        from trader_monitor.core.models.drift.baseline import Baseline, BaselineError
        from trader_monitor.core.models.streaming.detector import DetectorError, Detectors

        body = await read_body(request, MAX_BODY, allowance)
        given = msgspec.msgpack.decode(body, type=Staged)
        try:
            for name, raw in given.baselines.items():
                if Baseline.decode(raw).name != name:
                    raise BaselineError(f"the baseline of {name!r} is of another feature")
            for raw in given.detectors.values():
                Detectors.decode(raw)
        except (BaselineError, DetectorError) as error:
            return refusal(422, str(error), "send it with the version of trader-monitor that runs here")
        write = partial(model_store.stage, model=given.model, version=given.version, token=given.token)
        now = env.clock.now().wall
        await _written(partial(write, at=now, bodies=given.baselines, detectors=given.detectors))
        return _json({"baselines": len(given.baselines)})

    async def commit(request: web.Request) -> web.Response:
        """Puts the staged set in force."""
        given = msgspec.json.decode(await request.read(), type=Whole)
        now = env.clock.now().wall
        count = await _written(partial(model_store.commit, **msgspec.structs.asdict(given), at=now))
        if not count:
            return refusal(404, "nothing is staged under this token", "send the baselines first")
        return _json({"baselines": count, "at": now})

    async def reset(request: web.Request) -> web.Response:
        """Lets go of the streaming detectors' alarms."""
        from trader_monitor.runtime.statistics import detect

        ask = msgspec.json.decode(await request.read(), type=Reset)
        question = detect.Asked(path=str(path.absolute()), reset=True, **msgspec.structs.asdict(ask))
        async with env.watched.turn:
            answer = await env.statistics.run(detect.JOB, question, within=WITHIN, patience=PATIENCE)
            states = [model_store.DetectorState(each.id, answer.after, each.body) for each in answer.states]
            at = env.clock.now().wall
            await _written(partial(model_store.keep_detectors, at=at, before=answer.before, states=states))
        watch = env.watched.versions.get((ask.model, ask.version))
        if watch is not None:
            watch.stream = tuple(answer.figures)
        if not states:
            return refusal(404, f"{ask.model} {ask.version} has no detectors", "set a baseline first")
        return _json({"reset": answer.reset})

    async def runs(request: web.Request) -> web.Response:
        """The runs of drift of a model version, the oldest first."""
        from trader_monitor.runtime.statistics.drift import DriftRun

        model, version = _names(request)
        last = int(_number(request, "last", 20.0, most=MOST_RUNS))
        since = _number(request, "since", 0.0)
        read = partial(model_store.runs, since=since, last=last)

        def told(db: sqlite3.Connection) -> bytes:
            found = [msgspec.msgpack.decode(each.body, type=DriftRun) for each in read(db, model, version)]
            return msgspec.json.encode({"model": model, "version": version, "runs": found})

        return web.Response(body=await asked(told), content_type="application/json")

    async def performance(request: web.Request) -> web.Response:
        """The evaluations of a model version's performance, the oldest first."""
        from trader_monitor.core.models.performance.performance import PerformanceResult

        model, version = _names(request)
        last = int(_number(request, "last", 1.0, most=MOST_RUNS))

        def told() -> bytes:
            kept = performance_runs(path, model, version, last=last)
            found = [msgspec.msgpack.decode(each, type=PerformanceResult) for each in kept]
            return msgspec.json.encode({"model": model, "version": version, "runs": found})

        return web.Response(body=await asyncio.to_thread(told), content_type="application/json")

    async def audit(request: web.Request) -> web.Response:
        """The audit's entries, the oldest first; of a model, of a version, of a time."""
        last = int(_number(request, "last", 100.0, most=MOST_ENTRIES))
        since, until = _number(request, "since", 0.0), _number(request, "until", 1e300)
        body = await asked(_entries, request.query.get("model"), request.query.get("version"), since, until, last)
        return web.Response(body=body, content_type="application/json")

    async def _written(change: Callable[[sqlite3.Connection], T]) -> T:
        return await env.journal.store.write(change)

    return [
        web.get("/v1/models", _told(models)),
        web.get("/v1/models/columns", _told(columns)),
        web.get("/v1/models/baselines", _told(baselines)),
        web.post("/v1/models/baselines", _told(compute)),
        web.put("/v1/models/baselines", _told(stage)),
        web.post("/v1/models/baselines/commit", _told(commit)),
        web.post("/v1/models/detectors/reset", _told(reset)),
        web.get("/v1/models/runs", _told(runs)),
        web.get("/v1/models/performance", _told(performance)),
        web.get("/v1/models/audit", _told(audit)),
    ]


def _told(answer: Callable[[web.Request], Awaitable[web.Response]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The answer, or in words why there is none."""

    async def told(request: web.Request) -> web.Response:
        try:
            return await answer(request)
        except msgspec.MsgspecError as error:
            return refusal(400, f"the body is not as expected: {error}")
        except _Wrong as error:
            return refusal(400, str(error))
        except Refused as error:
            return refusal(422, str(error))
        except Busy as error:
            return refusal(503, str(error), retry_after=5.0)
        except JobFailed as error:
            return refusal(500, str(error))
        except (sqlite3.Error, Damaged) as error:
            return refusal(503, f"the store cannot answer: {error}", retry_after=5.0)

    return told


def _last_run(watch: Watch) -> dict[str, Any]:
    """What is known of a version's drift: the last run, the rows since then, and what keeps it from being told."""
    return {"at": watch.run_at, "severity": watch.severity, "rows_since": watch.fresh, "trouble": watch.trouble}


class _Wrong(Exception):
    """A question that cannot be understood."""


def _names(request: web.Request) -> tuple[str, str]:
    model, version = request.query.get("model"), request.query.get("version")
    if not model or not version:
        raise _Wrong("expected the parameters model and version")
    return model, version


def _number(request: web.Request, name: str, default: float, most: float = 1e300) -> float:
    given = request.query.get(name)
    if given is None:
        return default
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= most:
        raise _Wrong(f"{name}: expected a number from 0 to {most:,.15g}, got {given[:40]!r}")
    return value


def _entries(
    db: sqlite3.Connection, model: str | None, version: str | None, since: float, until: float, last: int
) -> bytes:
    where = "at >= ? AND at < ? AND coalesce(model = ?, 1) AND coalesce(version = ?, 1)"
    sql = f"SELECT body FROM prediction_audit WHERE {where} ORDER BY seq DESC LIMIT ?"
    rows = [body for (body,) in db.execute(sql, (since, until, model, version, last))]
    return b'{"entries":[' + b",\n".join(reversed(rows)) + b"]}\n"


def _json(body: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")
