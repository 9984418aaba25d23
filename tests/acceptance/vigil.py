"""Asks a daemon's /health over and over from a process of its own, and writes down how long each answer took.

    python vigil.py PORT PID FILE

A line an answer: when it was asked (monotonic seconds), seconds until the answer, of those the seconds in which the
machine gave the daemon or this process no processor, and the status (0 where there was no answer).
"""

from __future__ import annotations

import socket
import sys
import time

ASK = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def waited(pid: str) -> float:
    """Seconds that the main thread was ready to run and did not."""
    try:
        with open(f"/proc/{pid}/task/{pid}/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return 0.0


def asked(port: int) -> int:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as sock:
            sock.sendall(ASK)
            head = sock.recv(4096)
            return int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else 0
    except OSError:
        return 0


def main(port: str, pid: str, path: str) -> None:
    with open(path, "w", buffering=1) as file:
        while True:
            began, idle = time.monotonic(), waited(pid) + waited("self")
            status = asked(int(port))
            ended, still = time.monotonic(), waited(pid) + waited("self")
            file.write(f"{began} {ended - began} {still - idle} {status}\n")
            time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
