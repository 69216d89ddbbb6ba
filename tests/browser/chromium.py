"""Headless Chromium, driven through its debugging pipe with nothing but Python."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = "chromium"
COMPLAINTS = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # it refuses to run as root with one, and opens our own page only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


class Browser:
    """One page of a browser; what it complains of is kept in `complaints`."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._waiting = b""
        self._count = 0
        self._session: str | None = None
        self.complaints: list[Any] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the Chrome DevTools Protocol."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        """Read one message, and keep it if it is a complaint."""
        while b"\0" not in self._waiting:
            received = os.read(self._read, 1 << 20)
            if not received:
                raise RuntimeError("the browser has gone")
            self._waiting += received
        message, _, self._waiting = self._waiting.partition(b"\0")
        event: dict[str, Any] = json.loads(message)
        kind = event.get("method")
        if kind in COMPLAINTS:
            self.complaints.append(event["params"])
        if kind == "Network.requestWillBeSent":
            url = event["params"]["request"]["url"]
            if not url.startswith(("file:", "data:", "blob:")):
                self.complaints.append(f"asked the network for {url}")
        return event

    def open(self, path: Path, width: int, height: int, *, scheme: str = "light") -> None:
        """Open a page from disk in a window of some size, and wait until it is ready."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.evaluate(
            "new Promise((done) => { const ask = () => document.body?.dataset.ready === ''"
            " ? done() : setTimeout(ask, 20); ask(); })"
        )

    def evaluate(self, expression: str) -> Any:
        """Compute an expression of JavaScript in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def key(self, name: str) -> None:
        """Press a key: its name is that of KeyboardEvent.key."""
        text = {"Enter": "\r", " ": " "}.get(name, "")
        self.call("Input.dispatchKeyEvent", type="keyDown", key=name, code=name, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name, code=name)

    def mouse(self, selector: str, *, click: bool = False) -> None:
        """Move the mouse to the middle of an element, and click there if told to."""
        x, y = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        kinds = ("mouseMoved", *(("mousePressed", "mouseReleased") if click else ()))
        for kind in kinds:
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def screenshot(self, path: Path) -> None:
        """Write what the window shows to a PNG."""
        shot = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(shot))


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser, and end it after the block."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise RuntimeError(f"there is no {PROGRAM} on this machine")
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    # The browser reads from file descriptor 3 and writes to 4.
    redirect = f'exec "$@" 3<&{to_read} 4>&{from_write}'
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            ["sh", "-c", redirect, "sh", program, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(to_read, from_write),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(from_write)
        try:
            yield Browser(to_write, from_read)
        finally:
            os.close(to_write)
            os.close(from_read)
            process.terminate()
            process.wait()
