"""What the board knows, as JSON: `/v1/status`, `/v1/alerts` and `/v1/board`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from trader_monitor.core.series import NEVER, is_stale
from trader_monitor.web.frames import encode
from trader_monitor.web.status import status

if TYPE_CHECKING:
    from trader_monitor.core.board import Board
    from trader_monitor.runtime.env import Env

__all__ = ["routes"]

TABLES = {
    "accounts": ("source", "account", "currency"),
    "symbols": ("source", "account", "symbol", "currency"),
    "positions": ("source", "account", "exchange", "symbol"),
    "exchanges": ("exchange",),
    "streams": ("exchange", "symbol", "channel"),
    "bots": ("source",),
}
FAMILIES = (
    ("account_", "accounts"),
    ("pnl_", "accounts"),
    ("trade_", "accounts"),
    ("trades_", "accounts"),
    ("position_", "positions"),
    ("exchange_", "exchanges"),
    ("market_data_", "streams"),
    ("heartbeat_", "bots"),
)
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
    """Rows by what names them, a field per metric; a metric with further labels is a table of its own:

    {"accounts": [{"source": "bot", "currency": "USD", "pnl_realized": 12.5, "trades_closed_total": {"win": 3}}], …}
    """
    tables: dict[str, dict[tuple[str, ...], dict[str, Any]]] = {name: {} for name in TABLES}
    series = board.series
    for sid in series.sids():
        labels = dict(series.labels_of(sid))
        name = labels.pop("__name__")
        table = _table(name, labels)
        value = float(series.last_v[sid])
        if table is None or series.last_t[sid] == NEVER or is_stale(value):
            continue
        keys = TABLES[table]
        identity = tuple(labels.pop(key, "") for key in keys)
        row = tables[table].setdefault(identity, {key: text for key, text in zip(keys, identity, strict=True) if text})
        if labels:
            row.setdefault(name, {})["/".join(labels.values())] = value
        else:
            row[name] = value
        row["at"] = max(row.get("at", 0.0), float(series.last_t[sid]) / 1000.0)
    _spread(tables["accounts"])
    return {table: list(rows.values()) for table, rows in tables.items()}


def _table(name: str, labels: Mapping[str, str]) -> str | None:
    """Where a metric is shown; None where it is not the desk's, or is a histogram's bucket."""
    if name.endswith("_bucket"):
        return None
    table = next((table for prefix, table in FAMILIES if name.startswith(prefix)), None)
    return "symbols" if table == "accounts" and "symbol" in labels else table


def _spread(accounts: dict[tuple[str, ...], dict[str, Any]]) -> None:
    """What an account has in no currency (its win ratio) stands in its row of each."""
    for identity in [identity for identity in accounts if not identity[-1]]:
        others = [row for key, row in accounts.items() if key[:-1] == identity[:-1] and key[-1]]
        for row in others:
            row |= {name: value for name, value in accounts[identity].items() if name not in row}
        if others:
            del accounts[identity]
