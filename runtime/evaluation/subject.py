"""One encoder's answers to the held-out images, beside the teacher's: what every metric reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from runtime import metrics
from runtime.arrays import Floats
from runtime.backends.base import Outputs
from runtime.bundle.golden import Arrays, Golden
from runtime.metrics import Bank, OrthogonalMap

Ints = npt.NDArray[np.integer]
ProbeKind = Literal["knn", "linear", "probe"]
"""`probe` is the deployed one, where that is not the linear one."""
OutlierScore = Literal["cosine", "mahalanobis", "energy"]
Pair = tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]
"""Outlier scores of the held-out images [N] and of the out-of-distribution ones [M]."""


@dataclass(frozen=True)
class Answers:
    """Outputs for the held-out images, and for the out-of-distribution ones if there are any."""

    inside: Outputs
    outside: Outputs | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """An encoder and the teacher over the same N images."""

    embedding: Floats
    """[N, D]"""
    centre: Floats
    """[D], from which its angles are measured: as it learnt them, else the mean over training
    images."""
    teacher_embedding: Floats
    """[N, Dt]"""
    teacher_mean: Floats | None
    """[Dt], of its embeddings of training images; older golden sets lack it."""
    orthogonal_map: OrthogonalMap | None
    teacher_answers: Mapping[ProbeKind, Ints]
    """[N] each, of the teacher's own probe of that kind."""
    teacher_logits: Floats | None
    """[N, K], of the teacher's own probe of the deployed kind."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The teacher, the student or a file: its answers to N held-out images of K classes."""

    labels: Ints
    """[N], -1 where not known."""
    classes: int
    answers: Mapping[ProbeKind, Ints] = field(default_factory=dict)
    """[N] each."""
    logits: Floats | None = None
    """[N, K], of the deployed probe, calibrated."""
    outliers: Mapping[OutlierScore, Pair] = field(default_factory=dict)
    """High for an image that belongs to the task."""
    comparison: Comparison | None = None
    """With the teacher; None for the teacher itself."""

    @property
    def deployed(self) -> Ints | None:
        """[N], the answers of the deployed probe; None without one."""
        return self.answers.get("probe", self.answers.get("linear"))


def of_teacher(golden: Golden) -> Subject:
    """The teacher with its own probes, as the golden set holds their answers."""
    arrays, outside = golden.arrays, golden.arrays.outside
    answers: dict[ProbeKind, Ints | None] = {
        "knn": arrays.teacher_knn,
        "linear": _highest(arrays.teacher_logits),
        "probe": arrays.teacher_probe.answers if arrays.teacher_probe else None,
    }
    outliers: dict[OutlierScore, tuple[Floats | None, Floats | None]] = {}
    if outside:
        outliers = {
            "cosine": (arrays.teacher_nearest, outside.teacher_nearest),
            "mahalanobis": (arrays.teacher_mahalanobis, outside.teacher_mahalanobis),
            "energy": (_energy(arrays.reference_logits), _energy(outside.teacher_logits)),
        }
    return Subject(
        labels=arrays.labels,
        classes=len(golden.classes),
        answers={kind: given for kind, given in answers.items() if given is not None},
        outliers={
            score: (inside, outside)
            for score, (inside, outside) in outliers.items()
            if inside is not None and outside is not None
        },
    )


def of_encoder(golden: Golden, answers: Answers, bank: Bank) -> Subject:
    """A student or a file, from its own answers.

    Args:
        golden: the held-out images, with the teacher's answers.
        answers: the encoder's.
        bank: the student's embeddings of training images.
    """
    arrays, inside = golden.arrays, answers.inside
    own, teacher = dict[ProbeKind, Ints](), dict[ProbeKind, Ints]()
    if arrays.teacher_knn is not None:
        votes = bank.knn_votes(inside.embedding, len(golden.classes))
        own["knn"], teacher["knn"] = votes.argmax(axis=1), arrays.teacher_knn
    if arrays.teacher_logits is not None and inside.logits is not None:
        own["linear"] = linear_logits(arrays, inside).argmax(axis=1)
        teacher["linear"] = arrays.teacher_logits.argmax(axis=1)
    if arrays.teacher_probe is not None and inside.logits is not None:
        own["probe"] = inside.logits.argmax(axis=1)
        teacher["probe"] = arrays.teacher_probe.answers
    return Subject(
        labels=arrays.labels,
        classes=len(golden.classes),
        answers=own,
        logits=inside.logits,
        outliers=_outliers(arrays, answers, bank),
        comparison=Comparison(
            embedding=inside.embedding,
            centre=(
                arrays.bank.mean(axis=0) if arrays.student_centre is None else arrays.student_centre
            ),
            teacher_embedding=arrays.teacher_embedding,
            teacher_mean=arrays.teacher_mean,
            orthogonal_map=arrays.orthogonal_map,
            teacher_answers=teacher,
            teacher_logits=arrays.reference_logits,
        ),
    )


def of_student(golden: Golden, bank: Bank) -> Subject:
    """The student as it was trained, from the answers that the golden set holds."""
    arrays, outside = golden.arrays, None
    if arrays.outside:
        outside = Outputs(arrays.outside.student_embedding, arrays.outside.student_logits)
    inside = Outputs(arrays.student_embedding, arrays.student_logits)
    return of_encoder(golden, Answers(inside, outside), bank)


def bank_of(golden: Golden) -> Bank:
    """The golden set's bank of training embeddings."""
    return Bank.of(golden.arrays.bank, golden.arrays.bank_labels)


def linear_logits(arrays: Arrays, inside: Outputs) -> Floats:
    """Logits of the linear probe: the file's own, unless it carries another probe."""
    if arrays.linear_probe is None:
        return cast("Floats", inside.logits)
    unit = metrics.normalise(inside.embedding)
    logits: Floats = unit @ arrays.linear_probe.weight.T + arrays.linear_probe.bias
    return logits


def _outliers(arrays: Arrays, answers: Answers, bank: Bank) -> dict[OutlierScore, Pair]:
    inside, outside = answers.inside, answers.outside
    if outside is None:
        return {}
    pair = inside.embedding, outside.embedding
    scores: dict[OutlierScore, Pair] = {
        "cosine": (bank.nearest_cosine(pair[0]), bank.nearest_cosine(pair[1]))
    }
    if arrays.teacher_mahalanobis is not None:
        gaussians = bank.gaussians
        scores["mahalanobis"] = gaussians.scores(pair[0]), gaussians.scores(pair[1])
    energy = _energy(inside.logits), _energy(outside.logits)
    if energy[0] is not None and energy[1] is not None:
        scores["energy"] = energy[0], energy[1]
    return scores


def _energy(logits: Floats | None) -> npt.NDArray[np.floating] | None:
    return None if logits is None else metrics.energy_scores(logits)


def _highest(logits: Floats | None) -> Ints | None:
    return None if logits is None else logits.argmax(axis=1)
