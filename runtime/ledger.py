"""The ledger: from the teacher to the engines a line each, and what is lost at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from runtime import fidelity, parity
from runtime.bundle import Artifact
from runtime.fidelity import Figure
from runtime.golden import Arrays, Golden
from runtime.session import Outputs

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer]

LOWER_IS_BETTER = frozenset(
    {
        "calibration_ece",
        "calibration_nll",
        "cosine_mae",
        "jensen_shannon",
        "ood_fpr95",
        "ood_fpr95_energy",
        "ood_fpr95_mahalanobis",
        "total_variation",
    }
)
FEWEST_FOR_PAIRS = 12
"""10 neighbours among the others, and one that is none."""


@dataclass(frozen=True)
class Line:
    """One line of the ledger."""

    entry: dict[str, Any]
    """What it is, and what is known of it that does not rest on held-out images."""
    figures: dict[str, Figure] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        """Its name, such as `onnx-fp32`."""
        return cast("str", self.entry["stage"])


@dataclass(frozen=True)
class Answers:
    """What one encoder says of the held-out images, and of those that are not of the task."""

    inside: Outputs
    outside: Outputs | None


# --- lines -----------------------------------------------------------------------------------


def teacher_line(document: Mapping[str, Any], arrays: Arrays) -> Line:
    """The teacher with its own probes: what everything else is compared with."""
    figures, known = dict[str, Figure](), arrays.labels >= 0
    answers = {
        "accuracy_knn": arrays.teacher_knn,
        "accuracy_linear": _answers(arrays.teacher_logits),
        "accuracy_probe": arrays.teacher_probe,
    }
    for name, given in answers.items():
        if given is not None and known.any():
            figures[name] = fidelity.mean_figure((given == arrays.labels)[known])
    figures |= _ood("", arrays.teacher_ood_inside, arrays.teacher_ood_outside)
    figures |= _ood(
        "_mahalanobis", arrays.teacher_mahalanobis_inside, arrays.teacher_mahalanobis_outside
    )
    figures |= _ood_by_energy(arrays.teacher_chances, arrays.teacher_ood_logits)
    teacher = document["teacher"]
    return Line(
        {"stage": "teacher", "model": teacher["model"], "size_mb": teacher["size_mb"]}, figures
    )


def student_line(document: Mapping[str, Any], golden: Golden) -> Line:
    """The student as it was trained, before any file was made of it."""
    arrays, student = golden.arrays, document["student"]
    outside = None
    if arrays.student_ood_embedding is not None:
        outside = Outputs(arrays.student_ood_embedding, arrays.student_ood_logits)
    inside = Outputs(arrays.student_embedding, arrays.student_logits)
    figures = fidelity_figures(golden, Answers(inside, outside))
    figures |= calibration_figures(inside.logits, arrays.labels)
    return Line(
        {"stage": "student", "model": student["model"], "size_mb": student["size_mb"]}, figures
    )


def deployed_line(artifact: Artifact, answers: Answers, golden: Golden) -> Line:
    """A file of the bundle, from its own answers."""
    arrays, inside = golden.arrays, answers.inside
    like_source = parity.compare(
        inside.embedding,
        arrays.student_embedding,
        got_logits=inside.logits,
        expected_logits=arrays.student_logits,
    )
    entry: dict[str, Any] = {
        "stage": artifact.stage,
        "file": artifact.path.name,
        "sha256": artifact.sha256,
        "precision": artifact.precision,
    }
    figures = dict[str, Figure]()
    if _whole(inside) and (answers.outside is None or _whole(answers.outside)):
        figures |= fidelity_figures(golden, answers)
        figures |= calibration_figures(inside.logits, arrays.labels)
    else:
        entry["broken"] = "its answers are not all finite, or some are zero: nothing to compare"
    return Line(
        entry
        | {
            "parity_cosine_min": like_source.cosine_min,
            "parity_max_abs_difference": like_source.max_abs_difference,
            "parity_same_answer": like_source.same_answer,
            "size_mb": artifact.size_mb,
        },
        figures,
    )


def _whole(outputs: Outputs) -> bool:
    """Whether every answer can be compared: finite, and an embedding with a direction."""
    if outputs.logits is not None and not np.all(np.isfinite(outputs.logits)):
        return False
    embedding = outputs.embedding
    return bool(np.all(np.isfinite(embedding)) and np.all(embedding.any(axis=1)))


# --- losses ----------------------------------------------------------------------------------


def entries(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """The lines as report.json has them, each with its losses, from the teacher on.

    A loss is of the line before to this one, above zero where this one is worse. Both lines' images
    are the same, so its interval is that of a paired bootstrap.
    """
    teacher, before, found = lines[0], lines[0], []
    for line in lines:
        entry = line.entry | as_entry(line.figures)
        if line.figures and line is not teacher:
            entry["loss_against_teacher"] = _losses(teacher, line)
            if before is not teacher:
                entry["loss_against_before"] = {"before": before.stage, **_losses(before, line)}
        found.append(entry)
        if line.figures or line is teacher:
            before = line
    return found


def _losses(better: Line, line: Line) -> dict[str, Any]:
    losses = dict[str, Figure]()
    for name, figure in line.figures.items():
        if name in better.figures:
            pair = better.figures[name], figure
            losses[name] = fidelity.difference(*(pair[::-1] if name in LOWER_IS_BETTER else pair))
    return as_entry(losses)


def as_entry(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Figures as report.json has them: each with its interval beside it."""
    entry = dict[str, Any]()
    for name, figure in figures.items():
        entry[name] = figure.value
        entry[f"{name}_ci"] = [figure.low, figure.high]
    return entry


