"""Frames of videos that are made here: key frames, thinned; and files that cannot be decoded."""

import wave

import av
import numpy as np
import pytest
from PIL import Image

from compressor.data.image_files import open_rgb
from compressor.data.sources.opened import opened
from image_folders import audit, ids
from runtime.errors import InputError


def scene(seed):
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((96, 64), Image.Resampling.BICUBIC))


@pytest.fixture
def film(tmp_path):
    """Write a video of ten frames a second, each fifth a key frame; `scenes` are its frames."""

    def film(name, scenes, codec="mpeg4"):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            stream.gop_size, stream.bit_rate = 5, 4_000_000
            for each in scenes:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(each), "rgb24")))
            container.mux(stream.encode())
        return path

    return film


def refusal(path):
    with pytest.raises(InputError) as caught:
        opened(path)
    return str(caught.value)


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
    for wrong in (b"", b"no video" * 100, content[: len(content) // 2]):
        path.write_bytes(wrong)
        assert refusal(path).startswith(f"{path}: cannot be decoded as a video: ")
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
