"""Training images decoded and shrunk on disk, memory-mapped, so that no file is decoded again.

A shard is one `.npy` of bytes. Raw: the widths and heights of its images, then their pixels. As
JPEG, for where raw pixels do not fit on the disk: the lengths of its images, then their content.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from compressor.data.dataset import ImageRecord, ImageSet
from compressor.data.image_files import open_rgb, pixels_sha256
from runtime.errors import InputError
from runtime.files import replacing
from runtime.images.decode import drafted_by
from runtime.images.image_file import ImageFile
from runtime.progress import Track, silent

SHARD_IMAGES = 4096
"""Images per shard: a killed run decodes at most this many again."""

Packing = Literal["raw", "jpeg"]
"""How the pixels of an image are kept."""
QUALITY = 95
"""Of JPEG. Views are cut from what is kept, so that training sees what a shard holds."""
BYTES_PER_PIXEL = 1.2
"""Of JPEG at this quality, at most for photographs: planned with, not measured on the images."""
_TABLES_BYTES = 700  # of a JPEG, whatever its size

SHORT_SIDES = 2
"""Views are cut from images with a short side of twice the side that the networks see: a crop of a
quarter of the area is as fine as they see, a smaller one is enlarged."""

_SIZE_BYTES = 8  # raw: width and height, int32 each; JPEG: the length, int64


def new_shard(path: Path, dtype: npt.DTypeLike, count: int) -> np.memmap[Any, Any]:
    """Create a writable, memory-mapped `.npy` of `count` records, with its disk space reserved.

    Without the reservation, a full disk would kill the process by a signal at some later page.

    Raises:
        OSError: the disk has too little room.
    """
    shard: np.memmap[Any, Any] = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.dtype(dtype), shape=(count,)
    )
    with path.open("rb+") as file:
        if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return shard


class ImageStore:
    """Images of finished shards, by row."""

    def __init__(self, folder: Path, images: int, packing: Packing = "raw") -> None:
        self.folder = folder
        self.images = images
        self.packing = packing

    def __getitem__(self, row: int) -> Image.Image:
        at = row % SHARD_IMAGES
        if self.packing == "jpeg":
            shard, starts = self._packed[row // SHARD_IMAGES]
            return _unpacked(shard[starts[at] : starts[at + 1]].tobytes())
        shard, sizes, starts = self._shards[row // SHARD_IMAGES]
        width, height = sizes[at]
        pixels = shard[starts[at] : starts[at] + 3 * width * height]
        return Image.fromarray(pixels.reshape(height, width, 3))

    @cached_property
    def _shards(
        self,
    ) -> list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], npt.NDArray[np.int64]]]:
        opened = []
        for shard, header in self._opened():
            sizes = header.view(np.int32).reshape(-1, 2)
            opened.append((shard, sizes, _starts(sizes)))
        return opened

    @cached_property
    def _packed(self) -> list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
        return [
            (shard, len(header) + np.concatenate([[0], header.view(np.int64).cumsum()]))
            for shard, header in self._opened()
        ]

    def _opened(self) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
        """Yield each shard, memory-mapped, and a copy of what stands before its first image."""
        for start in range(0, self.images, SHARD_IMAGES):
            shard = np.load(self.folder / shard_name(start, self.packing), mmap_mode="r")
            count = min(SHARD_IMAGES, self.images - start)
            yield shard, np.array(shard[: _SIZE_BYTES * count])


def shard_name(start: int, packing: Packing = "raw") -> str:
    """File name of the shard that starts at row `start`."""
    return f"{'pixels' if packing == 'raw' else packing}-{start:07d}.npy"


def store_bytes(images: ImageSet, side_px: int, packing: Packing = "raw") -> int:
    """Bytes on disk of the shards of these images, without headers; of JPEG about as many."""
    sizes = [_shrunk_size(image.width, image.height, side_px) for image in images.records]
    if packing == "jpeg":
        each = [round(BYTES_PER_PIXEL * width * height) for width, height in sizes]
        return sum(each) + len(each) * (_TABLES_BYTES + _SIZE_BYTES)
    return sum(3 * width * height + _SIZE_BYTES for width, height in sizes)


def write_shard(
    path: Path,
    images: ImageSet,
    start: int,
    side_px: int,
    *,
    packing: Packing = "raw",
    track: Track = silent,
    threads: int | None = None,
) -> None:
    """Decode the images from row `start` on into one shard, completely or not at all.

    Args:
        path: of the shard.
        images: all; `start` is a multiple of SHARD_IMAGES.
        start: the first row.
        side_px: short side to which images are shrunk.
        packing: how pixels are kept.
        track: shows the progress.
        threads: that decode; None: a few more than there are cores.

    Raises:
        InputError: an image can no longer be read.
    """
    records = images.records[start : start + SHARD_IMAGES]
    paths = images.paths[start : start + SHARD_IMAGES]

    def decoded(at: int) -> Image.Image:
        image, size = open_rgb(paths[at], short_px=side_px), size_of(records[at])
        whole = image if image.size == size else open_rgb(paths[at])
        if pixels_sha256(whole) != records[at].pixels_sha256:
            raise InputError(f"{paths[at]}: changed since it was audited; run again")
        return shrink(image, side_px, size)  # as `open_shrunk`

    if packing == "jpeg":
        _write_packed(path, decoded, len(paths), track, threads)
        return
    sizes = np.array([_shrunk_size(r.width, r.height, side_px) for r in records], np.int32)
    starts = _starts(sizes)
    total = int(starts[-1] + 3 * sizes[-1].prod(dtype=np.int64))
    with replacing(path) as temporary:
        shard = new_shard(temporary, np.uint8, total)
        shard[: starts[0]] = sizes.reshape(-1).view(np.uint8)

        def decode(at: int) -> None:
            pixels = np.asarray(decoded(at)).reshape(-1)
            shard[starts[at] : starts[at] + len(pixels)] = pixels

        with _decoding(threads) as pool:
            done = pool.map(decode, range(len(paths)))
            for _ in track(done, label="decoding images", total=len(paths)):
                pass
        shard.flush()


@contextmanager
def _decoding(threads: int | None) -> Iterator[ThreadPoolExecutor]:
    """Yield threads that decode images, which frees the GIL."""
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore")  # Pillow's, about odd files: the audit judged them
        yield pool


def _write_packed(
    path: Path,
    decoded: Callable[[int], Image.Image],
    count: int,
    track: Track,
    threads: int | None,
) -> None:
    """Write the JPEG content of images one after the other, and their lengths before them."""
    lengths = np.zeros(count, np.int64)
    with replacing(path) as temporary, temporary.open("wb") as file:
        # The length of the array, in the header, is known at the end alone
        np.lib.format.write_array_header_1_0(file, _header(10**15))
        begins = file.tell()
        file.write(bytes(_SIZE_BYTES * count))
        with _decoding(threads) as pool:
            packed = pool.map(lambda at: _packed(decoded(at)), range(count))
            for at, content in enumerate(track(packed, label="decoding images", total=count)):
                lengths[at] = len(content)
                file.write(content)
        total = file.tell() - begins
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, _header(total))
        if file.tell() != begins:
            raise AssertionError("numpy pads its header to the same length for any count")
        file.write(lengths.tobytes())


def _header(count: int) -> dict[str, Any]:
    """Return numpy's header of so many bytes; numbers up to 10^15 take the same room in it."""
    return {"shape": (count,), "fortran_order": False, "descr": "|u1"}


