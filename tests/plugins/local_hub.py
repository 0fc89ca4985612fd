"""A model hub on this machine, of plain HTTP: what huggingface.co answers for one file."""

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class LocalHub:
    """Serves `files`, by `owner/name/file`, as a hub does, and notes what was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    breaks_after: int | None = None
    """Close the connection after so many bytes of a file."""
    lies: bool = False
    """Send other bytes than those that were announced, as many."""
    url: str = ""

    def put(self, hub_id, content, name="model.safetensors"):
        self.files[f"{hub_id}/{name}"] = content

    def downloads(self):
        return [line for line in self.asked if line.startswith("GET")]


def _handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self._answer(body=False)

        def do_GET(self):
            self._answer(body=True)

        def _answer(self, *, body):
            name = self.path.lstrip("/").replace("/resolve/main/", "/")
            hub.asked.append(f"{self.command} {name}")
            content = hub.files.get(name)
            if content is None:
                self.send_response(404)
                known = any(key.rpartition("/")[0] == name.rpartition("/")[0] for key in hub.files)
                self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
                self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if not body:
                return
            if hub.breaks_after is not None:
                self.wfile.write(content[: hub.breaks_after])
                self.close_connection = True
                return
            self.wfile.write(bytes(len(content)) if hub.lies else content)

        def log_message(self, *args):
            pass

    return Handler


@pytest.fixture
def empty_hub_cache(tmp_path, monkeypatch):
    """A machine that may ask a hub, where nothing was fetched before, and that has no proxy."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "hub-cache"


@pytest.fixture
def local_hub(empty_hub_cache, monkeypatch):
    """The hub that this process asks, as long as the test lasts; at first it has no files."""
    hub = LocalHub()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        hub.url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub
        server.shutdown()
