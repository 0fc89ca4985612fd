"""Weighted kNN over all labelled images, as a probe that fits into the deployed file."""

from __future__ import annotations

import numpy as np

from compressor.probes.probe import VotingProbe, never_unless
from compressor.probes.training_set import TrainingSet

MOST_VOTERS = 1000
"""Labelled images, at most: they travel in the file and are compared on the device."""


def applies(training: TrainingSet) -> bool:
    """Return whether the labelled images are few enough to travel."""
    return len(training.labelled) <= MOST_VOTERS


def fit(training: TrainingSet) -> VotingProbe:
    """Return a probe in which every labelled image votes; see `VotingProbe`.

    Args:
        training: labels of two classes at least.
    """
    labels = training.labels[training.labelled]
    return VotingProbe(
        bank=training.unit[training.labelled],
        votes=np.eye(training.classes, dtype=np.float32)[labels],
        bias=never_unless(training.present, training.classes),
    )
