"""Debian's Chromium, driven over two pipes (Chrome DevTools Protocol), without a library."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from tests.peers import need


class Browser:
    """One page in a browser of its own; `said` are the errors in its console, and what was blocked."""

    def __init__(self, folder: Path) -> None:
        program = need("chromium", "chromium")
        to_it, ours = os.pipe()
        theirs, from_it = os.pipe()
        command = (
            f'exec 3<&{to_it} 4>&{from_it}; exec "$0" --headless=new --no-sandbox --disable-gpu '
            "--hide-scrollbars --no-first-run --disable-dev-shm-usage --remote-debugging-pipe "
            '--user-data-dir="$1" about:blank'
        )
        self._process = subprocess.Popen(
            ["bash", "-c", command, program, str(folder / "chromium")],
            pass_fds=(to_it, from_it),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_it)
        os.close(from_it)
        self._ours, self._theirs = ours, theirs
        self._buffer = b""
        self._number = 0
        self._session = ""
        self.said: list[str] = []
        self.loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the result of a call."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._ours, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 60
        while (answer := self._next(until)).get("id") != self._number:
            pass
        if "error" in answer and "navigated" in answer["error"]["message"]:
            return {"result": {}}  # the page that was asked has gone
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._theirs], [], [], max(0.0, until - time.monotonic()))[0], (
                "it is silent"
            )
            read = os.read(self._theirs, 1 << 20)
            assert read, "the browser has ended"
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        about = message.get("params", {})
        if message.get("method") == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.said.append(about["entry"]["text"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.said.append(str(about["exceptionDetails"].get("exception", {}).get("description")))
        elif message.get("method") == "Page.loadEventFired":
            self.loaded = True
        return message

    def go(self, url: str) -> None:
        """Load a page."""
        self.loaded = False
        self.call("Page.navigate", url=url)
        until = time.monotonic() + 60
        while not self.loaded:
            self._next(until)

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Give the page a size, in pixels of CSS, and a colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1.0,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def without_script(self) -> None:
        """Have pages loaded without JavaScript."""
        self.call("Emulation.setScriptExecutionDisabled", value=True)

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression, awaited where it is a promise."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")
