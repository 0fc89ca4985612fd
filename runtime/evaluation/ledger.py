"""The ledger: from the teacher to the engines a line each, and what is lost at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from runtime import metrics
from runtime.backends.base import Outputs
from runtime.bundle.bundle import Artifact
from runtime.bundle.golden import Arrays, Golden
from runtime.bundle.schema import Network
from runtime.evaluation import parity
from runtime.evaluation.scores import (
    Answers,
    answers_of,
    calibration_figures,
    fidelity_figures,
    ood,
    ood_by_energy,
)
from runtime.metrics import Figure

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


# --- lines -----------------------------------------------------------------------------------


def teacher_line(teacher: Network, arrays: Arrays) -> Line:
    """The teacher with its own probes: what everything else is compared with."""
    figures, known = dict[str, Figure](), arrays.labels >= 0
    answers = {
        "accuracy_knn": arrays.teacher_knn,
        "accuracy_linear": answers_of(arrays.teacher_logits),
        "accuracy_probe": arrays.teacher_probe,
    }
    for name, given in answers.items():
        if given is not None and known.any():
            figures[name] = metrics.mean_figure((given == arrays.labels)[known])
    figures |= ood("", arrays.teacher_ood_inside, arrays.teacher_ood_outside)
    figures |= ood(
        "_mahalanobis", arrays.teacher_mahalanobis_inside, arrays.teacher_mahalanobis_outside
    )
    figures |= ood_by_energy(arrays.teacher_chances, arrays.teacher_ood_logits)
    return Line({"stage": "teacher", "model": teacher.model, "size_mb": teacher.size_mb}, figures)


def student_line(student: Network, golden: Golden) -> Line:
    """The student as it was trained, before any file was made of it."""
    arrays = golden.arrays
    outside = None
    if arrays.student_ood_embedding is not None:
        outside = Outputs(arrays.student_ood_embedding, arrays.student_ood_logits)
    inside = Outputs(arrays.student_embedding, arrays.student_logits)
    figures = fidelity_figures(golden, Answers(inside, outside))
    figures |= calibration_figures(inside.logits, arrays.labels)
    return Line({"stage": "student", "model": student.model, "size_mb": student.size_mb}, figures)


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
            losses[name] = metrics.difference(*(pair[::-1] if name in LOWER_IS_BETTER else pair))
    return as_entry(losses)


def as_entry(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Figures as report.json has them: each with its interval beside it."""
    entry = dict[str, Any]()
    for name, figure in figures.items():
        entry[name] = figure.value
        entry[f"{name}_ci"] = [figure.low, figure.high]
    return entry
