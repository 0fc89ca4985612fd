"""The kinds of image files that are read: told by their content, each opened by its own decoder.

Pillow has decoders for many more kinds, and some start other programs: EPS starts Ghostscript. None
of them ever sees a file here.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from runtime.errors import ImageError

HEAD_BYTES = 64
_TGA = {".tga", ".icb", ".vda", ".vst"}


@dataclass(frozen=True)
class Kind:
    """A kind of image file."""

    name: str
    plugin: str
    """Pillow's module and class for it; empty for HEIC, which another package reads."""
    pixel_bytes: int
    """Bytes that its decoder needs for a pixel, measured with Pillow 10.3 and 13 on 35 million
    pixels (docs/decisions/data.md); for JPEG a progressive one that is read at a lower size."""


KINDS = {
    kind.name: kind
    for kind in (
        Kind("JPEG", "JpegImagePlugin.JpegImageFile", 6),
        Kind("PNG", "PngImagePlugin.PngImageFile", 6),
        Kind("WEBP", "WebPImagePlugin.WebPImageFile", 17),
        Kind("GIF", "GifImagePlugin.GifImageFile", 8),
        Kind("BMP", "BmpImagePlugin.BmpImageFile", 6),
        Kind("TIFF", "TiffImagePlugin.TiffImageFile", 6),
        Kind("PPM", "PpmImagePlugin.PpmImageFile", 6),
        Kind("ICO", "IcoImagePlugin.IcoImageFile", 8),
        Kind("TGA", "TgaImagePlugin.TgaImageFile", 6),
        Kind("JPEG2000", "Jpeg2KImagePlugin.Jpeg2KImageFile", 20),
        Kind("AVIF", "AvifImagePlugin.AvifImageFile", 10),
        Kind("HEIC", "", 8),
    )
}
_STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    *((b"P%d" % number, "PPM") for number in range(1, 7)),
)
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"), "HEIC"
)


def kind_of(head: bytes, suffix: str) -> Kind | None:
    """Return the kind of a file by its first HEAD_BYTES; None for no image.

    The end of its name counts for TGA only, whose files do not say what they are.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return KINDS["WEBP"]
    if head[4:8] == b"ftyp":
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, len(head), 4))]
        named = {_BRANDS[brand] for brand in brands if brand in _BRANDS}
        return next((KINDS[name] for name in ("AVIF", "HEIC") if name in named), None)
    for start, name in _STARTS:
        if head.startswith(start):
            return KINDS[name]
    return KINDS["TGA"] if suffix.lower() in _TGA else None


_OPTIONAL = (".heic", ".heif")
"""Images that only an extra package reads: without it they are named, not passed over."""


def has_image_suffix(name: str) -> bool:
    """Whether a file is named like an image."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122  (a million names)
    return suffix in Image.registered_extensions() or suffix in _OPTIONAL


def open_as(kind: Kind, file: BinaryIO) -> Image.Image:
    """Open a file with the decoder of its kind; its pixels are not read yet.

    Raises:
        ImageError: nothing here reads this kind; the message says what to install.
    """
    if not kind.plugin:
        return _open_heic(file)
    module, _, name = kind.plugin.partition(".")
    try:
        plugin = importlib.import_module(f"PIL.{module}")
    except ImportError as error:
        raise ImageError(
            f"{kind.name} is not read by this Pillow: pip install --upgrade pillow"
        ) from error
    try:
        image: Image.Image = getattr(plugin, name)(file)
    except SyntaxError as error:  # how Pillow says it, whatever is wrong
        raise ImageError(f"damaged: its header cannot be read as {kind.name}") from error
    return image


def _open_heic(file: BinaryIO) -> Image.Image:
    try:
        pillow_heif = importlib.import_module("pillow_heif")
    except ImportError as error:
        raise ImageError(
            "a HEIC photo, which needs one more package: pip install 'edge-compressor[heif]'"
        ) from error
    image: Image.Image = pillow_heif.HeifImageFile(file)
    return image
