"""The daemon's doors: its listening sockets, bound once for all its life."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from msgspec.structs import replace

from trader_monitor.config.values import Listen
from trader_monitor.runtime.sockets import CannotBind, bind_tcp, bind_unix, port_of

if TYPE_CHECKING:
    from trader_monitor.config.tables import Config

__all__ = ["Doors"]


class Doors:
    """The listening sockets. They outlive every child that answers on them."""

    def __init__(self, config: Config) -> None:
        """Raises CannotBind, with nothing left bound."""
        self.http = bind_tcp(config.http.listen, "http.listen")
        self.live: socket.socket | None = None
        self.unix: socket.socket | None = None
        try:
            self.live = bind_tcp(config.live.listen, "live.listen")
            if config.ingest.socket is not None:
                self.unix = bind_unix(config.ingest.socket, "ingest.socket")
        except CannotBind:
            self.close()
            raise

    def close(self) -> None:
        for sock in (self.http, self.live, self.unix):
            if sock is not None:
                sock.close()

    def described(self, config: Config) -> Config:
        """The configuration with the ports that port 0 became."""
        assert self.live is not None
        http = Listen(config.http.listen.host, port_of(self.http))
        feed = Listen(config.live.listen.host, port_of(self.live))
        return replace(
            config,
            http=replace(config.http, listen=http),
            live=replace(config.live, listen=feed),
        )
