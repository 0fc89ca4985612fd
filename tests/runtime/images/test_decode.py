"""Pixels of every odd kind of image file: upright RGB, 8 bits a channel."""

import struct

import numpy as np
import pytest
from PIL import Image

from image_bytes import encoded, palette_image, png
from runtime.images.decode import decode

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
EXIF_ORIENTATION = 0x0112
CAN_READ = Image.registered_extensions()  # depends on how Pillow was built
NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.ppm", "a.TGA", "käfer 虫.png"])
def test_lossless_rgb_comes_back_as_it_was(decoded, name):
    assert np.array_equal(decoded(Image.fromarray(NOISE), name), NOISE)


def test_the_content_decides_the_format__not_the_name(decoded):
    assert np.array_equal(decoded(encoded(Image.fromarray(NOISE), "PNG"), "photo.jpg"), NOISE)


def test_jpeg__colours_are_about_right(decoded):
    pixels = decoded(Image.new("RGB", (16, 16), (200, 100, 50)), "a.jpg", quality=95)
    assert np.abs(pixels.astype(int) - [200, 100, 50]).max() <= 3


def test_greyscale__has_three_equal_channels(decoded):
    grey = NOISE[..., 0]
    assert np.array_equal(decoded(Image.fromarray(grey)), np.stack([grey] * 3, axis=-1))


def test_black_and_white__is_0_and_255(decoded):
    pixels = decoded(Image.fromarray(np.array([[True, False]])))
    assert pixels.tolist() == [[[255, 255, 255], [0, 0, 0]]]


def test_greyscale_of_2_bits__is_spread_over_the_range(decoded):
    pixels = decoded(png(4, 1, bits=2, colour=0, rows=b"\0" + bytes([0b00011011])))
    assert pixels[0, :, 0].tolist() == [0, 85, 170, 255]


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.bmp"])
def test_palette__becomes_its_colours(decoded, name):
    assert decoded(palette_image(), name).tolist() == [[[*RED], [*GREEN], [*BLUE]]]


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_palette_with_a_transparent_colour__that_colour_is_white(decoded, name):
    pixels = decoded(palette_image(), name, transparency=1)
    assert pixels.tolist() == [[[*RED], [*WHITE], [*BLUE]]]


def test_palette_with_half_transparent_colours__is_mixed_with_white(decoded):
    pixels = decoded(palette_image(), transparency=bytes([255, 128, 0]))
    assert pixels[0, 0].tolist() == [*RED]
    assert np.abs(pixels[0, 1].astype(int) - [127, 255, 127]).max() <= 1
    assert pixels[0, 2].tolist() == [*WHITE]


def test_rgba__is_laid_on_white(decoded):
    rgba = np.array([[[0, 0, 0, 0], [255, 0, 0, 255], [0, 0, 255, 128]]], np.uint8)
    pixels = decoded(Image.fromarray(rgba))
    assert pixels[0, :2].tolist() == [[*WHITE], [*RED]]
    assert np.abs(pixels[0, 2].astype(int) - [127, 127, 255]).max() <= 1


def test_grey_with_alpha__is_laid_on_white(decoded):
    grey_alpha = np.array([[[0, 0], [10, 255], [0, 128]]], np.uint8)
    pixels = decoded(Image.fromarray(grey_alpha))
    assert pixels[0, :2].tolist() == [[*WHITE], [10, 10, 10]]
    assert np.abs(pixels[0, 2].astype(int) - 127).max() <= 1


@pytest.mark.parametrize(
    ("mode", "transparent"), [("RGB", tuple(map(int, NOISE[0, 0]))), ("L", int(NOISE[0, 0, 0]))]
)
def test_one_colour_marked_as_transparent__is_white(decoded, mode, transparent):
    image = Image.fromarray(NOISE if mode == "RGB" else NOISE[..., 0])
    pixels = decoded(image, transparency=transparent)
    assert pixels[0, 0].tolist() == [*WHITE]
    marked = (NOISE[0, 0] == NOISE).all(-1) if mode == "RGB" else NOISE[..., 0] == transparent
    assert (pixels[marked] == 255).all()
    assert np.array_equal(pixels[~marked][:, 0], NOISE[..., 0][~marked])


