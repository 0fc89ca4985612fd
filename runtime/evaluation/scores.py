"""How each metric of the table is computed from one encoder's answers; None where it cannot be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from runtime import metrics
from runtime.arrays import Floats
from runtime.evaluation.subject import Comparison, OutlierScore, ProbeKind, Subject
from runtime.metrics import Estimate

Statistic = Callable[[npt.NDArray[np.floating], npt.NDArray[np.floating]], float]


# --- answers ---------------------------------------------------------------------------------


def accuracy(kind: ProbeKind, subject: Subject) -> Estimate | None:
    """Share of right answers among the held-out images whose label is known."""
    answers, known = subject.answers.get(kind), subject.labels >= 0
    if answers is None or not known.any():
        return None
    return metrics.mean_estimate((answers == subject.labels)[known])


def agreement(kind: ProbeKind, subject: Subject) -> Estimate | None:
    """Share of images with the same answer as the teacher's own probe of that kind."""
    compared, answers = subject.comparison, subject.answers.get(kind)
    if compared is None or answers is None or kind not in compared.teacher_answers:
        return None
    return metrics.mean_estimate(answers == compared.teacher_answers[kind])


# --- probabilities ---------------------------------------------------------------------------


def probability_distance(
    distance: Callable[[Floats, Floats], npt.NDArray[np.floating]], subject: Subject
) -> Estimate | None:
    """Mean distance of the calibrated probabilities to those of the teacher's own probe."""
    compared = subject.comparison
    if compared is None or compared.teacher_logits is None or subject.logits is None:
        return None
    return metrics.mean_estimate(distance(subject.logits, compared.teacher_logits))


def calibration_ece(subject: Subject) -> Estimate | None:
    """Expected calibration error over the images whose label is known."""
    known = subject.labels >= 0
    if subject.logits is None or not known.any():
        return None
    return metrics.calibration_error(subject.logits[known], subject.labels[known])


def calibration_nll(subject: Subject) -> Estimate | None:
    """Log-loss over the images of classes that a label covers.

    The probability of any other class is zero; its logarithm would outweigh all the rest.
    """
    logits, known = subject.logits, subject.labels >= 0
    if logits is None:
        return None
    answerable = logits.max(axis=0) > metrics.NEVER / 2
    known = known & answerable[subject.labels]
    if not known.any():
        return None
    return metrics.mean_estimate(metrics.log_loss(logits[known], subject.labels[known]))


# --- similarity structure --------------------------------------------------------------------


def similarity(
    statistic: Callable[[Floats, Floats], Estimate], subject: Subject
) -> Estimate | None:
    """A statistic over all pairs of images, of the encoder's embedding and the teacher's."""
    pair = _embeddings(subject.comparison)
    return None if pair is None else statistic(*pair)


def centred_similarity(subject: Subject) -> Estimate | None:
    """Correlation of the cosines of both embeddings, each seen from its own centre."""
    compared = subject.comparison
    if compared is None or compared.teacher_mean is None:
        return None
    centred = compared.teacher_embedding - compared.teacher_mean
    return metrics.similarity_correlation(compared.embedding - compared.centre, centred)


def neighbour_overlap(subject: Subject) -> Estimate | None:
    """Share of each image's 10 nearest images that are the teacher's 10 nearest too."""
    pair = _embeddings(subject.comparison)
    return None if pair is None else metrics.mean_estimate(metrics.neighbour_overlap(*pair))


def procrustes_cosine(subject: Subject) -> Estimate | None:
    """Cosine of each image's embedding to the teacher's after the best orthogonal map."""
    compared = subject.comparison
    if compared is None or compared.orthogonal_map is None:
        return None
    cosines = compared.orthogonal_map.cosines(compared.embedding, compared.teacher_embedding)
    return metrics.mean_estimate(cosines)


def _embeddings(compared: Comparison | None) -> tuple[Floats, Floats] | None:
    return None if compared is None else (compared.embedding, compared.teacher_embedding)


# --- out-of-distribution images --------------------------------------------------------------


def ood(statistic: Statistic, score: OutlierScore, subject: Subject) -> Estimate | None:
    """How well an outlier score separates the held-out images from those of another task."""
    pair = subject.outliers.get(score)
    return None if pair is None else metrics.two_sample_estimate(statistic, *pair)
