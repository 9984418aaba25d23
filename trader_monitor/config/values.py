"""The values that configuration is written in: durations, sizes, times of day, addresses and secrets."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["ClockTime", "Duration", "Listen", "Secret", "Size", "plain"]

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h|d|w))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)")
_CLOCK_TIME = re.compile(r"(\d\d):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
_UNIT_BYTES = {
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}


class Duration(float):
    """Seconds, written as "250ms", "30s", "5m", "1h30m", "7d"."""

    @classmethod
    def parse(cls, text: object) -> Duration:
        """Raises ValueError, saying what was expected."""
        if not isinstance(text, str) or not _DURATION.fullmatch(text):
            raise ValueError('expected a duration such as "30s", "5m" or "1h30m"')
        return cls(sum(float(n) * _UNIT_SECONDS[unit] for n, unit in _DURATION_PART.findall(text)))


class Size(int):
    """Bytes, written as "512KiB", "64MiB", "1GB"."""

    @classmethod
    def parse(cls, text: object) -> Size:
        """Raises ValueError, saying what was expected."""
        match = _SIZE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError('expected a size such as "512KiB" or "64MiB"')
        return cls(float(match[1]) * _UNIT_BYTES[match[2]])


class ClockTime(int):
    """A time of day in seconds after midnight, written as "09:00", "13:24:55" or, for the end of the day, "24:00"."""

    @classmethod
    def parse(cls, text: object) -> ClockTime:
        """Raises ValueError, saying what was expected."""
        match = _CLOCK_TIME.fullmatch(text) if isinstance(text, str) else None
        seconds = int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3] or 0) if match else -1
        if not 0 <= seconds <= 86_400:
            raise ValueError('expected a time of day such as "09:00"')
        return cls(seconds)

    def __str__(self) -> str:
        return f"{self // 3600:02}:{self % 3600 // 60:02}" + (f":{self % 60:02}" if self % 60 else "")


class Listen(NamedTuple):
    """A TCP address to bind, written as "127.0.0.1:8008" or "[::1]:8008"; port 0 asks for any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: object) -> Listen:
        """Raises ValueError, saying what was expected."""
        host, colon, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
        if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError('expected an address such as "127.0.0.1:8008"')
        return cls(host.strip("[]"), int(port))

    @property
    def loopback(self) -> bool:
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Secret:
    """A value that is never shown: it comes from the environment, a file or systemd's credentials."""

    __slots__ = ("_value", "origin")

    def __init__(self, value: str, origin: str) -> None:
        self._value = value
        self.origin = origin

    @classmethod
    def parse(cls, table: object) -> Secret:
        """Raises ValueError, saying what was expected or what is missing; never echoes a plain secret."""
        if not isinstance(table, dict) or len(table) != 1:
            raise ValueError(
                'expected { env = "NAME" }, { file = "PATH" } or { credential = "NAME" }, never the secret itself'
            )
        ((kind, name),) = table.items()
        if not isinstance(name, str) or not name:
            raise ValueError(f"expected {kind} to be a non-empty string")
        match kind:
            case "env":
                value = os.environ.get(name)
                if not value:
                    raise ValueError(f"the environment variable {name} is not set")
                return cls(value, f"env {name}")
            case "file":
                return cls(_read(Path(name)), f"file {name}")
            case "credential":
                directory = os.environ.get("CREDENTIALS_DIRECTORY")
                if not directory:
                    raise ValueError("CREDENTIALS_DIRECTORY is not set: credentials are given by systemd")
                if "/" in name or name.startswith("."):
                    raise ValueError("expected a credential's name, not a path")
                return cls(_read(Path(directory) / name), f"credential {name}")
            case _:
                raise ValueError(f"expected env, file or credential, not {kind!r}")

    def reveal(self) -> str:
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"Secret({self.origin})"


def plain(value: Secret | str) -> str:
    """The text of a value that may be written either way."""
    return value if isinstance(value, str) else value.reveal()


def _read(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if mode & 0o002:
            raise ValueError(f"{path} is writable by everyone: chmod o-w it")
        value = path.read_text().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ValueError(f"cannot read {path}: {reason}") from None
    if not value:
        raise ValueError(f"{path} is empty")
    return value
