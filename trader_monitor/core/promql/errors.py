"""What may be wrong with a query."""

from __future__ import annotations

__all__ = ["PromQLError"]


class PromQLError(Exception):
    """A query that cannot be compiled, or whose evaluation has no answer. `position` is a character's index."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
