"""Corruptions: the same every time, worse with severity, and alike at every size."""

import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runtime.images import corruptions
from runtime.images.corruptions import FAMILIES, SEVERITIES, Corruption

MEMBERS = [(family, seed) for family, members in FAMILIES.items() for seed in range(len(members))]


def photo(side=96, seed=0):
    """Something with edges, flat places and texture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (5, 7, 3), np.uint8))
    image = np.asarray(coarse.resize((side * 5 // 4, side), Image.Resampling.BICUBIC)).copy()
    image[side // 4 : side // 2, side // 4 : side // 2] = (250, 20, 30)
    texture = rng.integers(-30, 30, image.shape)
    texture[: side // 2] = 0
    return Image.fromarray((image + texture).clip(0, 255).astype(np.uint8))


def far(one, other):
    """Mean absolute difference of two images in levels of 255."""
    return np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64)).mean()


def test_a_new_family_raises_the_version():
    """Golden sets hold the answers to the families of their version."""
    families = ["noise", "blur", "weather", "digital", "jpeg", "resolution"]
    assert (corruptions.VERSION, list(FAMILIES)) == (1, families)


def test_everything_follows_from_the_table(monkeypatch):
    made = corruptions.all_of(3, 64)
    assert [(each.family, each.severity) for each in made] == corruptions.cells()
    monkeypatch.setitem(FAMILIES, "mirror", {"flip": lambda image, severity, rng: image})
    assert corruptions.cells()[-1] == ("mirror", 5)
    assert corruptions.summary() == "7 families at 5 severities"
    assert corruptions.described()["families"]["mirror"] == ["flip"]
    assert Corruption("mirror", 1, 0, 96)(photo()).tobytes() == photo().tobytes()
    assert "not ImageNet-C" in corruptions.described()["name"]


@pytest.mark.parametrize(("family", "seed"), MEMBERS)
def test_an_image_keeps_its_size_and_is_the_same_each_time(family, seed):
    image = photo()
    for severity in SEVERITIES:
        made = [Corruption(family, severity, seed, 96)(image) for _ in range(2)]
        assert made[0].size == image.size
        assert made[0].mode == "RGB"
        assert made[0].tobytes() == made[1].tobytes()


@pytest.mark.parametrize(("family", "seed"), MEMBERS)
def test_each_severity_hurts_more_than_the_one_before(family, seed):
    photos = [photo(seed=number) for number in range(4)]
    number = len(FAMILIES[family])
    distances = [
        np.mean([far(Corruption(family, s, seed + 10 * number, 96)(each), each) for each in photos])
        for s in SEVERITIES
    ]
    assert distances[0] > 0.5
    assert all(later > 0.97 * earlier for earlier, later in itertools.pairwise(distances))
    assert distances[-1] > 1.3 * distances[0]


def test_another_seed_is_another_noise_and_perhaps_another_member():
    image = photo()
    made = {Corruption("noise", 3, seed, 96)(image).tobytes() for seed in range(6)}
    assert len(made) == 6
    even, odd = (Corruption("weather", 5, seed, 96)(image) for seed in (0, 1))
    assert far(even, odd) > 5


def test_a_large_image_is_shrunk_first_and_a_small_one_is_not():
    large, small = photo(200), photo(40)
    made = Corruption("jpeg", 1, 0, 96)(large)
    assert min(made.size) == 96
    assert Corruption("jpeg", 1, 0, 96)(small).size == small.size


@pytest.mark.parametrize("family", ["noise", "blur", "weather", "digital"])
def test_small_and_large_images_are_hurt_alike(family):
    """Lengths are shares of the short side."""
    distances = []
    for side in (48, 192):
        image = photo(side)
        distances.append(far(Corruption(family, 4, 0, side)(image), image))
    assert distances[0] == pytest.approx(distances[1], rel=0.5)


def test_what_stands_for_images_of_no_task_goes_through_the_families():
    found = [corruptions.worst_of(seed, 64) for seed in range(200)]
    assert {each.severity for each in found} == {5}
    assert {each.family for each in found} == set(FAMILIES)
    assert all(each in corruptions.all_of(seed, 64) for seed, each in enumerate(found))


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(corruptions.cells()),
    st.integers(0, 2**48),
    st.integers(1, 64),
)
def test_any_image_can_be_corrupted(size, cell, seed, short_side):
    image = Image.new("RGB", size, (12, 200, 90))
    made = Corruption(*cell, seed, short_side)(image)  # type: ignore[call-arg]
    assert min(made.size) == min(short_side, min(size))


def test_jpeg_is_pillows_own():
    image = photo()
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=6)
    with Image.open(file) as expected:
        assert far(Corruption("jpeg", 5, 0, 96)(image), expected) == 0
