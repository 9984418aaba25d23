"""Ids: which events were accepted before, so that a bot may send again without fear.

An event is known by a 64-bit hash of its source and id, and remembered with two checksums, 64 bits together, of
its body (all of it but `at` and `context`). Same key, same body: a duplicate. Same key, other body: a conflict,
which is told to the sender, so that no collision of keys alone can lose an event silently.

The newest are in a dictionary; older ones in sorted runs, merged as a log-structured merge tree does it, up to
segments that never change again (so that they are written to disk once). The oldest segment is forgotten
when the others hold `limit` ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeAlias
from zlib import adler32, crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from trader_monitor.core.facts import EVENT_TYPES, Event, Fact, Prediction, Sample
from trader_monitor.core.models.features import layout_of, packed_row

__all__ = ["Ids", "Screening", "digest", "raw_of"]

Hashes: TypeAlias = NDArray[np.uint64]

_PLAIN = msgspec.msgpack.Encoder()
_CANONICAL = msgspec.msgpack.Encoder(order="deterministic")
_FLOAT64 = 0xCB
_AT = {kind: len(str(kind.__struct_config__.tag)) + 12 for kind in EVENT_TYPES}
"""Where the bytes of `at` begin: behind the map's head (3), "type" (5), the tag (1 + its length) and "at" (3)."""
_SEGMENTS = 16
_RECENT = 4096


class Screening(NamedTuple):
    """What became of a batch: `fresh` holds the indexes of events to keep, `conflicts` of those to refuse."""

    fresh: list[int]
    duplicates: int
    conflicts: tuple[int, ...]


class _Run(NamedTuple):
    serial: int
    """Numbers segments in the order of their sealing; 0 for a run that may still be merged."""
    keys: Hashes
    bodies: Hashes


class _Dump(msgspec.Struct, array_like=True):
    limit: int
    sealed: int
    keys: bytes
    bodies: bytes


def raw_of(fact: Fact) -> bytes:
    """A fact in msgspec's MessagePack; a prediction's features as they are kept, which is most of it."""
    return packed_row(fact.features) if type(fact) is Prediction else _PLAIN.encode(fact)


