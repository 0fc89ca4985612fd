"""The data of a probe: embeddings of all training images, labels of some."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from runtime.arrays import Floats, Ints


@dataclass(frozen=True)
class TrainingSet:
    """N training images."""

    unit: Floats
    """[N, D], the embeddings that the probe reads, of unit length."""
    guide: Floats
    """[N, Dt], the teacher's embeddings of the same images."""
    labels: Ints
    """[N], 0..classes-1, or -1 where the class is not known."""
    classes: int
    """K, including classes without a label."""

    @cached_property
    def labelled(self) -> Ints:
        """Return the rows of the labelled images."""
        return np.flatnonzero(self.labels >= 0)

    @cached_property
    def present(self) -> Ints:
        """Return the classes that have a label, in order."""
        return np.unique(self.labels[self.labelled])

    def only(self, rows: Ints) -> TrainingSet:
        """Return a part of the images."""
        return replace(self, unit=self.unit[rows], guide=self.guide[rows], labels=self.labels[rows])

    def thinned(self, labelled: int, others: int, seed: int) -> TrainingSet:
        """Return a random part with at most so many labelled and so many other images.

        Where all drawn labels are of one class, the first two images of each other class, which are
        rare, are added: no probe is fitted on one class.
        """
        rng = np.random.default_rng(seed)
        rest = np.flatnonzero(self.labels < 0)
        kept = [
            rng.choice(rows, most, replace=False) if len(rows) > most else rows
            for rows, most in ((self.labelled, labelled), (rest, others))
        ]
        if len(drawn := np.unique(self.labels[kept[0]])) == 1:
            missed = np.setdiff1d(self.present, drawn)
            kept += [np.flatnonzero(self.labels == label)[:2] for label in missed]
        return self.only(np.sort(np.concatenate(kept)))

    def standardisation(self) -> tuple[Floats, Floats]:
        """Return mean and standard deviation [D] of all images, unlabelled ones included."""
        return self.unit.mean(axis=0), self.unit.std(axis=0) + np.float32(1e-6)
