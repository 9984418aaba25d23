"""The two faces of the client: for bots with threads, and for bots on asyncio."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from trader_monitor.client.reports import Reports

__all__ = ["AsyncMonitor", "Monitor"]


class Monitor(Reports):
    """Reports to the daemon from ordinary code. Handing over takes microseconds; a thread does the rest.

    monitor = Monitor(source="grid-bot")
    monitor.trade(symbol="BTC/USDT", side="buy", quantity=0.1, price=64_000.0, fee=0.02, currency="USDT")
    """

    def flush(self, timeout: float = 5.0) -> bool:
        """Waits until all that was handed over is settled; False where the time did not suffice."""
        return self._sender is None or self._sender.flush(timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Sends what is left, for at most `timeout` seconds (`linger`), and ends; whether all was settled."""
        self._closed = True
        return self._sender is None or self._sender.close(self._linger if timeout is None else timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncMonitor(Reports):
    """The same on asyncio: the calls hand over at once and are not awaited; only flushing and closing are."""

    async def flush(self, timeout: float = 5.0) -> bool:
        """Waits until all that was handed over is settled; False where the time did not suffice."""
        return self._sender is None or await _in_thread(self._sender.flush, timeout)

    async def close(self, timeout: float | None = None) -> bool:
        """Sends what is left, for at most `timeout` seconds (`linger`), and ends; whether all was settled."""
        self._closed = True
        sender = self._sender
        return sender is None or await _in_thread(sender.close, self._linger if timeout is None else timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _in_thread(wait: Callable[[float], bool], timeout: float) -> bool:
    """Waits without holding the loop up; asyncio is imported only where it is used."""
    import asyncio

    return await asyncio.to_thread(wait, timeout)
