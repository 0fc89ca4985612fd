"""Cross-validation on few labelled images: each is predicted by a probe not fitted on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compressor.probes.kinds import Candidate
from compressor.probes.training_set import TrainingSet
from runtime.arrays import Ints

FOLDS, FEWER_FOLDS = 5, 3
MANY = 500
"""From this number of labelled images on, three folds without repetition are enough."""
MOST_LABELLED, MOST_OTHERS = 5000, 1000
"""Images used in cross-validation, at most; drawn at random from more."""
FEWEST = 12
"""With fewer labelled images that share their class with another, nothing is concluded."""


@dataclass(frozen=True)
class Trial:
    """Out-of-fold logits of every candidate."""

    candidates: tuple[Candidate, ...]
    logits: npt.NDArray[np.float32]
    """[C, R, T, K]: C candidates, R repetitions, T images."""
    labels: Ints
    """[T]"""


def cross_validate(
    training: TrainingSet, candidates: Sequence[Candidate], *, seed: int = 0
) -> Trial | None:
    """Fit every candidate on all folds but one, and predict that one.

    Only images whose class has another labelled image are predicted; the others are always
    learnt from, so every class can be answered in every fold.

    Returns:
        What was answered, or None where there are under `FEWEST` images to ask for.
    """
    training = training.thinned(MOST_LABELLED, MOST_OTHERS, seed)
    asked = _asked(training)
    if len(asked) < FEWEST:
        return None
    many = len(asked) >= MANY
    repetitions = 1 if many else 2
    rng = np.random.default_rng(seed)
    shape = (len(candidates), repetitions, len(asked), training.classes)
    logits = np.empty(shape, np.float32)
    for repetition in range(repetitions):
        labels = training.labels[asked]
        for fold in stratified_folds(labels, FEWER_FOLDS if many else FOLDS, rng):
            rest = training.only(np.setdiff1d(np.arange(len(training.labels)), asked[fold]))
            for number, candidate in enumerate(candidates):
                answers = candidate.fit(rest).logits(training.unit[asked[fold]])
                logits[number, repetition, fold] = answers
    return Trial(tuple(candidates), logits, training.labels[asked])


def _asked(training: TrainingSet) -> Ints:
    """Return the rows of labelled images whose class has another labelled image."""
    of_class = np.bincount(training.labels[training.labelled], minlength=training.classes)
    return training.labelled[of_class[training.labels[training.labelled]] > 1]


def stratified_folds(labels: Ints, count: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Yield the rows of each fold: the images of a class are dealt out one fold after the other.

    (scikit-learn's StratifiedKFold refuses more folds than the largest class has images.)
    """
    shuffled = rng.permutation(len(labels))
    ordered = shuffled[np.argsort(labels[shuffled], kind="stable")]
    for fold in range(count):
        yield ordered[fold::count]
