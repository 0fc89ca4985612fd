"""What many tests need: images, a teacher small enough to run at once, a recipe, a browser."""

import base64
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session", autouse=True)
def no_home_cache(tmp_path_factory):
    """Nothing, subprocesses included, writes into the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_COMPRESSOR_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("EDGE_COMPRESSOR_CACHE_GB", raising=False)
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test finds what another has kept; only fixtures of wider scope share the one above."""
    folder = tmp_path_factory.getbasetemp() / f"cache-{uuid4().hex}"
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(folder))


@pytest.fixture(scope="session")
def folder_of_images(tmp_path_factory):
    """48 different PNGs of 32 x 32 pixels in the folders `blue` and `red`. Copy it to change it."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name, channel in (("blue", 2), ("red", 0)):
        (folder / name).mkdir()
        for number in range(24):
            pixels = rng.integers(0, 128, (32, 32, 3), np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="session")
def tiny_teacher(tmp_path_factory):
    """The `teacher:` section of a recipe: a ViT of one block for 32 pixels, its weights beside."""
    import timm
    import torch
    from safetensors.torch import save_file

    args = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2}
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **args)
    save_file(model.state_dict(), path)
    return {"model": "vit_tiny_patch16_224", "weights": str(path), "args": args}


@pytest.fixture
def write_recipe(tmp_path, folder_of_images, tiny_teacher):
    """Write a whole recipe that runs in seconds; `{"distill.epochs": 2}` changes a key."""
    from ruamel.yaml import YAML

    def write(changes=None, path: Path = tmp_path / "recipe.yaml"):
        document = {
            "name": "tiny",
            "data": {"images": str(folder_of_images), "labels": "folders", "holdout": 0.25},
            "teacher": dict(tiny_teacher),
            "student": {"model": "mobilenetv3_small_050", "image_size": 32, "embedding": 16},
            "distill": {"epochs": 1, "batch": 8, "views": 1, "workers": 1, "device": "cpu"},
            "target": "cpu",
        }
        for dotted, value in (changes or {}).items():
            *sections, key = dotted.split(".")
            node = document
            for section in sections:
                node = node.setdefault(section, {})
            node[key] = value
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.sort_base_mapping_type_on_output = False
        path.parent.mkdir(parents=True, exist_ok=True)
        yaml.dump(document, path)
        return path

    return write


# --- a real browser: Chromium, driven over a pipe by its DevTools protocol -------------------

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def found():
    """The program, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One tab; commands wait for their answers, events are kept."""

    def __init__(self, process, write, read):
        self._process, self._write, self._read = process, write, read
        self._number, self.events = 0, []
        (target,) = [
            each
            for each in self._send("Target.getTargets")["targetInfos"]
            if each["type"] == "page"
        ]
        attached = {"targetId": target["targetId"], "flatten": True}
        self._session = self._send("Target.attachToTarget", **attached)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method, **parameters):
        """A command to the tab, and what it answers."""
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
            assert byte, "Chromium has gone"
            parts += byte
        return json.loads(parts)

    def open(self, path: Path, width: int, height: int = 900):
        """Show a file at a width in CSS pixels, and wait until it is loaded."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height,
             deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        self.events.clear()
        self("Page.navigate", url=path.resolve().as_uri())
        while not any(each.get("method") == "Page.loadEventFired" for each in self.events):
            self.events.append(self._next())

    def run(self, expression: str):
        """The value of a JavaScript expression in the page."""
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True,
                      awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str):
        """One key, as from a keyboard."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        codes = {"Enter": 13, "Backspace": 8, "ArrowRight": 39, "ArrowLeft": 37, "Tab": 9}
        code = codes.get(key, ord(key.upper()) if len(key) == 1 else 0)
        for kind in ("keyDown", "keyUp"):
            more = text if kind == "keyDown" else {}
            self("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def type(self, text: str):
        """Characters into what has the focus."""
        self("Input.insertText", text=text)

    def requests(self) -> list[str]:
        """Addresses of everything that was asked for since the page was opened."""
        sent = (each for each in self.events if each.get("method") == "Network.requestWillBeSent")
        return [each["params"]["request"]["url"] for each in sent]

    def complaints(self) -> list[str]:
        """Errors in the console and exceptions since the page was opened."""
        kinds = ("Log.entryAdded", "Runtime.exceptionThrown")
        return [json.dumps(each) for each in self.events if each.get("method") in kinds]

    def screenshot(self, path: Path, *, whole: bool = True, dark: bool = False):
        """A picture of the page as it stands."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        picture = self("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))


@contextmanager
def browser(folder: Path):
    """A headless Chromium with a profile of its own in `folder`."""
    (read_theirs, write_ours), (read_ours, write_theirs) = os.pipe(), os.pipe()
    words = [
        found(), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
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
    """A tab of a headless Chromium; the test is skipped where there is none."""
    if found() is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is here; see tools/test_programs.sh")
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab
