"""The daemon as a command sees it: which one is meant, and plain HTTP to it.

By `http.client`, because commands must start quickly and `urllib` would send loopback through a proxy.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlencode, urlsplit

from trader_monitor.cli.outcome import Exit, Failure
from trader_monitor.config.values import Listen, Secret

__all__ = ["Answer", "Door", "door_arguments", "find_config"]

DEFAULT_URL: Final = "http://127.0.0.1:8008"
PLACES: Final = (Path("config.toml"), Path("/etc/trader-monitor/config.toml"))
TIMEOUT_SECONDS: Final = 30.0


def door_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which daemon is meant."""
    group = parser.add_argument_group("which daemon")
    group.add_argument("--url", help=f"its address (else $TRADER_MONITOR_URL, else [http] listen, else {DEFAULT_URL})")
    group.add_argument("--config", type=Path, metavar="FILE", help="the configuration to take its address from")
    group.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds the bearer token (else $TRADER_MONITOR_TOKEN, else [http] tokens)",
    )


def find_config(given: Path | None) -> Path | None:
    """The file that was given, `$TRADER_MONITOR_CONFIG`, ./config.toml or the one in /etc; None where there is none."""
    if given is not None:
        return given
    if named := os.environ.get("TRADER_MONITOR_CONFIG"):
        return Path(named)
    return next((place for place in PLACES if place.is_file()), None)


class Answer(NamedTuple):
    """What the daemon said. `body` is decoded JSON, or the text where it was none."""

    status: int
    body: Any
    retry_after: float | None


class Door:
    """One keep-alive connection to one daemon."""

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise Failure(f'{url!r} is not an address such as "{DEFAULT_URL}"', Exit.USAGE)
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._prefix = parts.path.rstrip("/")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, port, timeout=TIMEOUT_SECONDS)
        self._token = token

    @classmethod
    def of(cls, args: argparse.Namespace) -> Door:
        """The daemon that the options, the environment or the configuration name."""
        http_table = {} if args.url and args.token_file else _http_table(args.config)
        url = args.url or os.environ.get("TRADER_MONITOR_URL") or _listening(http_table)
        return cls(url, _token(args.token_file, http_table))

    def get(self, path: str, **parameters: str) -> Any:
        """The JSON at `path`; anything but success raises Failure."""
        answer = self.ask("GET", f"{path}?{urlencode(parameters)}" if parameters else path)
        return self.accept(answer)

    def post(self, path: str, body: object) -> Any:
        """The answer to JSON posted to `path`; anything but success raises Failure."""
        return self.accept(self.ask("POST", path, json.dumps(body).encode()))

    def accept(self, answer: Answer) -> Any:
        """The body of a success. Refusals raise Failure with what to do."""
        if answer.status < 300:
            return answer.body
        said = _reason(answer.body)
        if answer.status in (401, 403):
            raise Failure(f"{self.url} refuses: {said or 'no right'}; pass --token-file", Exit.REFUSED)
        if answer.status in (429, 503):
            later = f" (try again in {answer.retry_after:g} s)" if answer.retry_after else ""
            raise Failure(f"{self.url} cannot at the moment: {said or answer.status}{later}", Exit.REFUSED)
        if answer.status in (400, 404, 422):
            raise Failure(said or f"{self.url} answers {answer.status}", Exit.USAGE)
        raise Failure(f"{self.url} answers {answer.status}: {said}", Exit.REFUSED)

    def ask(self, method: str, path: str, body: bytes | None = None, type: str = "application/json") -> Answer:
        """One exchange, whatever its status. No connection raises Failure with code UNREACHABLE."""
        headers = {"Accept": "application/json", "User-Agent": "trader-monitor"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = type
        for attempt in (1, 2):
            fresh = self._connection.sock is None
            try:
                self._connection.request(method, self._prefix + path, body, headers)
                response = self._connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                # A kept connection may have been closed while it was idle; everything sent bears an id or only reads.
                if not fresh and attempt == 1:
                    continue
                raise Failure(self._no_daemon(error), Exit.UNREACHABLE) from None
            return Answer(response.status, _decoded(content), _seconds(response.headers))
        raise AssertionError("the second attempt answers or raises")

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _no_daemon(self, error: Exception) -> str:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        if isinstance(error, ConnectionRefusedError):
            return f"no daemon answers at {self.url}: start one with `trader-monitor run`, or name another with --url"
        return f"no answer from {self.url}: {reason}"


def _http_table(given: Path | None) -> dict[str, Any]:
    """`[http]` of the configuration, read for its address alone: a file that is wrong elsewhere does no harm here."""
    import tomli

    path = find_config(given)
    if path is None:
        return {}
    try:
        table = tomli.loads(path.read_text(encoding="utf-8-sig")).get("http", {})
    except (OSError, ValueError, RecursionError) as error:
        if given is None:
            return {}
        reason = error.strerror if isinstance(error, OSError) else error
        raise Failure(f"cannot read {path}: {reason}", Exit.USAGE) from None
    return table if isinstance(table, dict) else {}


def _listening(table: Mapping[str, Any]) -> str:
    try:
        listen = Listen.parse(table.get("listen", ""))
    except ValueError:
        return DEFAULT_URL
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return f"http://{Listen(everywhere.get(listen.host, listen.host), listen.port)}"


def _token(file: Path | None, table: Mapping[str, Any]) -> str | None:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise Failure(f"cannot read {file}: {reason}", Exit.USAGE) from None
    if token := os.environ.get("TRADER_MONITOR_TOKEN"):
        return token
    tokens = table.get("tokens")
    for source in tokens if isinstance(tokens, list) else ():
        try:
            return Secret.parse(source).reveal()
        except ValueError:
            continue  # not readable for this user: the daemon will say whether it matters
    return None


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode(errors="replace")


def _reason(body: Any) -> str:
    if isinstance(body, dict):
        error = body.get("error") or body.get("message")
        if error is None and isinstance(body.get("errors"), list) and body["errors"]:
            error = body["errors"][0].get("error") if isinstance(body["errors"][0], dict) else body["errors"][0]
        hint = body.get("hint")
        return f"{error or ''}; {hint}" if hint else str(error or "")
    return body.strip()[:200] if isinstance(body, str) else ""


def _seconds(headers: http.client.HTTPMessage) -> float | None:
    """`Retry-After` in seconds; its other form, a date, is as good as none here."""
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, TypeError, ValueError):
        return None
