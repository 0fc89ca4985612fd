"""Images on their way into a network: the same bits however they come."""

import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from compressor.data import image_store
from compressor.data.audit import AuditSettings, audit
from compressor.data.augmentation import PLAIN, seeded_view
from compressor.data.image_files import open_rgb
from compressor.data.image_store import ImageStore, shard_name
from compressor.data.loading import (
    Augmentation,
    PreprocessedImages,
    Views,
    load_batches,
    to_input,
)
from runtime.errors import InputError
from runtime.images.preprocess import Preprocess

CPU = torch.device("cpu")
AUGMENT = Augmentation(seed=3, scale=(0.25, 1.0), side_px=24)
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
LARGE = Preprocess(32, 36, "center", "bicubic", **IMAGENET)
SMALL = Preprocess(12, 12, "center", "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twelve images of many shapes, over and under the side that views are cut from."""
    folder, rng = tmp_path_factory.mktemp("shapes"), np.random.default_rng(0)
    sizes = [(31, 47), (47, 31), (24, 24), (25, 24), (9, 80), (80, 9), (1, 1), (3, 2), (100, 99)]
    for number, (width, height) in enumerate(sizes):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    rotated = Image.Exif()
    rotated[0x0112] = 6
    noise = Image.fromarray(rng.integers(0, 256, (50, 33, 4), np.uint8))
    noise.convert("RGB").save(folder / "rotated.jpg", exif=rotated)
    noise.convert("L").save(folder / "grey.png")
    noise.save(folder / "transparent.png")
    return audit(folder, AuditSettings("none", 0.2, 0.2, seed=0)).images


@pytest.fixture(scope="module")
def stored(images, tmp_path_factory):
    """The same images decoded, in shards of five."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_store, "SHARD_IMAGES", 5)
        for start in range(0, len(images), 5):
            image_store.write_shard(folder / shard_name(start), images, start, AUGMENT.side_px)
        yield ImageStore(folder, len(images))


def all_jobs(images, views=3):
    return [(row, number) for number in range(views) for row in range(len(images))]


def batches_of(jobs, size=5):
    return [jobs[at : at + size] for at in range(0, len(jobs), size)]


def same(a, b):
    return len(a) == len(b) and all(map(np.array_equal, a, b))


# --- Views -----------------------------------------------------------------------------------


def test_views__a_store_changes_no_bit(images, stored):
    decoded = Views(images, AUGMENT, (LARGE, SMALL))
    kept = Views(images, AUGMENT, (LARGE, SMALL), stored)
    for job in all_jobs(images):
        assert same(decoded[job], kept[job])


@pytest.mark.parametrize("workers", [0, 2])
def test_views__a_store_changes_no_bit_in_batches(images, stored, workers):
    jobs = batches_of(all_jobs(images))
    decoded = load_batches(Views(images, AUGMENT, (LARGE, SMALL)), jobs, workers)
    kept = load_batches(Views(images, AUGMENT, (LARGE, SMALL), stored), jobs, workers)
    for one, other in zip(decoded, kept, strict=True):
        assert same(one, other)


def test_views__a_store_asks_no_file(images, stored):
    gone = replace(images, root=Path("/nowhere"))
    job = (2, 1)
    expected = Views(images, AUGMENT, (LARGE,))[job]
    assert same(Views(gone, AUGMENT, (LARGE,), stored)[job], expected)
    with pytest.raises(InputError, match="cannot be read"):
        Views(gone, AUGMENT, (LARGE,))[job]


def test_views__an_item_is_the_view_of_the_shrunk_image(images):
    row, number = 0, 4
    with Image.open(images.paths[row]) as file:
        assert file.size == (31, 47)
        image = file.convert("RGB").resize((24, round(47 * 24 / 31)), Image.Resampling.BICUBIC)
    view = seeded_view(images.keys[row], number, seed=3, size=image.size, scale=(0.25, 1.0))
    (seen,) = Views(images, AUGMENT, (LARGE,))[(row, number)]
    assert np.array_equal(seen, view.render(image, 32, Image.Resampling.BICUBIC))


@pytest.mark.parametrize("crop_mode", ["center", "squash"])
def test_views__the_plain_one_is_what_the_device_sees(images, stored, crop_mode):
    wanted = replace(SMALL, resize_px=15, crop_mode=crop_mode)
    whole = Views(images, replace(AUGMENT, side_px=sys.maxsize), (wanted,))
    for row, path in enumerate(images.paths):
        image = open_rgb(path)
        assert same(whole[(row, PLAIN)], (wanted.pixels(image),))
        shrunk = image_store.shrink(image, AUGMENT.side_px)
        assert same(
            Views(images, AUGMENT, (wanted,), stored)[(row, PLAIN)], (wanted.pixels(shrunk),)
        )


def test_views__networks_of_other_sizes_see_the_same_cut(tmp_path, images):
    # A ramp from left to right and one from top to bottom: the mean tells where a cut lies.
    across, down = np.meshgrid(np.arange(240), np.arange(240))
    ramps = np.stack([across, down, np.zeros_like(down)], axis=2).astype(np.uint8)
    Image.fromarray(ramps).save(tmp_path / "ramps.png")
    photo = replace(images.records[0], id="ramps.png", width=240, height=240)
    ramp = replace(images, root=tmp_path, records=(photo,))
    views = Views(ramp, replace(AUGMENT, side_px=240), (LARGE, SMALL))
    places = []
    for number in range(1, 13):
        large, small = views[(0, number)]
        assert (large.shape, small.shape) == ((32, 32, 3), (12, 12, 3))
        assert np.allclose(large.mean(axis=(0, 1)), small.mean(axis=(0, 1)), atol=1)
        # Both are mirrored, or neither is.
        assert (large[0, 0, 0] < large[0, -1, 0]) == (small[0, 0, 0] < small[0, -1, 0])
        places.append(tuple(large[0, 0]))
    assert len(set(places)) == 12


def test_views__each_network_sees_what_it_would_see_alone(images):
    both = Views(images, AUGMENT, (LARGE, SMALL))
    for job in all_jobs(images):
        large, small = both[job]
        assert same(Views(images, AUGMENT, (LARGE,))[job], (large,))
        assert same(Views(images, AUGMENT, (SMALL,))[job], (small,))


def test_views__follow_from_the_seed(images):
    (one,) = load_batches(Views(images, AUGMENT, (SMALL,)), [all_jobs(images)], 0)
    (again,) = load_batches(Views(images, AUGMENT, (SMALL,)), [all_jobs(images)], 0)
    (other,) = load_batches(
        Views(images, replace(AUGMENT, seed=4), (SMALL,)), [all_jobs(images)], 0
    )
    assert same(one, again)
    assert not any(map(torch.equal, one, other))


# --- load_batches ----------------------------------------------------------------------------


def test_load_batches__workers_change_neither_bits_nor_order(images):
    rng = np.random.default_rng(0)
    jobs = [all_jobs(images)[at] for at in rng.permutation(3 * len(images))]
    views = Views(images, AUGMENT, (LARGE, SMALL))
    alone = list(load_batches(views, batches_of(jobs), 0))
    fed = list(load_batches(views, batches_of(jobs), 2))
    assert [len(batch[0]) for batch in alone] == [5] * 7 + [1]
    assert all(same(one, other) for one, other in zip(alone, fed, strict=True))
    rendered = [views[job] for job in jobs]
    for position, each in enumerate(zip(*alone, strict=True)):
        got = torch.cat(each).numpy()
        assert np.array_equal(got, np.stack([item[position] for item in rendered]))


def test_load_batches__reads_a_few_batches_ahead_and_no_more():
    asked = []

    class Numbers:
        def __getitem__(self, item):
            asked.append(item)
            return (np.array([item]),)

    batches = load_batches(Numbers(), ([number] for number in range(100)), 1)
    assert next(batches)[0].tolist() == [[0]]
    batches.close()  # stops half way: nothing more is read
    assert asked[:1] == [0]
    assert len(asked) <= 3


@pytest.mark.parametrize("workers", [0, 2])
def test_load_batches__for_a_gpu_they_lie_in_page_locked_memory(images, monkeypatch, workers):
    """Without a GPU there is no such memory: a stand-in notes which tensors would go there."""
    pinned = []

    def pin(self):
        pinned.append((self.data_ptr(), threading.current_thread()))
        return self

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    views, jobs = Views(images, AUGMENT, (LARGE, SMALL)), batches_of(all_jobs(images))
    plain = list(load_batches(views, jobs, workers))
    assert pinned == []
    for_gpu = list(load_batches(views, jobs, workers, pinned=True))
    assert all(same(one, other) for one, other in zip(plain, for_gpu, strict=True))
    assert [at for at, _ in pinned] == [each.data_ptr() for batch in for_gpu for each in batch]
    here = {thread is threading.main_thread() for _, thread in pinned}
    assert here == {not workers}  # the thread that trains stacks nothing


@pytest.mark.parametrize("workers", [0, 2])
def test_load_batches__an_image_that_went_away_is_named(images, workers, tmp_path):
    lost = replace(images.records[3], id="lost.png")
    without = replace(images, records=(*images.records[:7], lost, *images.records[7:]))
    batches = load_batches(
        Views(without, AUGMENT, (SMALL,)), batches_of([(row, 0) for row in range(10)]), workers
    )
    assert len(next(batches)[0]) == 5  # those before it are read
    with pytest.raises(InputError) as told:
        next(batches)
    assert type(told.value) is InputError
    assert str(told.value).startswith(f"{images.root / 'lost.png'}: cannot be read: No such file")
    assert "Traceback" not in str(told.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_load_batches__a_damaged_image_is_named(images, workers, tmp_path):
    path = tmp_path / "half.png"
    path.write_bytes(images.paths[0].read_bytes()[:200])
    batches = load_batches(PreprocessedImages([images.paths[0], path], SMALL), [[0, 1]], workers)
    with pytest.raises(InputError) as told:
        list(batches)
    assert str(told.value).startswith(f"{path}: damaged: ")
    assert "Run the same command again." in str(told.value)


# --- to_input --------------------------------------------------------------------------------


@pytest.fixture
def pixels():
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.integers(0, 256, (4, 12, 12, 3), np.uint8))


share = st.floats(0.01, 0.99)
triples = st.tuples(share, share, share)


@settings(deadline=None)
@example(**IMAGENET)
@given(mean=triples, std=triples)
def test_to_input__has_the_bits_of_the_device_s_preprocessing(mean, std):
    every = torch.arange(256, dtype=torch.uint8)[:, None].expand(256, 3).reshape(1, 16, 16, 3)
    preprocess = Preprocess(16, 16, "center", "bicubic", mean, std)
    got = to_input(every, preprocess, CPU)
    assert got.dtype == torch.float32
    assert np.array_equal(got.numpy(), preprocess.normalise(every.numpy()))


def test_to_input__is_in_channels_last_memory(pixels):
    got = to_input(pixels, LARGE, CPU)
    assert got.shape == (4, 3, 12, 12)
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert not got.is_contiguous()


def test_to_input__loaded_views_are_in_channels_last_memory_even_mirrored(images):
    jobs = [(0, number) for number in range(8)]
    ((pixels,),) = load_batches(Views(images, AUGMENT, (LARGE,)), [jobs], 0)
    assert pixels.dtype == torch.uint8
    got = to_input(pixels, LARGE, CPU)
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_to_input__leaves_what_it_is_given_alone(pixels):
    before = pixels.clone()
    to_input(pixels, LARGE, CPU)
    assert torch.equal(pixels, before)
