"""A finished run, and a hub on this machine that takes uploads."""

import base64
import hashlib
import json
import shutil
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ruamel.yaml import YAML

FIXTURES = Path(__file__).parents[2] / "fixtures"
TOKEN = "hf_0123456789abcdefghij"


@pytest.fixture
def finished_run(tmp_path):
    """The folder of a finished run: report and bundle."""
    folder = tmp_path / "run"
    shutil.copytree(FIXTURES / "bundle_v1", folder / "bundle")
    shutil.copy(FIXTURES / "report_v1.json", folder / "report.json")
    (folder / "report.md").write_text("# tiny\n")
    (folder / "report.html").write_text("<h1>tiny</h1>\n")
    (folder / "student.safetensors").write_bytes(b"not sent")
    return folder


@dataclass
class Hub:
    """Takes what huggingface_hub sends: repositories, file by file or by LFS, and commits."""

    url: str = ""
    repositories: dict[str, dict] = field(default_factory=dict)
    """By name: `private`, `files` (name -> bytes), `commits` (messages)."""
    uploads: dict[str, bytes] = field(default_factory=dict)
    """What came by LFS, by sha256."""
    asked: list[str] = field(default_factory=list)
    refuses: int = 0
    """Answer every writing request with this code."""
    fails_at: str = ""
    """Answer with 500 where the path holds this."""

    def add(self, name, *, private, files=None):
        self.repositories[name] = {"private": private, "files": files or {}, "commits": []}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self):
        self._note()
        path = self.path.partition("?")[0]
        if path == "/api/whoami-v2":
            return self._json({"name": "me", "type": "user", "orgs": []})
        name = "/".join(path.removeprefix("/api/models/").split("/")[:2])
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self._json({"error": "Repository not found"}, 404, "RepoNotFound")
        if "/tree/" in path:
            found = repository["files"].items()
            return self._json(
                [
                    {"type": "file", "path": key, "size": len(value), "oid": "0" * 40}
                    for key, value in found
                ]
            )
        siblings = [{"rfilename": key} for key in repository["files"]]
        answer = {"id": name, "private": repository["private"], "siblings": siblings}
        return self._json(answer | {"sha": "0" * 40, "tags": [], "downloads": 0, "likes": 0})

    def do_PUT(self):
        self._note()
        content = self._body()
        self.hub.uploads[hashlib.sha256(content).hexdigest()] = content
        return self._json({})

    def do_POST(self):
        self._note()
        body = self._body()
        if self.hub.fails_at and self.hub.fails_at in self.path:
            return self._json({"error": "the hub is on fire"}, 500)
        if self.hub.refuses:
            return self._json({"error": "you may not write here"}, self.hub.refuses)
        if self.path == "/api/repos/create":
            return self._create(json.loads(body))
        if self.path == "/api/validate-yaml":  # what the hub does with the header of a card
            header = json.loads(body)["content"].split("---\n")[1]
            found = YAML(typ="safe", pure=True).load(header)
            errors = [] if found.get("license") else [{"message": "license is required"}]
            return self._json({"errors": errors, "warnings": []}, 400 if errors else 200)
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": each["path"],
                    "shouldIgnore": False,
                    "uploadMode": "lfs" if each["path"].endswith(".onnx") else "regular",
                }
                for each in files
            ]
            return self._json({"files": modes})
        if self.path.endswith("/info/lfs/objects/batch"):
            wanted = json.loads(body)["objects"]
            objects = [
                {
                    **each,
                    "actions": {"upload": {"href": f"{self.hub.url}/lfs/{each['oid']}"}},
                }
                for each in wanted
            ]
            return self._json({"transfer": "basic", "objects": objects})
        if "/commit/" in self.path:
            return self._commit([json.loads(line) for line in body.splitlines()])
        return self._json({"error": self.path}, 404)

    def _create(self, asked):
        owner = asked.get("organization") or "me"
        name = f"{owner}/{asked['name']}"
        url = f"{self.hub.url}/{name}"
        if name in self.hub.repositories:
            return self._json({"error": "You already created this model repo", "url": url}, 409)
        self.hub.add(name, private=asked.get("private") or asked.get("visibility") == "private")
        return self._json({"url": url, "id": "1", "name": name})

    def _commit(self, lines):
        name = "/".join(self.path.removeprefix("/api/models/").split("/")[:2])
        repository = self.hub.repositories[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repository["commits"].append(value["summary"])
            elif line["key"] == "file":
                repository["files"][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository["files"][value["path"]] = self.hub.uploads[value["oid"]]
            elif line["key"] == "deletedFile":
                del repository["files"][value["path"]]
        url = f"{self.hub.url}/{name}/commit/{'1' * 40}"
        return self._json({"commitUrl": url, "commitOid": "1" * 40})

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _note(self):
        token = self.headers.get("Authorization", "")
        self.hub.asked.append(f"{self.command} {self.path} {token}")

    def _json(self, answer, code=200, error=""):
        content = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(empty_hub_cache, monkeypatch):
    """A hub that this process asks, with a token for it; without hf-xet, which it cannot speak."""
    from huggingface_hub import constants

    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        hub.url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub
        server.shutdown()