def digest(event: Event, raw: bytes) -> tuple[bytes, int]:
    """The hash of (source and id), and that of the body; `raw` is the event's `raw_of`.

    Of features those that are kept count: what was rounded away tells no resent prediction from its first.
    """
    source = event.source or ""  # type: ignore[attr-defined]  # every event has one, most must
    kind = type(event)
    at = _AT[kind]
    row = b""
    if isinstance(event, Prediction):
        row = layout_of(event.features).check.to_bytes(4, "little") + raw
        features: dict[str, float | str | None] | None = None if event.features is None else {}
        raw = _PLAIN.encode(msgspec.structs.replace(event, at=0.0, context=None, features=features))
    elif event.context is not None or raw[at] != _FLOAT64 or kind is Sample:  # labels may come in any order
        raw = _CANONICAL.encode(msgspec.structs.replace(event, at=0.0, context=None))
    body = raw[:at] + raw[at + 9 :] + row
    key = blake2b(f"{len(source)}:{source}{event.id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return key, crc32(body) << 32 | adler32(body)


class Ids:
    """Remembers at least the newest `limit` ids, and at most a sixteenth more."""

    def __init__(self, limit: int = 1_000_000) -> None:
        self.limit = limit
        self._segment = max(limit // _SEGMENTS, 1)
        self._room = min(_RECENT, self._segment)
        self._recent: dict[int, int] = {}
        self._runs: list[_Run] = []
        self._held = 0
        self._serial = 0

    def __len__(self) -> int:
        return self._held + len(self._recent)

    def screen(self, events: Sequence[object], raws: Sequence[bytes]) -> Screening:
        """Sorts a batch into fresh, duplicate and conflicting events, and remembers the fresh ones.

        `raws` are the events' `raw_of`, in the same order. Within a batch the first one stands. Anything
        without an id (facts of the daemon's own too) is fresh.
        """
        named = [i for i, event in enumerate(events) if type(event) in _AT and event.id is not None]  # type: ignore[attr-defined]
        if not named:
            return Screening(list(range(len(events))), 0, ())
        hashed = [digest(events[index], raws[index]) for index in named]  # type: ignore[arg-type]
        keys = np.frombuffer(b"".join([key for key, _ in hashed]), "<u8")
        before = self._older(keys) if self._runs else {}
        recent = self._recent
        rejected: set[int] = set()
        conflicts: list[int] = []
        for place, (key, (_, body)) in enumerate(zip(keys.tolist(), hashed, strict=True)):
            known = recent.get(key)
            if known is None:
                known = before.get(place)
            if known is None:
                recent[key] = body
                continue
            rejected.add(named[place])
            if known != body:
                conflicts.append(named[place])
        if len(recent) >= self._room:
            self._flush()
        fresh = [i for i in range(len(events)) if i not in rejected] if rejected else list(range(len(events)))
        return Screening(fresh, len(rejected) - len(conflicts), tuple(conflicts))

    def _older(self, keys: Hashes) -> dict[int, int]:
        """The remembered body by the place in `keys`, for those that are in the runs."""
        order = np.argsort(keys)
        probe = keys[order]
        found: dict[int, int] = {}
        for run in self._runs:
            at = np.minimum(run.keys.searchsorted(probe), len(run.keys) - 1)
            hits = np.flatnonzero(run.keys[at] == probe)
            for hit in hits.tolist():
                found[int(order[hit])] = int(run.bodies[at[hit]])
        return found

    def _flush(self) -> None:
        """Turns the recent ones into a run, merges runs of like size, seals full segments, forgets the oldest."""
        recent, self._recent = self._recent, {}
        keys = np.fromiter(recent.keys(), np.uint64, len(recent))
        bodies = np.fromiter(recent.values(), np.uint64, len(recent))
        self._held += len(keys)
        parts = [(keys, bodies)]
        size = len(keys)
        while self._runs and not self._runs[-1].serial and len(self._runs[-1].keys) <= size:
            last = self._runs.pop()
            parts.append((last.keys, last.bodies))
            size += len(last.keys)
        open_size = size + sum(len(run.keys) for run in self._runs if not run.serial)
        if open_size >= self._segment:
            while self._runs and not self._runs[-1].serial:
                last = self._runs.pop()
                parts.append((last.keys, last.bodies))
            self._serial += 1
            self._runs.append(_merged(parts, self._serial))
        else:
            self._runs.append(_merged(parts, 0))
        while self._held - len(self._runs[0].keys) >= self.limit:
            self._held -= len(self._runs.pop(0).keys)

    # --- persistence ------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """All that is not in a sealed segment: small, whatever the limit."""
        opened = [run for run in self._runs if not run.serial]
        count = len(self._recent)
        keys = [run.keys for run in opened] + [np.fromiter(self._recent.keys(), np.uint64, count)]
        bodies = [run.bodies for run in opened] + [np.fromiter(self._recent.values(), np.uint64, count)]
        dump = _Dump(self.limit, self._serial, np.concatenate(keys).tobytes(), np.concatenate(bodies).tobytes())
        return msgspec.msgpack.encode(dump)

    def sealed(self, after: int = 0) -> dict[int, bytes]:
        """The segments with a serial above `after`, each the same for ever: keys, then bodies, little-endian."""
        return {run.serial: run.keys.tobytes() + run.bodies.tobytes() for run in self._runs if run.serial > after}

    def oldest(self) -> int:
        """The serial of the oldest segment that is still remembered; those below may be deleted."""
        return next((run.serial for run in self._runs if run.serial), self._serial + 1)

    @classmethod
    def load(cls, raw: bytes, segments: dict[int, bytes] | None = None) -> Ids:
        """What `dump` and `sealed` gave. A segment that is missing is forgotten, one from after the dump too."""
        dump = msgspec.msgpack.decode(raw, type=_Dump)
        ids = cls(dump.limit)
        ids._serial = dump.sealed
        for serial, segment in sorted((segments or {}).items()):
            both = np.frombuffer(segment, "<u8")
            if 0 < serial <= dump.sealed and len(both):
                ids._runs.append(_Run(serial, both[: len(both) // 2], both[len(both) // 2 :]))
        keys, bodies = np.frombuffer(dump.keys, "<u8"), np.frombuffer(dump.bodies, "<u8")
        if len(keys):
            ids._runs.append(_merged([(keys, bodies)], 0))
        ids._held = sum(len(run.keys) for run in ids._runs)
        return ids


def _merged(parts: list[tuple[Hashes, Hashes]], serial: int) -> _Run:
    keys = np.concatenate([part[0] for part in parts])
    bodies = np.concatenate([part[1] for part in parts])
    order = np.argsort(keys, kind="stable")
    return _Run(serial, keys[order], bodies[order])
