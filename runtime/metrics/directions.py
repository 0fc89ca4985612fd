"""Embeddings as directions: only angles are compared."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from runtime.arrays import Doubles

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

BLOCK_VALUES = 8_000_000
"""Cosines held in memory at a time: 32 MB of float32, for any number of images."""


def normalise(x: Floats) -> npt.NDArray[np.float32]:
    """Return rows of unit length: [N, D] -> float32 [N, D].

    Raises:
        ValueError: a row is zero or not finite, so that it has no direction.
    """
    # In float64: the squares of a float32 may be beyond float32.
    length = np.sqrt(np.einsum("nd,nd->n", x, x, dtype=np.float64))[:, None]
    good = np.isfinite(length) & (length > 0)
    if not np.all(good):
        raise ValueError(f"{int(np.sum(~good))} of {len(x)} rows have no direction")
    unit: npt.NDArray[np.float32] = (x / length).astype(np.float32)
    return unit


def unit_rows(x: Floats) -> Doubles:
    """`normalise` in float64, for differences of nearly equal cosines."""
    unit: Doubles = x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    return unit


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Yield the rows of a [rows, columns] matrix in blocks of BLOCK_VALUES numbers."""
    step = max(1, BLOCK_VALUES // max(1, columns))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))
