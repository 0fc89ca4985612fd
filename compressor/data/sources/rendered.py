"""Images that are made, not read: as the content of a PNG file."""

from __future__ import annotations

import io

from PIL import Image

TO_DECODE, TO_KEEP = 0, 6
"""Levels of compression: none for pixels that are decoded at once, the usual one for a file."""


def png(image: Image.Image, level: int) -> io.BytesIO:
    """Return a PNG file of an image."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=level)
    file.seek(0)
    return file
