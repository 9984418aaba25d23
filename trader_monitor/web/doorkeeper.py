"""Who may open a live connection: the Origin allow-list and the bearer token, before the upgrade.

A browser sends the Origin of the page that asks, whatever that page is; so a foreign page is told 403 even
though the browser would carry the request here. No Origin is no browser, and the token alone decides.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

from trader_monitor.web.trust import foreign, known

if TYPE_CHECKING:
    from trader_monitor.config.tables import Config

__all__ = ["Refusal", "refusal"]


class Refusal(NamedTuple):
    status: HTTPStatus
    reason: str


def refusal(path: str, headers: Mapping[str, str], config: Config) -> Refusal | None:
    """Why the request must not be upgraded; None where it may be."""
    origin = headers.get("Origin")
    if origin is not None and foreign(origin, config):
        return Refusal(HTTPStatus.FORBIDDEN, "this origin is not in [live] origins")
    if not config.http.tokens:
        return None
    offered = _token(path, headers)
    if offered is None:
        return Refusal(HTTPStatus.UNAUTHORIZED, "a bearer token is needed")
    granted = known(offered, config.http.tokens)
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
