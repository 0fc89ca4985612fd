"""Mixed views: two images blended into one, as in mixup, for teacher and student alike.

Function matching (arXiv 2106.05237) shows both networks the same blend of two images, with shares
drawn uniformly from 0 to 1. Here the larger of the two shares belongs to the view's own image. The
blends are the same ones, and every image leads in as many of them as every other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WHOLE = 256
"""Shares are counted in 256ths: a blend is exact in integers, the same on every machine."""


@dataclass(frozen=True)
class Mix:
    """The partner of an image in one mixed view, and the share that the image keeps."""

    partner: int
    """Row of the other image."""
    share: int
    """Of the view's own image, in 256ths: from 128 to 255."""

    def blend(
        self, own: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.uint8]:
        """Return the blend of two views of equal shape, rounded: uint8."""
        # At most 255 * 256 + 128, which uint16 holds; NumPy 1 would compute a product in uint8
        total = np.multiply(own, self.share, dtype=np.uint16)
        total += np.multiply(other, WHOLE - self.share, dtype=np.uint16)
        total += WHOLE // 2
        blended: npt.NDArray[np.uint8] = (total >> 8).astype(np.uint8)
        return blended


class Partners:
    """Which images are mixed, decided by their pixels, the number of the view and the seed alone.

    Neither the names nor the order of the files matter. Another image in the set may change every
    partner.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        """Put the images in the order of their keys.

        Args:
            keys: sha256 of the pixels of each image, by row; two or more.
        """
        self.keys = keys
        self.rows = sorted(range(len(keys)), key=keys.__getitem__)
        self.places = np.argsort(self.rows)

    def mix(self, row: int, number: int, seed: int) -> Mix:
        """Return how a view of an image is mixed: with each of the others equally often.

        Args:
            row: of the image.
            number: of the view.
            seed: of the recipe.
        """
        digest = hashlib.sha256(f"mix {seed} {number} {self.keys[row]}".encode()).digest()
        rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
        drawn = int(rng.integers(len(self.rows) - 1))
        skipping_itself = drawn + (drawn >= self.places[row])
        return Mix(self.rows[skipping_itself], int(rng.integers(WHOLE // 2, WHOLE)))
