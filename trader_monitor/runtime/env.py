"""What the loops, the web rooms and the plugins are given: the house, as one frozen value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trader_monitor.runtime.statistics.worker import Worker
from trader_monitor.runtime.threads import Threads
from trader_monitor.runtime.watched import Watched

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import ClientSession

    from trader_monitor.config.tables import Config
    from trader_monitor.core.board import Board
    from trader_monitor.core.facts import Now
    from trader_monitor.runtime.clock import Clock
    from trader_monitor.runtime.history import History
    from trader_monitor.runtime.journal import Journal
    from trader_monitor.runtime.meters import Meters
    from trader_monitor.runtime.progress import Progress
    from trader_monitor.runtime.supervisor import ChildStatus

__all__ = ["Env"]


@dataclass(frozen=True, slots=True)
class Env:
    """The parts that outlive any one child.

    `config` is a call because a reload swaps the tables, `http` because its session is opened at first use and
    again after it was closed. `ready` says why the daemon is not ready yet; empty means that it is.
    """

    clock: Clock
    journal: Journal
    history: History
    meters: Meters
    progress: Progress
    began: Now
    config: Callable[[], Config]
    config_path: Path
    http: Callable[[], ClientSession]
    children: Callable[[], tuple[ChildStatus, ...]]
    ready: Callable[[], tuple[str, ...]]
    reload: Callable[[], Awaitable[Any]]
    threads: Threads = field(default_factory=Threads)
    statistics: Worker = field(default_factory=Worker)
    watched: Watched = field(default_factory=Watched)

    @property
    def board(self) -> Board:
        """The journal's present board; a failed commit replaces it, so hold the journal, not the board."""
        return self.journal.board
