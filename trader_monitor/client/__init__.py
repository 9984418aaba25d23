"""What a bot imports: it hands events over in microseconds, and is never held up nor thrown off by the monitor.

    from trader_monitor.client import Monitor

    monitor = Monitor(source="grid-bot")
    monitor.heartbeat(interval_seconds=10)
    monitor.trade(symbol="BTC/USDT", side="buy", quantity=0.1, price=64_000.0, fee=0.02, currency="USDT")
    monitor.account(equity=10_250.0, currency="USDT")

Events wait in a bounded buffer while the daemon is away and are sent again until it has committed them; each has
an id, so that sending twice counts once. On asyncio use `AsyncMonitor`: the same calls, and `await` to close it.
"""

from __future__ import annotations

from trader_monitor.client.monitor import AsyncMonitor, Monitor

__all__ = ["AsyncMonitor", "Monitor"]
