"""Calls an HTTP endpoint."""

from __future__ import annotations

from typing import Literal

import aiohttp
from msgspec import Struct, field

from trader_monitor.config.values import Secret, plain
from trader_monitor.core.recovery.ladder import Incident
from trader_monitor.runtime.env import Env
from trader_monitor.runtime.options import refuse, wrong_address, wrong_headers
from trader_monitor.runtime.registry import action

EXCERPT_BYTES = 500
UNTIMED = aiohttp.ClientTimeout(total=None)


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Without `status` any 2xx is success. Redirects are not followed: an action goes where it was sent."""

    url: Secret | str
    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"] = "POST"
    headers: dict[str, Secret | str] = field(default_factory=dict)
    token: Secret | None = None
    body: str | None = None
    status: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        refuse(wrong_address("url", self.url), wrong_headers("headers", self.headers))


@action("http", Options)
async def http(options: Options, env: Env, incident: Incident) -> str:
    """Calls an HTTP endpoint once; `Idempotency-Key` names the incident and its rung."""
    headers = {"Idempotency-Key": incident.key} | {name: plain(value) for name, value in options.headers.items()}
    if options.body is not None:
        headers.setdefault("Content-Type", "application/json")
    if options.token is not None:
        headers["Authorization"] = f"Bearer {options.token.reveal()}"
    async with env.http().request(
        options.method,
        plain(options.url),
        headers=headers,
        data=None if options.body is None else options.body.encode(),
        allow_redirects=False,
        timeout=UNTIMED,
    ) as answer:
        excerpt = (await answer.content.read(EXCERPT_BYTES)).decode("utf-8", "replace").strip()
    expected = answer.status in options.status if options.status else 200 <= answer.status < 300
    if not expected:
        wanted = " or ".join(map(str, options.status)) or "2xx"
        raise RuntimeError(f"status {answer.status}, wanted {wanted}: {excerpt}")
    return f"status {answer.status}"
