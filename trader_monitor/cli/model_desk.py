"""Where models' baselines are kept, as a command sees it: the running daemon, or the store itself where none runs.

The store has one writer. While a daemon runs it is that, and the command speaks to it; else the command opens the
store, which keeps a daemon from starting meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import msgspec

from trader_monitor.cli.door import Door, find_config
from trader_monitor.cli.outcome import Exit, Failure
from trader_monitor.runtime import model_store
from trader_monitor.runtime.prediction_rows import Damaged
from trader_monitor.runtime.predictions import columns_of, known
from trader_monitor.runtime.store import SchemaNewer, Store, StoreLocked, open_read_only

if TYPE_CHECKING:
    from trader_monitor.core.models.drift.verdict import DriftResult
    from trader_monitor.core.models.performance.performance import PerformanceResult

__all__ = ["Desk", "Pieces", "Version", "desk_of"]

T = TypeVar("T")


class Version(NamedTuple):
    """A model version: its predictions, and its baselines (None where there are none)."""

    model: str
    version: str
    rows: int
    first_at: float | None
    last_at: float | None
    baseline_at: float | None
    features: int


class Pieces(NamedTuple):
    """Baselines as bytes by feature, and detectors by the first feature that they watch."""

    baselines: Mapping[str, bytes]
    detectors: Mapping[str, bytes]


class Desk(Protocol):
    """What can be asked and told; each raises Failure with what to do."""

    where: str

    def versions(self) -> list[Version]: ...

    def columns(self, model: str, version: str, since: float, until: float) -> tuple[list[str], int]: ...

    def views(self, model: str, version: str, feature: str | None) -> list[dict[str, Any]]: ...

    def compute(
        self, model: str, version: str, token: str, columns: list[str], since: float, until: float
    ) -> dict[str, Any]: ...

    def stage(self, model: str, version: str, token: str, pieces: Pieces) -> None: ...

    def commit(self, model: str, version: str, token: str) -> int: ...

    def drifts(self, model: str, version: str, last: int) -> list[DriftResult]: ...

    def performances(self, model: str, version: str, last: int) -> list[PerformanceResult]: ...

    def reset(self, model: str, version: str, features: list[str]) -> list[str]: ...

    def close(self) -> None: ...


def desk_of(args: argparse.Namespace) -> Desk:
    """The daemon that the options name; where none answers and none was named, the store of the configuration."""
    door = Door.of(args)
    try:
        door.ask("GET", "/health")
        return Remote(door)
    except Failure as failure:
        door.close()
        if failure.code != Exit.UNREACHABLE or args.url:
            raise
        path = _store_path(args)
        if path is None or not path.exists():
            hint = f"; there is no store at {path} either" if path is not None else ""
            raise Failure(f"{failure}{hint}", Exit.UNREACHABLE) from None
        return Local(path)


def _store_path(args: argparse.Namespace) -> Path | None:
    from trader_monitor.config.errors import ConfigErrors
    from trader_monitor.config.load import load
    from trader_monitor.runtime.registry import Registry

    file = find_config(args.config)
    if file is None:
        return None
    try:
        return load(file, Registry.load()).store.path
    except (ConfigErrors, OSError) as error:
        raise Failure(f"no daemon answers, and the store cannot be found: {error}", Exit.USAGE) from None


class Remote:
    """The running daemon."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self.where = door.url

    def versions(self) -> list[Version]:
        found = []
        for each in self._door.get("/v1/models")["models"]:
            baseline = each["baseline"] or {"at": None, "features": 0}
            names = {name: each[name] for name in ("model", "version", "rows", "first_at", "last_at")}
            found.append(Version(**names, baseline_at=baseline["at"], features=baseline["features"]))
        return found

    def columns(self, model: str, version: str, since: float, until: float) -> tuple[list[str], int]:
        asked = {"model": model, "version": version, "since": repr(since), "until": repr(until)}
        told = self._door.get("/v1/models/columns", **asked)
        return told["columns"], told["rows"]

    def views(self, model: str, version: str, feature: str | None) -> list[dict[str, Any]]:
        asked = {"model": model, "version": version} | ({} if feature is None else {"feature": feature})
        found: list[dict[str, Any]] = self._door.get("/v1/models/baselines", **asked)["baselines"]
        return found

    def compute(
        self, model: str, version: str, token: str, columns: list[str], since: float, until: float
    ) -> dict[str, Any]:
        ask = {"model": model, "version": version, "token": token, "columns": columns, "since": since, "until": until}
        for _ in range(30):
            answer = self._door.ask("POST", "/v1/models/baselines", msgspec.json.encode(ask))
            if answer.status != 503:
                break
            time.sleep(min(answer.retry_after or 1.0, 5.0))  # its statistics worker has other work
        told: dict[str, Any] = self._door.accept(answer)
        return told

    def stage(self, model: str, version: str, token: str, pieces: Pieces) -> None:
        body = {"model": model, "version": version, "token": token}
        packed = msgspec.msgpack.encode(body | pieces._asdict())
        self._door.accept(self._door.ask("PUT", "/v1/models/baselines", packed, "application/msgpack"))

    def commit(self, model: str, version: str, token: str) -> int:
        body = {"model": model, "version": version, "token": token}
        return int(self._door.post("/v1/models/baselines/commit", body)["baselines"])

    def reset(self, model: str, version: str, features: list[str]) -> list[str]:
        body = {"model": model, "version": version, "features": features}
        let_go: list[str] = self._door.post("/v1/models/detectors/reset", body)["reset"]
        return let_go

    def drifts(self, model: str, version: str, last: int) -> list[DriftResult]:
        from trader_monitor.core.models.drift.verdict import DriftResult

        told = self._door.get("/v1/models/runs", model=model, version=version, last=str(last))
        return [msgspec.convert(each["result"], DriftResult) for each in told["runs"]]

    def performances(self, model: str, version: str, last: int) -> list[PerformanceResult]:
        from trader_monitor.core.models.performance.performance import PerformanceResult

        told = self._door.get("/v1/models/performance", model=model, version=version, last=str(last))
        return msgspec.convert(told["runs"], list[PerformanceResult])

    def close(self) -> None:
        self._door.close()


