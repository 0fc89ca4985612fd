"""The points and distances that every strategy uses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from runtime.arrays import Floats, Ints
from runtime.metrics import normalise

Metric = Literal["euclidean", "cosine"]
_BLOCK = 4_000_000
"""Distances held at a time, 16 MB: never a matrix of all images against all."""


@dataclass(frozen=True)
class Space:
    """N points and the distance between them."""

    points: Floats
    """[N, D]; of unit length for the cosine distance."""
    metric: Metric

    @classmethod
    def cosine(cls, embeddings: Floats) -> Space:
        """Embeddings [N, D] of any length, with the cosine distance 1 - cos, 0 to 2.

        Raises:
            ValueError: an embedding is zero or not finite.
        """
        unit = np.empty(embeddings.shape, np.float32)
        for block in blocks(*embeddings.shape):  # normalising takes float64, of few rows at a time
            unit[block] = normalise(embeddings[block])
        return cls(unit, "cosine")

    @classmethod
    def euclidean(cls, points: Floats) -> Space:
        """Points [N, D] with the Euclidean distance; made for few dimensions, as on a map."""
        return cls(np.ascontiguousarray(points, np.float32), "euclidean")

    def __len__(self) -> int:
        return len(self.points)

    def part(self, rows: Ints) -> Space:
        """Return some of the points, in the given order."""
        return Space(self.points[rows], self.metric)

    def between(self, rows: Ints | slice, others: Ints | slice) -> Floats:
        """Distances of some points to others: [A], [B] -> [A, B]."""
        return distances(self.points[rows], self.points[others], self.metric)

    def to(self, row: int) -> Floats:
        """Distances of all points to one: [N]."""
        return self.between(slice(None), np.array([row]))[:, 0]

    def to_others(self) -> Iterator[tuple[slice, Floats]]:
        """Distances of each point to all, its own infinite: some rows at a time, [A, N]."""
        for block in blocks(len(self), len(self)):
            found = self.between(block, slice(None))
            found[np.arange(len(found)), np.arange(len(self))[block]] = np.inf
            yield block, found

    def nearest(self, centres: Ints) -> tuple[Ints, Floats]:
        """For each point the position in `centres` of the nearest one, and its distance: [N], [N].

        A centre is its own nearest one, even if another point is equal. Without centres
        every position is -1 and every distance infinite.
        """
        which = np.full(len(self), -1, np.int64)
        distance = np.full(len(self), np.inf, np.float32)
        if len(centres):
            for block in blocks(len(self), len(centres)):
                found = self.between(block, centres)
                which[block] = found.argmin(axis=1)
                distance[block] = found.min(axis=1)
            which[centres], distance[centres] = np.arange(len(centres)), 0
        return which, distance


def distances(a: Floats, b: Floats, metric: Metric) -> Floats:
    """Distances between points: [A, D], [B, D] -> [A, B]. The cosine's are of unit length."""
    if metric == "cosine":
        found: Floats = a @ b.T
        np.subtract(1, found, out=found)
        return np.maximum(found, 0, out=found)
    squared = np.zeros((len(a), len(b)), np.float32)
    for x, y in zip(a.T, b.T, strict=True):  # exact for near points, unlike x² + y² - 2xy
        squared += (x[:, None] - y[None, :]) ** 2
    return np.sqrt(squared, out=squared)


def distinct(points: Floats) -> tuple[Ints, Ints]:
    """The first row of every set of equal ones, and for each row the place of its like there.

    [N, D] -> [U] in ascending order, [N] with values below U.
    """
    keys = np.fromiter((_key(row) for row in points), np.uint64, len(points))
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)  # rows in their own order, so that no key shows in a choice
    return first[order], np.argsort(order)[which]


def _key(row: Floats) -> int:
    # -0 is 0. 64 bits: among a million rows two different ones share a key with a chance of 3e-8
    digest = hashlib.blake2b((row + 0.0).tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def random_state(seed: int) -> int:
    """Return the seed that NumPy's RandomState, scikit-learn and openTSNE take: below 2**32."""
    return seed % 2**32


def blocks(rows: int, width: int) -> Iterator[slice]:
    """Split rows so that a block of `width` columns fits into memory."""
    step = max(1, _BLOCK // max(1, width))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
