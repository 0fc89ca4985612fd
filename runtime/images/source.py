"""Where an image comes from: a file, perhaps with a corruption."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from runtime.errors import ImageError, InputError
from runtime.images.corruptions import Corruption
from runtime.images.decode import MOST_MEGAPIXELS, decode
from runtime.images.image_file import ImageFile


@dataclass(frozen=True)
class ImageSource:
    """An image file, and the corruption to apply to it."""

    path: ImageFile
    corruption: Corruption | None = None

    def open(self) -> Image.Image:
        """Return the image as RGB.

        Raises:
            InputError: it cannot be read.
        """
        try:
            image = decode(self.path, max_megapixels=MOST_MEGAPIXELS)
        except ImageError as error:
            raise InputError(
                f"{self.path}: {error}\n"
                "  This held-out image was readable before: was it moved or changed?"
            ) from error
        return self.corruption(image) if self.corruption else image
