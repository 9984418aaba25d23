"""The names by which a model's own predictions stand among its features."""

from __future__ import annotations

__all__ = ["LABEL", "OUTPUT", "OUTPUTS", "PROBABILITY"]

OUTPUT = "(output)"
PROBABILITY = "(probability)"
LABEL = "(label)"

OUTPUTS = (OUTPUT, PROBABILITY, LABEL)
"""In parentheses, as hardly a feature is named; one that is gives way."""
