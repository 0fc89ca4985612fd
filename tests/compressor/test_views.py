import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from compressor.views import COLOUR_JITTER, View, view_of

KEY = "ab" * 32


def test_a_view_follows_from_pixels_number_and_seed_alone():
    made = view_of(KEY, 3, seed=1, size=(40, 30), scale=(0.25, 1))
    assert made == view_of(KEY, 3, seed=1, size=(40, 30), scale=(0.25, 1))
    # A resized copy of the image has the same views: boxes are shares.
    assert made == view_of(KEY, 3, seed=1, size=(400, 300), scale=(0.25, 1))
    others = [(KEY, 4, 1), (KEY, 3, 2), ("cd" * 32, 3, 1)]
    for key, number, seed in others:
        assert made != view_of(key, number, seed=seed, size=(40, 30), scale=(0.25, 1))


@settings(max_examples=200)
@given(
    key=st.text(min_size=1),
    number=st.integers(0, 100),
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    low=st.floats(0.05, 0.9),
)
def test_boxes_lie_within_the_image_and_show_the_share_asked_for(key, number, width, height, low):
    view = view_of(key, number, seed=0, size=(width, height), scale=(low, 1.0))
    left, top, right, bottom = view.box
    assert 0 <= left < right <= 1 + 1e-9
    assert 0 <= top < bottom <= 1 + 1e-9
    if 3 / 4 <= width / height <= 4 / 3:
        area = (right - left) * (bottom - top)
        is_fallback = max(right - left, bottom - top) == 1
        assert is_fallback or low - 1e-9 <= area <= 1 + 1e-9
    for factor in (view.brightness, view.contrast, view.saturation):
        assert 1 - COLOUR_JITTER <= factor <= 1 + COLOUR_JITTER


def plain(box=(0.0, 0.0, 1.0, 1.0), *, flip=False, brightness=1.0, contrast=1.0, saturation=1.0):
    return View(box, flip, brightness, contrast, saturation)


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (18, 18, 3), dtype=np.uint8))


def test_a_view_that_changes_nothing_is_a_resize(picture):
    got = plain().cut(picture, 8, Image.Resampling.BICUBIC)
    expected = np.asarray(picture.resize((8, 8), Image.Resampling.BICUBIC))
    assert got.dtype == np.uint8
    assert np.array_equal(got, expected)


def test_the_box_is_cut_out(picture):
    got = plain((0.5, 0.0, 1.0, 0.5)).cut(picture, 3, Image.Resampling.NEAREST)
    # 9 x 9 pixels to 3 x 3: the middle one of each block
    assert np.array_equal(got, np.asarray(picture)[1:9:3, 10:18:3])


def test_the_box_is_in_shares_of_width_and_height_each():
    rng = np.random.default_rng(0)
    wide = Image.fromarray(rng.integers(0, 256, (8, 32, 3), dtype=np.uint8))
    got = plain((0.25, 0.5, 0.375, 1.0)).cut(wide, 4, Image.Resampling.NEAREST)
    assert np.array_equal(got, np.asarray(wide)[4:8, 8:12])


def test_flip_mirrors_left_and_right(picture):
    straight = plain().cut(picture, 8, Image.Resampling.BICUBIC)
    mirrored = plain(flip=True).cut(picture, 8, Image.Resampling.BICUBIC)
    assert not np.array_equal(mirrored, straight)
    assert np.array_equal(mirrored, straight[:, ::-1])


def test_the_cut_has_the_colours_of_the_image(picture):
    bright = plain(brightness=1.4, contrast=0.6, saturation=0.6)
    got = bright.cut(picture, 8, Image.Resampling.BICUBIC)
    assert np.array_equal(got, plain().cut(picture, 8, Image.Resampling.BICUBIC))


def test_the_colour_factors_are_brightness_contrast_saturation():
    factors = plain(brightness=0.75, contrast=1.25, saturation=0.5).colour
    assert factors.dtype == np.float32
    assert factors.tolist() == [0.75, 1.25, 0.5]


@settings(max_examples=100, deadline=None)
@given(
    number=st.integers(0, 100),
    width=st.integers(1, 100),
    height=st.integers(1, 100),
    size_px=st.integers(1, 40),
    resampling=st.sampled_from(list(Image.Resampling)),
)
def test_every_view_of_every_image_can_be_cut(number, width, height, size_px, resampling):
    view = view_of(KEY, number, seed=0, size=(width, height), scale=(0.01, 1.0))
    got = view.cut(Image.new("RGB", (width, height), (10, 20, 30)), size_px, resampling)
    assert got.shape == (size_px, size_px, 3)
    assert (got == [10, 20, 30]).all()  # nothing from outside the image
