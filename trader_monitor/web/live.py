"""The live feed: a WebSocket server on its own port that sends a snapshot and then deltas.

Every delta is one frame, built once and written to each client's transport as it is. Nothing is queued for a
client besides what its transport holds, and that is bounded: whoever reads too slowly is dropped and says so.
Who has been away for a while asks for `?resume=SEQ` and gets what it missed, or a snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import anyio
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.typing import Subprotocol

from trader_monitor.core.facts import Fact, Now
from trader_monitor.runtime.sockets import BACKLOG, lend
from trader_monitor.web import doorkeeper
from trader_monitor.web.feed import Feed, Replaced
from trader_monitor.web.frames import Frame, Topics, UnknownTopic, pack, parse_topics
from trader_monitor.web.status import Status, check_types, child_views, status

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

__all__ = ["BAD_REQUEST", "NOTHING_EXPECTED", "REPLACED", "TOO_SLOW", "UNKNOWN_TOPIC", "live"]

BAD_REQUEST = 4000
UNKNOWN_TOPIC = 4004
TOO_SLOW = 4008
REPLACED = 4012
NOTHING_EXPECTED = 1008

SPACING = 0.05
"""Seconds between two steps of the feed: what comes sooner after the last one is told together."""
HEARTBEAT = 10.0
MAX_BUFFERED = 64 * 1024
MAX_INCOMING = 4096
MAX_CLIENTS = 12_000
AT_ONCE = 64
"""Connections accepted before the loop has its turn; more wait in the kernel."""
CHUNK = 128
"""Clients written to before the loop has its turn."""
JUDGED = frozenset({"alerts", "checks", "children"})
"""Topics whose deltas may change whether all is well."""
CATCH_UP_WITHIN = 15.0
PART_WITHIN = 5.0
SNAPSHOT_AGE = 1.0
FRAGMENT = 16 * 1024
SUBPROTOCOL = Subprotocol("trader-monitor")
PATHS = frozenset({"/", "/live"})

_silent = logging.getLogger("trader_monitor.live.websockets")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False  # what strangers do wrong is counted; it must not be able to fill the log


class _Client:
    """One connection; `seq` is the last delta it had before it joined the audience."""

    __slots__ = ("connection", "seq", "topics", "transport")

    def __init__(self, connection: ServerConnection, topics: Topics) -> None:
        self.connection = connection
        self.transport = connection.transport
        self.topics = topics
        self.seq = 0


class _Hall:
    """The audience and what is on its way to it."""

    def __init__(self, env: Env) -> None:
        now = env.clock.now()
        self.env = env
        self.feed = Feed(env.board, int(now.wall * 1000), lambda: check_types(env))
        self.audience: dict[Topics, dict[_Client, None]] = {}
        self.clients = 0
        self._due: list[Frame] = []
        self._wake = asyncio.Event()
        self._leaving: set[asyncio.Task[None]] = set()
        self._snapshots: dict[Topics, tuple[float, int, bytes]] = {}

    # --- telling ----------------------------------------------------------------------------------------

    def hear(self, facts: Sequence[Fact]) -> None:
        """The journal's listener."""
        self.feed.collect(facts)
        self._wake.set()

    async def tell(self) -> None:
        """Steps the feed and sends what comes of it, for ever."""
        loop = asyncio.get_running_loop()
        before: tuple[str, int, str] | None = None
        beat_at = loop.time() + HEARTBEAT
        while True:
            began = loop.time()
            self._wake.clear()
            self._step()
            frames, self._due = self._due, []
            if frames:
                await self._send(frames)
            if began >= beat_at or not frames or any(frame.topic in JUDGED for frame in frames):
                view = status(self.env, whole=False)
                shown = (view.state, round(view.since), view.headline)
                if began >= beat_at or shown != before:
                    before, beat_at = shown, began + HEARTBEAT
                    await self._send_beat(view)
            if not self.feed.more:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await self._wake.wait()
            await asyncio.sleep(max(0.0, began + SPACING - loop.time()))

    def _step(self) -> None:
        env = self.env
        try:
            self._due += self.feed.step(env.board, child_views(env.children()), env.clock.now())
        except Replaced:
            self._due.clear()
            self._snapshots.clear()
            for members in list(self.audience.values()):
                for client in list(members):
                    self._dismiss(client, REPLACED, "the board was rebuilt: connect again")

    async def _send(self, frames: list[Frame]) -> None:
        first, last = frames[0].seq - 1, frames[-1].seq
        self.env.meters.count("monitor_live_deltas_total", len(frames))
        for topics, members in list(self.audience.items()):
            writes = pack(frames, topics)
            if not writes:
                continue
            whole: list[_Client] = []
            for client in list(members):
                if client.seq <= first:
                    whole.append(client)
                elif client.seq < last:
                    await self._write([client], pack([f for f in frames if f.seq > client.seq], topics))
            await self._write(whole, writes)

    async def _send_beat(self, view: Status) -> None:
        beat = [self.feed.heartbeat(view)]
        for members in list(self.audience.values()):
            await self._write(list(members), beat)

    async def _write(self, clients: list[_Client], writes: list[bytes]) -> None:
        """Writes to each client, a chunk of clients at a time. Order holds: nobody else writes deltas."""
        for start in range(0, len(clients), CHUNK):
            for client in clients[start : start + CHUNK]:
                transport = client.transport
                if client.connection.protocol.state is not OPEN:
                    continue
                for frame in writes:
                    held = transport.get_write_buffer_size()
                    if held and held + len(frame) > MAX_BUFFERED:
                        self.env.meters.count("monitor_live_dropped_total", reason="too_slow")
                        self._dismiss(client, TOO_SLOW, f"too slow: {held} bytes behind")
                        break
                    transport.write(frame)
            await asyncio.sleep(0)
        self.env.meters.count("monitor_live_sent_bytes_total", len(clients) * sum(map(len, writes)))

    def _dismiss(self, client: _Client, code: int, reason: str) -> None:
        self._leave(client)
        task = asyncio.create_task(_part(client.connection, code, reason))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    # --- coming and going -------------------------------------------------------------------------------

    async def receive(self, connection: ServerConnection) -> None:
        """One connection, from its opening to its end."""
        assert connection.request is not None
        query = parse_qs(urlsplit(connection.request.path).query)
        try:
            topics = parse_topics(query["topics"][0] if "topics" in query else None)
        except UnknownTopic as error:
            await connection.close(UNKNOWN_TOPIC, str(error)[:120])
            return
        resume = query.get("resume", [""])[0]
        if resume and not (resume.isascii() and resume.isdigit() and len(resume) < 20):
            await connection.close(BAD_REQUEST, "expected resume to be a delta's seq")
            return
        client = _Client(connection, topics)
        try:
            async with asyncio.timeout(CATCH_UP_WITHIN):
                if not await self._catch_up(client, int(resume) if resume else None):
                    raise TimeoutError
        except TimeoutError:
            self.env.meters.count("monitor_live_dropped_total", reason="too_slow")
            await connection.close(TOO_SLOW, "too slow to catch up")
            return
        except ConnectionClosed:
            return
        self.audience.setdefault(topics, {})[client] = None
        try:
            await connection.recv()
            await connection.close(NOTHING_EXPECTED, "this feed takes no messages")
        except ConnectionClosed:
            pass
        finally:
            self._leave(client)

    def _leave(self, client: _Client) -> None:
        members = self.audience.get(client.topics, {})
        members.pop(client, None)
        if not members:
            self.audience.pop(client.topics, None)

    async def _catch_up(self, client: _Client, resume: int | None) -> bool:
        """Sends all up to the present moment; the caller lets the client join before the loop turns again.

        False where the client falls behind faster than it reads.
        """
        connection, feed = client.connection, self.feed
        if resume is not None and feed.recent.after(resume) is not None:
            client.seq = resume
            await connection.send(b'{"type":"resumed","seq":%d}' % resume, text=True)
        else:
            client.seq, snapshot = self._snapshot(client.topics)
            pieces = [snapshot[at : at + FRAGMENT] for at in range(0, len(snapshot), FRAGMENT)]
            await connection.send(pieces if len(pieces) > 1 else snapshot, text=True)
        while client.seq != feed.seq:
            missed = feed.recent.after(client.seq)
            if missed is None:
                return False
            client.seq = feed.seq
            for frame in pack(missed, client.topics):
                if connection.protocol.state is not OPEN:
                    raise ConnectionClosed(None, None)
                connection.transport.write(frame)
                await connection.drain()
        return True

    def _snapshot(self, topics: Topics) -> tuple[int, bytes]:
        """A snapshot at most a second old, if the deltas since are at hand: a crowd arriving costs one."""
        now = self.env.clock.now()
        kept = self._snapshots.get(topics)
        if kept is not None and now.mono - kept[0] < SNAPSHOT_AGE and self.feed.recent.after(kept[1]) is not None:
            return kept[1], kept[2]
        self._step()
        while self.feed.more:
            self._step()
        self._wake.set()
        snapshot = self.feed.snapshot(topics, status(self.env, whole=False), now)
        self._drop_old_snapshots(now)
        self._snapshots[topics] = (now.mono, self.feed.seq, snapshot)
        return self.feed.seq, snapshot

    def _drop_old_snapshots(self, now: Now) -> None:
        self._snapshots = {t: kept for t, kept in self._snapshots.items() if now.mono - kept[0] < SNAPSHOT_AGE}


