"""Views of large JPEG files are cut from a half, a quarter or an eighth of their pixels."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from compressor.data import image_store
from compressor.data.audit import AuditSettings, audit
from compressor.data.augmentation import PLAIN
from compressor.data.image_files import open_rgb, pixels_sha256
from compressor.data.image_store import (
    ImageStore,
    drafted,
    open_shrunk,
    shard_name,
    shrink,
    size_of,
    write_shard,
)
from compressor.data.loading import Augmentation, Views
from runtime.errors import InputError
from runtime.images import decode as decoding
from runtime.images.preprocess import Preprocess

SIDE = 32
NETWORK = Preprocess(16, 16, "center", "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SIZES = {
    "63 x 90.jpg": 1,  # half of 63 would be too little
    "64 x 98.jpg": 2,
    "126 x 150.jpg": 2,
    "200 x 128.jpg": 4,
    "264 x 608.jpg": 8,
    "904 x 1112.jpg": 8,  # the least that there is
    "201 x 131.jpg": 4,  # neither is a multiple: a pixel at the edge is partly empty
    "turned 200 x 132.jpg": 4,
    "grey 140 x 152.jpg": 4,
    "cmyk 140 x 152.jpg": 4,
    "200 x 300.png": 1,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Smooth images with some noise; all but one are JPEG files."""
    folder, rng = tmp_path_factory.mktemp("large"), np.random.default_rng(0)
    for name in SIZES:
        width, height = (int(word) for word in name.split(".")[0].split(" ") if word.isdigit())
        coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)
        noisy = smooth + rng.normal(0, 4, smooth.shape)
        image = Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6 if "turned" in name else 1
        mode = {"grey": "L", "cmyk": "CMYK"}.get(name.split(" ")[0], "RGB")
        image.convert(mode).save(folder / name, exif=exif)
    found = audit(folder, AuditSettings("none", 0.2, 0.2, seed=0)).images
    assert len(found) == len(SIZES)
    return found


def level_difference(one, other):
    return np.abs(np.asarray(one, np.float64) - np.asarray(other)).mean()


@pytest.mark.parametrize("name", SIZES)
def test_less_is_decoded_and_about_the_same_seen(images, name):
    (image,) = (each for each in images.records if each.id == name)
    whole, path = open_rgb(images.root / name), images.root / name
    assert (whole.size, pixels_sha256(whole)) == (size_of(image), image.pixels_sha256)
    small = open_rgb(path, short_px=SIDE)
    assert small.size == tuple(-(-each // SIZES[name]) for each in whole.size)
    got = open_shrunk(path, size_of(image), SIDE)
    assert got.mode == "RGB"
    assert got.size == shrink(whole, SIDE).size
    even = not any(each % SIZES[name] for each in whole.size)
    most = 0 if SIZES[name] == 1 else 4 if even else 10
    assert level_difference(got, shrink(whole, SIDE)) <= most


@pytest.mark.parametrize("packing", ["raw", "jpeg"])
def test_a_store_changes_no_bit(images, tmp_path, monkeypatch, packing):
    monkeypatch.setattr(image_store, "SHARD_IMAGES", 4)
    for start in range(0, len(images), 4):
        path = tmp_path / shard_name(start, packing)
        write_shard(path, images, start, SIDE, packing=packing)
    stored = ImageStore(tmp_path, len(images), packing)
    augment = Augmentation(3, (0.25, 1.0), SIDE, packing=packing)
    cut, kept = (Views(images, augment, (NETWORK,), store) for store in (None, stored))
    for row in range(len(images)):
        for number in (PLAIN, 1, 2):
            assert np.array_equal(cut[row, number], kept[row, number])


def test_the_image_as_the_device_sees_it_is_decoded_whole(images):
    whole = Views(images, Augmentation(3, (0.25, 1.0), 1 << 30), (NETWORK,))
    for row, path in enumerate(images.paths):
        assert np.array_equal(whole[row, PLAIN][0], NETWORK.pixels(open_rgb(path)))


def test_a_large_image_that_has_changed_is_not_stored(images, tmp_path):
    at = [image.id for image in images.records].index("904 x 1112.jpg")
    changed = replace(images.records[at], pixels_sha256="0" * 64)
    records = (*images.records[:at], changed, *images.records[at + 1 :])
    with pytest.raises(InputError, match="changed since it was audited"):
        write_shard(tmp_path / "shard.npy", replace(images, records=records), 0, SIDE)


def test_keys_tell_sets_with_large_images(images):
    large = {each.id for each in images.records if drafted([each], SIDE)}
    assert large == set(SIZES) - {"63 x 90.jpg"}  # whether it is a JPEG is not asked


@pytest.mark.parametrize(
    ("size", "short_px", "by"),
    [
        ((4000, 3000), 448, 4),
        ((4000, 3000), 375, 8),
        ((4000, 3000), 10, 8),
        ((896, 1000), 448, 2),
        ((895, 1000), 448, 1),
        ((4000, 3000), None, 1),
    ],
)
def test_the_least_that_is_enough(size, short_px, by):
    assert decoding.drafted_by(size, short_px) == by


@pytest.mark.parametrize(("short_px", "size"), [(None, (101, 76)), (SIDE, (51, 38))])
def test_a_photo_that_is_kept_smaller_anyway(tmp_path, monkeypatch, short_px, size):
    monkeypatch.setattr(decoding, "LARGE_PIXELS", 20_000)
    Image.new("RGB", (201, 151), (90, 120, 60)).save(tmp_path / "phone.jpg")
    image = decoding.decode(tmp_path / "phone.jpg", short_px=short_px)
    assert image.size == size
    assert level_difference(image, Image.new("RGB", size, (90, 120, 60))) < 2
