"""Play a bot's recording into the running daemon, as if the bot were trading now.

Events are sent --speed times as fast as they were recorded. Each one's `at` becomes the moment of sending; the
recorded time is kept in its context as `recorded_at`. Each bears an id, so that a second play, or one that goes on
after an interruption, is harmless: what the daemon has already is counted as a duplicate, and so is
what the recording itself says twice. A daemon that is restarted in the middle is waited for.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from trader_monitor.cli.door import Answer, Door, door_arguments
from trader_monitor.cli.outcome import Exit, Failure
from trader_monitor.cli.progress import Progress
from trader_monitor.cli.tape import Length, Recorded, Tape, stamped
from trader_monitor.cli.text import clean, duration
from trader_monitor.config.values import Duration

EXAMPLES = """
  trader-monitor play backtest.jsonl.gz --speed max
  trader-monitor play backtest.jsonl.gz --speed 100 --longest-pause 2s     # years of daily bars in minutes
  trader-monitor play last_night.jsonl --format events --speed 60
  trader-monitor play backtest.jsonl.gz --speed max --json | jq .accepted
"""

BATCH: Final = 500
AHEAD_SECONDS: Final = 0.02
"""Events due within this of each other travel together."""
FIRST_WAIT, LONGEST_WAIT = 0.25, 10.0
DEFAULT_PATIENCE: Final = 120.0
SHOWN_ERRORS: Final = 5

_pause = threading.Event()
"""Never set: a sleep that an interrupt ends at once."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="JSON lines, plain or gzip")
    parser.add_argument(
        "--format",
        choices=("nautilus", "events"),
        help="NautilusTrader's messages, or our events (else seen from the file)",
    )
    parser.add_argument(
        "--speed", default="1", metavar="N|max", help="how many times as fast as it was recorded (default 1)"
    )
    parser.add_argument(
        "--longest-pause", metavar="DURATION", help="cut what is longer, as played, to this (default: keep all)"
    )
    parser.add_argument(
        "--patience", default="2m", metavar="DURATION", help="wait so long for a daemon that is away (default 2m)"
    )
    parser.add_argument("--skip", type=int, default=0, metavar="LINES", help="leave out the file's first lines")
    door_arguments(parser)


def run(args: argparse.Namespace) -> int:
    speed = _speed(args.speed)
    pause = _duration("--longest-pause", args.longest_pause) if args.longest_pause else math.inf
    patience = _duration("--patience", args.patience)
    tape = Tape(args.file, args.format)
    length = tape.length(pause * speed)
    player = Player(Door.of(args), patience, Progress(length.events, quiet=args.json))
    began = time.monotonic()
    try:
        with player.door:
            player.door.get("/v1/status")  # a daemon that is not there, or refuses, is said before anything else
            if not args.json:
                print(_plan(args.file, tape, length, speed), flush=True)
            for batch in _paced(tape, speed, pause, args.skip):
                player.send(batch)
    except KeyboardInterrupt:
        player.progress.close()
        print(
            f"stopped after line {player.line}; go on with --skip {player.line}, or play it all again: no harm is done"
        )
        return Exit.INTERRUPTED
    player.progress.close()
    told = player.told() | {"skipped": length.skipped, "seconds": round(time.monotonic() - began, 3)}
    if args.json:
        print(json.dumps(told))
    else:
        print(_outcome(told))
    return Exit.NO if told["refused"] else Exit.OK


