"""Frames of videos that are made here: key frames, thinned; and files that cannot be decoded."""

import re
import struct
import wave

import av
import numpy as np
import pytest
from PIL import Image

from compressor.data.image_files import open_rgb
from compressor.data.sources.opened import opened
from image_folders import audit, ids
from refused_source import refusal
from runtime.errors import InputError


def scene(seed):
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((96, 64), Image.Resampling.BICUBIC))


@pytest.fixture
def film(tmp_path):
    """Write a video of ten frames a second, each fifth a key frame; `scenes` are its frames."""

    def film(name, scenes, codec="mpeg4", rate=10):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        first = {"movflags": "faststart"} if path.suffix == ".mp4" else {}  # what is needed to read
        with av.open(str(path), "w", options=first) as container:
            stream = container.add_stream(codec, rate=rate)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            stream.gop_size, stream.bit_rate = 5, 4_000_000
            for each in scenes:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(each), "rgb24")))
            container.mux(stream.encode())
        return path

    return film


def test_key_frames_a_second_apart_are_images_named_by_their_time(film):
    path = film("a.mp4", range(40))
    source = opened(path)
    assert list(source.names) == [f"a.mp4/{second:06d}.000.png" for second in range(4)]
    for second in range(4):
        image = np.asarray(open_rgb(source / f"a.mp4/{second:06d}.000.png"), np.float32)
        assert np.abs(image - scene(10 * second)).mean() < 12
    assert source.notes == [
        "4 frames of 1 videos: key frames; left out: 4 less than 1 s after another, 0 like the one "
        "before"
    ]
    assert len(opened(path, frame_seconds=0).names) == 8


def test_a_frame_is_the_same_whenever_it_is_asked_for(film):
    source = opened(film("a.mp4", range(40)))
    first = [source.open(name).read() for name in source.names]
    again = [source.open(name).read() for name in reversed(source.names)]
    assert first == again[::-1]
    one = np.asarray(Image.open(source.open(source.names[2])))
    (path := source._videos[0].path.with_name("copy.png")).write_bytes(source.read(source.names[2]))
    assert np.array_equal(np.asarray(Image.open(path)), one)


def test_a_video_that_a_phone_took_upright_is_turned(film):
    path = film("a.mp4", range(10))
    before = np.asarray(open_rgb(opened(path) / "a.mp4/000000.000.png"))
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40  # ISO 14496-12: the header of a track
    quarter = (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)  # to the right
    assert struct.unpack_from(">9i", content, matrix)[0] == 1 << 16
    struct.pack_into(">9i", content, matrix, *quarter)
    path.write_bytes(content)
    after = np.asarray(open_rgb(opened(path) / "a.mp4/000000.000.png"))
    assert np.array_equal(after, np.rot90(before, -1))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mpg"])
def test_every_frame_is_found_again_in_every_container(film, name):
    of_mpg = {"codec": "mpeg2video", "rate": 25} if name == "a.mpg" else {}
    source = opened(film(name, range(40), **of_mpg), frame_seconds=0)
    assert len(source.names) == 8
    for number, each in enumerate(source.names):
        image = np.asarray(open_rgb(source / each), np.float32)
        assert np.abs(image - scene(5 * number)).mean() < 15


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.mp4", "frames are there"),
        ("a.mkv", " of 4.0 s are there"),
        ("a.avi", "of 40 frames are there"),
    ],
)
def test_a_video_that_is_cut_short_is_told_and_its_frames_are_used(film, name, said):
    path = film(name, range(40))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    source = opened(path, frame_seconds=0)
    assert 2 <= len(source.names) < 8
    assert source.notes[1].startswith(f"{path}: cut short: ")
    assert said in source.notes[1]
    assert len(audit(source).images) == len(source.names)


def test_frames_like_the_one_before_are_left_out(film):
    still = [1] * 20 + [2] * 10
    source = opened(film("a.mp4", still))
    assert list(source.names) == ["a.mp4/000000.000.png", "a.mp4/000002.000.png"]
    assert "2 like the one before" in source.notes[0]


def test_folders_around_videos_are_classes(film, tmp_path):
    for n, kind in enumerate(("cat", "cat", "dog", "dog")):
        film(f"{kind}/{n}.avi", range(20 * n, 20 * n + 20))
    found = audit(opened(tmp_path / "clips" / "*" / "*.avi"), labels="folders")
    assert found.images.classes == ("cat", "dog")
    assert len(found.images) == 8
    assert ids(found)[0] == "cat/0.avi/000000.000.png"


def test_what_is_no_video_is_named(film, tmp_path):
    path = film("a.mp4", range(10))
    content = path.read_bytes()
    for wrong in (b"", b"no video" * 100, content[:200]):
        path.write_bytes(wrong)
        assert re.match(f"{path}: (cannot be decoded as a video: |has no pictures)", refusal(path))
    sound = tmp_path / "clips" / "sound.mp4"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    assert refusal(sound) == f"{sound}: has no pictures, only audio"


def test_a_video_that_changes_while_it_is_read_is_an_error(film):
    path = film("a.mp4", range(40))
    source = opened(path)
    film("a.mp4", range(10))
    with pytest.raises(InputError, match="was changed while it was read"):
        source.open("a.mp4/000003.000.png")
    path.unlink()
    with pytest.raises(InputError, match="cannot be decoded as a video"):
        source.open("a.mp4/000000.000.png")


def test_the_fingerprint_changes_with_a_video_and_with_the_time_between_frames(film):
    path = film("a.mp4", range(20))
    before = opened(path).fingerprint()
    assert opened(path).fingerprint() == before
    assert opened(path, frame_seconds=0.5).fingerprint() != before