# --- figures ---------------------------------------------------------------------------------


def fidelity_figures(golden: Golden, answers: Answers) -> dict[str, Figure]:
    """Everything about answers to the held-out images that compares with the teacher."""
    arrays, inside = golden.arrays, answers.inside
    figures = _of_probes(golden, inside) | _of_probabilities(arrays, inside)
    if len(golden.images) >= FEWEST_FOR_PAIRS:
        pair = inside.embedding, arrays.teacher_embedding
        figures["similarity_correlation"] = fidelity.similarity_correlation(*pair)
        figures["cosine_mae"] = fidelity.cosine_mae(*pair)
        figures["linear_cka"] = fidelity.linear_cka(*pair)
        overlap = fidelity.neighbour_overlap(*pair)
        figures["neighbour_overlap_at_10"] = fidelity.mean_figure(overlap)
    if arrays.orthogonal_map is not None:
        cosines = arrays.orthogonal_map.cosines(inside.embedding, arrays.teacher_embedding)
        figures["procrustes_cosine"] = fidelity.mean_figure(cosines)
    return figures | _of_outliers(arrays, answers)


def _of_probes(golden: Golden, inside: Outputs) -> dict[str, Figure]:
    """Right answers, and the same answers as the teacher's own probe."""
    arrays, figures = golden.arrays, dict[str, Figure]()
    known, labelled = arrays.labels >= 0, arrays.bank_labels >= 0
    pairs = dict[str, tuple[Ints, Ints]]()
    if arrays.teacher_knn is not None:
        bank = arrays.bank[labelled], arrays.bank_labels[labelled], len(golden.classes)
        votes = fidelity.knn_votes(inside.embedding, *bank)
        pairs["knn"] = votes.argmax(axis=1), arrays.teacher_knn
    if arrays.teacher_logits is not None and inside.logits is not None:
        answers = linear_logits(arrays, inside).argmax(axis=1)
        pairs["linear"] = answers, arrays.teacher_logits.argmax(axis=1)
    if arrays.teacher_probe is not None and inside.logits is not None:
        pairs["probe"] = inside.logits.argmax(axis=1), arrays.teacher_probe
    for name, (answers, of_teacher) in pairs.items():
        if known.any():
            right = (answers == arrays.labels)[known]
            figures[f"accuracy_{name}"] = fidelity.mean_figure(right)
        figures[f"agreement_{name}"] = fidelity.mean_figure(answers == of_teacher)
    return figures


def _of_probabilities(arrays: Arrays, inside: Outputs) -> dict[str, Figure]:
    """How far the file's calibrated probabilities are from those of the teacher's own probe."""
    if arrays.teacher_chances is None or inside.logits is None:
        return {}
    pair = inside.logits, arrays.teacher_chances
    return {
        name: fidelity.mean_figure(distance(*pair))
        for name, distance in (
            ("total_variation", fidelity.total_variation),
            ("jensen_shannon", fidelity.jensen_shannon),
        )
    }


def linear_logits(arrays: Arrays, inside: Outputs) -> Floats:
    """Of the linear probe: the file's own logits, unless it carries another probe."""
    if arrays.linear_weight is None or arrays.linear_bias is None:
        return cast("Floats", inside.logits)
    unit = fidelity.normalise(inside.embedding)
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
    figures["calibration_ece"] = fidelity.calibration_error(logits[known], labels[known])
    answerable = logits.max(axis=0) > fidelity.NEVER / 2
    known &= answerable[labels]
    if known.any():
        loss = fidelity.log_loss(logits[known], labels[known])
        figures["calibration_nll"] = fidelity.mean_figure(loss)
    return figures


def _of_outliers(arrays: Arrays, answers: Answers) -> dict[str, Figure]:
    """Telling images that are not of the task apart, by three scores."""
    inside, outside = answers.inside, answers.outside
    if outside is None:
        return {}
    pair = inside.embedding, outside.embedding
    figures = _ood("", *(fidelity.ood_scores(each, arrays.bank) for each in pair))
    if arrays.teacher_mahalanobis_inside is not None:
        gaussians = fidelity.fit_gaussians(arrays.bank, arrays.bank_labels)
        figures |= _ood("_mahalanobis", *(gaussians.scores(each) for each in pair))
    return figures | _ood_by_energy(inside.logits, outside.logits)


def _ood_by_energy(inside: Floats | None, outside: Floats | None) -> dict[str, Figure]:
    if inside is None or outside is None:
        return {}
    return _ood("_energy", *(fidelity.energy_scores(each) for each in (inside, outside)))


def _ood(
    score: str,
    inside: npt.NDArray[np.floating] | None,
    outside: npt.NDArray[np.floating] | None,
) -> dict[str, Figure]:
    if inside is None or outside is None:
        return {}
    return {
        f"{name}{score}": fidelity.two_sample_figure(statistic, inside, outside)
        for name, statistic in (("ood_auroc", fidelity.auroc), ("ood_fpr95", fidelity.fpr95))
    }


def _answers(logits: Floats | None) -> Ints | None:
    return None if logits is None else logits.argmax(axis=1)
