"""A real browser for tests: Chromium, controlled over a pipe by the DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium():
    """Path of the program, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One tab. A command waits for its answer; events are kept."""

    def __init__(self, process, write, read):
        self._process, self._write, self._read = process, write, read
        self._number, self.events = 0, []
        targets = self._send("Target.getTargets")["targetInfos"]
        (target,) = [target for target in targets if target["type"] == "page"]
        attached = {"targetId": target["targetId"], "flatten": True}
        self._session = self._send("Target.attachToTarget", **attached)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method, **parameters):
        """Send a command to the tab and return its answer."""
        return self._send(method, self._session, **parameters)

    def _send(self, method, session=None, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self._write.write(json.dumps(message).encode() + b"\0")
        self._write.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def _next(self):
        parts = bytearray()
        while (byte := self._read.read(1)) != b"\0":
            assert byte, "Chromium has ended"
            parts += byte
        return json.loads(parts)

    def open(self, path: Path, width: int, height: int = 900):
        """Show a file at a width in CSS pixels and wait until it is loaded."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height,
             deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        self.events.clear()
        self("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, expression: str):
        """The value of a JavaScript expression in the page."""
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True,
                      awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str):
        """Press and release a key."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        codes = {"Enter": 13, "Backspace": 8, "ArrowRight": 39, "ArrowLeft": 37, "Tab": 9}
        code = codes.get(key, ord(key.upper()) if len(key) == 1 else 0)
        for kind in ("keyDown", "keyUp"):
            more = text if kind == "keyDown" else {}
            self("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def type(self, text: str):
        """Type text into the focused element."""
        self("Input.insertText", text=text)

    def requests(self) -> list[str]:
        """Addresses of all requests since the page was opened."""
        sent = [
            event for event in self.events if event.get("method") == "Network.requestWillBeSent"
        ]
        return [event["params"]["request"]["url"] for event in sent]

    def complaints(self) -> list[str]:
        """Errors in the console and exceptions since the page was opened."""
        kinds = ("Log.entryAdded", "Runtime.exceptionThrown")
        return [json.dumps(event) for event in self.events if event.get("method") in kinds]

    def screenshot(self, path: Path, *, whole: bool = True, dark: bool = False):
        """Save an image of the page."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        picture = self("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))


@contextmanager
def browser(folder: Path):
    """Start a headless Chromium with its profile in `folder`."""
    (read_theirs, write_ours), (read_ours, write_theirs) = os.pipe(), os.pipe()
    words = [
        chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
        f"--user-data-dir={folder}", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "about:blank",
    ]  # fmt: skip
    shell = f'exec "$@" 3<&{read_theirs} 4>&{write_theirs}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "bash", *words],
        pass_fds=(read_theirs, write_theirs),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_theirs)
    os.close(write_theirs)
    with os.fdopen(write_ours, "wb") as write, os.fdopen(read_ours, "rb") as read:
        try:
            yield Browser(process, write, read)
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture(scope="session")
def tab(tmp_path_factory):
    """A tab of a headless Chromium; without Chromium the test is skipped."""
    if chromium() is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is here; see tools/test_programs.sh")
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab
