"""Small pictures inside a page."""

from __future__ import annotations

import base64
import io

from PIL import Image

from compressor.data.image_files import open_rgb
from runtime.images.image_file import ImageFile

SIDES = ((60, 640), (150, 400), (300, 256), (1_000, 128))
"""(images, longer side in pixels): the more images, the smaller; a page takes some 5 MB."""
MOST_IMAGES = SIDES[-1][0]
_QUALITY = 78


def side_for(images: int) -> int:
    """Return the longer side in pixels of thumbnails, by their number."""
    return next((side for count, side in SIDES if images <= count), SIDES[-1][1])


def data_uri(path: ImageFile, side: int) -> str:
    """Return an image as a JPEG of at most `side` pixels in a `data:` address.

    Raises:
        InputError: it was moved or changed since the audit.
    """
    image = open_rgb(path)
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
