"""Decode an image file to upright 8-bit RGB pixels, the same on every machine.

The rules are ours where versions of Pillow differ: the kinds of files, the orientation, metadata,
the limit of size. Memory is bounded: large images are decoded one at a time, and kept smaller.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from runtime.errors import ImageError
from runtime.images.image_file import ImageFile
from runtime.images.kinds import HEAD_BYTES, Kind, kind_of, open_as
from runtime.images.metadata import Stripped, strip
from runtime.images.orientation import orientation_of, turned
from runtime.images.room import ROOM

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
MAX_MEGAPIXELS = 256
"""The default of `data.max_megapixels`: photographs of 200 million pixels are below it."""
MOST_MEGAPIXELS = 1000
"""The highest that it may be set to; images that were accepted once are read up to this."""
PIXEL_BYTES = 6
"""What the limit of size reckons with: at the default, a decoder may need 1.5 GB."""
LARGE_PIXELS = 36_000_000
"""An image with more is kept at a half, a quarter or an eighth of its width and height."""
_SHRINKS = (2, 4, 8)
_STRIP_PIXELS = 2_000_000
UNIDENTIFIED = "not an image that Pillow can read"
"""The reason if the kind of a file is unknown."""
MAX_RATIO = 100
"""Longer side to shorter: a thinner image would grow without bound when its short side is set."""


def decode(
    path: ImageFile, *, max_megapixels: float = MAX_MEGAPIXELS, short_px: int | None = None
) -> Image.Image:
    """Read one image as upright RGB, 8 bits a channel.

    The orientation of EXIF or XMP is applied, other metadata are never looked at. Greyscale,
    palette, CMYK and the like become RGB; transparency is laid on white; 16-bit greyscale keeps its
    upper 8 bits. Of an animation the first frame is read. An image of more than LARGE_PIXELS is
    kept at a half, a quarter or an eighth of its size.

    Args:
        path: the file, or what else an image is read from.
        max_megapixels: the limit of its size, in 10^6 pixels; less for kinds of files whose
            decoders need more than PIXEL_BYTES for a pixel.
        short_px: the short side that is enough; None: all that there is. A JPEG is then decoded at
            a half, a quarter or an eighth, as long as its short side stays at least so long.

    Raises:
        ImageError: the file cannot be used; the message is the reason, without the file's name.
    """
    with _reasons():
        if isinstance(path, Path) and path.stat().st_size == 0:  # also a pipe: never opened
            raise ImageError("empty file (0 bytes)")
        with path.open("rb") as file:
            return _read(file, path.suffix, max_megapixels, short_px)


def decode_bytes(data: bytes, *, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Read the content of an image file as `decode` does; TGA, which only names tell, is not known.

    Raises:
        ImageError: as for `decode`.
    """
    with _reasons():
        if not data:
            raise ImageError("empty (0 bytes)")
        return _read(io.BytesIO(data), "", max_megapixels)


def upright(image: Image.Image) -> Image.Image:
    """Return a Pillow image in the form that `decode` gives.

    Raises:
        ImageError: as for `decode`.
    """
    with _reasons():
        _check_size(image.size, MAX_MEGAPIXELS)
        image.load()
        rgb = _rgb(image, _shrink(image.size))
        return turned(rgb, _orientation_in(image))


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn every exception of a decoder into an ImageError with a reason."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ImageError(UNIDENTIFIED) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"absurdly large: {str(error).partition(' exceeds')[0]}") from error
    except _DECODER_ERRORS as error:
        if isinstance(error, OSError) and error.strerror:  # str(error) names the file
            raise ImageError(f"cannot be read: {error.strerror}") from error
        raise ImageError(f"damaged: {str(error) or type(error).__name__}") from error


def _read(
    file: BinaryIO, suffix: str, max_megapixels: float, short_px: int | None = None
) -> Image.Image:
    head = file.read(HEAD_BYTES)
    if not head:
        raise ImageError("empty file (0 bytes)")
    kind = kind_of(head, suffix)
    if kind is None:
        raise UnidentifiedImageError
    return _decoded(kind, file, max_megapixels, short_px)


