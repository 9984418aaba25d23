"""A real Chromium, driven over its DevTools protocol: the little of it that the page's tests need."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
EXPECTED = ("net::ERR_CONNECTION_REFUSED", "WebSocket connection to")
"""What the browser itself logs while the monitor is away."""


class Page:
    """One tab. `errors` is what its console complained of."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.errors: list[str] = []

    async def call(self, method: str, **parameters: Any) -> Any:
        return await self._browser.call(method, parameters, self._session)

    async def goto(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """The value of an expression; a promise is awaited."""
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def until(self, script: str, within: float = 10.0) -> Any:
        """Waits until an expression is true; one that fails is not yet."""
        end = asyncio.get_running_loop().time() + within
        while True:
            value = await self.run(f"(() => {{ try {{ return !!({script}) }} catch {{ return false }} }})()")
            if value:
                return value
            if asyncio.get_running_loop().time() > end:
                text = await self.run("document.body.innerText.slice(0, 1500)")
                raise AssertionError(f"it did not come to {script}; the page says:\n{text}\n{self.errors}")
            await asyncio.sleep(0.03)

    async def text(self, selector: str) -> str:
        return str(await self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def resize(self, width: int, height: int, *, mobile: bool = False, ratio: float = 1) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ratio, mobile=mobile
        )

    async def prefer(self, **features: str) -> None:
        """Media features, such as `prefers_color_scheme="light"`."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        await self.call("Emulation.setEmulatedMedia", features=listed)

    async def press(self, key: str, *, shift: bool = False) -> None:
        modifiers = 8 if shift else 0
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        for kind in ("keyDown", "keyUp"):
            parameters: dict[str, Any] = {"type": kind, "key": key, "code": key, "modifiers": modifiers}
            if key in {"Tab", "Enter"}:
                parameters["windowsVirtualKeyCode"] = {"Tab": 9, "Enter": 13}[key]
            if text and kind == "keyDown":
                parameters["text"] = text
            await self.call("Input.dispatchKeyEvent", **parameters)

    async def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    async def screenshot(self, path: Path, *, whole: bool = True) -> Path:
        answer = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))
        return path

    def heard(self, method: str, parameters: dict[str, Any]) -> None:
        text = ""
        if method == "Runtime.exceptionThrown":
            text = json.dumps(parameters["exceptionDetails"])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in {"error", "warning"}:
            text = f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}"
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in {"error", "warning", "assert"}:
            text = json.dumps(parameters["args"])
        if text and not any(part in text for part in EXPECTED):
            self.errors.append(text)


class Browser:
    """The browser's end of the DevTools protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._pages: dict[str, Page] = {}

    async def listen(self) -> None:
        async for raw in self._connection:
            message = json.loads(raw)
            if "id" in message:
                waiting = self._waiting.pop(message["id"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            elif message.get("sessionId") in self._pages:
                self._pages[message["sessionId"]].heard(message["method"], message["params"])

    async def call(self, method: str, parameters: dict[str, Any], session: str | None = None) -> Any:
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._connection.send(json.dumps(message))
        async with asyncio.timeout(20):
            result = await answer
        if "error" in result:
            raise AssertionError(f"{method}: {result['error']}")
        return result["result"]

    async def open(
        self, url: str, *, width: int = 1280, height: int = 900, mobile: bool = False, ratio: float = 1
    ) -> Page:
        target = await self.call("Target.createTarget", {"url": "about:blank"})
        attached = await self.call("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.call(f"{domain}.enable")
        await page.resize(width, height, mobile=mobile, ratio=ratio)
        await page.call("Emulation.setScrollbarsHidden", hidden=True)
        await page.goto(url)
        return page


@asynccontextmanager
async def chromium(program: str, profile: Path) -> AsyncIterator[Browser]:
    """The browser with a fresh profile; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        program,
        *FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    drain: asyncio.Task[Any] | None = None
    try:
        async with asyncio.timeout(30):
            while True:
                line = await process.stderr.readline()
                assert line, "Chromium ended before it listened"
                if b"DevTools listening on " in line:
                    break
        drain = asyncio.create_task(process.stderr.read())
        address = line.decode().rpartition(" ")[2].strip()
        async with connect(address, max_size=None, ping_interval=None, compression=None) as connection:
            browser = Browser(connection)
            listening = asyncio.create_task(browser.listen())
            try:
                yield browser
            finally:
                listening.cancel()
                with suppress(asyncio.CancelledError):
                    await listening
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if drain is not None:
            await drain
