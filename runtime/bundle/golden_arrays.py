"""The arrays of the golden set: what teacher and student answer to its images.

N held-out images, M that are not of the task, R corrupted ones (F families, S severities), B
training images in the bank; K classes; the teacher's embedding is Dt wide, the student's D.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from runtime.array_groups import axes, flat, mismatches, rows_of
from runtime.arrays import AnyArray, Floats, Ints, Pixels
from runtime.images.corruptions import FAMILIES, SEVERITIES
from runtime.metrics import OrthogonalMap


@dataclass(frozen=True)
class TeacherProbe:
    """The teacher's own probe of the deployed kind, where that is not the linear one."""

    answers: Annotated[Ints, axes("N")]
    """The classes that it answers."""
    logits: Annotated[Floats, axes("N", "K")] | None = None
    """Older sets lack them."""


@dataclass(frozen=True)
class LinearProbe:
    """The student's linear probe, where the deployed probe is of another kind."""

    weight: Annotated[Floats, axes("K", "D")]
    bias: Annotated[Floats, axes("K")]


@dataclass(frozen=True)
class Outside:
    """Images that are not of the task; logits are of the probes of the deployed kind."""

    teacher_nearest: Annotated[Floats, axes("M")]
    """Cosine to the nearest training embedding."""
    student_embedding: Annotated[Floats, axes("M", "D")]
    teacher_logits: Annotated[Floats, axes("M", "K")] | None = None
    student_logits: Annotated[Floats, axes("M", "K")] | None = None
    teacher_mahalanobis: Annotated[Floats, axes("M")] | None = None
    """Minus the squared distance to the nearest Gaussian of the training embeddings."""


@dataclass(frozen=True)
class UnderCorruption:
    """What one network answers to the corrupted images."""

    stability: Annotated[Floats, axes("R", "F", "S")]
    """Cosine of the image's embedding to that of the corrupted image, both less the training
    images' mean."""
    answers: Annotated[Ints, axes("R", "F", "S")] | None = None
    """Classes, of the probe of the deployed kind."""


@dataclass(frozen=True)
class Corrupted:
    """Held-out images under every corruption."""

    rows: Annotated[Ints, axes("R")]
    """Which of the N images."""
    seeds: Annotated[Ints, axes("R")]
    """The seeds of their corruptions."""
    teacher: UnderCorruption
    student: UnderCorruption


@dataclass(frozen=True)
class Arrays:
    """The arrays of the held-out images. Without labels, those that need them are None."""

    labels: Annotated[Ints, axes("N")]
    """-1 where the label is not known."""
    teacher_embedding: Annotated[Floats, axes("N", "Dt")]
    teacher_nearest: Annotated[Floats, axes("N")]
    """Cosine to the nearest training embedding."""
    student_embedding: Annotated[Floats, axes("N", "D")]
    """From torch: every file made of the student is compared with it."""
    bank: Annotated[Floats, axes("B", "D")]
    """Student embeddings of training images."""
    bank_labels: Annotated[Ints, axes("B")]
    """-1 where the label is not known."""
    teacher_knn: Annotated[Ints, axes("N")] | None = None
    """The classes that its kNN answers."""
    teacher_logits: Annotated[Floats, axes("N", "K")] | None = None
    """The logits of its linear probe."""
    teacher_probe: TeacherProbe | None = None
    student_logits: Annotated[Floats, axes("N", "K")] | None = None
    """The logits of the deployed probe."""
    linear_probe: LinearProbe | None = None
    teacher_mean: Annotated[Floats, axes("Dt")] | None = None
    """Of its embeddings of training images, from which angles are measured."""
    student_centre: Annotated[Floats, axes("D")] | None = None
    """What was given back to its embeddings after they had learnt angles; None: their mean over
    the bank is that point."""
    orthogonal_map: OrthogonalMap | None = None
    """Fitted on training images: from the student's embedding to the teacher's."""
    teacher_mahalanobis: Annotated[Floats, axes("N")] | None = None
    """Minus the squared distance to the nearest Gaussian of the training embeddings."""
    outside: Outside | None = None
    corrupted: Corrupted | None = None
    pixels: Annotated[Pixels, axes("P", "side", "side", 3)] | None = None
    """The first P images after resize and crop on the training machine (bundle only)."""

    @property
    def reference_logits(self) -> Floats | None:
        """[N, K], the teacher's logits that the deployed file is compared with.

        Their softmax is calibrated. None without labels, or where an older version saved the
        answers alone.
        """
        return self.teacher_probe.logits if self.teacher_probe else self.teacher_logits

    def only(self, inside: Ints, outside: Ints | None, corrupted: Ints) -> Arrays:
        """Return some rows of N (ascending), of M (None: all) and of R (those of the N rows)."""
        rows = {"N": inside, "R": corrupted}
        if outside is not None:
            rows["M"] = outside
        if self.pixels is not None:
            rows["P"] = inside[inside < len(self.pixels)]
        kept = rows_of(self, rows)
        if kept.corrupted is None:
            return kept
        places = np.searchsorted(inside, kept.corrupted.rows)
        return replace(kept, corrupted=replace(kept.corrupted, rows=places))

    def problems(self, images: int, outside: int, classes: int) -> Iterator[str]:
        """Return what does not go together, in words.

        Args:
            images: N, the held-out images that are named.
            outside: M, the images that are named as not of the task; 0: corrupted ones are used.
            classes: K, the classes that are named; 0 without labels.
        """
        sizes = {"N": images, "F": len(FAMILIES), "S": len(SEVERITIES)}
        if not outside and self.outside is not None:
            outside = len(self.corrupted.rows) if self.corrupted else 0
            if not outside:
                yield "outside answers images that are not named"
        if not classes and (self.bank_labels >= 0).any():
            yield "bank_labels names classes, and there is none"
        sizes |= {letter: size for letter, size in (("M", outside), ("K", classes)) if size}
        yield from _wrong_values(flat(self), classes)
        rows = self.corrupted.rows if self.corrupted else np.arange(0)
        if rows.size and (rows.min() < 0 or rows.max() >= images):
            yield "corrupted.rows names an image that is not there"
        if self.teacher_knn is not None and not (self.bank_labels >= 0).any():
            yield "teacher_knn answers classes, and no bank_labels name one"
        yield from mismatches(self, sizes)


def _wrong_values(arrays: Mapping[str, AnyArray], classes: int) -> Iterator[str]:
    """Return which arrays hold values that nothing can be measured by, in words."""
    for name, values in sorted(arrays.items()):
        if not values.size:
            continue
        if values.dtype.kind == "f":
            if not np.abs(values).max() < LARGEST:  # false for NaN too
                yield f"{name} holds values that are not finite, or beyond {LARGEST:g}"
            elif name in _DIRECTIONS and values.ndim == 2 and not values.any(axis=1).all():
                yield f"{name} holds rows of zeros, which have no direction"
        elif values.dtype.kind == "i":
            if values.min() < (-1 if name in _MAY_BE_UNKNOWN else 0):
                yield f"{name} holds numbers below zero"
            if name in _CLASS_NUMBERS and classes and values.max() >= classes:
                yield f"{name} names a class that is not there"


LARGEST = 1e12
"""Of any number in a golden set: no network answers it, and its square is still a float32."""
_DIRECTIONS = {"bank", "teacher_embedding", "student_embedding", "outside.student_embedding"}
_MAY_BE_UNKNOWN = {"labels", "bank_labels"}
_CLASS_NUMBERS = {
    "labels",
    "bank_labels",
    "teacher_knn",
    "teacher_probe.answers",
    "corrupted.teacher.answers",
    "corrupted.student.answers",
}
