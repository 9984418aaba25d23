"""Trace ids: one per child's life, request or delivery, carried by context and shown in each log record."""

from __future__ import annotations

import os
from contextvars import ContextVar

__all__ = ["current_trace", "new_trace"]

_trace: ContextVar[str] = ContextVar("trace_id", default="")


def new_trace(trace_id: str = "") -> str:
    """Sets the trace id of this context (this task and what it starts), a random one unless given."""
    chosen = trace_id or os.urandom(16).hex()
    _trace.set(chosen)
    return chosen


def current_trace() -> str:
    """The trace id of this context, empty where none was set."""
    return _trace.get()
