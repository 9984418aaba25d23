"""The board as it is persisted: one versioned MessagePack value."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from trader_monitor.core.facts import (
    ActionStep,
    AlertChanged,
    ChannelTried,
    CheckResult,
    ChildDied,
    Connection,
    Heartbeat,
    NoticeSent,
)
from trader_monitor.core.tally import Kept
from trader_monitor.core.trading.accounts import AccountKey
from trader_monitor.core.trading.equity import Equity
from trader_monitor.core.trading.exchange import ConnectionKey, Stream, StreamKey
from trader_monitor.core.trading.fills import FillsKept

__all__ = ["VERSION", "Snapshot", "SnapshotError"]

VERSION = 1
"""Grows when an older snapshot cannot be read any more; another version's is refused and the journal replayed,
which no longer goes back to its beginning. What is kept besides has a default, so that older ones are read on."""

_MAGIC = b"board"


class SnapshotError(ValueError):
    """Not a snapshot, or one of another version: replay the journal from its beginning instead."""


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
    fills: FillsKept
    curves: list[tuple[AccountKey, Equity]]
    connections: list[tuple[ConnectionKey, Connection]]
    streams: list[tuple[StreamKey, Stream]]
    heartbeats: list[Heartbeat]
    channels: list[ChannelTried] = []
    tries: list[ChannelTried] = []

    def encode(self) -> bytes:
        return _MAGIC + bytes([VERSION]) + _ENCODER.encode(self)

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
