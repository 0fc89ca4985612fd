"""A model hub on this machine, of plain HTTP: what huggingface.co answers for one file."""

import hashlib
import json
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

        def _data_set(self, path):
            """What the API says of `datasets/owner/name`: that it is there, or its files."""
            parts = path.removeprefix("/api/").partition("?")[0].split("/")
            begin = "/".join(parts[:3]) + "/"
            names = [key.removeprefix(begin) for key in hub.files if key.startswith(begin)]
            files = [
                {
                    "type": "file",
                    "path": name,
                    "oid": "a" * 40,
                    "size": len(hub.files[begin + name]),
                }
                for name in names
            ]
            folders = {name.rpartition("/")[0] for name in names if "/" in name}
            files += [{"type": "directory", "path": f, "oid": "b" * 40, "size": 0} for f in folders]
            known = {"id": "/".join(parts[1:3]), "sha": "c" * 40, "siblings": []}
            return json.dumps(files if "tree" in parts else known).encode()

        def _part(self, content):
            """Send the part of a file that is asked for."""
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(content)), len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
            self.send_header("Content-Length", str(end + 1 - start))
            self.end_headers()
            self.wfile.write(content[start : end + 1])

        def _answer(self, *, body):
            name = self.path.lstrip("/").replace("/resolve/main/", "/")
            hub.asked.append(f"{self.command} {name}")
            content = hub.files.get(name)
            if self.path.startswith("/api/datasets/"):
                content = self._data_set(self.path)
            if content is not None and name.startswith("datasets/") and "Range" in self.headers:
                self._part(content)
                return
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
