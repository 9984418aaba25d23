"""Positions from fills: books, lots, round trips and their results."""
