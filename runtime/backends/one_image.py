"""Batches in a runtime whose files take one image: answered one image after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from runtime.arrays import AnyArray
from runtime.backends.base import Outputs
from runtime.errors import InputError


def answer(
    path: Path,
    shape: tuple[int, ...],
    images: AnyArray,
    of: Callable[[AnyArray], Sequence[AnyArray]],
) -> Outputs:
    """Answer a batch.

    Args:
        path: the file, for messages.
        shape: that it takes, [3, S, S].
        images: float32 [B, 3, S, S].
        of: one image [3, S, S] -> its embedding [D] and, with a probe, its logits [K].

    Raises:
        InputError: the file takes images of another shape.
    """
    if images.shape[1:] != shape or images.dtype != np.float32:
        raise InputError(
            f"{path}: cannot answer images {images.dtype} {list(images.shape)}: takes "
            f"float32 [N, {', '.join(map(str, shape))}]"
        )
    rows = [of(image) for image in images]
    embedding, *rest = (np.stack(column) for column in zip(*rows, strict=True))
    return Outputs(embedding=embedding, logits=rest[0] if rest else None)
