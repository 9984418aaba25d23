"""Five minutes that show everything, on a temporary store, in real processes; nothing of it remains afterwards.

A daemon is started on free ports. A recorded strategy trades into it, faster than it did: equity falls below its
peak and an alert leaves. A bot falls silent and is missed. A gateway breaks, its check trips, an action restarts it
and the next probe proves it. This terminal is the desk: it receives the daemon's webhook.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from typing import Any, Final

from trader_monitor.cli.door import Door
from trader_monitor.cli.outcome import Exit, Failure
from trader_monitor.cli.text import clean, duration, paint
from trader_monitor.config.values import Duration

EXAMPLES = """
  trader-monitor demo
  trader-monitor demo --speed max --for 30s
  trader-monitor demo --json --for 2m | jq -r .what
"""

RECORDINGS: Final = Path(__file__).parent / "recordings"
RECORDING: Final = RECORDINGS / "nautilus_goog_daily.jsonl.gz"
LONGEST_PAUSE: Final = "2s"
READY_SECONDS: Final = 20.0
DRAIN_SECONDS: Final = 12.0
_TONES: Final = {"info": "", "warning": "warning", "error": "bad", "critical": "worst", "emergency": "worst"}

_pause = threading.Event()


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--speed", default="100", metavar="N|max", help="of the recording (default 100)")
    parser.add_argument("--for", dest="for_", metavar="DURATION", help="end by itself (default: until Ctrl-C)")
    parser.add_argument("--keep", action="store_true", help="leave the folder with the store and the logs behind")


def run(args: argparse.Namespace) -> int:
    until = time.monotonic() + _lasting(args.for_)
    stage = Stage(as_json=args.json)
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            house = _house(stack, stage, args)
            stage.watch(house, until)
    except KeyboardInterrupt:
        pass
    stage.say(
        "end", "the demonstration has ended; nothing of it remains" if not args.keep else "the demonstration has ended"
    )
    return Exit.OK


def _lasting(text: str | None) -> float:
    try:
        return float(Duration.parse(text)) if text else float("inf")
    except ValueError as error:
        raise Failure(f"--for {text}: {error}", Exit.USAGE) from None


class Stage:
    """What the terminal shows: lines for people, or JSON lines. Called from the desk's threads too."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._lock = threading.Lock()

    def say(self, what: str, text: str, tone: str = "", **more: object) -> None:
        at = time.time()
        with self._lock:
            if self.as_json:
                print(json.dumps({"at": round(at, 3), "what": what, "text": text, **more}), flush=True)
            else:
                print(f"{time.strftime('%H:%M:%S', time.localtime(at))}  {paint(clean(text), tone)}", flush=True)

    def alert(self, alert: dict[str, Any]) -> None:
        labels, state = alert.get("labels") or {}, str(alert.get("status"))
        severity, name = str(labels.get("severity")), str(labels.get("alertname"))
        told = alert.get("annotations") or {}
        ended = state == "resolved"
        more = [str(told[key]) for key in ("answer", "actions")[ended:] if told.get(key)]
        tone = "good" if ended else _TONES.get(severity, "")
        how = f" after {duration(round(_lasted(alert)) or _lasted(alert))}" if ended else ""
        text = f"{state.upper():<8}  {name}, {severity}{how}: {told.get('summary') or ''}"
        self.say("alert", text + (f" ({'; '.join(more)})" if more else ""), tone, alert=alert)

    def watch(self, house: House, until: float) -> None:
        """Tells of checks, actions and the recording's end, until it is time or the daemon is gone."""
        checks: dict[str, str] = {}
        steps: dict[str, str] = {}
        played = False
        while time.monotonic() < until:
            _pause.wait(min(0.5, max(0.0, until - time.monotonic())))
            if (code := house.daemon.poll()) is not None:
                raise Failure(f"the daemon ended with code {code}: {house.last_words()}", Exit.UNREACHABLE)
            if not played and house.player.poll() is not None:
                played = True
                outcome = _last_line(house.folder / "play.log", " events in ")
                self.say("played", f"the recording has been played: {outcome}", "quiet")
            for check in house.door.get("/v1/status").get("checks") or []:
                now = f"{'ok' if check.get('ok') else 'fails'}, breaker {check.get('breaker')}"
                if checks.setdefault(check["name"], now) != now:
                    checks[check["name"]] = now
                    tone = "good" if check.get("ok") else "warning"
                    self.say("check", f"CHECK     {check['name']}: {now} ({check.get('message')})", tone, check=check)
            for step in house.door.get("/api/v1/query", query="recovery_steps_total")["data"]["result"]:
                metric, count = step["metric"], step["value"][1]
                name, phase = f"{metric.get('check')}: {metric.get('action')}", str(metric.get("phase"))
                if steps.get(name + phase) != count:
                    steps[name + phase] = count
                    self.say("action", f"ACTION    {name} {phase.replace('_', ' ')}", "strong", step=metric)


class House:
    """The processes of the demonstration, and the daemon's door once it is open."""

    def __init__(self, folder: Path, daemon: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.daemon = daemon
        self.player = daemon
        self.url = _awaited(self._page, "the daemon did not become ready", self.last_words)
        self.door = Door(self.url)

    def _page(self) -> str | None:
        """The page's address out of the daemon's own log, once it is ready. Raises Failure when the daemon ended."""
        for line in (self.folder / "daemon.log").read_text(errors="replace").split("\n")[:-1]:
            if '"message":"ready"' in line:
                return str(json.loads(line)["context"]["page"]).rstrip("/")
        if self.daemon.poll() is not None:
            raise Failure(f"the daemon ended: {self.last_words()}", Exit.UNREACHABLE)
        return None

    def last_words(self) -> str:
        return _last_line(self.folder / "daemon.log") or "it said nothing"


def _house(stack: ExitStack, stage: Stage, args: argparse.Namespace) -> House:
    """Starts everything; the stack ends it in reverse order."""
    folder = Path(tempfile.mkdtemp(prefix="trader-monitor-demo-"))
    if args.keep:
        stage.say("folder", f"the store and the logs stay in {folder}", "quiet")
    else:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
    config, port, broken = (folder / name for name in ("config.toml", "gateway.port", "gateway.broken"))

    def act(log: str, *command: str) -> subprocess.Popen[bytes]:
        return stack.enter_context(_process(folder / log, [sys.executable, "-m", *command]))

    act("gateway.log", "trader_monitor.cli.cast", "gateway", str(port), str(broken))
    gateway = _awaited(lambda: port.read_text() if port.exists() else None, "the gateway did not open")
    desk, receive = stack.enter_context(_desk(stage))
    words = {"gateway": gateway, "desk": desk, "broken": broken, "python": sys.executable}
    config.write_text(Template((RECORDINGS / "demo.toml").read_text(encoding="utf-8")).substitute(words))
    config.chmod(0o600)
    house = House(folder, act("daemon.log", "trader_monitor", "run", "--config", str(config)))
    url = house.url
    stage.say("page", f"the page is at {url}/ – open it and keep this terminal beside it", "strong", url=url)
    stage.say("watch", "equity and drawdown: a strategy of 2004 to 2013 trades again, years in minutes", "quiet")
    stage.say("watch", "night-owl: falls silent after 20 s, is missed within seconds, and comes back", "quiet")
    stage.say(
        "watch", "gateway: breaks after 30 s; its check trips, an action restarts it, the next probe proves it", "quiet"
    )
    stage.say("watch", "alerts arrive below as the desk's webhook gets them; Ctrl-C ends all", "quiet")
    act("bot.log", "trader_monitor.cli.cast", "bot", url)
    paced = ["--speed", args.speed, *([] if args.speed == "max" else ["--longest-pause", LONGEST_PAUSE])]
    house.player = act("play.log", "trader_monitor", "play", str(RECORDING), "--url", url, *paced)
    receive.start()  # after the last process: a fork wants no other threads; what came before waits in the queue
    return house


@contextmanager
def _process(log: Path, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own session, so that Ctrl-C reaches us alone; it ends with us, whatever ends us."""
    libc = ctypes.CDLL(None)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "STATE_DIRECTORY": ""},
            preexec_fn=lambda: libc.prctl(1, signal.SIGTERM),  # PR_SET_PDEATHSIG
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _desk(stage: Stage) -> Iterator[tuple[int, threading.Thread]]:
    """The webhook's receiver: its port, and the thread that receives once it is started."""

    class Desk(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            for alert in json.loads(body).get("alerts") or []:
                stage.alert(alert)

        def log_message(self, format: str, *args: object) -> None:
            """The alerts are the log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Desk)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    try:
        yield int(server.server_address[1]), thread
    finally:
        if thread.is_alive():
            server.shutdown()
            thread.join()
        server.server_close()


def _awaited(look: Callable[[], str | None], what: str, why: Callable[[], str] = str) -> str:
    """What `look` finds in the end. Raises Failure when it finds nothing in time."""
    deadline = time.monotonic() + READY_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise Failure(f"{what}: {why()}", Exit.UNREACHABLE)
        _pause.wait(0.05)
    return found


def _lasted(alert: Mapping[str, Any]) -> float:
    """From its beginning to its end."""
    begin, end = (datetime.fromisoformat(alert[key]) for key in ("startsAt", "endsAt"))
    return max(0.0, (end - begin).total_seconds())


def _last_line(log: Path, holding: str = "") -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip() and holding in line]
    return clean(lines[-1][-500:]) if lines else ""
