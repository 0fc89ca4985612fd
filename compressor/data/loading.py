"""Batches of images for a network: threads decode and crop them, a few batches ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compressor.data.augmentation import PLAIN, seeded_view
from compressor.data.dataset import ImageSet
from compressor.data.image_files import open_rgb
from compressor.data.image_store import ImageStore, Packing, kept, open_shrunk, size_of
from compressor.data.mixing import Partners
from runtime.images.image_file import ImageFile
from runtime.images.preprocess import Preprocess

ViewId = tuple[int, int]
"""Row of the image and number of the view."""
Arrays = tuple[npt.NDArray[Any], ...]
"""What a dataset returns for one item."""

T = TypeVar("T")
K = TypeVar("K", contravariant=True)

BATCH = 64
"""Batch size of inference."""
_AHEAD = 2  # batches read while a network works on one


class Dataset(Protocol[K]):
    """Something that returns arrays by item, to several threads at once."""

    def __getitem__(self, item: K) -> Arrays:
        """The arrays of one item."""


class PreprocessedImages:
    """Images as uint8 [S, S, 3], resized and cropped as on the device."""

    def __init__(self, paths: Sequence[ImageFile], preprocess: Preprocess) -> None:
        self.paths = paths
        self.preprocess = preprocess

    def __getitem__(self, row: int) -> Arrays:
        return (self.preprocess.pixels(open_rgb(self.paths[row])),)


@dataclass(frozen=True)
class Augmentation:
    """The settings of the views of a set of images."""

    seed: int
    scale: tuple[float, float]
    """Smallest and largest share of an image's area that a view covers."""
    side_px: int
    """Views are cropped from the image after its short side was shrunk to at most this."""
    mixed: frozenset[int] = frozenset()
    """Numbers of the views in which an image is mixed with another; never PLAIN."""
    packing: Packing = "raw"
    """How shrunk images are kept: as JPEG, views are cut from what JPEG leaves of them."""

    def __post_init__(self) -> None:
        """Refuse a mixed PLAIN, which is the image as the device sees it."""
        if PLAIN in self.mixed:
            raise ValueError("the plain view is never mixed")


class Views:
    """The views of a set of images, by (row, number of the view), for one or more networks.

    An item is the view at each network's input size, uint8 [S, S, 3]. The view PLAIN is the image
    preprocessed for each network as on the device. A mixed view is the image's own view blended
    with the view of the same number of another image of the set; a single image has no other, and
    its views stay as they are.
    """

    def __init__(
        self,
        images: ImageSet,
        augment: Augmentation,
        inputs: Sequence[Preprocess],
        store: ImageStore | None = None,
    ) -> None:
        self.paths = images.paths
        self.keys = images.keys
        self.sizes = [size_of(image) for image in images.records]
        self.augment = augment
        self.inputs = inputs
        self.store = store

    def __getitem__(self, view_id: ViewId) -> Arrays:
        row, number = view_id
        own = self._view(row, number)
        if number not in self.augment.mixed or len(self.keys) < 2:
            return own
        mix = self._partners.mix(row, number, self.augment.seed)
        other = self._view(mix.partner, number)
        return tuple(mix.blend(*pair) for pair in zip(own, other, strict=True))

    @cached_property
    def _partners(self) -> Partners:
        return Partners(self.keys)

    def _view(self, row: int, number: int) -> Arrays:
        """Return a view of one image alone, for each network."""
        image = (
            self.store[row]
            if self.store is not None
            else kept(
                open_shrunk(self.paths[row], self.sizes[row], self.augment.side_px),
                self.augment.packing,
            )
        )
        if number == PLAIN:
            return tuple(preprocess.pixels(image) for preprocess in self.inputs)
        scale, seed = self.augment.scale, self.augment.seed
        view = seeded_view(self.keys[row], number, seed=seed, size=image.size, scale=scale)
        return tuple(view.render(image, p.size_px, p.resampling) for p in self.inputs)


def in_batches(items: Sequence[T]) -> list[Sequence[T]]:
    """Divide items into batches for inference, in their order."""
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


def load_batches(
    dataset: Dataset[T], batches: Iterable[Sequence[T]], workers: int, *, pinned: bool = False
) -> Generator[tuple[Tensor, ...]]:
    """Yield batches of a dataset's items in order, each array stacked; threads read ahead.

    Threads are as fast as processes here, because Pillow releases the interpreter lock while it
    decodes and resizes. They need no copies, no shared memory and no fork.

    Args:
        dataset: where the items come from.
        batches: the items of each batch; read a few batches ahead.
        workers: number of threads; 0 reads each batch only when it is needed.
        pinned: whether the batches lie in page-locked memory, which a GPU copies without waiting.

    Raises:
        InputError: an image can no longer be read.
    """
    if not workers:
        for batch in batches:
            yield _stack([dataset[item] for item in batch], pinned=pinned)
        return
    ahead: deque[Future[tuple[Tensor, ...]]] = deque()
    pool, stacker = ThreadPoolExecutor(workers), ThreadPoolExecutor(1)

    def read(items: Sequence[T]) -> list[Arrays]:
        return [dataset[item] for item in items]

    def stacked(parts: Sequence[Future[list[Arrays]]]) -> tuple[Tensor, ...]:
        return _stack([item for part in parts for item in part.result()], pinned=pinned)

    try:
        for batch in batches:
            share = -(-len(batch) // workers)
            parts = [batch[at : at + share] for at in range(0, len(batch), share)]
            ahead.append(stacker.submit(stacked, [pool.submit(read, part) for part in parts]))
            if len(ahead) > _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:  # also where the caller stops early
        stacker.shutdown(wait=False, cancel_futures=True)
        pool.shutdown(cancel_futures=True)
        stacker.shutdown()


def to_input(pixels: Tensor, preprocess: Preprocess, device: torch.device) -> Tensor:
    """Normalise: uint8 [B, S, S, 3] -> float32 [B, 3, S, S] in channels-last memory.

    Args:
        pixels: images, or views of them.
        preprocess: gives mean and std.
        device: of the network.
    """
    scale, shift = _normalisation(tuple(preprocess.mean), tuple(preprocess.std), device)
    values = pixels.to(device, non_blocking=True).float()
    values.mul_(scale).add_(shift)
    # [B, S, S, 3] -> [B, 3, S, S]: the memory stays as it is, which is channels-last
    return values.permute(0, 3, 1, 2)


@cache
def _normalisation(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return what pixels are multiplied by, and what is added then; copied to a device once."""
    means, stds = (torch.tensor(each, dtype=torch.float64) for each in (mean, std))
    return (1 / (255 * stds)).float().to(device), (-means / stds).float().to(device)


def _stack(items: Sequence[Arrays], *, pinned: bool) -> tuple[Tensor, ...]:
    """Stack each array; a pinned block is used again when a GPU has copied from it (by torch)."""
    stacked = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*items, strict=True))
    return tuple(each.pin_memory() if pinned else each for each in stacked)
