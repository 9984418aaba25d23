"""What the board knows, as JSON: `/v1/status`, `/v1/alerts` and `/v1/board`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from trader_monitor.core.facts import Labels
from trader_monitor.core.series import NEVER, is_stale
from trader_monitor.web.frames import encode
from trader_monitor.web.status import status

if TYPE_CHECKING:
    from trader_monitor.core.board import Board
    from trader_monitor.runtime.env import Env

__all__ = ["routes"]

FAMILIES = ("account_", "pnl_", "trade_", "trades_", "position_", "exchange_", "market_data_", "heartbeat_")
"""What `/v1/board` shows of the series: the trading desk's, not the host's."""


def routes(env: Env) -> list[web.RouteDef]:
    async def get_status(request: web.Request) -> web.Response:
        return _json(status(env))

    async def get_alerts(request: web.Request) -> web.Response:
        """The present alerts, and the transitions before, newest first."""
        board = env.board
        return _json({"alerts": list(board.alerts.values()), "history": list(board.alert_history)[::-1]})

    async def get_board(request: web.Request) -> web.Response:
        """Accounts, positions, exchanges and streams: the newest value of each of their series."""
        return _json(_desk(env.board) | {"at": env.clock.now().wall})

    return [
        web.get("/v1/status", get_status),
        web.get("/v1/alerts", get_alerts),
        web.get("/v1/board", get_board),
    ]


def _json(answer: object) -> web.Response:
    return web.Response(body=encode(answer), content_type="application/json", headers={"Cache-Control": "no-store"})


def _desk(board: Board) -> dict[str, Any]:
    """One row per label set, with a field per metric: {"accounts": [{"source": …, "account_equity": …}], …}."""
    tables: dict[str, dict[Labels, dict[str, Any]]] = {
        "accounts": {},
        "positions": {},
        "exchanges": {},
        "streams": {},
        "bots": {},
    }
    series = board.series
    for sid in series.sids():
        labels = series.labels_of(sid)
        name = dict(labels)["__name__"]
        if not name.startswith(FAMILIES) or name.endswith("_bucket"):
            continue
        value = float(series.last_v[sid])
        if series.last_t[sid] == NEVER or is_stale(value):
            continue
        key = tuple((key, text) for key, text in labels if key != "__name__")
        row = tables[_table(name)].setdefault(key, dict(key))
        row[name] = value
        row["at"] = max(row.get("at", 0.0), float(series.last_t[sid]) / 1000.0)
    return {table: list(rows.values()) for table, rows in tables.items()}


def _table(name: str) -> str:
    if name.startswith("position_"):
        return "positions"
    if name.startswith("exchange_"):
        return "exchanges"
    if name.startswith("market_data_"):
        return "streams"
    if name.startswith("heartbeat_"):
        return "bots"
    return "accounts"
