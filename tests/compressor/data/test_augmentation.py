import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from compressor.data.augmentation import COLOUR_JITTER, View, seeded_view

KEY = "ab" * 32


def test_a_view_follows_from_pixels_number_and_seed_alone():
    made = seeded_view(KEY, 3, seed=1, size=(40, 30), scale=(0.25, 1))
    assert made == seeded_view(KEY, 3, seed=1, size=(40, 30), scale=(0.25, 1))
    # A resized copy of the image has the same views: boxes are shares.
    assert made == seeded_view(KEY, 3, seed=1, size=(400, 300), scale=(0.25, 1))
    others = [(KEY, 4, 1), (KEY, 3, 2), ("cd" * 32, 3, 1)]
    for key, number, seed in others:
        assert made != seeded_view(key, number, seed=seed, size=(40, 30), scale=(0.25, 1))


@settings(max_examples=200)
@given(
    key=st.text(min_size=1),
    number=st.integers(0, 100),
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    low=st.floats(0.05, 0.9),
)
def test_boxes_lie_within_the_image_and_show_the_share_asked_for(key, number, width, height, low):
    view = seeded_view(key, number, seed=0, size=(width, height), scale=(low, 1.0))
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
    got = plain().render(picture, 8, Image.Resampling.BICUBIC)
    expected = np.asarray(picture.resize((8, 8), Image.Resampling.BICUBIC))
    assert got.dtype == np.uint8
    assert np.array_equal(got, expected)


def test_the_box_is_cut_out(picture):
    got = plain((0.5, 0.0, 1.0, 0.5)).render(picture, 3, Image.Resampling.NEAREST)
    # 9 x 9 pixels to 3 x 3: the middle one of each block
    assert np.array_equal(got, np.asarray(picture)[1:9:3, 10:18:3])


def test_the_box_is_in_shares_of_width_and_height_each():
    rng = np.random.default_rng(0)
    wide = Image.fromarray(rng.integers(0, 256, (8, 32, 3), dtype=np.uint8))
    got = plain((0.25, 0.5, 0.375, 1.0)).render(wide, 4, Image.Resampling.NEAREST)
    assert np.array_equal(got, np.asarray(wide)[4:8, 8:12])


def test_flip_mirrors_left_and_right(picture):
    straight = plain().render(picture, 8, Image.Resampling.BICUBIC)
    mirrored = plain(flip=True).render(picture, 8, Image.Resampling.BICUBIC)
    assert not np.array_equal(mirrored, straight)
    assert np.array_equal(mirrored, straight[:, ::-1])


# --- colours ---------------------------------------------------------------------------------


def coloured(pixels, **factors):
    """A view of the whole image with these factors, [H, W, 3] as float64."""
    size_px = len(pixels)
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    return plain(**factors).render(image, size_px, Image.Resampling.NEAREST).astype(float)


def luma(rgb):
    return rgb @ np.array([0.299, 0.587, 0.114])


def step_by_step(pixels, brightness, contrast, saturation):
    """The same in float64, one after the other, clipped at the end."""
    values = pixels.astype(np.float64) * brightness
    middle = luma(values).mean()
    values = middle + contrast * (values - middle)
    grey = luma(values)[..., None]
    values = grey + saturation * (values - grey)
    return np.clip(values, 0, 255)


factor = st.floats(0, 2) | st.floats(1 - COLOUR_JITTER, 1 + COLOUR_JITTER)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**31),
    brightness=factor,
    contrast=factor,
    saturation=factor,
    size=st.integers(1, 9),
)
def test_colours_change_in_brightness_then_contrast_then_saturation(
    seed, brightness, contrast, saturation, size
):
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8)
    got = coloured(pixels, brightness=brightness, contrast=contrast, saturation=saturation)
    # Rounded once at the end, and the mean luma from whole numbers: within 1 and a bit
    expected = step_by_step(pixels, brightness, contrast, saturation)
    assert np.abs(got - expected).max() <= 1.01 + abs(1 - contrast) * brightness


def test_colours__known_values():
    # Two greys, 0 and 200. In between, 280 is more than white; only the end is clipped.
    greys = np.array([[[0] * 3, [200] * 3]] * 2)
    assert coloured(greys, brightness=1.4, contrast=0.5)[0, :, 0].tolist() == [70, 210]
    assert coloured(greys, brightness=1.4, contrast=1.5)[0, :, 0].tolist() == [0, 255]
    # Pure green of 100 has luma 58.7; Pillow's whole number of it is 59.
    green = np.array([[[0, 100, 0]]])
    assert coloured(green, saturation=0.5).flatten().tolist() == [29, 79, 29]
    assert coloured(green, contrast=0.5).flatten().tolist() == [30, 80, 30]


def test_colours__factors_of_one_change_nothing(picture):
    assert np.array_equal(coloured(np.asarray(picture)), np.asarray(picture))


def test_colours__no_saturation_is_grey_and_no_contrast_one_grey_everywhere(picture):
    pixels = np.asarray(picture)
    grey = coloured(pixels, saturation=0.0)
    assert np.allclose(grey, luma(pixels)[..., None], atol=0.51)
    assert grey.std() > 10
    flat = coloured(pixels, contrast=0.0)
    assert np.allclose(flat, luma(pixels).mean(), atol=1)
    assert coloured(pixels, brightness=0.0).max() == 0


def test_colours__a_seeded_view_has_three_factors_of_its_own():
    view = seeded_view(KEY, 0, seed=0, size=(40, 30), scale=(0.25, 1))
    assert len({view.brightness, view.contrast, view.saturation}) == 3


@settings(max_examples=100, deadline=None)
@given(
    number=st.integers(0, 100),
    width=st.integers(1, 100),
    height=st.integers(1, 100),
    size_px=st.integers(1, 40),
    resampling=st.sampled_from(list(Image.Resampling)),
)
def test_every_view_of_every_image_can_be_made(number, width, height, size_px, resampling):
    view = seeded_view(KEY, number, seed=0, size=(width, height), scale=(0.01, 1.0))
    got = view.render(Image.new("RGB", (width, height), (60, 60, 60)), size_px, resampling)
    assert got.shape == (size_px, size_px, 3)
    assert (got == round(60 * view.brightness)).all()  # nothing from outside the image
