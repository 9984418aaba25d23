"""The way to the daemon: HTTP or its Unix socket, one connection kept open, by the standard library alone."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

__all__ = ["Answer", "HttpTransport", "Transport", "UnixTransport", "Unreachable", "transport_to"]

_MAX_ANSWER = 1 << 20


class Unreachable(Exception):
    """Nothing is known of what became of the batch: send it again. `retry_after` seconds, if the daemon said so."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Answer(NamedTuple):
    """What became of a batch: as `POST /v1/events` answers."""

    status: int
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    error: str = ""


class Transport(Protocol):
    """Sends whole batches, one after the other."""

    def send(self, lines: list[bytes], timeout: float) -> Answer:
        """Raises Unreachable where the batch is to be sent again."""

    def close(self) -> None: ...


def transport_to(address: str, token: str | None) -> Transport:
    """`http://HOST:PORT`, `https://…` or `unix:/path/of/the.sock`. Raises ValueError."""
    if address.startswith("unix:"):
        return UnixTransport(address[5:])
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"expected http://HOST:PORT or unix:/PATH, got {address!r}")
    return HttpTransport(parts.scheme == "https", parts.hostname, parts.port, parts.path.rstrip("/"), token)


class HttpTransport:
    """`POST /v1/events` as NDJSON."""

    def __init__(self, secure: bool, host: str, port: int | None, prefix: str, token: str | None) -> None:
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(host, port)
        self._used = False
        self._path = prefix + "/v1/events"
        self._headers = {"Content-Type": "application/x-ndjson"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def send(self, lines: list[bytes], timeout: float) -> Answer:
        connection = self._connection
        connection.timeout = timeout
        body = b"\n".join(lines)
        try:
            try:
                response = self._ask(body, timeout)
            except ConnectionError:  # a kept connection that the daemon, or its restart, closed in the meantime
                if not self._used:
                    raise
                connection.close()
                self._used = False
                response = self._ask(body, timeout)
            self._used = True
            raw = response.read(_MAX_ANSWER)
            if not response.isclosed():
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(f"{type(error).__name__}: {error}") from None
        if response.status in (408, 425, 429) or response.status >= 500:
            raise Unreachable(f"answered {response.status}", _seconds(response.getheader("Retry-After")))
        return _answer(response.status, raw)

    def _ask(self, body: bytes, timeout: float) -> http.client.HTTPResponse:
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout)
        self._connection.request("POST", self._path, body, self._headers)
        return self._connection.getresponse()

    def close(self) -> None:
        self._used = False
        self._connection.close()


class UnixTransport:
    """NDJSON to the socket; each answer says `through` which line of this connection it speaks."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._sock: socket.socket | None = None
        self._rest = b""
        self._sent = 0

    def send(self, lines: list[bytes], timeout: float) -> Answer:
        body = b"\n".join(lines) + b"\n"
        try:
            if self._sock is not None:
                try:
                    return self._ask(self._sock, body, len(lines), timeout)
                except ConnectionError:  # the daemon closed it in the meantime, or was restarted
                    self.close()
            return self._ask(self._connect(timeout), body, len(lines), timeout)
        except (OSError, ValueError) as error:
            self.close()
            raise Unreachable(f"{type(error).__name__}: {error}") from None
        except Unreachable:
            self.close()
            raise

    def _ask(self, sock: socket.socket, body: bytes, lines: int, timeout: float) -> Answer:
        sock.settimeout(timeout)
        sock.sendall(body)
        self._sent += lines
        return self._collect(sock)

    def _connect(self, timeout: float) -> socket.socket:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(timeout)
        self._sock.connect(self._path)
        self._sent, self._rest = 0, b""
        return self._sock

    def _collect(self, sock: socket.socket) -> Answer:
        """Answers until all lines are covered; the worst status of them."""
        whole = Answer(202)
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if not newline:
                chunk = sock.recv(65536)
                if not chunk or len(self._rest) > _MAX_ANSWER:
                    raise ConnectionResetError("the connection ended before the answer")
                self._rest += chunk
                continue
            self._rest = rest
            said = json.loads(line)
            status = int(said["status"])
            if status in (408, 429) or status >= 500:
                raise Unreachable(f"answered {status}: {said.get('error', '')}", said.get("retry_after"))
            part = _answer(status, line)
            whole = Answer(
                max(whole.status, part.status),
                whole.accepted + part.accepted,
                whole.duplicates + part.duplicates,
                whole.refused + part.refused,
                whole.error or part.error,
            )
            if said.get("through", 0) >= self._sent or status not in (202, 400, 409):
                return whole

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _answer(status: int, raw: bytes) -> Answer:
    """What an answer says; one that cannot be read says only its status."""
    try:
        said: Any = json.loads(raw)
        errors = said.get("errors") or []
        first = f"{errors[0]['path']}: {errors[0]['error']}" if errors else str(said.get("error", ""))
        return Answer(
            status,
            int(said.get("accepted", 0)),
            int(said.get("duplicates", 0)),
            int(said.get("refused", len(errors))),
            first,
        )
    except (ValueError, AttributeError, LookupError, TypeError):
        return Answer(status, error=f"answered {status}")


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; None where it is a date or nothing."""
    return float(header) if header is not None and header.isdigit() else None
