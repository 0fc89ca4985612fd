"""Image files on disk: decoded, identified by their pixels."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from PIL import Image

from runtime.backends.cores import cores
from runtime.errors import ImageError, InputError
from runtime.images.decode import MAX_MEGAPIXELS, MOST_MEGAPIXELS, decode
from runtime.images.image_file import ImageFile
from runtime.progress import Track, silent

_ROWS = 256
"""Rows of pixels that are digested at a time."""
SIDE = 16
"""Cells of a thumbprint in each direction."""


@dataclass(frozen=True)
class DecodedInfo:
    """Size and digest of a file that could be decoded."""

    pixels_sha256: str
    width: int
    height: int
    thumbprint: bytes
    """What a shrunken copy has in common with it: grey levels of SIDE x SIDE equal cells."""


def inspect(
    paths: Sequence[ImageFile], track: Track = silent, *, max_megapixels: float = MAX_MEGAPIXELS
) -> dict[ImageFile, DecodedInfo | str]:
    """Decode every file once: its `DecodedInfo`, or the reason why it cannot be used."""
    decoded = partial(_decoded, max_megapixels=max_megapixels)
    with warnings.catch_warnings(), ThreadPoolExecutor(cores()) as pool:
        # Pillow's warnings about odd files: what matters of them is in the rejection's reason.
        warnings.simplefilter("ignore")
        results = track(pool.map(decoded, paths), label="decoding every image", total=len(paths))
        return dict(zip(paths, results, strict=True))


def _decoded(path: ImageFile, *, max_megapixels: float) -> DecodedInfo | str:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name or path is not UTF-8: rename it"
    try:
        image = decode(path, max_megapixels=max_megapixels)
    except ImageError as error:
        return str(error)
    return DecodedInfo(pixels_sha256(image), image.width, image.height, thumbprint(image))


def pixels_sha256(image: Image.Image) -> str:
    """Return the digest of an image's size and upright RGB pixels."""
    digest = hashlib.sha256(f"{image.width}x{image.height} ".encode())
    for top in range(0, image.height, _ROWS):  # the bytes of a large image are not held at once
        bottom = min(top + _ROWS, image.height)
        digest.update(image.crop((0, top, image.width, bottom)).tobytes())
    return digest.hexdigest()


def thumbprint(image: Image.Image) -> bytes:
    """Return the mean grey levels of SIDE x SIDE equal cells of an RGB image, row by row."""
    return image.resize((SIDE, SIDE), Image.Resampling.BOX).convert("L").tobytes()


def open_rgb(path: ImageFile) -> Image.Image:
    """Decode an image that the audit found usable.

    Raises:
        InputError: it was moved or changed since.
    """
    try:
        return decode(path, max_megapixels=MOST_MEGAPIXELS)
    except ImageError as error:
        raise InputError(
            f"{path}: {error}\n  It was usable when the images were audited: was it moved or "
            "changed during the run? Run the same command again."
        ) from error
