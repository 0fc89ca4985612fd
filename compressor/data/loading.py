"""Images on their way into a network: decoded and cut by threads, a few batches ahead."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compressor.data.augmentation import PLAIN, view_of
from compressor.data.dataset import ImageSet, open_rgb
from compressor.data.image_store import Store, shrunk
from runtime.errors import MissingDependencyError
from runtime.images.preprocess import Preprocess

Job = tuple[int, int]
"""Row of the image and number of the view."""
Arrays = tuple[npt.NDArray[Any], ...]
"""What a dataset gives for one item."""

T = TypeVar("T")
K = TypeVar("K", contravariant=True)

BATCH = 64
"""Images that a network looks at together where nothing is learnt from them."""
_AHEAD = 2  # batches read while a network is at work on one


@dataclass(frozen=True)
class Compute:
    """Where networks run and how many threads feed them."""

    device: torch.device
    workers: int

    @classmethod
    def choose(cls, device: str, workers: int | None) -> Compute:
        """Resolve `auto` and check that what was asked for is there.

        Raises:
            MissingDependencyError: CUDA was asked for and there is none.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise MissingDependencyError(
                "distill.device is cuda, and torch sees no GPU here.\n"
                f"  Is one visible (nvidia-smi)? Does its driver match torch {torch.__version__}?\n"
                "  Or set distill.device to cpu or auto."
            )
        chosen = "cuda" if device == "auto" and torch.cuda.is_available() else device
        if workers is None:
            workers = min(16, len(os.sched_getaffinity(0)))
        return cls(torch.device("cpu" if chosen == "auto" else chosen), workers)


class Dataset(Protocol[K]):
    """Something that gives arrays for what it is asked; asked by several threads at once."""

    def __getitem__(self, item: K) -> Arrays:
        """The arrays of one item."""


class Pixels:
    """Images as uint8 [S, S, 3], resized and cropped as on the device."""

    def __init__(self, paths: Sequence[Path], preprocess: Preprocess) -> None:
        self.paths = paths
        self.preprocess = preprocess

    def __getitem__(self, row: int) -> Arrays:
        return (self.preprocess.pixels(open_rgb(self.paths[row])),)


@dataclass(frozen=True)
class Augment:
    """What decides the fixed seeded views of a set of images, besides the images."""

    seed: int
    scale: tuple[float, float]
    """Smallest and largest share of an image's area that a view shows."""
    side_px: int
    """Views are cut from the image shrunk so that its short side has at most this length."""


class Views:
    """Fixed seeded views, asked for by (row, number of the view), for one or more networks.

    An item is the view at each network's size, uint8 [S, S, 3]. The view PLAIN is the image as each
    network is shown it on the device.
    """

    def __init__(
        self,
        images: ImageSet,
        augment: Augment,
        inputs: Sequence[Preprocess],
        store: Store | None = None,
    ) -> None:
        self.paths = images.paths
        self.keys = images.keys
        self.augment = augment
        self.inputs = inputs
        self.store = store

    def __getitem__(self, job: Job) -> Arrays:
        row, number = job
        image = (
            self.store[row]
            if self.store is not None
            else shrunk(open_rgb(self.paths[row]), self.augment.side_px)
        )
        if number == PLAIN:
            return tuple(each.pixels(image) for each in self.inputs)
        scale, seed = self.augment.scale, self.augment.seed
        view = view_of(self.keys[row], number, seed=seed, size=image.size, scale=scale)
        return tuple(view.of(image, each.size_px, each.resampling) for each in self.inputs)


def in_batches(items: Sequence[T]) -> list[Sequence[T]]:
    """Items in their order, cut for a network that only looks: BATCH at a time."""
    return [items[at : at + BATCH] for at in range(0, len(items), BATCH)]


def load_batches(
    dataset: Dataset[T], batches: Iterable[Sequence[T]], workers: int
) -> Iterator[tuple[Tensor, ...]]:
    """Batches of a dataset's items, each array stacked, in order; read ahead by threads.

    Threads serve as well as processes here, because Pillow frees the interpreter while it decodes
    and resizes, and they need no copies, no shared memory and no fork.

    Args:
        dataset: what the items come from.
        batches: the items of each batch; asked for a few batches ahead.
        workers: threads; 0 reads a batch when it is asked for.

    Raises:
        InputError: an image cannot be read any more.
    """
    if not workers:
        for batch in batches:
            yield _stack([dataset[item] for item in batch])
        return
    ahead: deque[list[Future[list[Arrays]]]] = deque()
    pool = ThreadPoolExecutor(workers)

    def read(items: Sequence[T]) -> list[Arrays]:
        return [dataset[item] for item in items]

    try:
        for batch in batches:
            share = -(-len(batch) // workers)
            parts = [batch[at : at + share] for at in range(0, len(batch), share)]
            ahead.append([pool.submit(read, part) for part in parts])
            if len(ahead) > _AHEAD:
                yield _stack(_joined(ahead.popleft()))
        while ahead:
            yield _stack(_joined(ahead.popleft()))
    finally:  # also where the caller stops half way
        pool.shutdown(cancel_futures=True)


def to_input(pixels: Tensor, preprocess: Preprocess, device: torch.device) -> Tensor:
    """uint8 [B, S, S, 3] -> float32 [B, 3, S, S], normalised, in channels-last memory.

    Args:
        pixels: images, or views of them.
        preprocess: its mean and std.
        device: where the network is.
    """
    mean = torch.tensor(preprocess.mean, dtype=torch.float64)
    std = torch.tensor(preprocess.std, dtype=torch.float64)
    scale, shift = 1 / (255 * std), -mean / std
    values = pixels.to(device).float()
    values.mul_(scale.float().to(device)).add_(shift.float().to(device))
    # [B, S, S, 3] -> [B, 3, S, S]: the memory stays as it is, which is channels-last
    return values.permute(0, 3, 1, 2)


def _joined(parts: Sequence[Future[list[Arrays]]]) -> list[Arrays]:
    return [item for part in parts for item in part.result()]


def _stack(items: Sequence[Arrays]) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(np.stack(arrays)) for arrays in zip(*items, strict=True))
