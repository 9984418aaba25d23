"""Giving memory back: less is resident afterwards, and everything still works."""

from __future__ import annotations

import subprocess
import sys

from trader_monitor.runtime.memory import _clean

SMAPS = """\
1000-2000 r-xp 00000000 08:01 11 /lib/library.so
Rss: 4 kB
Anonymous: 0 kB
2000-3000 r--p 00001000 08:01 11 /lib/library.so
Anonymous: 4 kB
3000-4000 rw-p 00002000 08:01 11 /lib/library.so
Anonymous: 0 kB
4000-5000 r--p 00000000 00:00 0
Anonymous: 0 kB
5000-6000 r--p 00000000 00:00 0 [vvar]
Anonymous: 0 kB
6000-7000 r--s 00000000 08:01 12 /usr/lib/with space
Anonymous: 0 kB
"""


def test_only_pages_that_equal_their_file_are_let_go() -> None:
    assert list(_clean(SMAPS)) == [(0x1000, 0x2000), (0x6000, 0x7000)]


def test_less_is_resident_and_all_libraries_still_work() -> None:
    program = """
import asyncio, sqlite3, ssl, numpy, aiohttp.web, msgspec
from trader_monitor.runtime.memory import settle, single_arena
def resident(): return int(open("/proc/self/statm").read().split()[1])
single_arena()
before = resident()
settle()
after = resident()
assert numpy.linalg.solve(numpy.eye(3), numpy.ones(3)).sum() == 3
assert sqlite3.connect(":memory:").execute("select 1").fetchone() == (1,)
ssl.create_default_context()
asyncio.run(asyncio.sleep(0))
assert msgspec.json.decode(b"[1]") == [1]
print(after / before)
"""
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert float(out.stdout) < 0.9
