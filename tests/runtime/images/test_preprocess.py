"""The preprocessing contract: equal to timm's evaluation transform, and right without timm."""

import json
import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from PIL import Image

from runtime.images.preprocess import Preprocess

PLAIN = Preprocess(
    size_px=4,
    resize_px=4,
    crop_mode="center",
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)


def noise(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def striped(width, height):
    """The pixel in column x and row y is (x, y, 0)."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, 0 * x], axis=2).astype(np.uint8))


@pytest.mark.parametrize("size", [(97, 61), (61, 97), (64, 64), (32, 32), (33, 200), (20, 15)])
@pytest.mark.parametrize(
    ("side", "crop_pct", "crop_mode", "interpolation"),
    [
        (32, 0.875, "center", "bicubic"),
        (32, 0.9, "center", "bilinear"),
        (32, 1.0, "center", "bicubic"),
        (33, 0.95, "center", "bilinear"),
        (32, 0.875, "squash", "bicubic"),
        (32, 1.0, "squash", "bilinear"),
        (32, 0.9, "center", "lanczos"),
    ],
)
def test_equals_timm(size, side, crop_pct, crop_mode, interpolation):
    pytest.importorskip("torch")
    timm_data = pytest.importorskip("timm.data")
    statistics = {"mean": PLAIN.mean, "std": PLAIN.std}
    transform = timm_data.create_transform(
        input_size=(3, side, side),
        is_training=False,
        interpolation=interpolation,
        crop_pct=crop_pct,
        crop_mode=crop_mode,
        **statistics,
    )
    preprocess = Preprocess(
        size_px=side,
        resize_px=math.floor(side / crop_pct),
        crop_mode=crop_mode,
        interpolation=interpolation,
        **statistics,
    )
    image = noise(*size)
    # 1e-5: one multiply-add in float32 here, a division and a subtraction and a division there
    assert preprocess(image) == pytest.approx(transform(image).numpy(), abs=1e-5)


def test_gives_contiguous_float32_channels_first():
    got = PLAIN(noise(9, 7))
    assert (got.shape, got.dtype) == ((3, 4, 4), np.float32)
    batch = PLAIN.normalise(np.zeros((5, 4, 4, 3), np.uint8))
    assert (batch.shape, batch.dtype) == ((5, 3, 4, 4), np.float32)
    assert batch.flags.c_contiguous


def test_normalise_is_the_textbook_formula():
    pixels = np.asarray(noise(4, 4))[None]
    expected = (pixels / 255 - np.array(PLAIN.mean)) / np.array(PLAIN.std)
    got = PLAIN.normalise(pixels).transpose(0, 2, 3, 1)  # [B, 3, S, S] -> [B, S, S, 3]
    assert got == pytest.approx(expected, abs=1e-5)


def test_an_image_alone_equals_the_image_in_a_batch():
    image = noise(10, 12)
    assert np.array_equal(PLAIN(image), PLAIN.normalise(PLAIN.pixels(image)[None])[0])


def test_an_image_of_the_right_size_keeps_its_pixels():
    image = noise(4, 4)
    assert PLAIN.resize(image) is image
    assert np.array_equal(PLAIN.pixels(image), np.asarray(image))


@pytest.mark.parametrize(
    ("size", "mode", "resized"),
    [
        ((10, 20), "center", (8, 16)),
        ((20, 10), "center", (16, 8)),
        ((7, 10), "center", (8, 11)),  # 8 * 10 / 7 = 11.4, cut off
        ((5, 5), "center", (8, 8)),
        ((20, 10), "squash", (8, 8)),
    ],
)
def test_resize_brings_the_short_side_to_size(size, mode, resized):
    preprocess = replace(PLAIN, resize_px=8, crop_mode=mode)
    assert preprocess.resize(noise(*size)).size == resized


def test_crop_is_the_centre():
    got = np.asarray(replace(PLAIN, size_px=2, resize_px=4).crop(striped(8, 4)))
    assert got[..., 0].tolist() == [[3, 4], [3, 4]]
    assert got[..., 1].tolist() == [[1, 1], [2, 2]]


@pytest.mark.parametrize(("width", "left"), [(5, 0), (7, 2), (9, 2), (11, 4)])
def test_crop_rounds_half_a_pixel_to_even(width, left):
    """As torchvision does: 0.5 -> 0, 1.5 -> 2, 2.5 -> 2, 3.5 -> 4."""
    assert np.asarray(PLAIN.crop(striped(width, 4)))[0, 0, 0] == left


def test_a_flat_image_stays_flat():
    image = Image.new("RGB", (31, 17), (10, 128, 250))
    got = replace(PLAIN, interpolation="bicubic").pixels(image)
    assert np.unique(got.reshape(-1, 3), axis=0).tolist() == [[10, 128, 250]]


@pytest.mark.parametrize(
    "interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
)
def test_every_interpolation_is_the_one_of_pillow(interpolation):
    image, preprocess = noise(16, 16), replace(PLAIN, interpolation=interpolation)
    expected = image.resize((4, 4), Image.Resampling[interpolation.upper()])
    assert np.array_equal(preprocess.pixels(image), np.asarray(expected))


def test_survives_json():
    document = json.loads(json.dumps(PLAIN.to_dict()))
    assert msgspec.convert(document, Preprocess) == PLAIN


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"crop_mode": "border"}, r"crop_mode: 'border'; known are \('center', 'squash'\)"),
        ({"interpolation": "random"}, r"interpolation: 'random'; known are \('nearest', "),
        ({"resize_px": 3}, "resize_px: 3 is under size_px 4"),
    ],
)
def test_refuses_what_it_does_not_know(changed, said):
    with pytest.raises(ValueError, match=said):
        Preprocess(**{**PLAIN.to_dict(), **changed})
