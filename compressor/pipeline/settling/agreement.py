"""What simple probes of an embedding answer for labelled images that they were not fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compressor.probes.cross_validation import cross_validate
from compressor.probes.kinds import DEFAULTS, Candidate
from compressor.probes.training_set import TrainingSet
from runtime.arrays import Floats, Ints
from runtime.metrics import Estimate, knn_votes_within, mean_estimate, normalise

_FEWEST = 12
"""With fewer labelled images nothing is concluded."""


@dataclass(frozen=True)
class Answers:
    """The answers for L labelled images."""

    labels: Ints
    """[L]"""
    knn: Ints
    """[L], by the other images."""
    linear: Ints
    """[R, T], out of fold, in R repetitions, for those whose class has another labelled image."""
    linear_labels: Ints
    """[T]"""


def answers(embedding: Floats, labels: Ints, classes: int) -> Answers | None:
    """Cross-validate kNN and a linear probe.

    The folds follow from the labels alone, so the answers of two embeddings can be compared.

    Args:
        embedding: of N images, [N, D].
        labels: [N], -1 where the class is not known.
        classes: K.

    Returns:
        None where fewer than 12 images or two classes have labels.
    """
    known = np.flatnonzero(labels >= 0)
    if len(known) < _FEWEST or len(np.unique(labels[known])) < 2:
        return None
    votes = knn_votes_within(embedding[known], labels[known], classes)
    strength, _ = DEFAULTS["linear"]
    training = TrainingSet(normalise(embedding), embedding, labels, classes)
    trial = cross_validate(training, [Candidate("linear", strength)])
    if trial is None:
        return None
    linear = trial.logits[0].argmax(axis=2)
    return Answers(labels[known], votes.argmax(axis=1), linear, trial.labels)


def agreement(one: Answers, other: Answers) -> tuple[Estimate, Estimate]:
    """Return the shares of images with the same answer: by kNN, and by the linear probe."""
    same = (one.linear == other.linear).mean(axis=0)
    return mean_estimate(one.knn == other.knn), mean_estimate(same, bounds=(0.0, 1.0))


def accuracy(found: Answers) -> tuple[Estimate, Estimate]:
    """Return the shares of right answers: by kNN, and by the linear probe."""
    right = (found.linear == found.linear_labels).mean(axis=0)
    return mean_estimate(found.knn == found.labels), mean_estimate(right, bounds=(0.0, 1.0))
