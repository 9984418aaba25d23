"""Whose fault is it: errors that say something about this host or its resolver, and nothing about the one asked."""

from __future__ import annotations

import errno
import os
import socket
import ssl

__all__ = ["could_not_ask", "in_words"]

OURS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.EPERM, errno.EACCES}
)


def could_not_ask(error: BaseException) -> bool:
    """Whether the question never left: no descriptors, memory or port, forbidden, or no answer of the resolver.

    Nobody is to be restarted on such evidence.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ssl.SSLError):
            return False  # its numbers are OpenSSL's own, and the peer has spoken
        if isinstance(error, socket.gaierror):
            return True
        if isinstance(error, OSError) and error.errno in OURS:
            return True
        inner = getattr(error, "os_error", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            return False
        error = inner
    return False


def in_words(error: BaseException) -> str:
    """What an error of a connection says, without the library's own wording: `no connection: Connection refused`."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ConnectionError | TimeoutError) and cause.errno:
        return f"no connection: {os.strerror(cause.errno)}"
    return str(error) or type(error).__name__