class Local:
    """The store itself, opened for writing when there is something to write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runner = asyncio.Runner()
        self._store: Store | None = None
        self.where = f"the store {path}, as no daemon runs"

    def _read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with closing(open_read_only(self._path)) as db:
                return function(db)
        except (sqlite3.Error, Damaged) as error:
            hint = " (start the daemon once, which brings it up to date)" if "no such table" in str(error) else ""
            raise Failure(f"cannot read the store {self._path}: {error}{hint}", Exit.REFUSED) from None

    def _write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        async def write() -> T:
            if self._store is None:
                self._store = Store(self._path)
            return await self._store.write(change)

        try:
            return self._runner.run(write())
        except StoreLocked as error:
            raise Failure(f"{error}: it does not answer, name its address with --url", Exit.UNREACHABLE) from None
        except (SchemaNewer, sqlite3.Error, OSError) as error:
            raise Failure(f"cannot write the store {self._path}: {error}", Exit.REFUSED) from None

    def versions(self) -> list[Version]:
        there = {(each.model, each.version): each for each in self._asked(lambda: known(self._path))}
        sets = {(each.model, each.version): each for each in self._read(model_store.baseline_sets)}
        found = []
        for key in sorted(there.keys() | sets.keys()):
            rows, baseline = there.get(key), sets.get(key)
            counted = (rows.rows, rows.first_at, rows.last_at) if rows is not None else (0, None, None)
            kept = (baseline.at, baseline.features) if baseline is not None else (None, 0)
            found.append(Version(*key, *counted, *kept))
        return found

    def _asked(self, question: Callable[[], T]) -> T:
        return self._read(lambda db: question())

    def columns(self, model: str, version: str, since: float, until: float) -> tuple[list[str], int]:
        from trader_monitor.core.models.names import OUTPUTS

        names, rows = self._asked(lambda: columns_of(self._path, model, version, since, until))
        return [*names, *OUTPUTS], rows

    def views(self, model: str, version: str, feature: str | None) -> list[dict[str, Any]]:
        from trader_monitor.core.models.drift.baseline import Baseline
        from trader_monitor.core.models.drift.baseline_view import view

        wanted = None if feature is None else [feature]
        found = self._read(lambda db: model_store.baselines(db, model, version, wanted))
        return [msgspec.to_builtins(view(Baseline.decode(body))) for body in found.values()]

    def compute(
        self, model: str, version: str, token: str, columns: list[str], since: float, until: float
    ) -> dict[str, Any]:
        from trader_monitor.runtime.statistics import baseline

        asked = baseline.Asked(
            path=str(self._path),
            model=model,
            version=version,
            columns=tuple(columns),
            since=since,
            until=until,
            now=time.time(),
        )
        try:
            answer = self._asked(lambda: baseline.run(asked, lambda done, total: None))
        except ValueError as error:
            raise Failure(str(error), Exit.USAGE) from None
        watched = {} if answer.detectors is None else {columns[0]: answer.detectors}
        self.stage(model, version, token, Pieces(answer.baselines, watched))
        return {"baselines": len(answer.baselines), "rows": answer.rows}

    def stage(self, model: str, version: str, token: str, pieces: Pieces) -> None:
        now = time.time()
        self._write(lambda db: model_store.stage(db, model, version, token, now, *pieces))

    def commit(self, model: str, version: str, token: str) -> int:
        return self._write(lambda db: model_store.commit(db, model, version, token, time.time()))

    def reset(self, model: str, version: str, features: list[str]) -> list[str]:
        from trader_monitor.runtime.statistics import detect

        path = str(self._path)
        asked = detect.Asked(path=path, model=model, version=version, reset=True, features=tuple(features))
        self._write(lambda db: None)  # from now on nobody else writes
        answer = self._asked(lambda: detect.run(asked, lambda done, total: None))
        states = [model_store.DetectorState(each.id, answer.after, each.body) for each in answer.states]
        self._write(lambda db: model_store.keep_detectors(db, time.time(), answer.before, states))
        return answer.reset

    def drifts(self, model: str, version: str, last: int) -> list[DriftResult]:
        from trader_monitor.runtime.statistics.drift import DriftRun

        found = self._read(lambda db: model_store.runs(db, model, version, last=last))
        return [msgspec.msgpack.decode(each.body, type=DriftRun).result for each in found]

    def performances(self, model: str, version: str, last: int) -> list[PerformanceResult]:
        from trader_monitor.core.models.performance.performance import PerformanceResult
        from trader_monitor.runtime.performance_store import performance_runs

        found = self._asked(lambda: performance_runs(self._path, model, version, last=last))
        return [msgspec.msgpack.decode(each, type=PerformanceResult) for each in found]

    def close(self) -> None:
        if self._store is not None:
            self._runner.run(self._store.close())
        self._runner.close()
