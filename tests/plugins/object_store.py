"""A server on this machine that speaks the part of S3's protocol that reading needs, and http.

Objects are real bytes in memory, asked for by a real client over a socket. It can refuse, fail for
a while, and go away.
"""

import hashlib
import socket
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

SECRET = "wJalrXUtnFEMI-secret-of-the-test"
PAGE = 7
"""Keys a listing returns at once: a client has to ask again."""


class ObjectStore:
    """Buckets and their objects, and how the server behaves."""

    def __init__(self):
        self.objects = {}
        self.refuses = set()
        """Keys that are answered with 403; `*`: all."""
        self.fails = Counter()
        """How often each key is answered with 503 before it is given."""
        self.requests = Counter()
        self.port = 0
        self._lock = threading.Lock()

    def put(self, key, content):
        self.objects[key] = content

    @property
    def http(self):
        return f"http://127.0.0.1:{self.port}"

    def answer(self, key):
        """The code for an object, and its content."""
        with self._lock:
            self.requests[key] += 1
            if "*" in self.refuses or key in self.refuses:
                return 403, b""
            if self.fails[key] > 0:
                self.fails[key] -= 1
                return 503, b""
        return (200, self.objects[key]) if key in self.objects else (404, b"")

    def listing(self, bucket, query):
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        after = query.get("continuation-token", [""])[0]
        names = sorted(k.partition("/")[2] for k in self.objects if k.startswith(f"{bucket}/"))
        names = [name for name in names if name.startswith(prefix) and name > after]
        if delimiter:
            rest = [name[len(prefix) :] for name in names]
            folders = sorted({prefix + r.split("/")[0] + "/" for r in rest if "/" in r})
            names = [name for name in names if "/" not in name[len(prefix) :]]
        else:
            folders = []
        page, more = names[:PAGE], len(names) > PAGE
        items = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(self.objects[f'{bucket}/{name}'])}</Size>"
            f"<ETag>&quot;{hashlib.md5(self.objects[f'{bucket}/{name}']).hexdigest()}&quot;</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for name in page
        )
        items += "".join(
            f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
            for folder in folders
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0"?><ListBucketResult>'
            f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
            f"<MaxKeys>{PAGE}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}"
            "</ListBucketResult>"
        ).encode()


def _handler(store):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_HEAD(self):
            self._go(body=False)

        def do_GET(self):
            self._go(body=True)

        def _go(self, body):
            parts = urlsplit(self.path)
            key, query = unquote(parts.path).lstrip("/"), parse_qs(parts.query)
            if "list-type" in query:
                bucket = key.rstrip("/")
                code, _ = store.answer(f"{bucket}?list")
                code = 200 if code == 404 else code
                self._send(code, store.listing(bucket, query), body, "application/xml")
                return
            code, content = store.answer(key)
            wanted = self.headers.get("Range")
            if code == 200 and wanted:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                start = int(first)
                end = min(int(last) if last else len(content) - 1, len(content) - 1)
                extra = {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
                self._send(206, content[start : end + 1], body, "binary/octet-stream", extra)
                return
            self._send(code, content, body, "binary/octet-stream")

        def _send(self, code, content, body, kind, extra=None):
            if code >= 400 and body:
                name = {403: "AccessDenied", 404: "NoSuchKey", 503: "SlowDown"}[code]
                content = f"<Error><Code>{name}</Code><Message>{SECRET}</Message></Error>".encode()
                kind = "application/xml"
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            for name, value in (extra or {}).items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

    return Handler


class _Server(ThreadingHTTPServer):
    """A server that can go away: connections that clients keep are cut too."""

    daemon_threads = True

    def __init__(self, store):
        self.connections = set()
        super().__init__(("127.0.0.1", 0), _handler(store))

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def stop(self):
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def serving(store):
    """Serve a store until the end of the block, or until `store.stop()`."""
    server = _Server(store)
    store.port, store.stop = server.server_address[1], server.stop
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield store
    finally:
        server.stop()
        thread.join()


@pytest.fixture
def object_store(monkeypatch):
    """A store that S3's client finds by its environment, and http under `object_store.http`."""
    with serving(ObjectStore()) as store:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", store.http)
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.http)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTTESTTEST")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield store
