"""Where the deployed file differs from the teacher: image by image, class by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from runtime import metrics
from runtime.arrays import Doubles
from runtime.backends.base import Outputs
from runtime.bundle.golden import Golden
from runtime.results.findings import (
    Answer,
    ClassResult,
    Disagreement,
    Disagreements,
    TeacherUnsure,
)
from runtime.results.scores import Score, as_score

Ints = npt.NDArray[np.integer]
Flags = npt.NDArray[np.bool_]

SHOWN = 20
"""Images that are listed."""
SURE = 0.5
"""The teacher is sure of an answer whose calibrated probability is at least this: by its own
account it is then more likely right than wrong."""


@dataclass(frozen=True)
class CalibratedAnswers:
    """The answers of teacher or file to the N held-out images, with their probabilities."""

    answers: Ints
    confidence: Doubles

    @classmethod
    def of(cls, logits: npt.NDArray[np.floating]) -> CalibratedAnswers:
        """From logits [N, K]."""
        probabilities = np.exp(metrics.log_softmax(logits))
        return cls(probabilities.argmax(axis=1), probabilities.max(axis=1))


def disagreements(golden: Golden, inside: Outputs) -> Disagreements:
    """List the images on which the file differs most from the teacher, the largest first.

    With labels the distance is the total variation between calibrated probabilities, and images of
    which the teacher itself is unsure are listed apart. Without labels it is one minus the cosine
    after the orthogonal map.

    Args:
        golden: the held-out images and the teacher's answers.
        inside: the file's answers to them.
    """
    teacher_logits = golden.arrays.reference_logits
    if teacher_logits is None or inside.logits is None:
        return _by_cosine(golden, inside)
    distance = metrics.total_variation(inside.logits, teacher_logits)
    teacher, file = CalibratedAnswers.of(teacher_logits), CalibratedAnswers.of(inside.logits)
    sure = teacher.confidence >= SURE

    def largest(rows: Ints) -> tuple[Disagreement, ...]:
        return tuple(
            Disagreement(
                image=golden.images[row],
                label=_name(golden, int(golden.arrays.labels[row])),
                teacher=_answer(golden, teacher, row),
                deployed=_answer(golden, file, row),
                distance=float(distance[row]),
            )
            for row in rows[np.argsort(-distance[rows], kind="stable")][:SHOWN]
        )

    same = teacher.answers == file.answers
    return Disagreements(
        measure="total variation between calibrated probabilities",
        most=largest(np.flatnonzero(sure)),
        teacher_unsure=TeacherUnsure(
            below=SURE,
            images=int((~sure).sum()),
            agreement_where_sure=_share(same[sure]),
            agreement_where_unsure=_share(same[~sure]),
            most=largest(np.flatnonzero(~sure)),
        ),
    )


def _share(same: Flags) -> Score | UnsetType:
    return as_score(metrics.mean_estimate(same)) if len(same) else UNSET


def _by_cosine(golden: Golden, inside: Outputs) -> Disagreements:
    mapped = golden.arrays.orthogonal_map
    if mapped is None:
        return Disagreements()
    distance = 1 - mapped.cosines(inside.embedding, golden.arrays.teacher_embedding)
    most = np.argsort(-distance, kind="stable")[:SHOWN]
    return Disagreements(
        measure="one minus the cosine to the teacher's embedding, after the orthogonal map",
        most=tuple(
            Disagreement(image=golden.images[row], distance=float(distance[row])) for row in most
        ),
    )


def per_class(golden: Golden, inside: Outputs) -> tuple[ClassResult, ...]:
    """Compare right answers of teacher and file class by class, the largest loss first.

    Empty where there are no labels.
    """
    teacher_logits, labels = golden.arrays.reference_logits, golden.arrays.labels
    if teacher_logits is None or inside.logits is None:
        return ()
    teacher, file = teacher_logits.argmax(axis=1), inside.logits.argmax(axis=1)
    results = [
        _class_result(golden, number, teacher[rows], file[rows])
        for number in range(len(golden.classes))
        if (rows := labels == number).any()
    ]
    return tuple(sorted(results, key=lambda result: -result.loss.value))


def _class_result(golden: Golden, number: int, teacher: Ints, file: Ints) -> ClassResult:
    """One class, from the answers to its images."""
    before = metrics.mean_estimate(teacher == number)
    after = metrics.mean_estimate(file == number)
    wrong = file[file != number]
    return ClassResult(
        name=golden.classes[number],
        images=len(file),
        accuracy_teacher=as_score(before),
        accuracy_deployed=as_score(after),
        loss=as_score(metrics.paired_difference(before, after)),
        agreement=as_score(metrics.mean_estimate(teacher == file)),
        taken_for=_name(golden, int(np.bincount(wrong).argmax()) if len(wrong) else -1),
    )


def _answer(golden: Golden, given: CalibratedAnswers, row: int) -> Answer:
    return Answer(_name(golden, int(given.answers[row])), float(given.confidence[row]))


def _name(golden: Golden, number: int) -> str | None:
    return golden.classes[number] if number >= 0 else None
