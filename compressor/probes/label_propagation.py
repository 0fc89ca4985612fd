"""Label propagation over the teacher's neighbourhood graph, then a linear probe.

The graph uses the *teacher's* embeddings, for a probe of any encoder: what the
teacher knows about similarity reaches the student's classifier through unlabelled images.
"""

from __future__ import annotations

import warnings

import numpy as np

from compressor.probes import linear
from compressor.probes.probe import LinearProbe
from compressor.probes.training_set import TrainingSet
from runtime.arrays import Doubles
from runtime.metrics import normalise

STRENGTHS = (0.1, 1.0)
"""Candidates for C of the linear probe: it sees many images, of which some are labelled wrongly."""
NEIGHBOURS = 10
CLAMPING = 0.8
"""Share of an image's class that comes from its neighbours at each step; sklearn's `alpha`."""
MOST_IMAGES = 4000
"""Nodes of the graph, at most: the labelled images, and others drawn at random."""
MOST_LABELLED = 1000
"""With more labels there is little left to spread."""


def applies(training: TrainingSet) -> bool:
    """Return whether there are few labels, and as many images without."""
    labelled = len(training.labelled)
    return labelled <= MOST_LABELLED and labelled <= len(training.labels) - labelled


def fit(training: TrainingSet, strength: float, *, seed: int = 0) -> LinearProbe:
    """Return a linear probe fitted on all images, weighted by the certainty of their classes.

    After Zhou et al. (NeurIPS 2003), with the weights of Iscen et al. (CVPR 2019): one minus the
    entropy of an image's classes over its maximum.

    Args:
        training: labels of two classes at least, and images without.
        strength: C of the linear probe.
        seed: of the draw where there are too many images.
    """
    training = training.thinned(MOST_LABELLED, MOST_IMAGES - MOST_LABELLED, seed)
    shares = spread(training)
    labels, weights = shares.argmax(axis=1), certainty(shares)
    labels[training.labelled] = training.labels[training.labelled]
    weights[training.labelled] = 1
    reached = np.flatnonzero(weights > 0)
    return linear.fit_weighted(training, reached, labels[reached], weights[reached], strength)


def spread(training: TrainingSet) -> Doubles:
    """Return the share of each class in each image [N, K]; zeros if no label reaches an image.

    Every class is given the same mass in all, so that a class with many labels does not swallow the
    images between (class mass normalisation, Zhu et al. 2003).
    """
    from sklearn.neighbors import kneighbors_graph
    from sklearn.semi_supervised import LabelSpreading

    count, guide = len(training.labels), normalise(training.guide)
    nearest = kneighbors_graph(guide, min(NEIGHBOURS, count - 1))
    graph = nearest.maximum(nearest.T)

    def known_graph(_: object, __: object) -> object:
        return graph

    model = LabelSpreading(kernel=known_graph, alpha=CLAMPING, max_iter=200, tol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged to the last digit; rows without labels
        model.fit(guide, training.labels)
    shares = np.zeros((count, training.classes))
    shares[:, model.classes_] = np.nan_to_num(model.label_distributions_)
    mass = shares.sum(axis=0)
    shares = np.divide(shares, mass, out=np.zeros_like(shares), where=mass > 0)
    total = shares.sum(axis=1, keepdims=True)
    normalised: Doubles = np.divide(shares, total, out=shares, where=total > 0)
    return normalised


def certainty(shares: Doubles) -> Doubles:
    """One minus the entropy of each row over its maximum: [N, K] -> [N], 0 for a row of zeros."""
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1)
    certain: Doubles = np.clip(1 - entropy / np.log(shares.shape[1]), 0, 1)
    return np.where(shares.any(axis=1), certain, 0)
