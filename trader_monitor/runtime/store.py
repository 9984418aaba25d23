"""The store: one SQLite file, one connection that writes and checkpoints, in a thread of its own.

Work that may share a transaction (`append`) is committed as a group, all that has queued up while the last
commit was on its way; other work (`write`) has a transaction to itself. A commit is durable (WAL,
`synchronous=FULL`) before anybody is told. When a group fails, all that queued behind it fails too, because
it was built on what is now lost, until an append with `mend` succeeds.

A lock file keeps a second daemon out. A corrupt file is put aside under a new name, never deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote

__all__ = ["SchemaNewer", "Store", "StoreBroken", "StoreLocked", "is_corruption"]

T = TypeVar("T")
Settle = Callable[[Exception | None], None]

_GROUP = 256
_WAL_PAGES = 4096
"""Checkpoint beyond 16 MiB of log even while busy; the retain loop does it in quiet times."""


class StoreLocked(Exception):
    """Another daemon has this store open."""


class SchemaNewer(Exception):
    """A newer version of the program wrote this store."""


class StoreBroken(Exception):
    """A commit before this one failed, so this was not tried."""


class _Job(NamedTuple):
    run: Callable[[sqlite3.Connection], None] | None
    """None: put the file aside."""
    settle: Settle
    loop: asyncio.AbstractEventLoop
    grouped: bool
    mend: bool


def is_corruption(error: BaseException) -> bool:
    """Whether SQLite says that the file itself is damaged, rather than that it cannot be reached."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, sqlite3.DatabaseError) and code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Store:
    """Opens at once (`StoreLocked`, `SchemaNewer`); a disk that cannot be written leaves `failure` set.

    Then every write fails with the disk's error until one finds it willing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.quarantined: Path | None = None
        self.failure: Exception | None = None
        self.broken = False
        """Written by the writer thread alone, as are the next four."""
        self.failures = 0
        self.commits = 0
        self.commit_seconds: list[float] = []
        """Durations of the newest commits, at most 1,024, in no order."""
        self.ended: Callable[[bool], None] = lambda committed: None
        """Called in the writer thread after each transaction, for what was cached on its strength."""
        self.renewed: Callable[[], None] = lambda: None
        """The same after the file was put aside: nothing that was cached holds."""
        self._lock = _locked(path)
        self._db: sqlite3.Connection | None = None
        self._closed: Callable[[], object] = lambda: None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        try:
            self._open()
        except BaseException:
            os.close(self._lock)
            raise
        self._thread = threading.Thread(target=self._serve, name="store", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        try:
            self._db = _connected(self.path)
        except (sqlite3.Error, OSError) as error:
            self.failure = error
            if is_corruption(error):
                self.quarantine()

    def quarantine(self) -> Path:
        """Puts the file, its log and its index aside, and begins anew.

        In the writer thread, or before any job is given.
        """
        if self._db is not None:
            _abandon(self._db)
            self._db = None
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        name, number = f"{self.path.name}.corrupt-{stamp}", 0
        while self.path.with_name(name).exists():
            number += 1
            name = f"{self.path.name}.corrupt-{stamp}-{number}"
        aside = self.path.with_name(name)
        for suffix in ("-wal", "-shm", ""):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(name + suffix))
        self.quarantined = aside
        try:
            self._db = _connected(self.path)
            self.failure = None
        except (sqlite3.Error, OSError) as error:
            self.failure = error
        return aside

    def reader(self) -> sqlite3.Connection:
        """A new read-only connection, usable from any one thread at a time; the caller closes it."""
        return open_read_only(self.path)

    def size(self) -> int:
        """Bytes on disk, log included."""
        sizes = 0
        for suffix in ("", "-wal"):
            try:
                sizes += self.path.with_name(self.path.name + suffix).stat().st_size
            except OSError:
                continue
        return sizes

    # --- giving work --------------------------------------------------------------------------------------

    def append(self, run: Callable[[sqlite3.Connection], None], settle: Settle, *, mend: bool = False) -> None:
        """Has `run` executed in the next group commit; then `settle` on the caller's event loop, in order."""
        self._jobs.put(_Job(run, settle, asyncio.get_running_loop(), True, mend))

    async def write(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """Executes `run` in a transaction of its own; raises what it raised, or why it was not committed."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        answer: list[T] = []

        def settle(error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self._jobs.put(_Job(lambda db: answer.append(run(db)), settle, loop, False, False))
        await done
        return answer[0]

    async def checkpoint(self) -> bool:
        """Moves the log into the file and empties it; False where a reader was in the way."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()
        outcome: list[bool] = []

        def run(db: sqlite3.Connection) -> None:
            db.execute("COMMIT")
            db.execute("PRAGMA busy_timeout=50")
            outcome.append(db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
            db.execute("PRAGMA busy_timeout=5000")
            db.execute("BEGIN")

        def settle(error: Exception | None) -> None:
            if not done.done():
                done.set_result(error is None and outcome[0])

        self._jobs.put(_Job(run, settle, loop, False, False))
        return await done

    async def renew(self) -> Path:
        """Puts a damaged file aside and begins anew; returns where it is now."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()

        def settle(error: Exception | None) -> None:
            if not done.done():
                done.set_result(None)

        self._jobs.put(_Job(None, settle, loop, False, False))
        await done
        assert self.quarantined is not None
        return self.quarantined

    async def close(self) -> None:
        """Finishes what is queued, checkpoints and closes; the lock is free afterwards."""
        loop = asyncio.get_running_loop()
        closed: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not closed.done():
                closed.set_result(None)

        self._closed = partial(loop.call_soon_threadsafe, tell)
        self._jobs.put(None)
        await closed  # not a join: a disk that hangs must not keep the process from ending

    # --- the writer thread --------------------------------------------------------------------------------

    def _serve(self) -> None:
        held: _Job | None = None
        while True:
            job = held or self._jobs.get()
            held = None
            if job is None:
                break
            group = [job]
            while job.grouped and len(group) < _GROUP:
                try:
                    job_after = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job_after is None or not job_after.grouped:
                    held = job_after
                    if job_after is None:
                        self._jobs.put(None)
                    break
                group.append(job_after)
            if job.run is None:
                self.quarantine()
                self.renewed()
                _tell(group, None)
            else:
                _tell(group, self._transact(group))
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):  # the log is replayed then
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            _abandon(self._db)
        os.close(self._lock)
        with contextlib.suppress(RuntimeError):
            self._closed()

    def _transact(self, group: list[_Job]) -> Exception | None:
        first = group[0]
        if first.grouped and self.broken and not first.mend:
            return StoreBroken("a commit before this one failed")
        began = time.perf_counter()
        db = self._db
        try:
            if db is None:
                db = self._db = _connected(self.path)
                self.failure = None
            db.execute("BEGIN IMMEDIATE")
            for job in group:
                if job.run is not None:
                    job.run(db)
            db.execute("COMMIT")
        except Exception as error:
            if db is not None and db.in_transaction:
                try:
                    db.execute("ROLLBACK")
                except sqlite3.Error:
                    _abandon(db)
                    self._db = None
            self.ended(False)
            if first.grouped:
                self.broken = True
                self.failures += 1
            return error
        self.ended(True)
        if first.grouped:
            self.broken = False
            self.commits += 1
            if len(self.commit_seconds) >= 1024:
                self.commit_seconds[self.commits % 1024] = time.perf_counter() - began
            else:
                self.commit_seconds.append(time.perf_counter() - began)
        self._trim(db)
        return None

    def _trim(self, db: sqlite3.Connection) -> None:
        """Keeps the log short under load. What it cannot do now it does later: the commit stands anyway."""
        try:
            wal = os.stat(f"{self.path}-wal").st_size
            if wal > _WAL_PAGES * 4096 and self._jobs.qsize() < _GROUP:
                db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (sqlite3.Error, OSError):
            return


def _tell(group: list[_Job], error: Exception | None) -> None:
    """Settles the group's jobs on their loop, in order, in one callback."""

    def settle() -> None:
        for job in group:
            job.settle(error)

    with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
        group[0].loop.call_soon_threadsafe(settle)


def open_read_only(path: Path) -> sqlite3.Connection:
    """A read-only connection; raises `sqlite3.Error` where there is nothing to read."""
    db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA busy_timeout=2000")
        db.execute("PRAGMA cache_size=-1024")
    except BaseException:
        _abandon(db)
        raise
    return db


def _locked(path: Path) -> int:
    """Takes the lock file beside the store; raises `StoreLocked` where another process has it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
        os.close(lock)
        who = f" (process {owner})" if owner else ""
        raise StoreLocked(f"{path} is in use by another daemon{who}") from None
    os.ftruncate(lock, 0)
    with contextlib.suppress(OSError):  # a full disk: the lock holds without its owner's name
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def _connected(path: Path) -> sqlite3.Connection:
    """The writing connection, its schema brought up to date."""
    if not path.exists():  # never opened beside SQLite: closing a second descriptor would drop its locks
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA busy_timeout=5000")
        version = _checked_version(db, path)
        if version == 0:
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":  # a disk that fails just now makes SQLite stay with its old mode, without an error
            raise sqlite3.OperationalError(f"the store's log could not be opened (journal mode {mode})")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute("PRAGMA cache_size=-4096")
        _migrate(db, version)
    except BaseException:
        _abandon(db)
        raise
    return db


def _abandon(db: sqlite3.Connection) -> None:
    try:
        db.close()
    except sqlite3.Error:
        return


def _steps() -> dict[int, str]:
    """The migrations by number."""
    folder = resources.files("trader_monitor.runtime") / "migrations"
    return {int(file.name[:4]): file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".sql")}


def _checked_version(db: sqlite3.Connection, path: Path) -> int:
    """The store's schema; raises `SchemaNewer` before anything is written."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    newest = max(_steps())
    if version > newest:
        raise SchemaNewer(
            f"{path} has schema {version}, this version of trader-monitor knows up to {newest}: "
            "install the newer version again, or give another [store] path"
        )
    return version


def _migrate(db: sqlite3.Connection, version: int) -> None:
    """Applies the numbered files above the store's version, each in a transaction with its number."""
    for number, script in sorted(_steps().items()):
        if number > version:
            db.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version={number};\nCOMMIT;")
