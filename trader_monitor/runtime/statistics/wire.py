"""The wire between daemon and worker: frames of a length (4 bytes, big-endian) and so many bytes of MessagePack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import msgspec

__all__ = ["HEAD", "MOST", "Answer", "Failed", "Frame", "Job", "Progress", "Request", "Told", "framed", "length_of"]

A = TypeVar("A")
R = TypeVar("R")

HEAD = 4
MOST = 256 << 20
"""Bytes of one frame."""

Told: TypeAlias = Callable[[int, int], None]
"""What a job tells of its progress: so many done, of so many."""


@dataclass(frozen=True, slots=True)
class Job(Generic[A, R]):
    """A kind of job: the module that has its `run`, what that is asked and what it answers."""

    module: str
    asked: type[A]
    answered: type[R]

    @property
    def name(self) -> str:
        return self.module.rpartition(".")[2]


class Request(msgspec.Struct, frozen=True, tag="request"):
    """Have `run` of a module answer what is asked, packed as its `JOB` says."""

    module: str
    asked: msgspec.Raw


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """So many done, of so many."""

    done: int
    total: int


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    answered: msgspec.Raw


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """`refused`: what was asked cannot be answered (a ValueError, whose text is meant to be read)."""

    kind: Literal["refused", "memory", "error"]
    reason: str


Frame: TypeAlias = Progress | Answer | Failed

_ENCODER = msgspec.msgpack.Encoder()


def framed(value: Any) -> bytes:
    """A value's frame. Raises ValueError where it is too large."""
    body = _ENCODER.encode(value)
    if len(body) > MOST:
        raise ValueError(f"{len(body):,} bytes are more than a frame may have ({MOST:,})")
    return len(body).to_bytes(HEAD, "big") + body


def length_of(head: bytes) -> int:
    """The length that a head tells. Raises ValueError."""
    length = int.from_bytes(head, "big")
    if length > MOST:
        raise ValueError(f"a frame of {length:,} bytes is announced; {MOST:,} are the most")
    return length
