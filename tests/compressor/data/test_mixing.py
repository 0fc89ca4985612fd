"""Mixed views: which images are blended, with which shares, and to which pixels."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from compressor.data import image_store
from compressor.data.audit import AuditSettings, audit
from compressor.data.augmentation import PLAIN
from compressor.data.image_store import ImageStore, shard_name
from compressor.data.loading import Augmentation, Views, load_batches
from compressor.data.mixing import Mix, Partners
from compressor.data.view_cache import ViewCache
from runtime.images.preprocess import Preprocess

HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
LARGE = Preprocess(32, 36, "center", "bicubic", **HALF)
SMALL = Preprocess(12, 12, "center", "bilinear", **HALF)
PLAIN_VIEWS = Augmentation(seed=3, scale=(0.25, 1.0), side_px=24)
MIXED_VIEWS = replace(PLAIN_VIEWS, mixed=frozenset({1, 3}))

pictures = arrays.arrays(np.uint8, (4, 5, 3))
shares = st.integers(128, 255)
counts = st.integers(2, 40)
numbers = st.integers(1, 1000)


def keys_of(count, start=0):
    return [hashlib.sha256(f"{start + n}".encode()).hexdigest() for n in range(count)]


# --- the blend -------------------------------------------------------------------------------


@given(pictures, pictures, shares)
def test_a_blend_is_the_rounded_sum(own, other, share):
    exact = (own.astype(float) * share + other.astype(float) * (256 - share)) / 256
    blended = Mix(0, share).blend(own, other)
    assert blended.dtype == np.uint8
    assert np.array_equal(blended, np.floor(exact + 0.5))


@given(pictures, shares)
def test_an_image_blended_with_itself_is_itself(own, share):
    assert np.array_equal(Mix(0, share).blend(own, own), own)


# --- the partners ----------------------------------------------------------------------------


@given(counts, numbers, st.integers(0, 2**40), st.data())
def test_the_partner_is_another_image_and_the_own_share_the_larger(count, number, seed, data):
    row = data.draw(st.integers(0, count - 1))
    mix = Partners(keys_of(count)).mix(row, number, seed)
    assert 0 <= mix.partner < count
    assert mix.partner != row
    assert 128 <= mix.share < 256


@settings(deadline=None)
@given(st.permutations(range(9)), numbers)
def test_neither_names_nor_order_of_the_images_matter(order, number):
    keys = keys_of(9)
    mixes, shuffled = Partners(keys), Partners([keys[row] for row in order])
    for place, row in enumerate(order):
        mix, other = mixes.mix(row, number, 0), shuffled.mix(place, number, 0)
        assert (order[other.partner], other.share) == (mix.partner, mix.share)


def test_every_other_image_is_the_partner_equally_often_and_every_share_as_well():
    mixes = Partners(keys_of(5))
    drawn = [mixes.mix(2, number, 0) for number in range(4000)]
    found = Counter(mix.partner for mix in drawn)
    assert found.keys() == {0, 1, 3, 4}
    assert all(abs(count - 1000) < 130 for count in found.values())  # 4.7 standard deviations
    kept = np.array([mix.share for mix in drawn]) / 256
    assert np.allclose(np.quantile(kept, [0, 0.25, 0.5, 0.75, 1]), [0.5, 0.625, 0.75, 0.875, 1],
                       atol=0.02)  # fmt: skip


def test_views_seeds_and_sets_give_other_partners():
    def partners(number=1, seed=0, count=50):
        mixes = Partners(keys_of(count))
        return np.array([mixes.mix(row, number, seed).partner for row in range(50)])

    assert np.array_equal(partners(), partners())
    assert np.mean(partners() == partners(number=2)) < 0.2
    assert np.mean(partners() == partners(seed=1)) < 0.2
    assert not np.array_equal(partners(), partners(count=51))


# --- the views -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images(folder_of_images):
    return audit(folder_of_images, AuditSettings("none", 0.2, 0.2, seed=0)).images


@pytest.fixture(scope="module")
def stored(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    image_store.write_shard(folder / shard_name(0), images, 0, PLAIN_VIEWS.side_px)
    return ImageStore(folder, len(images))


def jobs_of(images, views=5):
    return [(row, number) for number in range(views) for row in range(len(images))]


def test_a_mixed_view_blends_the_views_of_two_images_for_each_network_alike(images):
    mixed, alone = (
        Views(images, MIXED_VIEWS, (LARGE, SMALL)),
        Views(images, PLAIN_VIEWS, (LARGE, SMALL)),
    )
    mixes = Partners(images.keys)
    for row in range(len(images)):
        mix = mixes.mix(row, 3, seed=3)
        for got, own, other in zip(
            mixed[row, 3], alone[row, 3], alone[mix.partner, 3], strict=True
        ):
            assert np.array_equal(got, mix.blend(own, other))


def test_other_views_keep_every_bit_and_no_image_as_it_is_is_mixed(images):
    mixed, alone = Views(images, MIXED_VIEWS, (SMALL,)), Views(images, PLAIN_VIEWS, (SMALL,))
    for number in (PLAIN, 2, 4):
        for row in range(len(images)):
            assert np.array_equal(mixed[row, number], alone[row, number])
    with pytest.raises(ValueError, match="never mixed"):
        Augmentation(0, (0.25, 1.0), 24, frozenset({PLAIN, 1}))


def test_the_bits_are_the_same_stored_cached_alone_and_in_any_order(images, stored, tmp_path):
    jobs = jobs_of(images)
    ((expected,),) = load_batches(Views(images, MIXED_VIEWS, (SMALL,)), [jobs], 0)
    both = Views(images, MIXED_VIEWS, (LARGE, SMALL), stored)
    order = np.random.default_rng(0).permutation(len(jobs))
    found = load_batches(both, [[jobs[at] for at in order]], 2)
    for _, small in found:
        assert np.array_equal(small, expected[order])
    kept = ViewCache(Views(images, MIXED_VIEWS, (SMALL,), stored), 5, tmp_path)
    for _ in range(2):
        ((again,),) = load_batches(kept, [jobs], 2)
        assert np.array_equal(again, expected)


def test_a_store_asks_no_file_of_the_partner(images, stored):
    gone = replace(images, root=Path("/nowhere"))
    expected = Views(images, MIXED_VIEWS, (SMALL,))[4, 1]
    assert np.array_equal(Views(gone, MIXED_VIEWS, (SMALL,), stored)[4, 1], expected)


def test_two_images_are_mixed_with_each_other_and_one_stays_as_it_is(images):
    two = replace(images, records=images.records[:2])
    assert [Partners(two.keys).mix(row, 1, 0).partner for row in (0, 1)] == [1, 0]
    one = replace(images, records=images.records[:1])
    alone = Views(one, PLAIN_VIEWS, (SMALL,))[0, 1]
    assert np.array_equal(Views(one, MIXED_VIEWS, (SMALL,))[0, 1], alone)
