"""A supervised child: what it is (data), one life of it (a task), and how a death reads.

A life runs in a plain asyncio task, not in an anyio task group, on purpose. A group cannot let go: it waits for
ever for a task that swallows its cancellation, and delivers that cancellation anew in every turn of the loop
meanwhile. A plain task can be abandoned. Inside a life, anyio works as everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

from trader_monitor.core.backoff import Backoff
from trader_monitor.core.budget import Budget
from trader_monitor.core.facts import Now
from trader_monitor.core.restart import Terms
from trader_monitor.runtime.clock import Clock
from trader_monitor.runtime.trace import new_trace

if TYPE_CHECKING:
    from trader_monitor.runtime.supervisor import Supervisor

__all__ = ["Child", "ChildState", "ChildStatus", "Escalated", "Life", "describe", "first"]

ChildState: TypeAlias = Literal["running", "backoff", "parked", "stopped"]

LONGEST_CAUSE = 300
BACKOFF = Backoff(first=0.5, longest=60.0)


@dataclass(frozen=True, slots=True)
class Child:
    """What is supervised, as data. Two children that compare equal are the same: a reload leaves it alone.

    `limit` restarts are granted in any `within` seconds; beyond, an essential child escalates and any other is
    parked for `park_for` seconds. With a `deadline`, so many seconds without a beat of `Progress` under its name
    mean that it hangs. `grace` is the time it is given to end when asked to. `made_of` is what else it depends
    on, such as its configuration.
    """

    name: str
    run: Callable[[], Awaitable[None]] = field(compare=False)
    essential: bool = False
    limit: int = 5
    within: float = 60.0
    backoff: Backoff = BACKOFF
    park_for: float = 300.0
    deadline: float | None = None
    grace: float = 2.0
    made_of: object = None
    tree: Supervisor | None = field(default=None, compare=False)

    @property
    def terms(self) -> Terms:
        return Terms(Budget(self.limit, self.within), self.backoff, self.essential, self.park_for)


class ChildStatus(Struct, frozen=True):
    """A child as shown. `since` (of the state) and `parked_until` are Unix seconds."""

    name: str
    state: ChildState
    essential: bool
    restarts: int
    since: float
    last_cause: str
    parked_until: float | None
    group: str


class Escalated(Exception):
    """An essential child is out of restart budget: the process has to flush and go, with exit status `code`."""

    code = 70

    def __init__(self, child: str, cause: str) -> None:
        super().__init__(f"{child} is essential and out of restart budget: {cause}")
        self.child = child
        self.cause = cause


class Life:
    """One life of a child, from its start to its death. Whatever the child raises ends here."""

    __slots__ = ("asked", "born", "child", "error", "task", "trace_id")

    def __init__(self, child: Child, born: Now) -> None:
        self.child = child
        self.born = born
        self.asked = False
        self.error: BaseException | None = None
        self.trace_id = ""
        self.task = asyncio.create_task(self._run(), name=child.name)

    async def _run(self) -> None:
        self.trace_id = new_trace()
        try:
            await self.child.run()
        except BaseException as error:  # SystemExit in a task would tear down the whole loop
            self.error = error

    @property
    def ended(self) -> bool:
        return self.task.done()

    def ask(self, within: float) -> None:
        """Asks the life to end; a tree under it learns how long it may take."""
        self.asked = True
        if self.child.tree is not None:
            self.child.tree.hurry(within * 0.9)
        self.task.cancel()

    async def dismiss(self, clock: Clock, within: float) -> bool:
        """Asks it to end and waits; False where it still runs after `within` seconds."""
        if not self.ended:
            self.ask(within)
            await first(clock, within, self.task)
        return self.ended

    def place(self) -> str:
        """Where it stands: the innermost frame that awaits."""
        awaiting: object = self.task.get_coro()
        found = ""
        while awaiting is not None:
            frame = getattr(awaiting, "cr_frame", None) or getattr(awaiting, "gi_frame", None)
            if frame is not None:
                code = frame.f_code
                found = f"{PurePath(code.co_filename).name}:{frame.f_lineno} in {code.co_name}"
            awaiting = getattr(awaiting, "cr_await", None) or getattr(awaiting, "gi_yieldfrom", None)
        return found


async def first(clock: Clock, within: float | None, *tasks: asyncio.Future[None]) -> None:
    """Waits until one of the tasks is done or `within` seconds have passed; None waits without end."""
    if within is None:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return
    alarm = asyncio.ensure_future(clock.sleep(within))
    try:
        await asyncio.wait((*tasks, alarm), return_when=asyncio.FIRST_COMPLETED)
    finally:
        alarm.cancel()


def describe(error: BaseException | None) -> str:
    """A death's cause on one line."""
    match error:
        case None:
            return "returned"
        case asyncio.CancelledError():
            return "cancelled from inside"
        case BaseExceptionGroup():
            leaves = _leaves(error)
            text = f"{type(error).__name__} of {len(leaves)}: " + "; ".join(_line(leaf) for leaf in leaves[:5])
        case _:
            text = _line(error)
    return text if len(text) <= LONGEST_CAUSE else text[: LONGEST_CAUSE - 1] + "…"


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _line(error: BaseException) -> str:
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:  # an exception's own __str__ is foreign code
        return name
    return f"{name}: {text}" if text else name
