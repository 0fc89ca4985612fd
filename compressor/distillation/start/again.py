"""The embedding layer of a trained student, solved once more.

Training moves the backbone, and its steps leave the layer a little beside its best place. A ridge
regression on the trained features finds that place. Those features have seen the answers, so left-
out images no longer tell how much shrinkage is right: validation images do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

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


@dataclass(frozen=True)
class SolvedAgain:
    """What it gave, on validation images."""

    before: float
    """The score that chooses the best epoch, of the trained layer."""
    after: float
    """Of the best solved layer; it is kept where this is higher."""
    strength: float
    """Of its ridge."""


def solve_again(
    training: Training, validation: Validation, synthetic: SyntheticAnswers | None, track: Track
) -> SolvedAgain | None:
    """Solve the layer from the trained features, and keep it if it follows the teacher better.

    Args:
        training: its student has the weights of its best epoch; changed in place.
        validation: its images decide.
        synthetic: what the layer was solved from before, beside the images.
        track: shows the progress.

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
        tried.append(SolvedAgain(before, _score(training, validation), layer.strength))
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