def _decoded(
    kind: Kind, file: BinaryIO, max_megapixels: float, short_px: int | None
) -> Image.Image:
    stripped = strip(kind.name, file)
    with open_as(kind, stripped.file) as image:
        orientation = _orientation(kind, image, stripped)
        _check_size(image.size, max_megapixels * PIXEL_BYTES / max(PIXEL_BYTES, kind.pixel_bytes))
        if image.mode == "F":
            raise ImageError(
                "32-bit float pixels have no agreed range; save it with 8 bits a channel"
            )
        if image.mode == "YCbCr" and kind.name == "TIFF":
            raise ImageError("YCbCr pixels that are not JPEG: save it as RGB")
        shrink, width = _shrink(image.size), image.width
        with ROOM.taken(image.width * image.height * kind.pixel_bytes):
            by = max(shrink, drafted_by(image.size, short_px))
            if kind.name == "JPEG" and by > 1:  # its decoder can do that, and saves the memory
                image.draft(None, (image.width // by, image.height // by))
                shrink = max(1, shrink // round(width / image.width))
            image.load()
            rgb = _rgb(image, shrink)
            image.close()  # its memory is free before the room is
    return turned(rgb, orientation)


def _orientation(kind: Kind, image: Image.Image, stripped: Stripped) -> int:
    """The orientation that is still to be applied."""
    if kind.name in ("JPEG", "PNG", "WEBP"):
        return orientation_of(stripped.exif, stripped.xmp)
    image.info.pop("xmp", None)  # of TIFF, versions of Pillow differ in whether they look at it
    if kind.name == "AVIF":  # the file turns its picture; Pillow tells it as if it were EXIF
        return int(image.getexif().get(0x0112, 1))
    return 1  # Pillow turns a TIFF by its tag as it loads it, pillow-heif a HEIC


def _orientation_in(image: Image.Image) -> int:
    """The orientation of an image that somebody else opened."""
    exif, xmp = image.info.get("exif"), image.info.get("xmp")
    known = [each if isinstance(each, bytes) else None for each in (exif, xmp)]
    return orientation_of(*known)


def _check_size(size: tuple[int, int], max_megapixels: float) -> None:
    width, height = size
    if width == 0 or height == 0:
        raise ImageError(f"no pixels ({width} x {height})")
    if width * height > max_megapixels * 1e6:
        raise ImageError(
            f"absurdly large: {width} x {height} pixels; the limit is {max_megapixels:.0f} million "
            "pixels (`data.max_megapixels`)"
        )
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ImageError(f"absurdly thin: {width} x {height} pixels; the limit is {MAX_RATIO} to 1")


def _shrink(size: tuple[int, int]) -> int:
    """By how much an image is kept smaller: the least of 1, 2, 4, 8 that is enough."""
    pixels = size[0] * size[1]
    if pixels <= LARGE_PIXELS:
        return 1
    return next((by for by in _SHRINKS if pixels <= LARGE_PIXELS * by**2), _SHRINKS[-1])


def drafted_by(size: tuple[int, int], short_px: int | None) -> int:
    """Return by how much a JPEG may be decoded smaller: 1, 2, 4 or 8.

    Args:
        size: its width and height.
        short_px: the short side that it keeps at least; None: all of it.
    """
    if short_px is None:
        return 1
    return max((by for by in _SHRINKS if min(size) >= by * short_px), default=1)


def _rgb(image: Image.Image, shrink: int) -> Image.Image:
    """Return a loaded image as RGB, averaged over squares of `shrink` pixels; strip by strip."""
    if shrink == 1 and image.width * image.height <= _STRIP_PIXELS:
        return _to_rgb(image, image)
    rows = max(1, _STRIP_PIXELS // image.width // shrink) * shrink
    whole = Image.new("RGB", (-(-image.width // shrink), -(-image.height // shrink)))
    for top in range(0, image.height, rows):
        strip_ = image.crop((0, top, image.width, min(top + rows, image.height)))
        rgb = _to_rgb(strip_, image)
        whole.paste(rgb.reduce(shrink) if shrink > 1 else rgb, (0, top // shrink))
    return whole


def _to_rgb(part: Image.Image, whole: Image.Image) -> Image.Image:
    """Return a part of an image as RGB; what its values mean depends on the whole."""
    if part.mode == "F":
        raise ImageError("32-bit float pixels have no agreed range; save it with 8 bits a channel")
    if part.mode.startswith("I"):  # 16-bit greyscale, in the several ways Pillow opens it
        lowest, highest = whole.getextrema() if whole.mode == "I" else (0, 65535)
        if not isinstance(lowest, (int, float)) or not isinstance(highest, (int, float)):
            raise TypeError("greyscale has one band")
        if lowest < 0 or not 256 <= highest <= 65535:
            raise ImageError("32-bit integer pixels have no agreed range; save it with 8 bits")
        values = np.asarray(part).astype(np.uint16)
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if part.has_transparency_data:
        rgba = part.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return part.convert("RGB")
