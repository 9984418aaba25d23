"""Exchanges: calls, rate limits, connections and market-data streams."""
