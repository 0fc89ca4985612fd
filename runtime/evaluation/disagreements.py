"""Where the deployed file answers otherwise than the teacher: image by image, class by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from runtime import metrics
from runtime.arrays import Doubles
from runtime.backends.base import Outputs
from runtime.bundle.golden import Golden
from runtime.evaluation.ledger import as_entry

Ints = npt.NDArray[np.integer]

SHOWN = 20
"""Images that departures name."""
SURE = 0.5
"""The teacher is sure of an answer whose calibrated probability is this at least: by its own
account it is then more likely right than wrong."""


@dataclass(frozen=True)
class Said:
    """Calibrated answers of one side to the N held-out images."""

    answers: Ints
    confidence: Doubles

    @classmethod
    def of(cls, logits: npt.NDArray[np.floating]) -> Said:
        """From logits [N, K]."""
        chances = np.exp(metrics.log_softmax(logits))
        return cls(chances.argmax(axis=1), chances.max(axis=1))


def departures(golden: Golden, inside: Outputs) -> dict[str, Any]:
    """The images on which the file departs most from the teacher, farthest first.

    With labels the distance is the total variation between calibrated probabilities, and images of
    which the teacher itself is unsure stand apart. Without, it is one minus the cosine after the
    orthogonal map.

    Args:
        golden: the held-out images and the teacher's answers.
        inside: the file's answers to them.
    """
    teacher_logits = golden.arrays.teacher_chances
    if teacher_logits is None or inside.logits is None:
        return _by_cosine(golden, inside)
    distance = metrics.total_variation(inside.logits, teacher_logits)
    teacher, deployed = Said.of(teacher_logits), Said.of(inside.logits)
    sure = teacher.confidence >= SURE

    def listed(rows: Ints) -> list[dict[str, Any]]:
        return [
            {
                "image": golden.images[row],
                "label": _name(golden, int(golden.arrays.labels[row])),
                "teacher": _said(golden, teacher, row),
                "deployed": _said(golden, deployed, row),
                "distance": float(distance[row]),
            }
            for row in rows[np.argsort(-distance[rows], kind="stable")][:SHOWN]
        ]

    return {
        "measure": "total variation between calibrated probabilities",
        "most": listed(np.flatnonzero(sure)),
        "teacher_unsure": _of_unsure(sure, teacher.answers == deployed.answers)
        | {"most": listed(np.flatnonzero(~sure))},
    }


def _of_unsure(sure: npt.NDArray[np.bool_], same: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """How many images the teacher is unsure of, and how often the file agrees on either kind."""
    found: dict[str, Any] = {"below": SURE, "images": int((~sure).sum())}
    for name, rows in (("agreement_where_sure", sure), ("agreement_where_unsure", ~sure)):
        if rows.any():
            found |= as_entry({name: metrics.mean_figure(same[rows])})
    return found


def _by_cosine(golden: Golden, inside: Outputs) -> dict[str, Any]:
    mapped = golden.arrays.orthogonal_map
    if mapped is None:
        return {}
    distance = 1 - mapped.cosines(inside.embedding, golden.arrays.teacher_embedding)
    most = np.argsort(-distance, kind="stable")[:SHOWN]
    return {
        "measure": "one minus the cosine to the teacher's embedding, after the orthogonal map",
        "most": [{"image": golden.images[row], "distance": float(distance[row])} for row in most],
    }


def per_class(golden: Golden, inside: Outputs) -> list[dict[str, Any]]:
    """Right answers of teacher and file to the held-out images of each class, with their loss.

    Empty where there are no labels. Classes are in the order of their loss, the largest first.
    """
    teacher_logits, labels = golden.arrays.teacher_chances, golden.arrays.labels
    if teacher_logits is None or inside.logits is None:
        return []
    of_teacher, of_file = teacher_logits.argmax(axis=1), inside.logits.argmax(axis=1)
    rows = []
    for number, name in enumerate(golden.classes):
        chosen = labels == number
        if not chosen.any():
            continue
        figures = {
            "accuracy_teacher": metrics.mean_figure(of_teacher[chosen] == number),
            "accuracy_deployed": metrics.mean_figure(of_file[chosen] == number),
        }
        figures["loss"] = metrics.difference(*figures.values())
        figures["agreement"] = metrics.mean_figure((of_teacher == of_file)[chosen])
        wrong = of_file[chosen & (of_file != number)]
        taken_for = int(np.bincount(wrong).argmax()) if len(wrong) else -1
        rows.append(
            {
                "class": name,
                "images": int(chosen.sum()),
                **as_entry(figures),
                "taken_for": _name(golden, taken_for),
            }
        )
    return sorted(rows, key=lambda row: -cast("float", row["loss"]))


def _said(golden: Golden, said: Said, row: int) -> dict[str, Any]:
    answer = _name(golden, int(said.answers[row]))
    return {"answer": answer, "confidence": float(said.confidence[row])}


def _name(golden: Golden, number: int) -> str | None:
    return golden.classes[number] if number >= 0 else None
