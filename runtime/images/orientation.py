"""Which way up an image is: one rule for all versions of Pillow.

EXIF decides: the orientation of its first directory, if that is 1 to 8. If not, XMP decides.
Versions of Pillow differ in whether they read XMP, and in what they do with broken EXIF.
"""

from __future__ import annotations

import re
import struct

from PIL import Image

_TAG = 0x0112
_SHORT, _LONG = 3, 4
_ENTRY_BYTES = 12
_XMP = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])(?![0-9])""")
_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation_of(exif: bytes | None, xmp: bytes | None) -> int:
    """Return the orientation, 1 to 8; 1 is upright, and what broken metadata mean.

    Args:
        exif: a TIFF header and directory, with or without `Exif` before it; it may be broken.
        xmp: an XMP packet.
    """
    found = _of_exif(exif or b"")
    if found is None and (match := _XMP.search(xmp or b"")):
        found = int(match[1])
    return found or 1


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image upright; itself if it is."""
    method = _METHODS.get(orientation)
    return image if method is None else image.transpose(method)


def _of_exif(exif: bytes) -> int | None:
    """The orientation of the first directory of EXIF (its specification: TIFF 6.0, section 2)."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if start + 2 > len(exif):
        return None
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    for at in range(start + 2, start + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES):
        if at + _ENTRY_BYTES > len(exif):
            return None
        tag, kind = struct.unpack_from(f"{order}HH", exif, at)
        if tag == _TAG and kind in (_SHORT, _LONG):
            (value,) = struct.unpack_from(f"{order}{'H' if kind == _SHORT else 'I'}", exif, at + 8)
            return value if 1 <= value <= 8 else None
    return None
