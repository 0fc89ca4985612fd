"""Every figure of one encoder's answers to the held-out images, as `fidelity` defines them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from runtime import metrics
from runtime.arrays import Floats
from runtime.backends.base import Outputs
from runtime.bundle.golden import Arrays, Golden
from runtime.metrics import Figure

Ints = npt.NDArray[np.integer]

FEWEST_FOR_PAIRS = 12
"""10 neighbours among the others, and one that is none."""


@dataclass(frozen=True)
class Answers:
    """What one encoder says of the held-out images, and of those that are not of the task."""

    inside: Outputs
    outside: Outputs | None


def fidelity_figures(golden: Golden, answers: Answers) -> dict[str, Figure]:
    """Everything about answers to the held-out images that compares with the teacher."""
    arrays, inside = golden.arrays, answers.inside
    figures = _of_probes(golden, inside) | _of_probabilities(arrays, inside)
    if len(golden.images) >= FEWEST_FOR_PAIRS:
        pair = inside.embedding, arrays.teacher_embedding
        figures["similarity_correlation"] = metrics.similarity_correlation(*pair)
        figures["cosine_mae"] = metrics.cosine_mae(*pair)
        figures["linear_cka"] = metrics.linear_cka(*pair)
        overlap = metrics.neighbour_overlap(*pair)
        figures["neighbour_overlap_at_10"] = metrics.mean_figure(overlap)
    if arrays.orthogonal_map is not None:
        cosines = arrays.orthogonal_map.cosines(inside.embedding, arrays.teacher_embedding)
        figures["procrustes_cosine"] = metrics.mean_figure(cosines)
    return figures | _of_outliers(arrays, answers)


def _of_probes(golden: Golden, inside: Outputs) -> dict[str, Figure]:
    """Right answers, and the same answers as the teacher's own probe."""
    arrays, figures = golden.arrays, dict[str, Figure]()
    known, labelled = arrays.labels >= 0, arrays.bank_labels >= 0
    pairs = dict[str, tuple[Ints, Ints]]()
    if arrays.teacher_knn is not None:
        bank = arrays.bank[labelled], arrays.bank_labels[labelled], len(golden.classes)
        votes = metrics.knn_votes(inside.embedding, *bank)
        pairs["knn"] = votes.argmax(axis=1), arrays.teacher_knn
    if arrays.teacher_logits is not None and inside.logits is not None:
        answers = linear_logits(arrays, inside).argmax(axis=1)
        pairs["linear"] = answers, arrays.teacher_logits.argmax(axis=1)
    if arrays.teacher_probe is not None and inside.logits is not None:
        pairs["probe"] = inside.logits.argmax(axis=1), arrays.teacher_probe
    for name, (answers, of_teacher) in pairs.items():
        if known.any():
            right = (answers == arrays.labels)[known]
            figures[f"accuracy_{name}"] = metrics.mean_figure(right)
        figures[f"agreement_{name}"] = metrics.mean_figure(answers == of_teacher)
    return figures


def _of_probabilities(arrays: Arrays, inside: Outputs) -> dict[str, Figure]:
    """How far the file's calibrated probabilities are from those of the teacher's own probe."""
    if arrays.teacher_chances is None or inside.logits is None:
        return {}
    pair = inside.logits, arrays.teacher_chances
    return {
        name: metrics.mean_figure(distance(*pair))
        for name, distance in (
            ("total_variation", metrics.total_variation),
            ("jensen_shannon", metrics.jensen_shannon),
        )
    }


def linear_logits(arrays: Arrays, inside: Outputs) -> Floats:
    """Of the linear probe: the file's own logits, unless it carries another probe."""
    if arrays.linear_weight is None or arrays.linear_bias is None:
        return cast("Floats", inside.logits)
    unit = metrics.normalise(inside.embedding)
    logits: Floats = unit @ arrays.linear_weight.T + arrays.linear_bias
    return logits


def calibration_figures(logits: Floats | None, labels: Ints) -> dict[str, Figure]:
    """How well the probabilities [N, K] fit the held-out labels [N], -1 where not known.

    `calibration_ece` is over all of them; `calibration_nll` leaves out the images of classes that
    no label covers: their probability is zero, and its logarithm would drown the rest.
    """
    figures, known = dict[str, Figure](), labels >= 0
    if logits is None or not known.any():
        return figures
    figures["calibration_ece"] = metrics.calibration_error(logits[known], labels[known])
    answerable = logits.max(axis=0) > metrics.NEVER / 2
    known &= answerable[labels]
    if known.any():
        loss = metrics.log_loss(logits[known], labels[known])
        figures["calibration_nll"] = metrics.mean_figure(loss)
    return figures


def _of_outliers(arrays: Arrays, answers: Answers) -> dict[str, Figure]:
    """Telling images that are not of the task apart, by three scores."""
    inside, outside = answers.inside, answers.outside
    if outside is None:
        return {}
    pair = inside.embedding, outside.embedding
    figures = ood("", *(metrics.ood_scores(each, arrays.bank) for each in pair))
    if arrays.teacher_mahalanobis_inside is not None:
        gaussians = metrics.fit_gaussians(arrays.bank, arrays.bank_labels)
        figures |= ood("_mahalanobis", *(gaussians.scores(each) for each in pair))
    return figures | ood_by_energy(inside.logits, outside.logits)


def ood_by_energy(inside: Floats | None, outside: Floats | None) -> dict[str, Figure]:
    """`ood` of the energy of logits [N, K] and [M, K]; nothing without either."""
    if inside is None or outside is None:
        return {}
    return ood("_energy", *(metrics.energy_scores(each) for each in (inside, outside)))


def ood(
    score: str,
    inside: npt.NDArray[np.floating] | None,
    outside: npt.NDArray[np.floating] | None,
) -> dict[str, Figure]:
    """How well scores [N] of held-out images stand above those [M] of others.

    Args:
        score: its name, as it ends the figures' names; the default one has none.
        inside: high for an image that belongs; None where there is none.
        outside: the same.
    """
    if inside is None or outside is None:
        return {}
    return {
        f"{name}{score}": metrics.two_sample_figure(statistic, inside, outside)
        for name, statistic in (("ood_auroc", metrics.auroc), ("ood_fpr95", metrics.fpr95))
    }


def answers_of(logits: Floats | None) -> Ints | None:
    """[N, K] -> [N]."""
    return None if logits is None else logits.argmax(axis=1)
