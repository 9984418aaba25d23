"""The sender: a daemon thread that takes what the bot handed over and brings it to the monitor.

Handing over is one put into a queue. All else happens here: ids, encoding, batches, retries, counting.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import threading
import time
import uuid
from queue import Empty, SimpleQueue

import msgspec

from trader_monitor.client.transport import Answer, Transport, Unreachable
from trader_monitor.core.facts import Event, Sample

__all__ = ["Sender"]

BATCH = 500
"""The most events that are sent at once."""

BATCH_BYTES = 1 << 20
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
_ATTEMPT = 10.0
_HOPELESS = (401, 403, 404, 405, 415, 421)
"""Statuses that a change of configuration mends, here or there: the batch is kept meanwhile."""

log = logging.getLogger("trader_monitor.client")


class _Mark:
    """A place in the queue: set when all before it is settled."""

    def __init__(self) -> None:
        self.reached = threading.Event()


class Sender:
    """One process's way out. After a fork the child gets a new one: what waited is the parent's to send."""

    def __init__(self, transport: Transport, capacity: int, source: str | None) -> None:
        self._transport = transport
        self._capacity = capacity
        self._source = source
        self._queue: SimpleQueue[Event | _Mark] = SimpleQueue()
        self._prefix = f"{uuid.uuid4().hex[:16]}-{os.getpid()}-"
        self._numbers = itertools.count(1)
        self._count = threading.Lock()
        self._ending = threading.Event()
        self._never = threading.Event()
        self._never = threading.Event()
        self._deadline = float("inf")
        self._under_way = 0
        self._told_dropped = 0
        self._troubled = False
        self.accepted = 0
        self.dropped = 0
        self.refused = 0
        self.last_error = ""
        self._encode = msgspec.json.Encoder().encode
        self._thread = threading.Thread(target=self._run, name="trader-monitor", daemon=True)
        self._thread.start()

    # --- the bot's side -----------------------------------------------------------------------------------------

    def put(self, event: Event) -> None:
        """Hands over. Where the buffer is full the oldest goes, and is counted."""
        queue = self._queue
        queue.put(event)
        if queue.qsize() > self._capacity:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        try:
            oldest = self._queue.get_nowait()
        except Empty:
            return
        if isinstance(oldest, _Mark):
            oldest.reached.set()
        else:
            self.drop()

    def drop(self, number: int = 1, error: str = "") -> None:
        """Counts what is lost."""
        with self._count:
            self.dropped += number
            self.last_error = error or self.last_error

    @property
    def waiting(self) -> int:
        """Events that are handed over and not yet settled, about."""
        return self._queue.qsize() + self._under_way

    def flush(self, timeout: float) -> bool:
        """Waits until all that was handed over before is settled; False where the time did not suffice."""
        mark = _Mark()
        self._queue.put(mark)
        return mark.reached.wait(timeout)

    def end(self, timeout: float) -> None:
        """Says that the end comes; what cannot be sent within the time is dropped."""
        self._deadline = min(self._deadline, time.monotonic() + timeout)
        self._ending.set()
        self._queue.put(_Mark())

    def close(self, timeout: float) -> bool:
        """Sends what is left, within the time, and ends; whether all of it was settled."""
        dropped = self.dropped
        if not self._ending.is_set():
            self.end(timeout)
        self._thread.join(max(self._deadline - time.monotonic(), 0.0) + 0.5)
        return not self._thread.is_alive() and self.dropped == dropped

    # --- the thread's side --------------------------------------------------------------------------------------

    def _run(self) -> None:
        queue = self._queue
        while True:
            events, marks = self._next(queue)
            if events:
                self._under_way = len(events)
                self._settle(events)
                self._under_way = 0
                if self.dropped > self._told_dropped and not self._troubled and not self._ending.is_set():
                    self._tell_loss()
            for mark in marks:
                mark.reached.set()
            if self._ending.is_set() and queue.empty():
                self._transport.close()
                return

    def _next(self, queue: SimpleQueue[Event | _Mark]) -> tuple[list[Event], list[_Mark]]:
        """What is at hand, at least one; what comes while a batch is under way is the next batch."""
        events: list[Event] = []
        marks: list[_Mark] = []
        item = queue.get()
        while True:
            if isinstance(item, _Mark):
                marks.append(item)
            else:
                events.append(item)
            if len(events) >= BATCH:
                break
            try:
                item = queue.get_nowait()
            except Empty:
                break
        return events, marks

    def _tell_loss(self) -> None:
        """Reports how much was lost, as a metric of the bot's; another time if not now."""
        dropped = self.dropped
        sample = Sample(
            at=time.time(),
            source=self._source,
            name="client_events_dropped_total",
            value=float(dropped),
            kind="counter",
            help="Events that the bot's client could not deliver.",
        )
        try:
            self._transport.send([self._encode(sample)], _ATTEMPT)
        except Unreachable as error:
            self._trouble(str(error))
        else:
            self._told_dropped = dropped

    def _settle(self, events: list[Event]) -> None:
        lines = self._lines(events)
        batch: list[bytes] = []
        size = 0
        for line in lines:
            if batch and size + len(line) > BATCH_BYTES:
                self._deliver(batch)
                batch, size = [], 0
            batch.append(line)
            size += len(line) + 1
        if batch:
            self._deliver(batch)

    def _lines(self, events: list[Event]) -> list[bytes]:
        """Encoded, each with an id, so that it may be sent twice."""
        lines = []
        for event in events:
            try:
                if event.id is None:
                    event = msgspec.structs.replace(event, id=f"{self._prefix}{next(self._numbers)}")
                lines.append(self._encode(event))
            except Exception as error:  # whatever the bot put into a field must not end this thread
                self.refuse(1, f"{type(error).__name__}: {error}")
        return lines

    def _deliver(self, lines: list[bytes]) -> None:
        """Sends until the daemon has answered for good, or the end has come."""
        pause = FIRST_PAUSE
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                self.drop(len(lines))
                return
            try:
                answer = self._transport.send(lines, min(_ATTEMPT, max(left, 0.05)))
            except Unreachable as error:
                wait = error.retry_after if error.retry_after is not None else 0.0
                self._trouble(str(error))
            except Exception as error:
                wait = LONGEST_PAUSE
                self._trouble(f"{type(error).__name__}: {error}")
            else:
                if answer.status not in _HOPELESS:
                    self._answered(answer, lines)
                    return
                wait = LONGEST_PAUSE
                self._trouble(f"answered {answer.status}: {answer.error}")
            wait = max(min(wait, 60.0), pause * random.uniform(0.5, 1.0))
            if self._ending.wait(wait):
                self._never.wait(min(pause, max(self._deadline - time.monotonic(), 0.0)))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _answered(self, answer: Answer, lines: list[bytes]) -> None:
        if self._troubled:
            self._troubled = False
            log.info("the monitor takes events again")
        if answer.status == 413:
            if len(lines) > 1:
                middle = len(lines) // 2
                self._deliver(lines[:middle])
                self._deliver(lines[middle:])
            else:
                self.refuse(1, answer.error)
            return
        self.accepted += answer.accepted + answer.duplicates
        if answer.status >= 300:
            self.refuse(answer.refused or len(lines) - answer.accepted - answer.duplicates, answer.error)

    def refuse(self, number: int, error: str) -> None:
        """Counts what the daemon does not take, or what is no event."""
        if not self.refused:
            log.warning("the monitor refused an event: %s", error)
        self.refused += number
        self.last_error = error

    def _trouble(self, error: str) -> None:
        if not self._troubled:
            self._troubled = True
            log.warning("the monitor does not take events; they are kept and sent again: %s", error)
        self.last_error = error
