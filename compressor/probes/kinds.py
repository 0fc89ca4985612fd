"""The kinds of probe and their strengths of regularisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from compressor.probes import label_propagation, linear, nearest_centroid, weighted_knn
from compressor.probes.probe import Probe
from compressor.probes.training_set import TrainingSet

Kind = Literal["propagation", "linear", "prototypes", "voting"]

KINDS: tuple[Kind, ...] = ("propagation", "linear", "prototypes", "voting")
"""In order of preference, for labels that cannot tell them apart (docs/results.md)."""
DEFAULTS: dict[Kind, tuple[float | None, float]] = {
    "propagation": (0.1, 1.6),
    "linear": (1.0, 4.0),
    "prototypes": (None, 2.0),
    "voting": (None, 3.0),
}
"""Strength and temperature if there are too few labels to choose them: the best on the
held-out images of other data sets, in the geometric mean (docs/results.md)."""
PROTOTYPE_SCALE = 10.0
"""Of a cosine, before calibration."""


@dataclass(frozen=True)
class Candidate:
    """A kind of probe with its strength of regularisation, if it has one."""

    kind: Kind
    strength: float | None = None

    def fit(self, training: TrainingSet) -> Probe:
        """Return the probe fitted on labels of at least two classes."""
        if self.kind == "prototypes":
            return nearest_centroid.fit(training, PROTOTYPE_SCALE)
        if self.kind == "voting":
            return weighted_knn.fit(training)
        assert self.strength is not None  # the kinds left have one
        regularised = linear.fit if self.kind == "linear" else label_propagation.fit
        return regularised(training, self.strength)


def candidates(training: TrainingSet, kinds: Sequence[Kind] = KINDS) -> list[Candidate]:
    """Return the candidates that these labels allow, at every strength."""
    allowed: dict[Kind, list[Candidate]] = {
        "propagation": (
            [Candidate("propagation", each) for each in label_propagation.STRENGTHS]
            if label_propagation.applies(training)
            else []
        ),
        "linear": [Candidate("linear", each) for each in linear.STRENGTHS],
        "prototypes": [Candidate("prototypes")],
        "voting": [Candidate("voting")] if weighted_knn.applies(training) else [],
    }
    return [candidate for kind in kinds for candidate in allowed[kind]]
