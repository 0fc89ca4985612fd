"""Pixels of every odd kind of file, and the reason for every file that cannot be used."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from runtime.errors import ImageError
from runtime.images.decode import MAX_PIXELS, decode

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
EXIF_ORIENTATION = 0x0112
CAN_READ = Image.registered_extensions()  # depends on how Pillow was built
NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *, bits, colour, rows=b""):
    """A PNG as the bytes say, with no look at whether they make sense."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.fixture
def decoded(tmp_path):
    """Write bytes or a Pillow image, and decode the file into an array [H, W, 3]."""

    def write_and_decode(content, name="image.png", **options):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.save(path, **options)
        image = decode(path)
        assert image.mode == "RGB"
        pixels = np.asarray(image)
        assert pixels.dtype == np.uint8
        return pixels

    return write_and_decode


# --- pixels ----------------------------------------------------------------------------------


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


def palette_image():
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, *BLUE])
    image.frombytes(bytes([0, 1, 2]))
    return image


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


# --- files that cannot be used ---------------------------------------------------------------

JPEG = encoded(Image.fromarray(np.tile(NOISE, (2, 2, 1))), "JPEG")
PNG = encoded(Image.fromarray(NOISE), "PNG")
NOT_AN_IMAGE = "not an image that Pillow can read"
BAD = {
    "empty.jpg": (b"", "empty file (0 bytes)"),
    "half.jpg": (JPEG[: len(JPEG) // 2], "damaged: image file is truncated"),
    "without its end.jpg": (JPEG[:-20], "damaged: image file is truncated"),
    "head only.jpg": (JPEG[:100], "damaged: "),
    "half.png": (PNG[: len(PNG) // 2], "damaged: image file is truncated"),
    "head only.png": (PNG[:20], "damaged: "),
    "flipped.png": (PNG[:200] + bytes([PNG[200] ^ 255]) + PNG[201:], "damaged: "),
    "text.jpg": (b"this is no photograph\n", NOT_AN_IMAGE),
    "notes.txt": ("Bäume und Käfer\n".encode(), NOT_AN_IMAGE),
    "zeros.png": (bytes(1000), NOT_AN_IMAGE),
    "archive.zip": (b"PK\x03\x04" + bytes(100), NOT_AN_IMAGE),
    "no width.png": (png(0, 10, bits=8, colour=2), NOT_AN_IMAGE),  # Pillow does not open it
    "no height.ppm": (b"P6 4 0 255\n", NOT_AN_IMAGE),
    "bomb.png": (
        png(20_000, 20_000, bits=1, colour=0),
        "absurdly large: Image size (400000000 pixels); the limit is 89 million pixels",
    ),
    # A box of 2**62 bytes: Pillow raises MemoryError when it reads it.
    "huge box.jp2": (
        b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">I4sQ", 1, b"jp2h", 2**62),
        "damaged: ",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file__is_refused_with_its_reason(decoded, name):
    content, reason = BAD[name]
    with pytest.raises(ImageError) as caught:
        decoded(content, name)
    assert str(caught.value).startswith(reason)
    assert str(caught.value) != "damaged: ", "no reason is given"
    assert name not in str(caught.value)


def test_just_above_the_limit__is_refused_by_its_size(decoded):
    side = 10_000  # between our limit, where Pillow only warns, and twice of it
    assert MAX_PIXELS < side * side < 2 * MAX_PIXELS
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(
            ImageError, match=r"^absurdly large: 10000 x 10000 pixels; the limit is 89 m"
        ),
    ):
        decoded(png(side, side, bits=1, colour=0))


@pytest.mark.skipif(".avif" not in CAN_READ, reason="this Pillow has no AVIF")
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated_avif__is_refused(decoded, share):
    content = encoded(Image.fromarray(NOISE), "AVIF")
    with pytest.raises(ImageError, match=r"^(damaged: .|not an image)"):
        decoded(content[: int(share * len(content))], "a.avif")


@pytest.mark.skipif(".avif" not in CAN_READ, reason="this Pillow has no AVIF")
def test_avif_whose_picture_is_damaged__is_refused(decoded):
    content = bytearray(encoded(Image.fromarray(NOISE), "AVIF"))
    start = content.index(b"mdat") + 4
    content[start:] = b"\xff" * (len(content) - start)
    with pytest.raises(ImageError, match=r"^damaged: Failed to decode"):
        decoded(bytes(content), "a.avif")


def test_float_pixels__are_refused_with_the_way_out(decoded):
    with pytest.raises(ImageError, match=r"32-bit float pixels .* save it with 8 bits a channel"):
        decoded(Image.fromarray(NOISE[..., 0].astype(np.float32)), "a.tiff")


@pytest.mark.parametrize("value", [65_536, -1])
def test_integer_pixels_beyond_16_bits__are_refused(decoded, value):
    with pytest.raises(ImageError, match=r"32-bit integer pixels have no agreed range"):
        decoded(Image.fromarray(np.array([[0, value]], np.int32)), "a.tiff")


def test_a_link_to_nowhere__is_refused_without_its_name(tmp_path):
    path = tmp_path / "link.jpg"
    path.symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(ImageError) as caught:
        decode(path)
    assert str(caught.value) == "cannot be read: No such file or directory"


def test_a_link_to_an_image__is_followed(tmp_path):
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to("a.png")
    assert np.array_equal(np.asarray(decode(tmp_path / "link.png")), NOISE)


def test_a_folder__is_refused(tmp_path):
    with pytest.raises(ImageError, match=r"^cannot be read: Is a directory$"):
        decode(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission__is_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(NOISE).save(path)
    path.chmod(0)
    with pytest.raises(ImageError, match=r"^cannot be read: Permission denied$"):
        decode(path)


def test_a_named_pipe__does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="empty file"):
        decode(tmp_path / "pipe.jpg")


SEEDS = [
    JPEG,
    PNG,
    encoded(palette_image(), "GIF"),
    encoded(Image.fromarray(NOISE), "TIFF", compression="tiff_lzw"),
    encoded(Image.fromarray(NOISE), "BMP"),
]


@settings(max_examples=150, deadline=None)
@given(
    content=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=5),
    kept=st.floats(0, 1),
)
@example(content=JPEG, changes=[], kept=1.0)
def test_any_damage__gives_an_image_or_a_reason(tmp_path_factory, content, changes, kept):
    damaged, head = bytearray(content), 32  # the size stands in the first 32 bytes: leave it small
    for where, value in changes:
        damaged[head + int(where * (len(damaged) - head - 1))] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(damaged[: int(kept * len(damaged))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on odd EXIF and the like
        try:
            image = decode(path)
        except ImageError as error:
            assert str(error) not in ("", "damaged: ")
        else:
            assert image.mode == "RGB"
            assert min(image.size) > 0


def test_a_very_thin_image_is_refused(tmp_path):
    path = tmp_path / "thin.png"
    Image.new("RGB", (1, 101)).save(path)
    with pytest.raises(ImageError, match="absurdly thin: 1 x 101 pixels; the limit is 100 to 1"):
        decode(path)
    Image.new("RGB", (100, 1)).save(path)
    assert decode(path).size == (100, 1)
