"""Who may open a live connection: the Origin allow-list and the bearer token, before the upgrade.

A browser sends the Origin of the page that asks, whatever that page is; so a foreign page is told 403 even
though the browser would carry the request here. No Origin is no browser, and the token alone decides.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from trader_monitor.config.tables import Config
    from trader_monitor.config.values import Listen

__all__ = ["Refusal", "own_origins", "refusal"]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Refusal(NamedTuple):
    status: HTTPStatus
    reason: str


def own_origins(listen: Listen) -> frozenset[str]:
    """The page's own origins: as it listens, and on loopback by each of its names.

    Where it listens on every address there is no name to be sure of: those must be configured.
    """
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    hosts = {host, *LOOPBACK} if listen.loopback or host in {"0.0.0.0", "[::]"} else {host}
    port = "" if listen.port == 80 else f":{listen.port}"
    return frozenset(f"http://{name}{port}" for name in hosts)


def refusal(path: str, headers: Mapping[str, str], config: Config) -> Refusal | None:
    """Why the request must not be upgraded; None where it may be."""
    origin = headers.get("Origin")
    if origin is not None and origin not in own_origins(config.http.listen) and origin not in config.live.origins:
        return Refusal(HTTPStatus.FORBIDDEN, "this origin is not in [live] origins")
    if not config.http.tokens:
        return None
    offered = _token(path, headers)
    if offered is None:
        return Refusal(HTTPStatus.UNAUTHORIZED, "a bearer token is needed")
    granted = False
    for token in config.http.tokens:  # all of them, so that time tells nothing
        granted |= hmac.compare_digest(offered.encode(), token.reveal().encode())
    return None if granted else Refusal(HTTPStatus.UNAUTHORIZED, "the token is not known")


def _token(path: str, headers: Mapping[str, str]) -> str | None:
    """From the header, the subprotocol `bearer.BASE64URL` (a browser has no other way), or `?token=`."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    for offer in headers.get("Sec-WebSocket-Protocol", "").split(","):
        word = offer.strip()
        if word.startswith("bearer."):
            raw = word.removeprefix("bearer.")
            try:
                return base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)).decode()
            except (binascii.Error, UnicodeDecodeError):
                return None
    return parse_qs(urlsplit(path).query).get("token", [None])[0]
