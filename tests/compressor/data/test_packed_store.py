"""Decoded images kept as JPEG, where raw pixels do not fit on the disk."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from compressor.data import image_store
from compressor.data.audit import AuditSettings, audit
from compressor.data.augmentation import PLAIN
from compressor.data.image_files import open_rgb
from compressor.data.image_store import ImageStore, shard_name, shrink, store_bytes, write_shard
from compressor.data.loading import Augmentation, Views
from runtime.errors import InputError
from runtime.images.preprocess import Preprocess

SIDE = 48
AUGMENT = Augmentation(3, (0.25, 1.0), SIDE, packing="jpeg")
NETWORK = Preprocess(32, 32, "center", "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twelve smooth images with some noise, as photographs are."""
    folder, rng = tmp_path_factory.mktemp("smooth"), np.random.default_rng(0)
    for number in range(12):
        width, height = 60 + 9 * number, 130 - 6 * number
        coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)
        noisy = smooth + rng.normal(0, 4, smooth.shape)
        pixels = noisy.round().clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return audit(folder, AuditSettings("none", 0.2, 0.2, seed=0)).images


def write(images, folder):
    for start in range(0, len(images), image_store.SHARD_IMAGES):
        path = folder / shard_name(start, "jpeg")
        write_shard(path, images, start, SIDE, packing="jpeg")
    return ImageStore(folder, len(images), "jpeg")


@pytest.mark.parametrize("size", [1, 5, 12, 100])
def test_every_image_comes_back_as_its_jpeg(images, tmp_path, monkeypatch, size):
    monkeypatch.setattr(image_store, "SHARD_IMAGES", size)
    kept = write(images, tmp_path)
    assert len(list(tmp_path.iterdir())) == -(-len(images) // size)
    for row in np.random.default_rng(1).permutation(len(images)):
        content, shrunk = io.BytesIO(), shrink(open_rgb(images.paths[row]), SIDE)
        shrunk.save(content, "JPEG", quality=95)
        got = kept[int(row)]
        assert (got.mode, got.size) == ("RGB", shrunk.size)
        assert np.array_equal(np.asarray(got), np.asarray(Image.open(content)))
        difference = np.asarray(got, np.float64) - np.asarray(shrunk)
        assert np.sqrt((difference**2).mean()) < 4  # of 255


def test_a_shard_is_an_array_that_numpy_reads(images, tmp_path):
    write(images, tmp_path)
    (path,) = tmp_path.iterdir()
    shard = np.load(path)
    assert shard.dtype == np.uint8
    lengths = shard[: 8 * len(images)].view(np.int64)
    assert 8 * len(images) + lengths.sum() == shard.nbytes


def test_what_is_planned_is_enough_and_less_than_raw(images, tmp_path):
    write(images, tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < store_bytes(images, SIDE, "jpeg")
    large = replace(
        images, records=tuple(replace(r, width=448, height=448) for r in images.records)
    )
    assert store_bytes(large, 448, "jpeg") < 0.45 * store_bytes(large, 448)


def test_the_same_images_make_the_same_bytes(images, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(images, tmp_path / name)
    one, other = ((tmp_path / name / shard_name(0, "jpeg")).read_bytes() for name in ("a", "b"))
    assert one == other


def test_views_are_the_same_with_the_store_and_without(images, tmp_path):
    stored = Views(images, AUGMENT, (NETWORK,), write(images, tmp_path))
    decoded = Views(images, AUGMENT, (NETWORK,))
    raw = Views(images, replace(AUGMENT, packing="raw"), (NETWORK,))
    jobs = [(row, number) for row in range(len(images)) for number in (PLAIN, 1, 2)]
    assert all(np.array_equal(stored[job], decoded[job]) for job in jobs)
    assert not all(np.array_equal(stored[job], raw[job]) for job in jobs)


def test_an_image_that_changed_is_named_and_no_shard_is_left(images, tmp_path):
    changed = replace(images.records[4], pixels_sha256="0" * 64)
    records = (*images.records[:4], changed, *images.records[5:])
    with pytest.raises(InputError, match=f"{changed.id}: changed since it was audited"):
        write(replace(images, records=records), tmp_path)
    assert list(tmp_path.iterdir()) == []
