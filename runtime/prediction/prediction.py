"""The answer of a student to one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from runtime.arrays import Floats


@dataclass(frozen=True)
class Neighbour:
    """A training image similar to the predicted image."""

    image: str
    """Its name below the folder the student was trained on."""
    label: str | None
    """None where it has none."""
    cosine: float


class NeighbourDocument(TypedDict):
    """A neighbour as JSON values."""

    image: str
    label: str | None
    cosine: float


class PredictionDocument(TypedDict):
    """A prediction as JSON values, without the arrays."""

    label: str | None
    confidence: float | None
    is_outlier: bool | None
    likeness: float
    nearest: list[NeighbourDocument]


@dataclass(frozen=True)
class Prediction:
    """The student's answer to one image."""

    label: str | None
    """The most probable class; None for a student made without labels."""
    confidence: float | None
    """Calibrated probability of `label` (report.json says if there were enough labels for it)."""
    is_outlier: bool | None
    """Whether it is less like the training images than 95 % of held-out images of the task are.
    None where the student recognises outliers no better than by chance: `Student.no_outliers`."""
    likeness: float
    """Cosine to the nearest training image; an outlier is below the bundle's threshold."""
    nearest: tuple[Neighbour, ...]
    """The nearest training images, the nearest first; empty in bundles that do not name them."""
    probabilities: Floats | None
    """[K], in the order of `Student.classes`."""
    embedding: Floats
    """[D]"""

    def to_dict(self) -> PredictionDocument:
        """Return plain JSON values, without the arrays."""
        return {
            "label": self.label,
            "confidence": self.confidence,
            "is_outlier": self.is_outlier,
            "likeness": self.likeness,
            "nearest": [
                {"image": near.image, "label": near.label, "cosine": near.cosine}
                for near in self.nearest
            ],
        }
