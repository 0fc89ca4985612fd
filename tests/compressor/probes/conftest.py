"""Embeddings that are easy to reason about."""

import numpy as np
import pytest

from compressor.probes.training_set import TrainingSet
from runtime.metrics import normalise


def make(classes, *, per_class=30, dim=8, labels_per_class=None, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, dim)) * 3
    truth = np.repeat(np.arange(classes), per_class)
    x = (centres[truth] + spread * rng.normal(size=(len(truth), dim))).astype(np.float32)
    labels = truth.copy()
    if labels_per_class is not None:
        labels[np.arange(len(truth)) % per_class >= labels_per_class] = -1
    return TrainingSet(normalise(x), x, labels, classes), truth


@pytest.fixture(scope="session")
def blobs():
    """`blobs(classes, ...)`: a TrainingSet of clouds of points, and the class of every one."""
    return make
