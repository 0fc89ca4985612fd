"""Embeddings of images, preprocessed as on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from compressor.data.loading import PreprocessedImages, in_batches, load_batches, to_input
from compressor.models.compute import SMALLER_IMAGES, Compute, autocast, within_memory
from compressor.models.encoder import Encoder
from runtime.arrays import Floats
from runtime.files import replacing
from runtime.images.image_file import ImageFile
from runtime.progress import Track, silent

PART_IMAGES = 4096
"""Images in a part of the embeddings: the most that a killed run computes again."""


def embed(
    encoder: Encoder,
    paths: Sequence[ImageFile],
    compute: Compute,
    *,
    label: str,
    precision: torch.dtype | None = None,
    keep: Path | None = None,
    track: Track = silent,
) -> Floats:
    """Embed images, preprocessed as on the device: float32 [N, D].

    Args:
        encoder: teacher or student.
        paths: the N images.
        compute: where to run it.
        label: of the progress bar.
        precision: of autocast; None for float32.
        keep: a folder for finished parts; those already there are read, not computed again.
            Several processes of one run compute a part of each part, and the first of them writes.
        track: shows the progress.
    """
    parts, group = [np.empty((0, encoder.dim), np.float32)], compute.group
    for start in range(0, len(paths), PART_IMAGES):
        rows = range(start, min(start + PART_IMAGES, len(paths)))
        part = keep / f"part-{start:07d}.npy" if keep is not None else None
        if part is not None and group.of_first(part.exists()):
            parts.append(np.load(part))
            continue
        batches = group.dealt(in_batches(rows))
        images = PreprocessedImages(paths, encoder.preprocess)
        loaded = load_batches(images, batches, compute.workers, pinned=compute.on_gpu)
        tracked = track(loaded, label=label, total=len(batches))
        with autocast(precision, compute):
            parts.append(_embed(encoder, tracked, compute))
        if part is not None and group.is_first:
            with replacing(part) as temporary, temporary.open("wb") as file:
                np.save(file, parts[-1])
    return np.concatenate(parts)


def _embed(encoder: Encoder, batches: Iterator[tuple[Tensor, ...]], compute: Compute) -> Floats:
    module: nn.Module = encoder.module.eval().to(compute.device)
    parts = list[Floats]()
    with torch.inference_mode():
        for (pixels,) in batches:
            with within_memory(len(pixels), SMALLER_IMAGES):
                output = module(to_input(pixels, encoder.preprocess, compute.device))
            parts.append(output.float().cpu().numpy())
    return np.concatenate(compute.group.collected(parts))
