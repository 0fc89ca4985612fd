"""Photographs of 108 and 200 million pixels, and how much memory decoders use together."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from image_bytes import png
from runtime.errors import ImageError
from runtime.images import decode as decoding
from runtime.images.decode import decode, upright
from runtime.images.room import Room

PEAK = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from runtime.images.decode import decode
def size(path): return decode(Path(path)).size
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(4) as pool: sizes = list(pool.map(size, sys.argv[1:]))
print(sizes[0], (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1000)
"""


def peak_mb(*paths):
    """The size of the first image, and the megabytes that four threads needed for all."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *paths], capture_output=True, text=True, check=True
    )
    size, _, peak = done.stdout.strip().rpartition(" ")
    return size, int(peak)


def test_a_photo_of_108_million_pixels_is_kept_at_half_its_size(tmp_path):
    path = tmp_path / "phone.jpg"
    Image.new("RGB", (12_000, 9_000), (90, 120, 60)).save(path)
    size, peak = peak_mb(path)
    assert size == "(6000, 4500)"
    assert peak < 400  # 108 million pixels of 4 bytes are 432


def test_200_million_pixels_without_a_smaller_size_in_the_file(tmp_path):
    path = tmp_path / "scan.png"
    row = b"\0" + b"\xf0" * (16_320 // 8)
    path.write_bytes(png(16_320, 12_240, bits=1, colour=0, rows=row * 12_240))
    image = decode(path)
    assert image.size == (4080, 3060)
    assert np.unique(np.asarray(image)).tolist() == [0, 255]  # squares of four alike


def test_four_threads_take_turns_with_large_images(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    content = png(9_400, 9_400, bits=8, colour=6, rows=bytes(1 + 4 * 9_400) * 9_400)
    assert len(content) < 400_000
    for path in paths:
        path.write_bytes(content)
    _, peak = peak_mb(*paths)
    assert peak < 900  # one of them is 353 MB; what is kept of each, 88


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_large_image_is_the_average_of_its_squares(tmp_path, monkeypatch, name):
    monkeypatch.setattr(decoding, "LARGE_PIXELS", 2_000)
    monkeypatch.setattr(decoding, "_STRIP_PIXELS", 1_000)
    small = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    whole = Image.fromarray(small).resize((90, 61), Image.Resampling.BICUBIC)
    options = {"lossless": True} if name == "a.webp" else {"quality": 100}
    whole.save(tmp_path / name, **options)
    found = decode(tmp_path / name)
    assert found.size == (45, 31)
    expected = np.asarray(whole.reduce(2), int)
    assert np.abs(np.asarray(found, int) - expected).max() <= (4 if name == "a.jpg" else 0)
    assert np.array_equal(np.asarray(upright(whole)), np.asarray(whole.reduce(2)))


def test_strips_give_the_pixels_of_the_whole(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    for mode, shape in (("RGBA", (37, 23, 4)), ("LA", (37, 23, 2)), ("I;16", (37, 23))):
        values = rng.integers(0, 256, shape).astype(np.uint16 if mode == "I;16" else np.uint8)
        Image.fromarray(values * (257 if mode == "I;16" else 1)).save(tmp_path / "a.png")
        whole = np.asarray(decode(tmp_path / "a.png"))
        with monkeypatch.context() as patch:
            patch.setattr(decoding, "_STRIP_PIXELS", 60)
            assert np.array_equal(np.asarray(decode(tmp_path / "a.png")), whole), mode


def test_the_limit_is_a_key_and_lower_where_decoders_need_more(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(2_000, 1_000, bits=1, colour=0, rows=bytes(251) * 1_000))
    assert decode(path, max_megapixels=2).size == (2000, 1000)
    with pytest.raises(ImageError, match=r"^absurdly large: 2000 x 1000 .* limit is 1 million"):
        decode(path, max_megapixels=1)
    Image.open(path).convert("RGB").save(tmp_path / "a.webp")
    with pytest.raises(ImageError, match=r"the limit is 1 million pixels \(`data.max_megapixels`"):
        decode(tmp_path / "a.webp", max_megapixels=3)  # 17 bytes a pixel, not 6


def test_a_room_is_never_overfilled_and_always_lets_one_in():
    room, used, most = Room(100), 0, 0
    lock = threading.Lock()

    def work(wanted):
        nonlocal used, most
        with room.taken(wanted):
            with lock:
                used += wanted
                most = max(most, used if used != 250 else 0)  # larger than the room: alone
                assert wanted < 250 or used == 250
            time.sleep(0.001)
            with lock:
                used -= wanted

    threads = [threading.Thread(target=work, args=(each,)) for each in [30, 60, 250, 10, 90] * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    assert 0 < most <= 100
