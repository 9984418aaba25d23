"""Whose fault is it: errors that say something about this host or its resolver, and nothing about the one asked."""

from __future__ import annotations

import errno
import socket
import ssl

__all__ = ["could_not_ask"]

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
