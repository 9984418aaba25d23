"""The board as it is persisted: one versioned MessagePack value."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from trader_monitor.core.facts import (
    ActionStep,
    AlertChanged,
    ChannelTried,
    CheckResult,
    ChildDied,
    Heartbeat,
    NoticeSent,
)
from trader_monitor.core.tally import Kept

__all__ = ["VERSION", "Room", "Snapshot", "SnapshotError", "pack", "unpack"]

VERSION = 1
"""Grows when an older snapshot cannot be read any more; another version's is refused and the journal replayed,
which no longer goes back to its beginning. What is kept besides has a default, so that older ones are read on."""

_MAGIC = b"board"
_NIL = Raw(b"\xc0")


class SnapshotError(ValueError):
    """Not a snapshot, or one of another version: replay the journal from its beginning instead."""


class Room(Protocol):
    """A part of the fold that keeps state of its own from one life to the next."""

    def dump(self) -> bytes: ...

    def load(self, raw: bytes) -> None:
        """Takes what `dump` gave, of this version or an older one. Raises SnapshotError."""


class Snapshot(Struct, kw_only=True):
    """What is kept of a board; see `Board.dump`."""

    counts: dict[str, int]
    checks: list[CheckResult]
    alerts: list[AlertChanged]
    alert_history: list[AlertChanged]
    notices: list[NoticeSent]
    incidents: dict[str, tuple[ActionStep, ...]]
    steps: list[ActionStep]
    deaths: list[ChildDied]
    parked: dict[str, float]
    cells: list[Kept]
    heartbeats: list[Heartbeat]
    channels: list[ChannelTried] = []
    tries: list[ChannelTried] = []
    rooms: dict[str, bytes] = {}
    """What each room of the fold keeps, by its name, in its own words (`Room`)."""
    fills: Raw = _NIL
    curves: Raw = _NIL
    connections: Raw = _NIL
    streams: Raw = _NIL
    """These four stood here before there were rooms."""

    def encode(self) -> bytes:
        return _MAGIC + bytes([VERSION]) + _ENCODER.encode(self)

    def of_room(self, name: str) -> bytes | None:
        """What a room kept, or nothing."""
        raw = self.rooms.get(name)
        if raw is None and self.fills != _NIL:  # written before there were rooms
            before = {
                "fills": lambda: bytes(self.fills),
                "accounts": lambda: _ENCODER.encode({"curves": self.curves}),
                "exchanges": lambda: _ENCODER.encode({"connections": self.connections, "streams": self.streams}),
            }
            raw = before[name]() if name in before else None
        return raw

    @classmethod
    def decode(cls, raw: bytes) -> Snapshot:
        """Raises SnapshotError."""
        if raw[: len(_MAGIC)] != _MAGIC or len(raw) <= len(_MAGIC):
            raise SnapshotError("this is not a snapshot of a board")
        if raw[len(_MAGIC)] != VERSION:
            raise SnapshotError(f"the snapshot is of version {raw[len(_MAGIC)]}, this program writes {VERSION}")
        try:
            return _DECODER.decode(raw[len(_MAGIC) + 1 :])
        except msgspec.MsgspecError as error:
            raise SnapshotError(f"the snapshot is damaged: {error}") from None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Snapshot)


def pack(kept: Struct) -> bytes:
    """A room's state as bytes."""
    return _ENCODER.encode(kept)


def unpack(raw: bytes, kind: type[Any]) -> Any:
    """The state of type `kind` again; fields that are newer than `raw` have their defaults. Raises SnapshotError."""
    try:
        return msgspec.msgpack.decode(raw, type=kind)
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"the snapshot's {kind.__name__} is damaged: {error}") from None
