"""The reason for every image file that cannot be used."""

import os
import struct
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from image_bytes import encoded, palette_image, png
from runtime.errors import ImageError
from runtime.images.decode import decode

CAN_READ = Image.registered_extensions()  # depends on how Pillow was built
NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
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
    "no width.png": (png(0, 10, bits=8, colour=2), "damaged: its header cannot be read as PNG"),
    "no height.ppm": (b"P6 4 0 255\n", "damaged: its header cannot be read as PPM"),
    "bomb.png": (
        png(20_000, 20_000, bits=1, colour=0),
        "absurdly large: 20000 x 20000 pixels; the limit is 256 million pixels",
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
    side = 16_001
    with pytest.raises(
        ImageError, match=r"^absurdly large: 16001 x 16001 pixels; the limit is 256 m"
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
