"""Delivery: one notice through one channel, within a deadline, and every way of failing in one exception."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import structlog
from msgspec.structs import replace

from trader_monitor.config.values import Secret
from trader_monitor.core.alerts.notice import Notice
from trader_monitor.core.alerts.template import harmless
from trader_monitor.runtime.registry import DeliveryError
from trader_monitor.runtime.threads import StillRunning
from trader_monitor.runtime.trace import new_trace

if TYPE_CHECKING:
    from trader_monitor.config.tables import ChannelTable
    from trader_monitor.runtime.env import Env

__all__ = ["DEADLINE", "deliver", "page_url", "redacted"]

DEADLINE = 10.0
"""Seconds for one attempt, name resolution included."""
_MAX_TEXT = 300
_SEPARATORS = re.compile(r"[/?&=#]")
_SHORTEST_PART = 8
"""Characters of an address's part that may be a secret; `hook`, `api` and the like are none."""

log = structlog.get_logger(__name__)


async def deliver(env: Env, table: ChannelTable, notice: Notice) -> str:
    """The channel's receipt. Raises DeliveryError, whatever it was, with no secret in its message.

    From here on this task logs under the trace of what the alert began with.
    """
    if notice.alert.trace_id:
        new_trace(notice.alert.trace_id)
    try:
        with anyio.fail_after(DEADLINE):
            receipt = await table.plugin.call(table.options, env, _completed(env, notice))
    except DeliveryError as error:
        raise DeliveryError(
            redacted(str(error), table.options), permanent=error.permanent, retry_after=error.retry_after
        ) from None
    except TimeoutError:
        raise DeliveryError(f"no answer within {DEADLINE:g} s") from None
    except StillRunning as running:
        raise DeliveryError(str(running)) from None
    except Exception as error:
        log.error("a channel raised what it should not", channel=table.name, error=type(error).__name__)
        raise DeliveryError(redacted(f"{type(error).__name__}: {error}", table.options)) from None
    log.info(
        "notice delivered",
        channel=table.name,
        alert=notice.alert.rule,
        state=notice.state,
        fingerprint=notice.alert.fingerprint,
        transition=notice.transition,
    )
    return redacted(str(receipt or ""), table.options)


def _completed(env: Env, notice: Notice) -> Notice:
    """The notice with what only the house knows."""
    name = notice.alert.labels.get("check")
    about = env.board.checks.get(name) if name else None
    return replace(notice, external_url=page_url(env), answer="" if about is None else about.message)


def page_url(env: Env) -> str:
    """Where the page can be opened; a wildcard address is shown as this host's name."""
    listen = env.config().http.listen
    if listen.host in {"0.0.0.0", "::"}:
        listen = listen._replace(host=socket.gethostname())
    return f"http://{listen}"


def redacted(text: str, options: msgspec.Struct, longest: int = _MAX_TEXT) -> str:
    """The text with every secret of the options taken out, shortened, and without control characters.

    Of an address its host, path and query and their parts are secrets too: receivers quote them in what they answer,
    and errors name the host.
    """
    for secret in sorted({part for whole in _secrets(options) for part in _parts(whole)}, key=len, reverse=True):
        text = text.replace(secret, "[redacted]")
    text = harmless(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _parts(secret: str) -> set[str]:
    """The secret, and of an address whatever of it is long enough to be one by itself."""
    _, scheme, rest = secret.partition("://")
    if not scheme:
        return {secret} - {""}
    authority, _, way = rest.partition("/")
    user, _, host = authority.rpartition("@")
    pieces = {way, *way.split("?", 1), *_SEPARATORS.split(way), user, *user.split(":"), host, host.rpartition(":")[0]}
    return {secret, *(piece for piece in pieces if len(piece) >= _SHORTEST_PART)}


def _secrets(value: Any) -> list[str]:
    if isinstance(value, Secret):
        return [value.reveal()]
    if isinstance(value, msgspec.Struct):
        return [secret for name in value.__struct_fields__ for secret in _secrets(getattr(value, name))]
    if isinstance(value, dict):
        return [secret for one in value.values() for secret in _secrets(one)]
    if isinstance(value, tuple | list):
        return [secret for one in value for secret in _secrets(one)]
    return []
