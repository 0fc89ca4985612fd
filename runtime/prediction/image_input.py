"""What a student takes as an image: a file, bytes, a picture or an array, opened upright in RGB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.errors import ImageError, InputError
from runtime.images.decode import decode, decode_bytes, upright

ImageInput = str | Path | bytes | Image.Image | npt.NDArray[np.uint8]
"""A file, the content of one, a Pillow image, or uint8 [H, W, 3] in RGB (from OpenCV's BGR:
`frame[:, :, ::-1]`)."""


def as_list(images: ImageInput | Sequence[ImageInput]) -> list[ImageInput]:
    """Return the images of one, of several, or of an array [B, H, W, 3]."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, (str, Path, bytes, Image.Image)):
        return [images]
    return list(images)


def opened(image: ImageInput, number: int) -> Image.Image:
    """Open an image, upright and in RGB.

    Raises:
        InputError: it is not an image; the message names the file, or its number in the call.
    """
    try:
        if isinstance(image, (str, Path)):
            return decode(Path(image))
        if isinstance(image, bytes):
            return decode_bytes(image)
        if isinstance(image, Image.Image):
            return upright(image)
        return _from_array(image)
    except ImageError as error:
        name = image if isinstance(image, (str, Path)) else f"image {number}"
        raise InputError(f"{name}: {error}") from error


def _from_array(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ImageError(
            f"an array of {pixels.dtype} {list(pixels.shape)}; expected uint8 [H, W, 3] in RGB"
        )
    return upright(Image.fromarray(pixels))
