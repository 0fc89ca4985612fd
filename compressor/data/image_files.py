"""Image files on disk: decoded, identified by their pixels."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from PIL import Image

from compressor.distributed.group import ALONE, Group
from runtime.backends.cores import cores
from runtime.errors import ImageError, InputError
from runtime.images.decode import MAX_MEGAPIXELS, MOST_MEGAPIXELS, decode
from runtime.images.image_file import ImageFile
from runtime.progress import Track, silent

_ROWS = 256
"""Rows of pixels that are digested at a time."""
_ROUND = 512
"""Images that a process decodes before it sends what it has found."""
SIDE = 16
"""Cells of a thumbprint in each direction."""
_BLACK = 16
"""The grey level, of 256, that no cell of a nearly black image reaches."""


@dataclass(frozen=True)
class DecodedInfo:
    """Size and digest of a file that could be decoded."""

    pixels_sha256: str
    width: int
    height: int
    thumbprint: bytes
    """What a shrunken copy has in common with it: grey levels of SIDE x SIDE equal cells."""

    @property
    def is_nearly_black(self) -> bool:
        """Whether no cell is brighter than 15 of 255: what 12 bits in a 16-bit file come to."""
        return max(self.thumbprint) < _BLACK


def inspect(
    paths: Sequence[ImageFile],
    track: Track = silent,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    group: Group = ALONE,
) -> dict[ImageFile, DecodedInfo | str]:
    """Decode every file once: its `DecodedInfo`, or the reason why it cannot be used.

    Args:
        paths: the files.
        track: shows the progress.
        max_megapixels: the limit of an image's size, in 10^6 pixels.
        group: its processes decode a part of the files each; only the first is given the results.
    """
    decoded = partial(_decoded, max_megapixels=max_megapixels)
    threads = max(1, cores() // group.local_size)
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        # Pillow's warnings about odd files: what matters of them is in the rejection's reason.
        warnings.simplefilter("ignore")
        found = (
            pool.map(decoded, paths) if group.size == 1 else _shared(paths, decoded, pool, group)
        )
        results = list(track(found, label="decoding every image", total=len(paths)))
    return dict(zip(paths, results, strict=True)) if group.is_first else {}


def _shared(
    paths: Sequence[ImageFile],
    decoded: Callable[[ImageFile], DecodedInfo | str],
    pool: ThreadPoolExecutor,
    group: Group,
) -> Iterator[DecodedInfo | str]:
    """Decode a few files in each process, and a few more, until all are done."""
    each = max(1, min(_ROUND, -(-len(paths) // group.size)))
    parts = [paths[at : at + each] for at in range(0, len(paths), each)]
    made = (list(pool.map(decoded, part)) for part in group.dealt(parts))
    for part in group.streamed(made, len(parts)):
        yield from part


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


def open_rgb(path: ImageFile, *, short_px: int | None = None) -> Image.Image:
    """Decode an image that the audit found usable.

    Args:
        path: the file.
        short_px: the short side that is enough, see `decode`; None: as the audit and a device do.

    Raises:
        InputError: it was moved or changed since.
    """
    try:
        return decode(path, max_megapixels=MOST_MEGAPIXELS, short_px=short_px)
    except ImageError as error:
        raise InputError(
            f"{path}: {error}\n  It was usable when the images were audited: was it moved or "
            "changed during the run? Run the same command again."
        ) from error