class Player:
    """Sends batches until each is answered for, and keeps count."""

    def __init__(self, door: Door, patience: float, progress: Progress) -> None:
        self.door = door
        self.patience = patience
        self.progress = progress
        self.line = 0
        self.sent = self.accepted = self.duplicates = self.refused = 0
        self.errors: list[str] = []

    def send(self, batch: list[Recorded]) -> None:
        """Raises Failure when the daemon refuses for good, or is away for longer than the patience lasts."""
        now = time.time()
        body = b"\n".join(json.dumps(stamped(recorded, now)).encode() for recorded in batch) + b"\n"
        answer = self._answered(body)
        match answer.status:
            case 202 | 200:
                self._count(answer.body)
            case 400 | 409:
                before = self.accepted + self.duplicates
                self._count(answer.body)
                self.refused += max(1, len(batch) - (self.accepted + self.duplicates - before))
                self._refused(answer.body, batch)
            case _:
                self.door.accept(answer)
        self.sent += len(batch)
        self.line = batch[-1].line
        self.progress.show(self.sent, f"{self.accepted} accepted, {self.duplicates} duplicates")

    def told(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "refused": self.refused,
            "errors": self.errors,
        }

    def _answered(self, body: bytes) -> Answer:
        """Asks again while the daemon is away or busy: the ids make it harmless."""
        wait, patient_until = FIRST_WAIT, time.monotonic() + self.patience
        while True:
            try:
                answer = self.door.ask("POST", "/v1/events", body, "application/x-ndjson")
                if answer.status not in (429, 502, 503, 504):
                    return answer
                why = f"busy ({answer.status})"
                delay = wait if answer.retry_after is None else answer.retry_after
            except Failure as failure:
                why, delay = str(failure), wait
                if time.monotonic() + delay > patient_until:
                    raise
            if time.monotonic() + delay > patient_until:
                self.door.accept(answer)
            self.progress.note(f"{why}; trying again in {duration(delay)}")
            _pause.wait(delay * random.uniform(0.9, 1.1))
            wait = min(LONGEST_WAIT, wait * 2)

    def _count(self, body: Any) -> None:
        if isinstance(body, dict):
            self.accepted += int(body.get("accepted") or 0)
            self.duplicates += int(body.get("duplicates") or 0)

    def _refused(self, body: Any, batch: list[Recorded]) -> None:
        errors = body.get("errors") if isinstance(body, dict) else None
        if not isinstance(errors, list) or not errors:
            errors = [{"error": body.get("error", body) if isinstance(body, dict) else body}]
        known = [error for error in errors if isinstance(error, dict)]
        for error in known[: SHOWN_ERRORS - len(self.errors)]:
            index = error.get("line")
            line = batch[index - 1].line if isinstance(index, int) and 0 < index <= len(batch) else batch[0].line
            self.errors.append(f"line {line}: {error.get('path') or ''} {error.get('error') or ''}".replace("  ", " "))


def _paced(tape: Iterable[Recorded], speed: float, longest: float, skip: int) -> Iterator[list[Recorded]]:
    """Batches, each when it is due. Time is kept against the beginning, so that slowness does not add up."""
    began = time.monotonic()
    due, before = 0.0, None
    batch: list[Recorded] = []
    for recorded in tape:
        if recorded.line <= skip:
            continue
        if before is not None and not math.isinf(speed):
            due += min(longest, max(0.0, recorded.at - before) / speed)
        before = recorded.at
        wait = due - (time.monotonic() - began)
        full = len(batch) >= BATCH and recorded.line != batch[-1].line  # a line travels whole: --skip counts lines
        if batch and (wait > AHEAD_SECONDS or full):
            yield batch
            batch = []
            wait = due - (time.monotonic() - began)
        if wait > AHEAD_SECONDS:
            _pause.wait(wait)
        batch.append(recorded)
    if batch:
        yield batch


def _speed(text: str) -> float:
    if text == "max":
        return math.inf
    try:
        speed = float(text.removesuffix("x").removesuffix("×"))
    except ValueError:
        speed = math.nan
    if not (math.isfinite(speed) and speed > 0):
        raise Failure(f'--speed {text}: expected a number above 0 such as 100, or "max"', Exit.USAGE)
    return speed


def _duration(option: str, text: str) -> float:
    try:
        return float(Duration.parse(text))
    except ValueError as error:
        raise Failure(f"{option} {text}: {error}", Exit.USAGE) from None


def _plan(file: Path, tape: Tape, length: Length, speed: float) -> str:
    lasts = length.seconds / speed
    pace = "as fast as the daemon takes it" if math.isinf(speed) else f"{speed:g}× takes {duration(lasts)}"
    hint = "" if lasts < 6 * 3600 else " (cut the pauses with --longest-pause 2s, or take --speed max)"
    return f"{clean(file)}: {length.events:,} events, {tape.format}; {pace}{hint}"


def _outcome(told: dict[str, Any]) -> str:
    rate = told["sent"] / max(told["seconds"], 1e-3)
    lines = [
        f"{told['sent']:,} events in {duration(told['seconds'])} ({rate:,.0f}/s): {told['accepted']:,} accepted, "
        f"{told['duplicates']:,} duplicates, {told['refused']:,} refused"
    ]
    if told["skipped"]:
        lines.append(
            "nothing to report in: " + ", ".join(f"{n:,} {clean(kind)}" for kind, n in told["skipped"].items())
        )
    lines += [f"refused: {clean(error)}" for error in told["errors"]]
    return "\n".join(lines)
