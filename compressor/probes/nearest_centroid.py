"""Prototypes: the class whose mean embedding is nearest by cosine, as a linear probe."""

from __future__ import annotations

import numpy as np

from compressor.probes.probe import LinearProbe, never_unless
from compressor.probes.training_set import TrainingSet


def fit(training: TrainingSet, scale: float) -> LinearProbe:
    """Fit class means, centred on the mean of all training images, for cosine similarity.

    The length of the centred embedding is left out of the cosine: it is the same for every class,
    so the answers are those of SimpleShot's centred nearest centroid (arXiv 1911.04623, without
    its second normalisation), and the probe is linear.

    Args:
        training: labels of two classes at least.
        scale: of the logits, before calibration.
    """
    mean, _ = training.standardisation()
    weight = np.zeros((training.classes, training.unit.shape[1]), np.float32)
    for label in training.present:
        direction = training.unit[training.labels == label].mean(axis=0) - mean
        length = np.linalg.norm(direction)
        weight[label] = scale * direction / length if length > 0 else 0
    bias = never_unless(training.present, training.classes) - weight @ mean
    return LinearProbe(weight, bias.astype(np.float32))
