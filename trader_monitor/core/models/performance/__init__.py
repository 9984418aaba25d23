"""Performance: outcomes joined to predictions, scores, and how far they have fallen."""
