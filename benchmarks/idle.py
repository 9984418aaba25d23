"""Idle: the daemon as shipped, its page open, at rest: memory, processor time, and how soon it was ready.

The peer is Netdata 1.37 at its interval of 1 s, as measured on the same class of machine (50 MB, 0.37 % of a
core); it is a limit written down, not measured here, because installing it would start a service.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
from websockets.sync.client import ClientConnection, connect

from benchmarks.table import Row

SETTLE_SECONDS = 8
WATCH_SECONDS = 45
STARTS = 5


def config(folder: Path, port: int) -> Path:
    """The shipped configuration on another store and other doors."""
    text = (Path(__file__).parent.parent / "config.toml").read_text()
    path = folder / "config.toml"
    lines = []
    for line in text.splitlines():
        key = line.partition("=")[0].strip()
        if key == "listen":
            port += 1
            line = f'listen = "127.0.0.1:{port - 1}"'
        elif key == "path" and "var/" in line:
            line = f'path = "{folder}/store.db"'
        elif key == "socket":
            line = f'socket = "{folder}/ingest.sock"'
        lines.append(line)
    path.write_text("\n".join(lines))
    return path


def ready(port: int, within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.002)
    raise RuntimeError("the daemon is not ready")


def rows(folder: Path) -> list[Row]:
    """Three rows: resident memory, processor time, start to ready (median of a few starts)."""
    path = config(folder, 18_408)
    starts = []
    for _ in range(STARTS):
        began = time.monotonic()
        process = launch(path, folder)
        try:
            ready(18_408)
            starts.append(time.monotonic() - began)
        finally:
            process.terminate()
            process.wait(15)
    process = launch(path, folder)
    try:
        ready(18_408)
        with page_open(18_409):
            time.sleep(SETTLE_SECONDS)
            watched = psutil.Process(process.pid)
            before = sum(watched.cpu_times()[:2])
            began = time.monotonic()
            time.sleep(WATCH_SECONDS)
            share = (sum(watched.cpu_times()[:2]) - before) / (time.monotonic() - began)
            resident = watched.memory_info().rss / 1e6
    finally:
        process.terminate()
        process.wait(15)
    start = sorted(starts)[len(starts) // 2]
    return [
        Row(
            "idle: resident memory",
            f"{resident:.1f} MB",
            "Netdata 1.37: 50 MB",
            f"{resident / 50:.2f}",
            "≤ 60 MB",
            resident <= 60,
        ),
        Row(
            "idle: processor",
            f"{share:.2%}",
            "Netdata 1.37: 0.37 %",
            f"{share / 0.0037:.2f}",
            "≤ 0.5 %",
            share <= 0.005,
        ),
        Row("start to READY", f"{start:.2f} s", "–", "–", "≤ 0.5 s", start <= 0.5),
    ]


def launch(path: Path, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "trader_monitor", "run", "--config", str(path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )


def page_open(port: int) -> ClientConnection:
    """A client that reads all that the page would."""
    feed = connect(f"ws://127.0.0.1:{port}/")
    json.loads(feed.recv(timeout=5))
    return feed
