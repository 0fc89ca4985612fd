"""Images through an encoder: as the device will see them, or in their fixed views."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from compressor.encoders import Encoder
from compressor.images import ImageSet, open_rgb
from compressor.views import view_of
from runtime.errors import InputError, MissingDependencyError
from runtime.files import replacing
from runtime.preprocess import Preprocess
from runtime.progress import Track, silent

Floats = npt.NDArray[np.float32]
Job = tuple[int, int]
"""Row of the image and number of the view."""
Loaded = npt.NDArray[np.uint8] | InputError
"""Pixels, or why there are none: an exception raised in a worker process would lose its kind."""

_BATCH = 64
SHARD_IMAGES = 4096
"""Teacher features are written in pieces of this many images: what a killed run loses at most."""


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
            return self.preprocess.pixels(open_rgb(self.paths[row]))
        except InputError as error:
            return error


class ViewPixels(Dataset[Loaded]):
    """Fixed seeded views as uint8 [S, S, 3], asked for by (row, number of the view)."""

    def __init__(
        self, images: ImageSet, preprocess: Preprocess, seed: int, scale: tuple[float, float]
    ) -> None:
        self.paths = images.paths
        self.keys = images.keys
        self.preprocess = preprocess
        self.seed = seed
        self.scale = scale

    def __getitem__(self, job: Job) -> Loaded:
        row, number = job
        try:
            image = open_rgb(self.paths[row])
        except InputError as error:
            return error
        view = view_of(self.keys[row], number, seed=self.seed, size=image.size, scale=self.scale)
        return view.render(image, self.preprocess.size_px, self.preprocess.resampling)


def load_batches(
    dataset: Dataset[Loaded], batches: Iterable[Sequence[object]], workers: int
) -> Iterator[Tensor]:
    """Batches of pixels, uint8 [B, S, S, 3], read ahead by worker processes, in order.

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


def to_input(pixels: Tensor, preprocess: Preprocess, device: torch.device) -> Tensor:
    """uint8 [B, S, S, 3] -> float32 [B, 3, S, S], normalised, in channels-last memory."""
    scale = torch.tensor(preprocess.std, dtype=torch.float64).mul(255).reciprocal()
    shift = -torch.tensor(preprocess.mean, dtype=torch.float64) / torch.tensor(preprocess.std)
    values = pixels.to(device) * scale.float().to(device) + shift.float().to(device)
    # [B, S, S, 3] -> [B, 3, S, S]: the memory stays as it is, which is channels-last
    return values.permute(0, 3, 1, 2)


def embed(
    encoder: Encoder,
    paths: Sequence[Path],
    compute: Compute,
    *,
    label: str,
    keep: Path | None = None,
    track: Track = silent,
) -> Floats:
    """Embed images as the device will see them: float32 [N, D].

    Args:
        encoder: what embeds.
        paths: the N images.
        compute: where.
        label: of the progress bar.
        keep: a folder for finished parts; those already there are not made again.
        track: shows the progress.
    """
    parts = [np.empty((0, encoder.dim), np.float32)]
    for start in range(0, len(paths), SHARD_IMAGES):
        rows = range(start, min(start + SHARD_IMAGES, len(paths)))
        part = keep / f"part-{start:07d}.npy" if keep is not None else None
        if part is not None and part.exists():
            parts.append(np.load(part))
            continue
        batches = [rows[at : at + _BATCH] for at in range(0, len(rows), _BATCH)]
        loaded = load_batches(Pixels(paths, encoder.preprocess), batches, compute.workers)
        parts.append(_embed(encoder, track(loaded, label=label, total=len(batches)), compute))
        if part is not None:
            _save(part, parts[-1])
    return np.concatenate(parts)


def embed_views(
    encoder: Encoder,
    dataset: ViewPixels,
    number: int,
    folder: Path,
    compute: Compute,
    *,
    track: Track = silent,
) -> None:
    """Write the features of view `number` of all images as shards; those already there are kept."""
    for start in range(0, len(dataset.paths), SHARD_IMAGES):
        path = folder / shard_name(number, start)
        if path.exists():
            continue
        rows = range(start, min(start + SHARD_IMAGES, len(dataset.paths)))
        jobs = [(row, number) for row in rows]
        batches = [jobs[at : at + _BATCH] for at in range(0, len(jobs), _BATCH)]
        loaded = load_batches(dataset, batches, compute.workers)
        tracked = track(loaded, label=f"teacher on view {number + 1}", total=len(batches))
        _save(path, _embed(encoder, tracked, compute))


def load_views(folder: Path, views: int, images: int) -> Floats:
    """Features of all views: float32 [V, N, D]."""
    starts = range(0, images, SHARD_IMAGES)
    return np.stack(
        [
            np.concatenate([np.load(folder / shard_name(number, start)) for start in starts])
            for number in range(views)
        ]
    )


def shard_name(number: int, start: int) -> str:
    """File of the features of view `number` of the images from row `start` on."""
    return f"view{number:03d}-{start:07d}.npy"


def _embed(encoder: Encoder, batches: Iterator[Tensor], compute: Compute) -> Floats:
    module: nn.Module = encoder.module.eval().to(compute.device)
    parts = [np.empty((0, encoder.dim), np.float32)]
    with torch.inference_mode():
        for pixels in batches:
            output = module(to_input(pixels, encoder.preprocess, compute.device))
            parts.append(output.float().cpu().numpy())
    return np.concatenate(parts)


def _save(path: Path, features: Floats) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, features)


def _stack(loaded: Sequence[Loaded]) -> Tensor | InputError:
    pixels = [each for each in loaded if not isinstance(each, InputError)]
    errors = [each for each in loaded if isinstance(each, InputError)]
    return errors[0] if errors else torch.from_numpy(np.stack(pixels))


def _quiet_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer
