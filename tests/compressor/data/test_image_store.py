"""Decoded images on disk: what comes back is what was decoded, and nothing is half there."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from compressor.data import audit as audits
from compressor.data import image_store
from compressor.data.dataset import ImageRecord, ImageSet
from compressor.data.image_files import open_rgb
from compressor.data.image_store import (
    ImageStore,
    open_shrunk,
    shard_name,
    shrink,
    size_of,
    store_bytes,
    write_shard,
)
from runtime.errors import InputError

SIDE = 24


def audit(folder):
    return audits.audit(folder, audits.AuditSettings("none", 0.2, 0.2, seed=0)).images


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Odd sizes, portrait and landscape, turned by EXIF, and every mode that a user may have."""
    folder, rng = tmp_path_factory.mktemp("kinds"), np.random.default_rng(0)

    def noise(width, height, channels=3):
        shape = (height, width, channels) if channels > 1 else (height, width)
        return Image.fromarray(rng.integers(0, 256, shape, np.uint8))

    for width, height in [(31, 47), (47, 31), (24, 24), (25, 24), (9, 80), (80, 9), (1, 1), (7, 5)]:
        noise(width, height).save(folder / f"{width} x {height}.png")
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        noise(33, 50).save(folder / f"turned {orientation}.jpg", exif=exif)
    noise(40, 30, 1).save(folder / "grey.png")
    noise(30, 40, 4).save(folder / "transparent.png")
    noise(30, 40, 4).convert("LA").save(folder / "grey and transparent.png")
    noise(28, 41).convert("P").save(folder / "palette.gif")
    noise(28, 41, 4).convert("CMYK").save(folder / "cmyk.jpg")
    deep = rng.integers(0, 65536, (30, 29), np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    found = audit(folder)
    assert len(found) == 8 + 7 + 6
    return found


def write(images, folder, side_px=SIDE):
    for start in range(0, len(images), image_store.SHARD_IMAGES):
        write_shard(folder / shard_name(start), images, start, side_px)
    return ImageStore(folder, len(images))


def require_same(kept, images, side_px):
    for row, path in enumerate(images.paths):
        expected, got = open_shrunk(path, size_of(images.records[row]), side_px), kept[row]
        assert (got.mode, got.size) == ("RGB", expected.size)
        assert np.array_equal(np.asarray(got), np.asarray(expected))


# --- what comes back -------------------------------------------------------------------------


@pytest.mark.parametrize("side_px", [1, SIDE, 37, 500])
def test_every_image_comes_back(images, tmp_path, side_px):
    require_same(write(images, tmp_path, side_px), images, side_px)


def test_images_not_shrunk_are_those_of_the_files(images, tmp_path):
    kept = write(images, tmp_path, 500)
    by_name = {photo.id: kept[row] for row, photo in enumerate(images.records)}
    with Image.open(images.root / "31 x 47.png") as file:
        assert np.array_equal(np.asarray(by_name["31 x 47.png"]), np.asarray(file))
    with Image.open(images.root / "turned 6.jpg") as file:
        upright = file.transpose(Image.Transpose.ROTATE_270)
        assert np.array_equal(np.asarray(by_name["turned 6.jpg"]), np.asarray(upright))


@pytest.mark.parametrize("size", [1, 4, 7, 20, 21, 22])
def test_every_image_comes_back_from_shards_of_any_size(images, tmp_path, monkeypatch, size):
    monkeypatch.setattr(image_store, "SHARD_IMAGES", size)
    kept = write(images, tmp_path)
    assert len(list(tmp_path.iterdir())) == -(-len(images) // size)
    require_same(kept, images, SIDE)


def test_rows_may_be_asked_for_in_any_order(images, tmp_path, monkeypatch):
    monkeypatch.setattr(image_store, "SHARD_IMAGES", 4)
    kept = write(images, tmp_path)
    in_order = [kept[row].tobytes() for row in range(len(images))]
    rows = np.random.default_rng(0).integers(0, len(images), 50)
    assert all(kept[row].tobytes() == in_order[row] for row in rows)


def test_what_comes_back_may_be_drawn_on(images, tmp_path):
    kept = write(images, tmp_path)
    before = kept[0].tobytes()
    kept[0].paste((1, 2, 3), (0, 0, *kept[0].size))
    drawn_on = kept[0]
    drawn_on.paste((1, 2, 3), (0, 0, *drawn_on.size))
    assert drawn_on.tobytes() != before
    assert kept[0].tobytes() == before


# --- shrink ----------------------------------------------------------------------------------

side = st.integers(1, 300)


@settings(deadline=None)
@given(width=side, height=side, side_px=side)
def test_shrunk__is_never_enlarged_and_keeps_its_ratio(width, height, side_px):
    got = shrink(Image.new("RGB", (width, height)), side_px).size
    short = min(width, height)
    if short <= side_px:
        assert got == (width, height)
    else:
        assert min(got) == side_px
        factor = side_px / short
        assert got == pytest.approx((width * factor, height * factor), abs=0.5 + 1e-9)


def test_shrunk__is_a_bicubic_resize():
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    image = Image.fromarray(noise)
    got = shrink(image, 15)
    assert np.array_equal(got, image.resize((15, 20), Image.Resampling.BICUBIC))
    assert np.array_equal(shrink(image, 30), noise)


# --- on disk ---------------------------------------------------------------------------------


@pytest.mark.parametrize("side_px", [1, SIDE, 500])
@pytest.mark.parametrize("size", [4, 100])
def test_store_bytes_is_what_lies_on_disk(images, tmp_path, monkeypatch, side_px, size):
    monkeypatch.setattr(image_store, "SHARD_IMAGES", size)
    write(images, tmp_path, side_px)
    data = headers = 0
    for path in tmp_path.iterdir():
        shard = np.load(path)
        data += shard.nbytes
        headers += path.stat().st_size - shard.nbytes
    assert store_bytes(images, side_px) == data
    assert headers <= 128 * len(list(tmp_path.iterdir()))


def test_store_bytes__known_values():
    photos = [ImageRecord("", "", 40, 30, -1, "train"), ImageRecord("", "", 5, 7, -1, "train")]
    images = ImageSet(None, (), tuple(photos))
    assert store_bytes(images, 15) == 3 * (20 * 15 + 5 * 7) + 2 * 8
    # More than 32 bits hold.
    many = ImageSet(None, (), (ImageRecord("", "", 9000, 9000, -1, "train"),) * 100)
    assert store_bytes(many, 9000) == 3 * 9000 * 9000 * 100 + 100 * 8


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_shard_is_not_read_whole(tmp_path):
    # One image of 4 x 4 pixels and one of 300 MB, which the file has as a hole.
    sizes = np.array([[4, 4], [10_000, 10_000]], np.int32)
    total = 16 + 3 * 16 + 3 * 10_000 * 10_000
    path = tmp_path / shard_name(0)
    shard = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(total,))
    shard[:16] = sizes.reshape(-1).view(np.uint8)
    shard[16:64] = np.arange(48)
    shard.flush()
    del shard
    before, kept = resident_bytes(), ImageStore(tmp_path, 2)
    image = kept[0]
    assert np.array_equal(np.asarray(image).reshape(-1), np.arange(48))
    assert resident_bytes() - before < 50e6


def test_the_same_images_make_the_same_bytes(images, tmp_path):
    for name in ("a", "b"):
        write(images, tmp_path / name)
    one, other = (tmp_path / name / shard_name(0) for name in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


def test_progress_is_shown(images, tmp_path):
    shown = []

    def track(items, *, label, total):
        shown.append((label, total))
        yield from items

    write_shard(tmp_path / "shard.npy", images, 0, SIDE, track=track)
    assert shown == [("decoding images", len(images))]


# --- what goes wrong -------------------------------------------------------------------------


@pytest.fixture
def changeable(images, tmp_path):
    """A copy of the images that may be harmed."""
    shutil.copytree(images.root, tmp_path / "copy")
    return replace(images, root=tmp_path / "copy")


def test_an_image_of_another_size_than_the_audit_s_is_named(changeable, tmp_path):
    path = changeable.root / "31 x 47.png"
    Image.new("RGB", (32, 47)).save(path)
    with pytest.raises(InputError) as told:
        write_shard(tmp_path / "shards" / "s.npy", changeable, 0, SIDE)
    assert str(told.value) == f"{path}: changed since it was audited; run again"
    assert list((tmp_path / "shards").iterdir()) == []


def test_an_image_that_went_away_is_named(changeable, tmp_path):
    path = changeable.root / "grey.png"
    path.unlink()
    with pytest.raises(InputError, match=r"No such file(.|\n)*was it moved") as told:
        write_shard(tmp_path / "shards" / "s.npy", changeable, 0, SIDE)
    assert str(told.value).startswith(f"{path}: ")
    assert list((tmp_path / "shards").iterdir()) == []


def test_a_changed_image_ends_the_decoding_of_the_others(images, tmp_path, monkeypatch):
    photos = (replace(images.records[0], pixels_sha256="0" * 64), *images.records * 5)
    decoded = []

    def slow(path, short_px):
        decoded.append(path)
        if len(decoded) > 1:
            time.sleep(0.05)
        return open_rgb(path)

    monkeypatch.setattr(image_store, "open_rgb", slow)
    with pytest.raises(InputError, match="changed since it was audited"):
        write_shard(tmp_path / "s.npy", replace(images, records=photos), 0, SIDE)
    assert len(decoded) < len(photos) / 2


def test_a_failed_write_leaves_the_shard_that_was_there(changeable, tmp_path):
    path = tmp_path / "shards" / "s.npy"
    write_shard(path, changeable, 0, SIDE)
    before = path.read_bytes()
    (changeable.root / "palette.gif").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"palette\.gif"):
        write_shard(path, changeable, 0, SIDE)
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == before


KILLED = """
import os, signal, sys
from pathlib import Path
from compressor.data.audit import AuditSettings, audit
from compressor.data.image_store import write_shard

def track(items, *, label, total):
    for number, item in enumerate(items):
        if number == total - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        yield item

folder = Path(sys.argv[1])
found = audit(folder, AuditSettings("none", 0.2, 0.2, seed=0)).images
write_shard(Path(sys.argv[2]), found, 0, 24, track=track)
"""


def test_a_killed_write_leaves_nothing_under_the_final_name(images, tmp_path):
    path = tmp_path / "shards" / shard_name(0)
    words = [sys.executable, "-c", KILLED, str(images.root), str(path)]
    killed = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (left,) = path.parent.iterdir()  # it was at work
    assert left.name.startswith(".")
    assert left.name.endswith(".tmp")
    require_same(write(images, path.parent), images, SIDE)
