"""Streaming drift: shifts of a feature's level, row by row."""
