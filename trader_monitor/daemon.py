"""The composition root: opens the store, binds the doors, builds the supervision tree. The only file that sees all.

    root
    ├ retain       snapshots, history, retention
    ├ alerting     evaluate*, one notify per channel
    ├ health       recover, one check each
    ├ measure      drift, appraise, one collect each
    ├ doors        api, live, ingest
    └ pulse*       watchdog, status

(* essential: out of restart budget, the daemon flushes and ends, and systemd starts it anew.)
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from trader_monitor.config.errors import ConfigErrors
from trader_monitor.config.live import fixed_changes, secrets, with_fixed
from trader_monitor.config.load import load
from trader_monitor.core.alerts.judge import compile_rules
from trader_monitor.core.facts import ChildDied, Samples
from trader_monitor.loops.check import check
from trader_monitor.loops.collect import collect
from trader_monitor.loops.evaluate import evaluate
from trader_monitor.loops.notify import notify
from trader_monitor.loops.pulse import pulse
from trader_monitor.loops.recover import recover
from trader_monitor.loops.retain import retain
from trader_monitor.runtime.clock import SystemClock
from trader_monitor.runtime.doors import Doors
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.history import History
from trader_monitor.runtime.log import open_log
from trader_monitor.runtime.memory import settle, single_arena
from trader_monitor.runtime.meters import Meters
from trader_monitor.runtime.opening import open_journal
from trader_monitor.runtime.progress import Progress
from trader_monitor.runtime.registry import Registry
from trader_monitor.runtime.signals import Signals, leave
from trader_monitor.runtime.sockets import CannotBind, lend
from trader_monitor.runtime.statistics.worker import Worker
from trader_monitor.runtime.store import SchemaNewer, StoreLocked
from trader_monitor.runtime.supervisor import Child, Escalated, Supervisor
from trader_monitor.runtime.systemd import Notifier
from trader_monitor.web.api import alerts, board, calendars, checks, events, figures, metrics, models, page, prometheus
from trader_monitor.web.app import serve
from trader_monitor.web.live import live
from trader_monitor.web.socket import ingest

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from trader_monitor.config.tables import Config
    from trader_monitor.runtime.log import Format

__all__ = ["run"]

log = structlog.get_logger("trader_monitor")

DRAIN_WITHIN = 8.0
CLOSE_WITHIN = 1.5
SETTLE_AFTER = 3.0
FAILED = 1
TURN = 0.0001
"""Seconds after which a thread that only computes (a query) has to let the event loop have its turn."""
TOPICS = (page, board, alerts, calendars, checks, events, figures, metrics, models, prometheus)


def run(path: Path, *, log_format: Format | None = None) -> int:
    """Runs the daemon until it is asked to end. Raises ConfigErrors; otherwise the process leaves from within."""
    single_arena()
    sys.setswitchinterval(TURN)
    registry = Registry.load()
    config = load(path, registry)
    notifier = Notifier.from_environment()
    open_log(config.logging.level, log_format or config.logging.format, secrets=secrets(config))
    try:
        doors = Doors(config)
        asyncio.run(House(path, registry, config, doors, notifier, log_format).live())
    except (CannotBind, StoreLocked, SchemaNewer) as error:
        print(f"trader-monitor: {error}", file=sys.stderr)
    return FAILED


async def watch_drift(env: Env) -> None:
    from trader_monitor.loops.drift import drift  # what models need is not needed to be ready

    await drift(env)


async def watch_performance(env: Env) -> None:
    from trader_monitor.loops.appraise import appraise

    await appraise(env)


class House:
    """One life of the daemon."""

    def __init__(
        self,
        path: Path,
        registry: Registry,
        config: Config,
        doors: Doors,
        notifier: Notifier,
        log_format: Format | None,
    ) -> None:
        self.path = path
        self.registry = registry
        self.doors = doors
        self.config = doors.described(config)
        self.notifier = notifier
        self.log_format = log_format
        self.clock = SystemClock()
        self.meters = Meters()
        self.progress = Progress(self.clock)
        self.trees: dict[str, Supervisor] = {}
        self._session: ClientSession | None = None

    async def live(self) -> None:
        """From the opened store to the closed one, and out of the process."""
        with Signals() as signals:  # from the first moment: a SIGHUP during the replay must not be the end
            await self.lived(signals)

    async def lived(self, signals: Signals) -> None:
        began = self.clock.now()
        rules = compile_rules(self.config.rules.values(), self.config.calendars)
        self.journal = await open_journal(
            self.config.store.path,
            clock=self.clock,
            meters=self.meters,
            judge=rules,
            max_series=self.config.store.max_series,
        )
        self.journal.pen.audit = self.config.models.audit
        env = self.env = Env(
            clock=self.clock,
            journal=self.journal,
            history=History(self.journal),
            meters=self.meters,
            progress=self.progress,
            began=began,
            config=lambda: self.config,
            config_path=self.path,
            http=self.http,
            children=lambda: root.status(),
            ready=lambda: () if self.journal.sound else (self.journal.degraded or "the store fails",),
            reload=self.reload,
            statistics=Worker(self.meters),
        )
        root = self.tree("root", self.roots(env))
        code = FAILED
        try:
            living = asyncio.create_task(root.run(), name="root")
            self.announce(began.mono)
            settling = asyncio.create_task(self.settle(), name="settle")
            asked = asyncio.create_task(signals.until_drain(self.reload), name="signals")
            await asyncio.wait((living, asked), return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            settling.cancel()
            code = await self.drain(living)
        except Exception:
            log.exception("the daemon failed while it ended")
        finally:
            leave(code)  # the event loop's own end would wait for abandoned tasks and threads, for ever

    async def settle(self) -> None:
        """Once the start is over; in a thread, because it takes tens of milliseconds."""
        await self.clock.sleep(SETTLE_AFTER)
        await asyncio.to_thread(settle)

    async def drain(self, living: asyncio.Task[None]) -> int:
        """Ends the tree, then the journal; what hangs is left behind."""
        self.notifier.stopping("draining")
        log.info("draining")
        living.cancel()
        code = 0
        try:
            await living
        except asyncio.CancelledError:
            pass
        except Escalated as error:
            log.critical("giving up so that a new start may help", child=error.child, cause=error.cause)
            code = error.code
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self.env.statistics.close()
                await self.journal.close()
                if self._session is not None:
                    await self._session.close()
        except TimeoutError:
            log.error("the store did not close in time; the next start replays its journal")
        self.doors.close()
        if self.config.ingest.socket is not None:
            self.config.ingest.socket.unlink(missing_ok=True)
        log.info("ended", code=code)
        return code

    # --- the tree ---------------------------------------------------------------------------------------------

    def roots(self, env: Env) -> Iterator[Child]:
        yield Child("retain", partial(retain, env))
        for name, children in self.branches(env).items():
            yield self.tree(name, children).as_child(essential=name == "alerting")
        yield Child("pulse", partial(pulse, env, self.notifier), essential=True)

    def branches(self, env: Env) -> dict[str, list[Child]]:
        """What a reload may change, by tree."""
        config, doors = self.config, self.doors
        assert doors.live is not None
        return {
            "alerting": [
                Child("evaluate", partial(evaluate, env), essential=True, deadline=90.0),
                *(
                    Child(f"notify:{name}", partial(notify, env, name), made_of=table)
                    for name, table in config.channels.items()
                ),
            ],
            "health": [
                Child("recover", partial(recover, env)),
                *(
                    Child(f"check:{name}", partial(check, env, name), made_of=table)
                    for name, table in config.checks.items()
                ),
            ],
            "measure": [
                Child("drift", partial(watch_drift, env)),
                Child("appraise", partial(watch_performance, env)),
                *(
                    Child(f"collect:{name}", partial(collect, env, name), made_of=table)
                    for name, table in config.collectors.items()
                ),
            ],
            "doors": [
                Child("api", lambda: serve(env, lend(doors.http), [topic.routes(env) for topic in TOPICS])),
                Child("live", partial(live, env, doors.live)),
                *([Child("ingest", partial(ingest, env, doors.unix))] if doors.unix is not None else []),
            ],
        }

    def tree(self, name: str, children: Iterable[Child]) -> Supervisor:
        tree = Supervisor(
            children,
            self.clock,
            self.died,
            name=name,
            meters=self.meters,
            progress=self.progress,
            drain_within=DRAIN_WITHIN if name == "root" else DRAIN_WITHIN / 2,
        )
        self.trees[name] = tree
        return tree

    async def died(self, death: ChildDied) -> None:
        await self.journal.record([death])

    # --- what the children are lent ---------------------------------------------------------------------------

    def http(self) -> ClientSession:
        """The session of all outgoing requests, opened when there is one."""
        if self._session is None or self._session.closed:
            from trader_monitor.runtime.outgoing import open_session

            self._session = open_session(self.env.threads)
        return self._session

    # --- reload -----------------------------------------------------------------------------------------------

    async def reload(self) -> bool:
        """Takes the file anew. An invalid one changes nothing and is told by log, metric and rule."""
        self.notifier.reloading(self.clock.now())
        try:
            fresh = self.doors.described(await asyncio.to_thread(load, self.path, self.registry))
            rules = compile_rules(fresh.rules.values(), fresh.calendars)
        except ConfigErrors as wrong:
            for error in wrong.errors:
                log.error(
                    "the new configuration is not taken", path=error.path, expected=error.expected, hint=error.hint
                )
            await self.told_reload(1.0)
            self.notifier.ready()
            return False
        for key in fixed_changes(fresh, self.config):
            log.warning("this takes a restart; the running value stays", key=key)
        self.config = with_fixed(fresh, self.config)
        open_log(fresh.logging.level, self.log_format or fresh.logging.format, secrets=secrets(fresh))
        self.journal.judge = rules
        self.journal.pen.audit = fresh.models.audit
        changed: list[str] = []
        for name, children in self.branches(self.env).items():
            changed += await self.trees[name].adjust(children)
        await self.told_reload(0.0)
        await self.journal.tick()
        log.info("reloaded", changed=changed, rules=len(fresh.rules))
        self.notifier.ready()
        return True

    async def told_reload(self, failed: float) -> None:
        self.meters.set("monitor_reload_failed", failed)
        labels = (("__name__", "monitor_reload_failed"),)
        await self.journal.record(
            [Samples(at=self.clock.now().wall, origin="reload", labels=(labels,), values=(failed,), own=1)]
        )

    # --- words ------------------------------------------------------------------------------------------------

    def announce(self, began: float) -> None:
        """Says where everything is: to a person on a terminal in a few lines, and to the log."""
        config, seconds = self.config, self.clock.now().mono - began
        page = f"http://{config.http.listen}/"
        sockets = f" and {config.ingest.socket}" if config.ingest.socket else ""
        watched = {
            "collectors": sorted(config.collectors),
            "checks": sorted(config.checks),
            "channels": sorted(config.channels),
        }
        self.notifier.ready(f"watching {len(config.collectors)} collectors, {len(config.checks)} checks")
        if sys.stdout.isatty() and self.log_format != "json":
            lines = [
                f"page      {page}",
                f"ingest    {page}v1/events{sockets}",
                f"live      ws://{config.live.listen}/",
            ]
            lines += [f"{name:<12}{', '.join(names) or 'none'}" for name, names in watched.items()]
            print("\n".join([*lines, f"rules       {len(config.rules)}", "Ctrl-C ends it", ""]), flush=True)
        log.info(
            "ready",
            page=page,
            ingest=f"{page}v1/events",
            socket=str(config.ingest.socket or ""),
            live=f"ws://{config.live.listen}/",
            **watched,
            rules=len(config.rules),
            facts=self.journal.seq,
            seconds=round(seconds, 3),
        )
        if self.journal.degraded:
            log.error("started degraded", reason=self.journal.degraded)