def _packed(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()


def _unpacked(content: bytes) -> Image.Image:
    image: Image.Image
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        return image.convert("RGB")


def kept(image: Image.Image, packing: Packing) -> Image.Image:
    """Return a shrunk image as a shard gives it back."""
    return image if packing == "raw" else _unpacked(_packed(image))


def size_of(image: ImageRecord) -> tuple[int, int]:
    """Return width and height of an image, as the audit found it."""
    return image.width, image.height


def drafted(images: Iterable[ImageRecord], side_px: int) -> bool:
    """Return whether any of these images, were it a JPEG, would be decoded at less than it has."""
    return any(drafted_by(size_of(image), side_px) > 1 for image in images)


def open_shrunk(path: ImageFile, size: tuple[int, int], side_px: int) -> Image.Image:
    """Decode an image, shrunk for views: what a store keeps, and what is cut without one.

    A large JPEG is decoded at a half, a quarter or an eighth of its size, of which the rest is
    resized. Never for images as the device sees them, nor for digests of pixels.

    Args:
        path: the file.
        size: width and height of the image, as the audit found it.
        side_px: short side that it has at most.

    Raises:
        InputError: it can no longer be read.
    """
    return shrink(open_rgb(path, short_px=side_px), side_px, size)


def shrink(image: Image.Image, side_px: int, whole: tuple[int, int] | None = None) -> Image.Image:
    """Resize an image so that its short side is at most `side_px`; a smaller one is unchanged.

    Args:
        image: the image.
        side_px: short side.
        whole: width and height, if it was decoded at less than it has.
    """
    size = _shrunk_size(*(whole or image.size), side_px)
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def _shrunk_size(width: int, height: int, side_px: int) -> tuple[int, int]:
    short = min(width, height)
    if short <= side_px:
        return width, height
    return round(width * side_px / short), round(height * side_px / short)


def _starts(sizes: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """First byte of each image's pixels; they follow the sizes, one after the other."""
    lengths = 3 * sizes.prod(axis=1, dtype=np.int64)
    return _SIZE_BYTES * len(sizes) + np.concatenate([[0], np.cumsum(lengths[:-1])])
