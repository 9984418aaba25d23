"""Whom the doors trust: the tokens they know, and the pages that are the daemon's own or allowed."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trader_monitor.config.tables import Config
    from trader_monitor.config.values import Listen, Secret

__all__ = ["LOOPBACK", "foreign", "known", "own_origins"]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def known(offered: str, tokens: tuple[Secret, ...]) -> bool:
    """Whether it is one of the tokens; all are compared, in constant time, so that the time tells nothing."""
    granted = False
    for token in tokens:
        granted |= hmac.compare_digest(offered.encode("utf-8", "replace"), token.reveal().encode())
    return granted


def own_origins(listen: Listen) -> frozenset[str]:
    """The page's own origins: as it listens, and on loopback by each of its names.

    Where it listens on every address there is no name to be sure of: those must be configured.
    """
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    hosts = {host, *LOOPBACK} if listen.loopback or host in {"0.0.0.0", "[::]"} else {host}
    port = "" if listen.port == 80 else f":{listen.port}"
    return frozenset(f"http://{name}{port}" for name in hosts)


def foreign(origin: str, config: Config) -> bool:
    """Whether a browser says that a page of neither the daemon's nor the allowed origins asks."""
    return origin not in own_origins(config.http.listen) and origin not in config.live.origins
