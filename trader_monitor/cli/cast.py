"""Those who act in the demonstration, each in a process of its own: a bot that falls silent, a gateway that breaks.

`python -m trader_monitor.cli.cast ROLE …`; `trader-monitor demo` starts and ends them.
"""

from __future__ import annotations

import json
import math
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from trader_monitor.cli.door import Door
from trader_monitor.cli.outcome import Failure

__all__ = ["BOT", "main"]

BOT: Final = "night-owl"
INTERVAL_SECONDS: Final = 2.0
CYCLE_SECONDS, SILENT_FROM, SILENT_TO = 75.0, 20.0, 40.0
"""The bot sends nothing between these seconds of each cycle."""
BREAKS_FIRST, BREAKS_EVERY = 30.0, 90.0

_pause = threading.Event()


def bot(url: str) -> None:
    """Trades nothing, but says that it lives, what it sees of the market and how the exchange answers."""
    door = Door(url)
    began, price = time.monotonic(), 60_000.0
    while True:
        if not SILENT_FROM <= (time.monotonic() - began) % CYCLE_SECONDS < SILENT_TO:
            price *= math.exp(random.gauss(0.0, 0.0004))
            body = b"\n".join(json.dumps(event).encode() for event in _seen(time.time(), price))
            try:
                door.ask("POST", "/v1/events", body, "application/x-ndjson")
            except Failure as failure:
                print(failure, file=sys.stderr, flush=True)
        _pause.wait(INTERVAL_SECONDS / 2)


def _seen(now: float, price: float) -> list[dict[str, Any]]:
    failed = random.random() < 0.02
    return [
        {"type": "heartbeat", "at": now, "source": BOT, "interval_seconds": INTERVAL_SECONDS, "state": "running"},
        {
            "type": "market_data",
            "at": now,
            "source": BOT,
            "exchange": "demo",
            "symbol": "BTC/USDT",
            "price": round(price, 2),
            "bid": round(price - 0.5, 2),
            "ask": round(price + 0.5, 2),
            "exchange_at": now - 0.02,
        },
        {
            "type": "request",
            "at": now,
            "source": BOT,
            "exchange": "demo",
            "endpoint": "/orders",
            "latency_seconds": round(random.lognormvariate(-3.5, 0.5), 4),
            "ok": not failed,
            "status": 503 if failed else 200,
        },
        {"type": "connection", "at": now, "source": BOT, "exchange": "demo", "state": "connected"},
    ]


def gateway(port: Path, broken: Path) -> None:
    """Answers /ping with 200, and with 503 while the file `broken` is there: now and then it breaks itself.

    It takes any free port and writes it into the file `port`.
    """

    class Ping(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if broken.exists() else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """The daemon's log says it all."""

    def decay() -> None:
        _pause.wait(BREAKS_FIRST)
        while True:
            broken.touch()
            _pause.wait(BREAKS_EVERY)

    threading.Thread(target=decay, daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ping)
    written = port.with_suffix(".new")
    written.write_text(str(server.server_address[1]))
    written.rename(port)
    server.serve_forever()


def heal(broken: Path) -> None:
    """What stands here for restarting the gateway."""
    broken.unlink(missing_ok=True)
    print("the gateway was restarted")


def main(words: list[str]) -> int:
    match words:
        case ["bot", url]:
            bot(url)
        case ["gateway", port, broken]:
            gateway(Path(port), Path(broken))
        case ["heal", broken]:
            heal(Path(broken))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
