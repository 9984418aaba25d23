"""The pulse: feeds the watchdog while every essential loop does real work, and only then.

Withheld food is the point: when a loop stalls or the event loop is blocked, systemd kills and restarts us. The
external heartbeat is the same promise to somebody outside this host: no progress, no request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import structlog

from trader_monitor.runtime.log import dropped
from trader_monitor.runtime.systemd import Notifier

if TYPE_CHECKING:
    from trader_monitor.config.values import Secret
    from trader_monitor.core.facts import Now
    from trader_monitor.runtime.env import Env

__all__ = ["pulse"]

log = structlog.get_logger(__name__)

EVERY = 5.0
HEARTBEAT_EVERY = 60.0
HEARTBEAT_TIMEOUT = 10.0
FEEDS_PER_WATCHDOG = 4
NAME = "pulse"


async def pulse(env: Env, notifier: Notifier | None = None, heartbeat: Secret | str | None = None) -> None:
    """Runs for ever. `heartbeat` is a URL requested every minute, such as a dead man's switch's."""
    notifier = notifier if notifier is not None else Notifier()
    every = EVERY
    if notifier.watchdog_seconds is not None:
        every = min(EVERY, notifier.watchdog_seconds / FEEDS_PER_WATCHDOG)
    async with anyio.create_task_group() as group:
        if heartbeat is not None:
            group.start_soon(_shine, env, heartbeat)
        await _feed(env, notifier, every)


async def _feed(env: Env, notifier: Notifier, every: float) -> None:
    told: tuple[str, ...] = ()
    while True:
        env.progress.beat(NAME)
        now = env.clock.now()
        stalled = env.progress.stalled(now)
        if not stalled:
            notifier.feed()
        if stalled != told:
            _tell(stalled)
            told = stalled
        env.meters.set("monitor_stalled_loops", float(len(stalled)))
        env.meters.set("monitor_log_dropped_total", float(dropped()))
        notifier.status(_status(env, stalled, now))
        await env.clock.sleep(every)


async def _shine(env: Env, url: Secret | str) -> None:
    """Requests the heartbeat's URL while all is well. What it answers matters to us only as a metric."""
    address = url if isinstance(url, str) else url.reveal()
    reached = True
    while True:
        if not env.progress.stalled(env.clock.now()):
            outcome = await _request(env, address)
            env.meters.count("monitor_heartbeats_total", outcome="ok" if not outcome else "error")
            if reached and outcome:
                log.warning("the external heartbeat was not taken", cause=outcome)
            reached = not outcome
        await env.clock.sleep(HEARTBEAT_EVERY)


async def _request(env: Env, address: str) -> str:
    """The cause of failure, empty if there is none. It names no address: that is a secret."""
    from aiohttp import ClientError, ClientTimeout

    try:
        timeout = ClientTimeout(total=HEARTBEAT_TIMEOUT)
        async with env.http().get(address, timeout=timeout, allow_redirects=False) as response:
            return "" if response.status < 400 else f"status {response.status}"
    except (ClientError, TimeoutError, OSError, ValueError) as error:
        return type(error).__name__


def _tell(stalled: tuple[str, ...]) -> None:
    if stalled:
        log.error("no progress: the watchdog is not fed", loops=list(stalled))
    else:
        log.info("progress again: the watchdog is fed")


def _status(env: Env, stalled: tuple[str, ...], now: Now) -> str:
    if stalled:
        silences = (f"{name} {now.mono - (env.progress.last(name) or now.mono):.0f} s" for name in stalled)
        return "no progress: " + ", ".join(silences)
    if waiting := env.ready():
        return "not ready: " + ", ".join(waiting)
    children = env.children()
    troubled = [f"{child.name} {child.state}" for child in children if child.state in ("backoff", "parked")]
    running = sum(child.state == "running" for child in children)
    return f"{running} of {len(children)} children run" + (": " + ", ".join(troubled) if troubled else "")
