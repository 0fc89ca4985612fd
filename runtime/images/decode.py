"""Decode an image file to upright 8-bit RGB pixels, the same on every machine."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from runtime.errors import ImageError

# What Pillow's decoders raise on damaged or hostile files, beside OSError (truncated, unknown).
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,  # a damaged header asks for more than there is
    struct.error,
    zlib.error,
)
# Pillow's own limit for a decompression bomb: an 8-bit RGB image of 256 MiB.
MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3

UNIDENTIFIED = "not an image that Pillow can read"
"""The reason if the kind of a file is unknown."""
MAX_RATIO = 100
"""Longer side to shorter: a thinner image would grow without bound when its short side is set."""


def decode(path: Path) -> Image.Image:
    """Read one image as upright RGB, 8 bits a channel.

    EXIF orientation is applied. Greyscale, palette, CMYK and the like become RGB; transparency is
    laid on white; 16-bit greyscale keeps its upper 8 bits. Of an animation the first frame is read.

    Raises:
        ImageError: the file cannot be used; the message is the reason, without the file's name.
    """
    with _reasons():
        if path.stat().st_size == 0:
            raise ImageError("empty file (0 bytes)")
        with Image.open(path) as image:
            return _upright(image)


def upright(image: Image.Image) -> Image.Image:
    """Return a Pillow image in the form that `decode` gives.

    Raises:
        ImageError: as for `decode`.
    """
    with _reasons():
        return _upright(image)


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn every exception of a decoder into an ImageError with a reason."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ImageError(UNIDENTIFIED) from error
    except Image.DecompressionBombError as error:
        what = str(error).partition(" exceeds")[0]  # then Pillow names its own limit
        raise ImageError(_too_large(what)) from error
    except _DECODER_ERRORS as error:
        if isinstance(error, OSError) and error.strerror:  # str(error) names the file
            raise ImageError(f"cannot be read: {error.strerror}") from error
        raise ImageError(f"damaged: {str(error) or type(error).__name__}") from error


def _upright(image: Image.Image) -> Image.Image:
    width, height = image.size
    if width == 0 or height == 0:
        raise ImageError(f"no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(f"{width} x {height} pixels"))
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ImageError(f"absurdly thin: {width} x {height} pixels; the limit is {MAX_RATIO} to 1")
    image.load()
    return _to_rgb(ImageOps.exif_transpose(image))


def _too_large(what: str) -> str:
    return f"absurdly large: {what}; the limit is {MAX_PIXELS / 1e6:.0f} million pixels"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ImageError("32-bit float pixels have no agreed range; save it with 8 bits a channel")
    if image.mode.startswith("I"):  # 16-bit greyscale, in the several ways Pillow opens it
        values = np.asarray(image).astype(np.int64)
        is_16_bit = image.mode != "I" or 256 <= values.max() <= 65535
        if not is_16_bit or values.min() < 0:
            raise ImageError("32-bit integer pixels have no agreed range; save it with 8 bits")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
