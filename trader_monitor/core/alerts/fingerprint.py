"""Fingerprint: the short name of a label set, the same in every process and after every restart."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

__all__ = ["fingerprint"]


def fingerprint(labels: Mapping[str, str]) -> str:
    """Sixteen hexadecimal digits that depend on the names and values alone, not on their order.

    Names and values are separated by bytes that no UTF-8 text holds, so `a="b"` and `ab=""` differ. A lone
    surrogate is hashed as it is: whoever brought it this far must still be told.
    """
    digest = blake2b(digest_size=8)
    for name, value in sorted(labels.items()):
        digest.update(name.encode("utf-8", "surrogatepass") + b"\xff")
        digest.update(value.encode("utf-8", "surrogatepass") + b"\xfe")
    return digest.hexdigest()
