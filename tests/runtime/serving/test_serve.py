"""`python -m runtime serve`: a real server, real clients, and what a hostile one may do."""

import asyncio
import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

import runtime
from runtime.__main__ import main

pytest.importorskip("uvicorn", reason="the extra `serve`")


@contextmanager
def serving(bundle, *options):
    """Start a server; its address, and the process."""
    words = [sys.executable, "-m", "runtime", "serve", str(bundle), "--port", "0", *options]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        while "http://" not in line:
            assert line, "it ended"
            line = process.stderr.readline()
        yield urlsplit(next(word for word in line.split() if word.startswith("http"))), process
    finally:
        process.kill()
        process.communicate()


def ask(address, method, path, body=None, headers=None):
    """One request; the status and the JSON of the answer."""
    client = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
    try:
        with contextlib.suppress(BrokenPipeError):  # a refusal may come before all was sent
            client.request(method, path, body, headers or {})
        answer = client.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else text.decode()
    finally:
        client.close()


@pytest.fixture(scope="module")
def served(sound_bundle):
    with serving(sound_bundle, "--max-mb", "0.2", "--batch", "4", "--wait-ms", "20") as (at, _):
        yield at


@pytest.fixture(scope="module")
def images(sound_bundle):
    return sorted((sound_bundle / "golden").glob("**/*.png"))