def test_cmyk__becomes_rgb(decoded):
    inks = np.array([[[0, 255, 255, 0], [0, 0, 0, 255], [0, 0, 0, 0]]], np.uint8)
    pixels = decoded(Image.frombytes("CMYK", (3, 1), inks.tobytes()), "a.tiff")
    assert pixels.tolist() == [[[*RED], [0, 0, 0], [*WHITE]]]


def test_cmyk_jpeg__is_not_inverted(decoded):
    pixels = decoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "a.jpg", quality=95)
    assert np.abs(pixels.astype(int) - RED).max() <= 4


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_16_bit_greyscale__keeps_its_upper_8_bits(decoded, name):
    values = np.array([[0, 255, 256, 32767, 32768, 65535]], np.uint16)
    pixels = decoded(Image.fromarray(values), name)
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 127, 128, 255]
    assert (pixels == pixels[..., :1]).all()


def test_16_bit_greyscale__big_endian_tiff(decoded):
    values = Image.frombytes("I;16B", (2, 1), struct.pack(">2H", 0x1234, 0xFEDC))
    assert decoded(values, "a.tiff")[0, :, 0].tolist() == [0x12, 0xFE]


def test_16_bit_greyscale__pgm(decoded):
    content = b"P5 2 1 65535\n" + struct.pack(">2H", 0x1234, 0xFEDC)
    assert decoded(content, "a.pgm")[0, :, 0].tolist() == [0x12, 0xFE]


def test_16_bit_rgb__becomes_8_bit(decoded):
    rows = b"\0" + struct.pack(">3H", 65535, 0, 0x8000)
    assert decoded(png(1, 1, bits=16, colour=2, rows=rows)).tolist() == [[[255, 0, 128]]]


# What has to be done with the stored pixels so that they stand upright, by EXIF orientation.
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),  # clockwise
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation__is_applied(decoded, orientation):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    for name in ("a.png", "a.tiff"):
        pixels = decoded(Image.fromarray(NOISE), name, exif=exif)
        assert np.array_equal(pixels, UPRIGHT[orientation](NOISE))
    # A JPEG changes the values, so its own upright decoding is the yardstick.
    stored = decoded(Image.fromarray(NOISE), "a.jpg")
    turned = decoded(Image.fromarray(NOISE), "a.jpg", exif=exif)
    assert np.array_equal(turned, UPRIGHT[orientation](stored))


def test_exif_orientation__unknown_number_is_ignored(decoded):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 9
    assert np.array_equal(decoded(Image.fromarray(NOISE), exif=exif), NOISE)


def test_exif_orientation__together_with_transparency(decoded):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    rgba = np.dstack([NOISE, np.full(NOISE.shape[:2], 255, np.uint8)])
    rgba[0, 0, 3] = 0  # upper left, hence upper right once it stands upright
    pixels = decoded(Image.fromarray(rgba), exif=exif)
    assert pixels[0, -1].tolist() == [*WHITE]
    palette = decoded(palette_image(), exif=exif, transparency=0)
    assert palette.tolist() == [[[*WHITE]], [[*GREEN]], [[*BLUE]]]


def test_a_jpeg_with_nonsense_for_exif__is_still_an_image(decoded):
    pixels = decoded(Image.fromarray(NOISE), "a.jpg", exif=b"Exif\0\0not exif at all")
    assert pixels.shape == NOISE.shape


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.tiff"])
def test_animation__its_first_frame_is_read(decoded, name):
    frames = [Image.new("RGB", (5, 4), colour) for colour in (RED, GREEN, BLUE)]
    pixels = decoded(frames[0], name, save_all=True, append_images=frames[1:])
    assert pixels.shape == (4, 5, 3)
    assert (pixels == RED).all()


@pytest.mark.skipif(".webp" not in CAN_READ, reason="this Pillow has no WebP")
def test_webp__lossless_with_orientation(decoded):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 8
    pixels = decoded(Image.fromarray(NOISE), "a.webp", lossless=True, exif=exif)
    assert np.array_equal(pixels, UPRIGHT[8](NOISE))


def test_decode__reads_all_at_once_and_leaves_the_file_alone(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(NOISE).save(path)
    content = path.read_bytes()
    image = decode(path)
    assert path.read_bytes() == content
    path.unlink()
    assert np.array_equal(np.asarray(image), NOISE)
