"""Images on their way into a network: decoded by worker processes, coloured in batches."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from compressor.images import ImageSet, open_rgb
from compressor.store import Store, shrunk
from compressor.views import view_of
from runtime.errors import InputError, MissingDependencyError
from runtime.preprocess import Preprocess

Job = tuple[int, int]
"""Row of the image and number of the view."""
Arrays = tuple[npt.NDArray[Any], ...]
Loaded = Arrays | InputError
"""Of one image, or why there is nothing: an exception raised in a worker would lose its kind."""

T = TypeVar("T")

BATCH = 64
"""Images that a network looks at together where nothing is learnt from them."""
_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


@dataclass(frozen=True)
class Compute:
    """Where networks run and how many processes feed them."""

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
        cores = len(os.sched_getaffinity(0))
        if workers is None:
            workers = min(8, cores if chosen == "cuda" else max(1, cores // 2))
        return cls(torch.device("cpu" if chosen == "auto" else chosen), workers)


class Pixels(Dataset[Loaded]):
    """Images as uint8 [S, S, 3], resized and cropped as on the device."""

    def __init__(self, paths: Sequence[Path], preprocess: Preprocess) -> None:
        self.paths = paths
        self.preprocess = preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Loaded:
        try:
            return (self.preprocess.pixels(open_rgb(self.paths[row])),)
        except InputError as error:
            return error


@dataclass(frozen=True)
class Augment:
    """What decides the fixed seeded views of a set of images, besides the images."""

    seed: int
    scale: tuple[float, float]
    """Smallest and largest share of an image's area that a view shows."""
    side_px: int
    """Views are cut from the image shrunk so that its short side has at most this length."""


class Views(Dataset[Loaded]):
    """Fixed seeded views, asked for by (row, number of the view), for one or more networks.

    An item is the view at each network's size, uint8 [S, S, 3], and its colour factors [3].
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

    def __getitem__(self, job: Job) -> Loaded:
        row, number = job
        try:
            image = (
                self.store[row]
                if self.store is not None
                else shrunk(open_rgb(self.paths[row]), self.augment.side_px)
            )
        except InputError as error:
            return error
        scale, seed = self.augment.scale, self.augment.seed
        view = view_of(self.keys[row], number, seed=seed, size=image.size, scale=scale)
        cuts = [view.cut(image, each.size_px, each.resampling) for each in self.inputs]
        return (*cuts, view.colour)


def in_batches(items: Sequence[T]) -> list[Sequence[T]]:
    """Items in their order, cut for a network that only looks: BATCH at a time."""
    return [items[at : at + BATCH] for at in range(0, len(items), BATCH)]


def load_batches(
    dataset: Dataset[Loaded], batches: Iterable[Sequence[object]], workers: int
) -> Iterator[tuple[Tensor, ...]]:
    """Batches of a dataset's items, each array stacked, read ahead by worker processes, in order.

    Raises:
        InputError: an image cannot be read any more.
    """
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=batches,  # type: ignore[arg-type]  # any iterable of index lists will do
        num_workers=workers,
        collate_fn=_stack,
        worker_init_fn=_quiet_worker,
        # Forked workers start at once; they only read images. (Python 3.14 would not fork.)
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        prefetch_factor=4 if workers else None,
        generator=torch.Generator(),  # its own: reading draws nothing from the training's
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch


def to_input(
    pixels: Tensor, preprocess: Preprocess, device: torch.device, colour: Tensor | None = None
) -> Tensor:
    """uint8 [B, S, S, 3] -> float32 [B, 3, S, S], normalised, in channels-last memory.

    Args:
        pixels: images or cuts of views.
        preprocess: its mean and std.
        device: where the network is.
        colour: [B, 3], the factors of `View.colour`; None leaves the colours as they are.
    """
    mean = torch.tensor(preprocess.mean, dtype=torch.float64)
    std = torch.tensor(preprocess.std, dtype=torch.float64)
    scale, shift = 1 / (255 * std), -mean / std
    values = pixels.to(device).float()
    if colour is not None:
        values = recolour(values, colour.to(device))
    values = values * scale.float().to(device) + shift.float().to(device)
    # [B, S, S, 3] -> [B, 3, S, S]: the memory stays as it is, which is channels-last
    return values.permute(0, 3, 1, 2)


def recolour(pixels: Tensor, colour: Tensor) -> Tensor:
    """Brightness, then contrast about the mean luma, then saturation about each pixel's luma.

    Args:
        pixels: float [B, S, S, 3], 0 to 255.
        colour: [B, 3], a factor for each; 1 leaves it as it is.

    Returns:
        [B, S, S, 3], clipped to 0 to 255 at the end only.
    """
    # All three are linear in a pixel's colour: together they are a gain of its own value, a share
    # of its luma, and an offset.
    brightness, contrast, saturation = colour.unbind(1)
    red, green, blue = _LUMA
    luma = pixels[..., 0] * red + pixels[..., 1] * green + pixels[..., 2] * blue
    gain = (contrast * brightness)[:, None, None]
    own = gain * saturation[:, None, None]
    offset = ((1 - contrast) * brightness * luma.mean(dim=(1, 2)))[:, None, None]
    shared = luma * (gain - own) + offset
    mixed = torch.addcmul(shared[..., None], pixels, own[..., None])
    return mixed.clamp_(0, 255)


def _stack(loaded: Sequence[Loaded]) -> tuple[Tensor, ...] | InputError:
    items = [each for each in loaded if not isinstance(each, InputError)]
    errors = [each for each in loaded if isinstance(each, InputError)]
    if errors:
        return errors[0]
    return tuple(torch.from_numpy(np.stack(arrays)) for arrays in zip(*items, strict=True))


def _quiet_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer
