"""Memory: gives back what only the start needed.

Importing touches far more code and data than the daemon then runs: initialisers, relocations, the pages of
libraries around what is used. Freed heap goes back by `malloc_trim`. Pages of programs and libraries that hold
what is in their files, and nothing else, are let go by madvise(2): what is touched again comes back from the page
cache, without the disk.
"""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["settle", "single_arena"]

_M_ARENA_MAX = -8
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ +/")
_OTHER = re.compile(r"[0-9a-f]+-[0-9a-f]+ ")
_MADV_DONTNEED = 4
_COLLECT_AFTER = (10_000, 5, 200)
"""Objects, and rounds of the younger generations: little here is a cycle. After a flood, a look at the middle one took
50 ms where it came every 200,000 objects; one at all took 180 ms, and comes less than half as often."""


def single_arena() -> None:
    """Keeps glibc from an arena of heap per thread: ours seldom allocate at the same time. Before any thread."""
    _libc_call("mallopt", ctypes.c_int(_M_ARENA_MAX), ctypes.c_int(1))


def settle() -> None:
    """Frees what the start left over, freezes what it built, and has the garbage collector run from now on.

    It does not collect first: that finds half a megabyte, and stops everything for as long as a large board takes.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    gc.enable()
    _libc_call("malloc_trim", ctypes.c_size_t(0))
    try:
        maps = Path("/proc/self/smaps").read_text("utf-8", "replace")
    except OSError:
        return
    for begin, end in _clean(maps):
        _libc_call("madvise", ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), ctypes.c_int(_MADV_DONTNEED))


def _clean(smaps: str) -> Iterator[tuple[int, int]]:
    """The mappings of files that are read-only and of which no page differs from the file.

    A page that does (relocations that were applied before it was made read-only) would be lost for good.
    """
    span: tuple[int, int] | None = None
    for line in smaps.splitlines():
        if mapping := _MAPPING.match(line):
            span = (int(mapping[1], 16), int(mapping[2], 16)) if "w" not in mapping[3] else None
        elif _OTHER.match(line):
            span = None
        elif span is not None and line.startswith("Anonymous:"):
            if line.split()[1] == "0":
                yield span
            span = None


def _libc_call(name: str, *arguments: object) -> None:
    """Best effort: another C library has other functions, an older kernel other advice."""
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*arguments)
