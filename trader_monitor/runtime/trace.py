"""Trace ids: one per child's life, request or delivery, carried by context and shown in each log record."""

from __future__ import annotations

import os
import re
from contextvars import ContextVar

__all__ = ["current_trace", "new_trace", "traceparent", "traceparent_id"]

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")

_trace: ContextVar[str] = ContextVar("trace_id", default="")


def new_trace(trace_id: str = "") -> str:
    """Sets the trace id of this context (this task and what it starts), a random one unless given."""
    chosen = trace_id or os.urandom(16).hex()
    _trace.set(chosen)
    return chosen


def current_trace() -> str:
    """The trace id of this context, empty where none was set."""
    return _trace.get()


def traceparent_id(header: str | None) -> str:
    """The trace id of a caller's `traceparent` header (W3C Trace Context); empty where it is not a valid one."""
    found = _PARENT.fullmatch(header or "")
    return found[1] if found and (found[2] is None or not header.startswith("00")) else ""  # type: ignore[union-attr]


def traceparent() -> str:
    """The header for whoever is asked in this context, as a step of its own; empty where there is no trace."""
    trace_id = current_trace()
    return f"00-{trace_id}-{os.urandom(8).hex()}-01" if _ID.fullmatch(trace_id) else ""
