"""Videos and cameras: one frame in so many seconds, and streams that fail, each in words."""

import csv
import io
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from click.testing import CliRunner

from runtime.__main__ import main
from runtime.errors import InputError
from runtime.prediction import streams
from runtime.prediction.streams import Stream, frames, stream_of

av = pytest.importorskip("av")


def write_video(path, seconds=3, rate=10, *, kind="mp4"):
    """A video whose brightness grows from frame to frame."""
    with av.open(str(path), "w", format=kind) as container:
        track = container.add_stream("mpeg4" if kind == "mp4" else "mpeg2video", rate=rate)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for number in range(seconds * rate):
            pixels = np.full((48, 64, 3), 40 + 5 * number, np.uint8)
            for packet in track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in track.encode():
            container.mux(packet)
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "a clip.mp4")


def predict(*words):
    return CliRunner().invoke(main, ["predict", *map(str, words)])


@pytest.mark.parametrize(
    ("word", "live"),
    [
        ("/dev/video0", True),
        ("rtsp://u:p@camera/1", True),
        ("https://host/clip", False),
        ("clips/A.MP4", False),
        ("photo.jpg", None),
        ("/dev/videos", None),
    ],
)
def test_what_a_word_names(word, live):
    found = stream_of(word)
    assert (None if found is None else found.live) == live


def test_a_password_in_an_address_is_not_shown():
    assert Stream("rtsp://me:secret@camera:554/1", live=True).name == "rtsp://camera:554/1"
    assert Stream("rtsp://camera/a@b", live=True).name == "rtsp://camera/a@b"
    named = Stream("rtsp://me:s@cret@camera/real?channel=2&user=me&password=12", live=True)
    assert named.name == "rtsp://camera/real?channel=2&user=***&password=***"
    assert named.last_part == "real"
    assert Stream("a?b=secret.mp4", live=False).last_part == "a?b=secret.mp4"


def test_frames_come_one_in_so_many_seconds_and_in_colour(video):
    stream = stream_of(str(video))
    found = list(frames(stream))
    assert [frame.seconds for frame in found] == [0, 1, 2]
    assert found[0].pixels.shape == (48, 64, 3)
    levels = [float(frame.pixels.mean()) for frame in found]
    assert levels == pytest.approx([40, 90, 140], abs=6)
    assert len(list(frames(stream, every_s=0))) == 30
    assert [frame.seconds for frame in frames(stream, every_s=0.5, most=3)] == [0, 0.5, 1]


def test_a_video_is_answered_beside_photos_with_copies_and_lines(video, sound_bundle, tmp_path):
    photo = next((sound_bundle / "golden" / "images").iterdir())
    copies = tmp_path / "copies"
    done = predict(sound_bundle, video, photo, "--csv", "--annotate", copies)
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    times = [f"{video}#t={second}.000" for second in range(3)]
    assert [row["image"] for row in rows] == [str(photo), *times]
    assert all(row["label"] in ("red", "blue") for row in rows)
    names = sorted(path.name for path in copies.iterdir())
    assert names[1:] == [f"a clip.mp4#t={second}.000.jpg" for second in range(3)] or len(names) == 4
    found = json.loads(predict(sound_bundle, video, "--json", "--frames", 2).stdout)
    assert [each["image"] for each in found] == times[:2]


def test_a_monitor_follows_the_frames_and_keeps_some(video, make_bundle, tmp_path):
    bundle = make_bundle(images=30)
    words = ("--every", 0.2, "--monitor", tmp_path / "monitor", "--csv")
    done = predict(bundle, video, *words)
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 1 + 15
    kept = list((tmp_path / "monitor" / "kept").glob("*.png"))
    assert kept
    assert (tmp_path / "monitor" / "events.jsonl").is_file()


def test_what_cannot_be_opened_or_has_no_picture_is_an_error_line(sound_bundle, tmp_path, video):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        track = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        for packet in [*track.encode(frame), *track.encode()]:
            container.mux(packet)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "cut.mp4").write_bytes(video.read_bytes()[:400])
    for word, why in (
        (tmp_path / "none.mp4", "no such file"),
        (tmp_path / "text.mp4", "cannot be opened"),
        (tmp_path / "cut.mp4", "cannot be opened"),
        (tmp_path / "sound.mp4", "it has no picture, only other tracks"),
        ("/dev/video97", "no such camera"),
        ("rtsp://me:secret@127.0.0.1:9/1", "rtsp://127.0.0.1:9/1: cannot be opened"),
    ):
        done = predict(sound_bundle, word, video, "--frames", 1, "--csv")
        assert done.exit_code == 2, word
        assert f"{why}" in done.stderr
        assert "Traceback" not in done.output
        assert "secret" not in done.output
        assert done.stdout.count("#t=0.000") == 1  # the other one is answered


def test_answers_to_a_camera_are_lines_and_not_a_table_at_its_end(video, sound_bundle):
    table = predict(sound_bundle, video, "--frames", 1)
    lines = predict(sound_bundle, "/dev/video97", video, "--frames", 1)
    assert (table.exit_code, lines.exit_code) == (0, 2)
    assert "," not in table.stdout.splitlines()[0]
    assert [row["image"] for row in csv.DictReader(io.StringIO(lines.stdout))] == [
        "/dev/video97",
        f"{video}#t=0.000",
    ]


@pytest.fixture
def served():
    """`served(content)`: an address that sends these bytes and then ends."""
    servers = []

    def serve(content):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/camera"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_camera_that_goes_away_is_told_with_what_it_gave_before(served, tmp_path):
    path = write_video(tmp_path / "camera.ts", kind="mpegts")
    content = path.read_bytes()
    address = served(content[: len(content) // 2])
    got = []
    with pytest.raises(InputError, match=r"camera: the camera went away after \d+ ") as told:
        for frame in frames(Stream(address, live=True), every_s=0):
            got.append(frame)
    assert 1 <= len(got) < 30
    assert f"after {len(got)} " in str(told.value)


def test_a_stream_in_which_nothing_comes_is_given_up(monkeypatch):
    monkeypatch.setattr(streams, "OPEN_S", 0.3)
    monkeypatch.setattr(streams, "SILENCE_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"rtsp://127.0.0.1:{server.getsockname()[1]}/1"
        with pytest.raises(InputError, match=r"cannot be opened: .*(nothing came|timed out)"):
            next(frames(Stream(address, live=True)))


def test_a_stream_without_frames_is_told(monkeypatch, video):
    monkeypatch.setattr(streams, "_decoded", lambda *_: iter(()))
    with pytest.raises(InputError, match="opened, but no frame came out of it"):
        next(frames(stream_of(str(video))))


def test_without_pyav_the_package_is_named(monkeypatch, video, sound_bundle):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    done = predict(sound_bundle, video)
    assert type(done.exception).__name__ == "MissingDependencyError"
    assert "pip install 'edge-compressor[video]'" in str(done.exception)
