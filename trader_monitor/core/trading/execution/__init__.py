"""Execution: orders, how they end, how long they take and what they cost."""