async def live(env: Env, sock: socket.socket) -> None:
    """Serves the feed on the listening socket, which stays the caller's. Runs until cancelled."""
    hall = _Hall(env)

    def admit(connection: ServerConnection, request: Request) -> Response | None:
        refusal = doorkeeper.refusal(request.path, request.headers, env.config())
        if refusal is None and urlsplit(request.path).path not in PATHS:
            refusal = doorkeeper.Refusal(HTTPStatus.NOT_FOUND, "the feed is at /")
        if refusal is None and hall.clients >= MAX_CLIENTS:
            refusal = doorkeeper.Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_CLIENTS} clients are enough")
        if refusal is None:
            return None
        env.meters.count("monitor_live_refused_total", status=str(int(refusal.status)))
        return connection.respond(refusal.status, refusal.reason + "\n")

    async def receive(connection: ServerConnection) -> None:
        hall.clients += 1
        env.meters.set("monitor_live_clients", hall.clients)
        _bound(connection)
        try:
            await hall.receive(connection)
        finally:
            hall.clients -= 1
            env.meters.set("monitor_live_clients", hall.clients)

    env.meters.set("monitor_live_clients", 0)
    server = await serve(
        receive,
        sock=lend(sock),
        backlog=AT_ONCE,
        process_request=admit,
        select_subprotocol=lambda _, offered: SUBPROTOCOL if SUBPROTOCOL in offered else None,
        compression=None,
        server_header=None,
        open_timeout=10,
        close_timeout=5,
        ping_interval=None,
        max_size=MAX_INCOMING,
        max_queue=1,
        write_limit=MAX_BUFFERED // 2,
        logger=_silent,
    )
    sock.listen(BACKLOG)
    unwatch = env.journal.watch(hall.hear)
    try:
        await hall.tell()
    finally:
        unwatch()
        with anyio.CancelScope(shield=True), anyio.move_on_after(1.5):
            server.close(code=1001, reason="the monitor is going away")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), 1.0)
            for connection in server.connections:
                connection.transport.abort()


async def _part(connection: ServerConnection, code: int, reason: str) -> None:
    """Says why and closes; who does not even read that is cut off."""
    try:
        async with asyncio.timeout(PART_WITHIN):
            await connection.close(code, reason)
    except TimeoutError:
        connection.transport.abort()


def _bound(connection: ServerConnection) -> None:
    """Bounds what the kernel holds for a client, and lets it drop a peer that acknowledges nothing.

    The heartbeat is the probe, so no task is needed to ask whether a client still lives.
    """
    sock = connection.transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_BUFFERED)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
