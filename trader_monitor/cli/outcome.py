"""How a command ends: the exit codes that scripts can trust, and the one exception that carries a code."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Exit", "Failure"]


class Exit(IntEnum):
    OK = 0
    NO = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    INTERRUPTED = 130


class Failure(Exception):
    """The command cannot go on. The text is one clear line that says what to do."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code
