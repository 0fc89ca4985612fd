"""The embedding layer of a trained student, solved once more.

Training moves the backbone, and its steps leave the layer a little beside its best place. A ridge
regression on the trained features finds that place. Those features have seen the answers, so left-
out images no longer tell how much shrinkage is right: validation images do.

A last epoch that is behind the best one, or behind the start, may be so by its layer alone. So its
layer is solved too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from compressor.distillation.epochs import Best
from compressor.distillation.least_squares.layer import set_layer
from compressor.distillation.least_squares.normal_equations import NormalEquations
from compressor.distillation.least_squares.ridge import STRENGTHS, Layer, at_strength
from compressor.distillation.start.closed_form import layer_of, normal_equations, solve_from
from compressor.distillation.start.synthetic import SyntheticAnswers
from compressor.distillation.training import Training
from compressor.distillation.validation import Validation
from runtime.progress import Track

STRONGER = 2
"""Strengths of the ridge that are tried above the one that left-out images choose."""
MOST_SOLVED = 2
"""Students whose layer is solved: of the best epoch, and of the last where that is another one."""
SCORED = 2 + STRONGER
"""Layers of each that validation images are shown: the trained one, the ridge, stronger ones."""


@dataclass(frozen=True)
class SolvedAgain:
    """What it gave, on validation images."""

    epoch: int
    """Whose student it is."""
    before: float
    """The score that chooses the best epoch, of the layer as it was trained."""
    after: float
    """Of the best solved layer; it is kept where this is higher."""
    strength: float
    """Of its ridge."""


def solve_ends(
    training: Training, validation: Validation, synthetic: SyntheticAnswers | None, track: Track
) -> SolvedAgain | None:
    """Solve the layer of the best epoch and of the last one, and keep one student of all.

    The start is kept if no other is better. Between the two epochs the last one is kept, unless the
    other is clearly better (`Training.prefers_last`).

    Args:
        training: its student has the weights of its last epoch; changed in place.
        validation: its images decide.
        synthetic: what the layer was solved from before, beside the images.
        track: shows the progress.

    Returns:
        What it gave for the student that is kept; None where that is the start, or where nothing
        can be solved or decided.

    Raises:
        InputError: the features of the student are not finite, or the same for all images.
    """
    best, found = training.best, None
    if not best.state:
        return None
    ends = {best.epoch: best.state, training.log[-1].epoch: training.student_state()}
    for epoch, state in ends.items():
        if epoch == 0:  # the start: it is solved
            continue
        training.student.load_state_dict(state)
        training.student.eval()
        again = solve_again(training, validation, synthetic, track, epoch)
        if again is None:
            continue
        quality = max(again.before, again.after)
        if epoch == best.epoch or _replaces_best(quality, training, validation):
            training.keep(Best(quality, epoch, training.student_state()))
            found = again
    training.student.load_state_dict(training.best.state)
    return found


def _replaces_best(quality: float, training: Training, validation: Validation) -> bool:
    """Return whether the last epoch, of this score, is kept and not the best one or the start."""
    if quality > training.best.quality:
        return True
    start = training.log[0].scores.get(training.method.quality, -math.inf)
    return training.best.epoch > 0 and quality > start and training.prefers_last(validation)


def solve_again(
    training: Training,
    validation: Validation,
    synthetic: SyntheticAnswers | None,
    track: Track,
    epoch: int,
) -> SolvedAgain | None:
    """Solve the layer from the trained features, and keep it if it follows the teacher better.

    Args:
        training: its student has the weights of an epoch; changed in place.
        validation: its images decide.
        synthetic: what the layer was solved from before, beside the images.
        track: shows the progress.
        epoch: that the weights are of.

    Returns:
        None for a method without a teacher, or too few images to decide by.

    Raises:
        InputError: the features of the student are not finite, or the same for all images.
    """
    before = _score(training, validation)
    if training.data.teacher is None or before == -math.inf:
        return None
    equations = normal_equations(training, synthetic, track)
    kept, tried = training.student_state(), list[SolvedAgain]()
    for layer in _layers(equations, training):
        tried.append(SolvedAgain(epoch, before, _score(training, validation), layer.strength))
        if tried[-1].after > max([before, *(other.after for other in tried[:-1])]):
            kept = training.student_state()
    training.student.load_state_dict(kept)
    return max(tried, key=lambda each: each.after)


def _layers(equations: NormalEquations, training: Training) -> Iterator[Layer]:
    """Set the layer to one ridge after the other, each stronger than the one before."""
    ridge = solve_from(equations, training)
    yield ridge
    above = STRENGTHS.index(ridge.strength) + 1
    for strength in STRENGTHS[above : above + STRONGER]:
        stronger = at_strength(equations.folds, ridge.scales, strength, equations.beside)
        set_layer(layer_of(training.student), stronger.weight, stronger.bias)
        yield stronger


def _score(training: Training, validation: Validation) -> float:
    return validation.measure(training.student).get(training.method.quality, -math.inf)
