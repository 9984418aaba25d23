"""Who may ask: bearer tokens where they are configured, and no foreign web page in any case."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trader_monitor.web.trust import LOOPBACK, foreign, known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trader_monitor.config.tables import Config

__all__ = ["Denied", "denial", "is_open"]

_OPEN = ("/", "/health", "/ready", "/favicon.ico")
_READING = ("GET", "HEAD", "OPTIONS")


class Denied(NamedTuple):
    """Why a request is not answered."""

    status: int
    error: str
    hint: str


def is_open(path: str) -> bool:
    """Whether a path tells nothing that is worth a token: the page's files and the probes."""
    return path in _OPEN or path.startswith("/page/")


def denial(method: str, path: str, headers: Mapping[str, str], config: Config) -> Denied | None:
    """Why the request must not be answered; None where it may be.

    Without tokens the loopback address is the only protection, and a browser is behind it: a page from
    elsewhere must neither write (its Origin gives it away) nor read under a name that it had resolved to us.
    """
    origin = headers.get("Origin")
    if origin is not None and method not in _READING:
        own = origin.split("://", 1)[-1] == headers.get("Host", "")
        if not own and foreign(origin, config):
            return Denied(403, "a page of another origin may not do this", "allow its origin in [live] origins")
    tokens = config.http.tokens
    if not tokens:
        if config.http.listen.loopback and _name(headers.get("Host", "127.0.0.1")) not in LOOPBACK:
            return Denied(421, "this host is not known by that name", "ask 127.0.0.1, or configure [http] tokens")
        return None
    if is_open(path):
        return None
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return Denied(401, "a bearer token is needed", "send the header Authorization: Bearer TOKEN")
    if not known(token.strip(), tokens):
        return Denied(401, "the token is not known", "use one of [http] tokens")
    return None


def _name(host: str) -> str:
    """The host without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
