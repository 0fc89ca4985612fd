"""What is followed of a student's answers: likeness, place of the embedding, class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime import metrics
from runtime.arrays import Floats
from runtime.monitoring.detector import Detector
from runtime.monitoring.ranks import ClassRanks, OrderedRanks, Ranks, Scores

DIRECTIONS = 8
"""Principal directions of the training images' embeddings that are followed."""


@dataclass(frozen=True)
class Reference:
    """What the student answers to N images as they should be."""

    embeddings: Floats
    """[N, D]"""
    likeness: Floats
    """[N] cosine to the nearest training image."""
    labels: npt.NDArray[np.int64] | None
    """[N] classes that it answers; None for a student without classes."""


@dataclass(frozen=True)
class Seen:
    """What the student answers to the next image."""

    embedding: Floats
    """[D]"""
    likeness: float
    label: int | None


@dataclass(frozen=True)
class Signal:
    """One thing that is followed: D scores of each image, their ranks and the evidence."""

    scores_of: Callable[[Seen], Scores]
    ranks: Ranks
    detector: Detector

    def see(self, seen: Seen) -> float:
        """Take the next image; return the evidence that something has changed."""
        return self.detector.see(self.ranks.of(self.scores_of(seen)))


def signals(
    reference: Reference, bank: Floats, classes: int, rng: np.random.Generator
) -> dict[str, Signal]:
    """Return what is followed, by name.

    `likeness`: images become less like the training images. `embedding`: they lie elsewhere along
    the main directions of the training images. `classes`: a class is answered more or less often.

    Args:
        reference: images as they should be; the stream is compared with them.
        bank: [B, D], the student's embeddings of training images, of length 1.
        classes: K.
        rng: decides the order of equal scores.
    """
    mean = bank.mean(axis=0)
    directions = np.linalg.svd(bank - mean, full_matrices=False)[2][:DIRECTIONS].T

    def place(embeddings: Floats) -> Scores:
        placed: Scores = ((metrics.normalise(embeddings) - mean) @ directions).astype(np.float64)
        return placed

    found = {
        "likeness": Signal(
            lambda seen: np.array([seen.likeness]),
            OrderedRanks(reference.likeness[:, None].astype(np.float64), rng),
            Detector(1, low=True, high=False),
        ),
        "embedding": Signal(
            lambda seen: place(seen.embedding[None])[0],
            OrderedRanks(place(reference.embeddings), rng),
            Detector(directions.shape[1], low=True, high=True),
        ),
    }
    if reference.labels is not None and classes > 1:
        every = np.eye(classes)
        found["classes"] = Signal(
            lambda seen: every[seen.label],
            ClassRanks(reference.labels, classes, rng),
            Detector(classes, low=True, high=True),
        )
    return found
