"""Webhook: POSTs notices in the form of Alertmanager's webhook payload, version 4.

Every receiver written for Alertmanager understands it (its documentation: "Configuration", `<webhook_config>`).
Beside it go `Idempotency-Key`, the same for every attempt at one notice, `traceparent` with the trace of what the
alert began with, and with a `secret`

    X-Signature: t=1763692734,v1=5257a869…

where `v1` is the hexadecimal HMAC-SHA256, keyed with the secret, over `t`, a dot and the body as sent. A receiver
recomputes it, compares in constant time, and refuses a `t` that is minutes old.

Delivered is what was answered with 2xx; the body of the answer does not matter and is not waited for. 408, 425,
429 and 5xx are tried again, and so is a broken connection; other answers are final, redirects among them: a
webhook's address carries its secret, which nobody but its owner should move elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from trader_monitor.config.values import Secret, plain
from trader_monitor.core.alerts.notice import Notice
from trader_monitor.runtime.options import refuse, wrong_address, wrong_headers
from trader_monitor.runtime.registry import DeliveryError, channel
from trader_monitor.runtime.trace import traceparent
from trader_monitor.runtime.unasked import in_words

if TYPE_CHECKING:
    import aiohttp

    from trader_monitor.runtime.env import Env

__all__ = ["WebhookOptions", "payload", "retry_after", "signature", "webhook"]

_RETRIED = frozenset({408, 425, 429})
_NEVER = "0001-01-01T00:00:00Z"
_OURS = frozenset(
    {"content-type", "content-length", "idempotency-key", "x-signature", "traceparent", "host", "transfer-encoding"}
)
_MAX_BODY = 4096
_BODY_WITHIN = 0.5


class WebhookOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is where to POST. `secret` signs the requests; `headers` are added to them."""

    url: Secret | str
    secret: Secret | None = None
    headers: dict[str, Secret | str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        refuse(wrong_address("url", self.url), wrong_headers("headers", self.headers, _OURS))


@channel("webhook", WebhookOptions)
async def webhook(options: WebhookOptions, env: Env, notice: Notice) -> str:
    """POSTs Alertmanager's webhook payload to a URL, signed if there is a secret."""
    import aiohttp

    body = msgspec.json.encode(payload(notice))
    headers = {name: plain(value) for name, value in options.headers.items()}
    headers |= {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "trader-monitor",
        "Idempotency-Key": notice.key,
    }
    if trace := traceparent():
        headers["traceparent"] = trace
    if options.secret is not None:
        headers["X-Signature"] = signature(options.secret.reveal(), int(env.clock.now().wall), body)
    try:
        try:
            return await _post(env, plain(options.url), body, headers)
        except aiohttp.ServerDisconnectedError:
            # The receiver had closed a kept connection just then: another is tried at once.
            return await _post(env, plain(options.url), body, headers)
    except (aiohttp.ClientError, OSError) as error:
        raise DeliveryError(_reason(error)) from None


async def _post(env: Env, url: str, body: bytes, headers: dict[str, str]) -> str:
    async with env.http().post(url, data=body, headers=headers, allow_redirects=False) as response:
        if 200 <= response.status < 300:
            await _finish(response)
            return f"status {response.status}"
        raise await _refusal(response, env.clock.now().wall)


def payload(notice: Notice) -> dict[str, Any]:
    """The payload of version 4, with one alert in it."""
    alert = notice.alert
    labels = dict(alert.labels)
    annotations = {"summary": alert.summary or alert.rule}
    value = alert.resolved_value if notice.state == "resolved" else alert.fired_value
    if value is not None:
        annotations["value"] = f"{value:.12g}"
    if alert.runbook:
        annotations["runbook_url"] = alert.runbook
    if notice.answer:
        annotations["answer"] = notice.answer
    if notice.done:
        annotations["actions"] = notice.done
    if notice.late:
        annotations["late"] = "this alert has ended since; the notice of its end follows"
    if notice.test:
        annotations["test"] = "this is a test of the channel: nothing is wrong"
    resolved = notice.state == "resolved"
    ended = alert.resolved_at if alert.resolved_at is not None else alert.active_at
    url = notice.external_url
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{alert.rule}", fingerprint="{alert.fingerprint}"}}',
        "truncatedAlerts": 0,
        "status": notice.state,
        "receiver": notice.channel,
        "groupLabels": {"alertname": labels.get("alertname", alert.rule)},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": url,
        "alerts": [
            {
                "status": notice.state,
                "labels": labels,
                "annotations": annotations,
                "startsAt": _rfc3339(alert.fired_at if alert.fired_at is not None else alert.active_at),
                "endsAt": _rfc3339(ended) if resolved else _NEVER,
                "generatorURL": f"{url}/#alert={alert.fingerprint}",
                "fingerprint": alert.fingerprint,
            }
        ],
    }


def signature(secret: str, at: int, body: bytes) -> str:
    """The value of `X-Signature`; `at` is in Unix seconds."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def retry_after(value: str | None, wall: float) -> float | None:
    """Seconds from a Retry-After header: a number of them, or a date. None for anything else."""
    if value is None:
        return None
    text = value.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = parsedate_to_datetime(text)
            seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - wall
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


async def _refusal(response: aiohttp.ClientResponse, wall: float) -> DeliveryError:
    status = response.status
    retried = status in _RETRIED or status >= 500
    if 300 <= status < 400:
        return DeliveryError(f"status {status}: a redirect, which is not followed", permanent=True)
    said = (await _finish(response)).decode("utf-8", "replace").strip()[:200]
    wait = retry_after(response.headers.get("Retry-After"), wall) if retried else None
    return DeliveryError(f"status {status}" + (f": {said}" if said else ""), permanent=not retried, retry_after=wait)


async def _finish(response: aiohttp.ClientResponse) -> bytes:
    """What the answer's body begins with. A short one is read to its end, so that the connection can be used again;
    one that is endless, slow or torn off costs the connection and nothing else."""
    import aiohttp

    body = b""
    with anyio.move_on_after(_BODY_WITHIN):
        try:
            while len(body) < _MAX_BODY and (chunk := await response.content.read(_MAX_BODY - len(body))):
                body += chunk
        except (aiohttp.ClientError, OSError):
            response.close()
    if not response.content.at_eof():
        response.close()
    return body


def _reason(error: Exception) -> str:
    """What went wrong, without the address."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ConnectionError) and cause.errno:
        return in_words(cause)
    certificate = getattr(error, "certificate_error", None)
    text = getattr(cause, "strerror", None) or getattr(error, "message", None) or (certificate and str(certificate))
    return f"{type(error).__name__}: {text}" if isinstance(text, str) and text else type(error).__name__


def _rfc3339(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return _NEVER