def test_many_clients_at_once_get_what_predict_says(served, sound_bundle, images):
    expected = [each.to_dict() for each in runtime.load(sound_bundle).predict(images)]
    order = [at % len(images) for at in range(200)]
    with ThreadPoolExecutor(16) as pool:
        found = list(
            pool.map(lambda at: ask(served, "POST", "/predict", images[at].read_bytes()), order)
        )
    for at, (status, answer) in zip(order, found, strict=True):
        assert status == 200
        assert answer["label"] == expected[at]["label"]
        assert answer["likeness"] == pytest.approx(expected[at]["likeness"], abs=1e-5)
        assert answer["nearest"][0]["image"] == expected[at]["nearest"][0]["image"]
    health = ask(served, "GET", "/health")[1]
    assert health["status"] == "ok"
    assert health["answered"] >= 200
    assert 1 < health["largest_batch"] <= 4
    assert health["batches"] < health["answered"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "told"),
    [
        (b"", {}, 400, "empty"),
        (b"no image at all", {}, 400, "not an image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, {}, 400, "damaged"),
        (b"x" * 300_000, {}, 413, "more than 0.2 MB"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=x"}, 415, "--data-binary"),
    ],
)
def test_a_wrong_request_is_told_and_costs_nothing(served, body, headers, status, told):
    found, answer = ask(served, "POST", "/predict", body, headers)
    assert (found, told in answer["error"]) == (status, True)
    assert ask(served, "GET", "/health")[0] == 200


def test_a_gigabyte_is_refused_before_it_is_sent(served):
    with socket.create_connection((served.hostname, served.port), timeout=60) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        assert b" 413 " in client.recv(1000)


def test_a_body_without_a_length_is_cut_off_at_the_limit(served):
    def parts():
        for _ in range(100):
            yield b"x" * 10_000

    assert ask(served, "POST", "/predict", parts())[0] == 413


def test_other_paths_and_methods_are_no_predictions(served):
    assert ask(served, "GET", "/predict")[0] == 405
    assert ask(served, "GET", "/../bundle.json")[0] == 404


def test_prometheus_reads_the_counts(served, images):
    ask(served, "POST", "/predict", images[0].read_bytes())
    status, text = ask(served, "GET", "/metrics")
    assert status == 200
    numbers = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    assert float(numbers['edge_compressor_requests_total{status="200"}']) >= 1
    assert float(numbers["edge_compressor_batches_total"]) >= 1
    for name in {line.split("{")[0].split(" ")[0] for line in numbers}:
        assert f"# TYPE {name} " in text


def test_too_many_requests_are_refused_at_once_and_the_rest_are_answered(sound_bundle, images):
    """Slow clients hold both places; the next is refused, and answered when they are gone."""
    with serving(sound_bundle, "--requests", "2") as (at, _):
        slow = [socket.create_connection((at.hostname, at.port), timeout=60) for _ in range(2)]
        for client in slow:
            client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        deadline = time.monotonic() + 60
        while ask(at, "GET", "/health")[1]["waiting"] < 2:
            assert time.monotonic() < deadline
        status, answer = ask(at, "POST", "/predict", images[0].read_bytes())
        assert (status, "2 requests are waiting" in answer["error"]) == (503, True)
        for client in slow:
            client.close()
        while ask(at, "POST", "/predict", images[0].read_bytes())[0] != 200:
            assert time.monotonic() < deadline


def test_two_hundred_clients_at_once_are_answered_or_refused(sound_bundle, images):
    body, together = images[0].read_bytes(), threading.Barrier(200)

    def client(_):
        together.wait()
        return ask(at, "POST", "/predict", body)[0]

    with serving(sound_bundle, "--requests", "8") as (at, _), ThreadPoolExecutor(200) as pool:
        statuses = list(pool.map(client, range(200)))
        assert set(statuses) <= {200, 503}
        assert 200 in statuses
        health = ask(at, "GET", "/health")[1]
        assert health["waiting"] == 0
        assert health["answered"] + health["refused"] == 200


@pytest.mark.parametrize(("told", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_stops_when_it_is_told_to(sound_bundle, told, code):
    with serving(sound_bundle) as (_, process):
        process.send_signal(told)
        assert process.wait(60) == code
        assert "Traceback" not in process.stderr.read()


def test_a_port_that_is_taken_is_a_message(sound_bundle):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = CliRunner().invoke(main, ["serve", str(sound_bundle), "--port", port])
    assert "another port" in str(done.exception)


@pytest.mark.parametrize("host", ["..", "a" * 80])
def test_what_is_no_host_is_a_message(sound_bundle, host):
    done = CliRunner().invoke(main, ["serve", str(sound_bundle), "--host", host])
    assert "no name of a host" in str(done.exception)
    assert isinstance(done.exception, runtime.InputError)


def test_without_the_extra_it_says_what_to_install(sound_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = CliRunner().invoke(main, ["serve", str(sound_bundle)])
    assert "edge-compressor[serve]" in str(done.exception)


def test_a_monitor_follows_the_answers_and_keeps_images(make_bundle, tmp_path):
    bundle = make_bundle(images=24)
    images = sorted((bundle / "golden" / "images").iterdir())
    with serving(bundle, "--monitor", str(tmp_path / "monitor")) as (at, _):
        for path in images:
            assert ask(at, "POST", "/predict", path.read_bytes())[0] == 200
        deadline = time.monotonic() + 60
        while ask(at, "GET", "/health")[1]["monitor"]["images"] < len(images):
            assert time.monotonic() < deadline
        assert "edge_compressor_evidence" in ask(at, "GET", "/metrics")[1]
    assert '"event": "start"' in (tmp_path / "monitor" / "events.jsonl").read_text()
    assert list((tmp_path / "monitor" / "kept").glob("*.png"))


def test_a_slow_monitor_follows_every_answer_and_holds_few_images(make_bundle, tmp_path):
    from runtime.serving.app import application
    from runtime.serving.limits import Limits

    go, seen = threading.Event(), []
    student = runtime.load(make_bundle(images=24))

    class SlowMonitor(runtime.Monitor):
        def see(self, prediction, image=None):
            assert go.wait(60)
            seen.append(image)
            return super().see(prediction, image)

    scope = {"type": "http", "method": "POST", "path": "/predict", "root_path": "", "headers": []}

    async def post(app, body):
        answered = asyncio.Event()

        async def receive():
            return {"type": "http.request", "body": body}

        async def send(message):
            if message["type"] == "http.response.body":
                answered.set()

        task = asyncio.create_task(app(scope, receive, send))
        await answered.wait()
        return task

    async def all_of(body):
        app = application(student, Limits(requests=2), monitor)
        async with app.router.lifespan_context(app):
            tasks = [await post(app, body) for _ in range(5)]
            go.set()
            await asyncio.gather(*tasks)

    body = next((student.bundle.folder / "golden" / "images").iterdir()).read_bytes()
    monitor = SlowMonitor(student, tmp_path)
    asyncio.run(all_of(body))
    assert seen == [body, body, None, None, None]
    assert monitor.images == 5


def test_a_monitor_with_too_little_to_compare_with_is_a_message(sound_bundle, tmp_path):
    done = CliRunner().invoke(main, ["serve", str(sound_bundle), "--monitor", str(tmp_path)])
    assert "too few" in str(done.exception)
