"""The bank: embeddings of training images, with what neighbours and outlier scores need of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from runtime.arrays import Doubles
from runtime.metrics.directions import Floats, Ints, normalise
from runtime.metrics.neighbours import unit_knn_votes, unit_ood_scores
from runtime.metrics.outliers import Gaussians, gaussians_of_unit_rows


@dataclass(frozen=True, eq=False)
class Bank:
    """B training embeddings; they are normalised once, and Gaussians are fitted once."""

    unit: npt.NDArray[np.float32]
    """[B, D], of unit length."""
    labels: Ints
    """[B], -1 where not known."""

    @classmethod
    def of(cls, embeddings: Floats, labels: Ints) -> Bank:
        """From embeddings [B, D] of any length and their labels [B]."""
        return cls(normalise(embeddings), labels)

    @cached_property
    def gaussians(self) -> Gaussians:
        """One Gaussian per class (see `fit_gaussians`)."""
        return gaussians_of_unit_rows(self.unit, self.labels)

    @cached_property
    def mean(self) -> npt.NDArray[np.float32]:
        """[D], the mean of the unit rows."""
        mean: npt.NDArray[np.float32] = self.unit.mean(axis=0)
        return mean

    @cached_property
    def _labelled(self) -> tuple[npt.NDArray[np.float32], Ints]:
        known = self.labels >= 0
        return self.unit[known], self.labels[known]

    def knn_votes(self, query: Floats, classes: int) -> Doubles:
        """Share of the vote of each class among the nearest labelled rows: [N, D] -> [N, K]."""
        return unit_knn_votes(normalise(query), *self._labelled, classes)

    def nearest_cosine(self, query: Floats) -> npt.NDArray[np.float32]:
        """Cosine of each row to the nearest training embedding: [N, D] -> [N]."""
        return unit_ood_scores(normalise(query), self.unit)
