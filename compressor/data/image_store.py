"""Decoded training images on disk, memory-mapped, so that no view decodes a file again.

A shard is one `.npy` of bytes: the widths and heights of its images, then their pixels.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from compressor.data.dataset import ImageSet, open_rgb, pixels_sha256
from compressor.data.shards import new_shard
from runtime.errors import InputError
from runtime.files import replacing
from runtime.progress import Track, silent

SHARD_IMAGES = 4096
"""Images in a shard: what a killed run decodes again at most."""

_SIZE_BYTES = 8  # width and height, int32 each


class Store:
    """The images of finished shards, by row."""

    def __init__(self, folder: Path, images: int) -> None:
        self.folder = folder
        self.images = images

    def __getitem__(self, row: int) -> Image.Image:
        shard, sizes, starts = self._shards[row // SHARD_IMAGES]
        at = row % SHARD_IMAGES
        width, height = sizes[at]
        pixels = shard[starts[at] : starts[at] + 3 * width * height]
        return Image.fromarray(pixels.reshape(height, width, 3))

    @cached_property
    def _shards(
        self,
    ) -> list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], npt.NDArray[np.int64]]]:
        opened = []
        for start in range(0, self.images, SHARD_IMAGES):
            shard = np.load(self.folder / shard_name(start), mmap_mode="r")
            count = min(SHARD_IMAGES, self.images - start)
            sizes = np.array(shard[: _SIZE_BYTES * count]).view(np.int32).reshape(count, 2)
            opened.append((shard, sizes, _starts(sizes)))
        return opened


def shard_name(start: int) -> str:
    """File of the images from row `start` on."""
    return f"pixels-{start:07d}.npy"


def store_bytes(images: ImageSet, side_px: int) -> int:
    """What the shards of these images take on disk, apart from their headers."""
    sizes = [_shrunk_size(each.width, each.height, side_px) for each in images.photos]
    return sum(3 * width * height + _SIZE_BYTES for width, height in sizes)


def write_shard(
    path: Path, images: ImageSet, start: int, side_px: int, *, track: Track = silent
) -> None:
    """Decode the images from row `start` on into one shard, whole or not at all.

    Raises:
        InputError: an image cannot be read any more.
    """
    photos = images.photos[start : start + SHARD_IMAGES]
    paths = images.paths[start : start + SHARD_IMAGES]
    size = [_shrunk_size(photo.width, photo.height, side_px) for photo in photos]
    sizes = np.array(size, np.int32)
    starts = _starts(sizes)
    total = int(starts[-1] + 3 * size[-1][0] * size[-1][1])
    with replacing(path) as temporary:
        shard = new_shard(temporary, np.uint8, total)
        shard[: starts[0]] = sizes.reshape(-1).view(np.uint8)

        def decode(at: int) -> None:
            image = open_rgb(paths[at])
            if pixels_sha256(image) != photos[at].pixels_sha256:
                raise InputError(f"{paths[at]}: changed since it was audited; run again")
            pixels = np.asarray(shrunk(image, side_px)).reshape(-1)
            shard[starts[at] : starts[at] + len(pixels)] = pixels

        with warnings.catch_warnings(), ThreadPoolExecutor() as pool:  # decoding frees the GIL
            warnings.simplefilter("ignore")  # Pillow's, about odd files: the audit has judged them
            done = pool.map(decode, range(len(paths)))
            for _ in track(done, label="decoding images", total=len(paths)):
                pass
        shard.flush()


def shrunk(image: Image.Image, side_px: int) -> Image.Image:
    """The image with a short side of at most `side_px`; a smaller one stays as it is."""
    size = _shrunk_size(*image.size, side_px)
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def _shrunk_size(width: int, height: int, side_px: int) -> tuple[int, int]:
    short = min(width, height)
    if short <= side_px:
        return width, height
    return round(width * side_px / short), round(height * side_px / short)


def _starts(sizes: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Where each image's pixels begin: behind all sizes, one after the other."""
    lengths = 3 * sizes.prod(axis=1, dtype=np.int64)
    return _SIZE_BYTES * len(sizes) + np.concatenate([[0], np.cumsum(lengths[:-1])])
