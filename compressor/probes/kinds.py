"""The kinds of probe, and how strongly each may be regularised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from compressor.probes import label_propagation, linear, nearest_centroid, weighted_knn
from compressor.probes.probe import Probe
from compressor.probes.training_set import TrainingSet

Kind = Literal["propagation", "linear", "prototypes", "voting"]

KINDS: tuple[Kind, ...] = ("propagation", "linear", "prototypes", "voting")
"""In the order in which they are preferred where the labels cannot tell (docs/results.md)."""
DEFAULTS: dict[Kind, tuple[float | None, float]] = {
    "propagation": (0.1, 1.6),
    "linear": (1.0, 4.0),
    "prototypes": (None, 2.0),
    "voting": (None, 3.0),
}
"""Strength and temperature to take where there are too few labels to choose them: what suited the
held-out images of other data sets, in the geometric mean (docs/results.md)."""
PROTOTYPE_SCALE = 10.0
"""Of a cosine, before calibration."""


@dataclass(frozen=True)
class Candidate:
    """A kind of probe, with the strength it is fitted at where it has one."""

    kind: Kind
    strength: float | None = None

    def fit(self, training: TrainingSet) -> Probe:
        """The probe that it makes of labels of two classes at least."""
        if self.kind == "prototypes":
            return nearest_centroid.fit(training, PROTOTYPE_SCALE)
        if self.kind == "voting":
            return weighted_knn.fit(training)
        assert self.strength is not None  # the kinds left have one
        regularised = linear.fit if self.kind == "linear" else label_propagation.fit
        return regularised(training, self.strength)


def candidates(training: TrainingSet, kinds: Sequence[Kind] = KINDS) -> list[Candidate]:
    """Those of the kinds that these labels allow, at every strength to be tried."""
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
