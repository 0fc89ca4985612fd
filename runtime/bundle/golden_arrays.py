"""What is known of the held-out images: arrays with a row for each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.arrays import Floats, Ints
from runtime.metrics import OrthogonalMap

OF_OUTSIDE = {
    "teacher_ood_outside",
    "student_ood_embedding",
    "teacher_ood_logits",
    "student_ood_logits",
    "teacher_mahalanobis_outside",
}
OF_CORRUPTED = {
    "corrupted_seeds",
    "teacher_corrupted_answers",
    "teacher_corrupted_stability",
    "student_corrupted_answers",
    "student_corrupted_stability",
}
OF_INSIDE = {
    "labels",
    "teacher_embedding",
    "teacher_knn",
    "teacher_logits",
    "teacher_ood_inside",
    "student_embedding",
    "student_logits",
    "teacher_probe",
    "teacher_probe_logits",
    "teacher_mahalanobis_inside",
}


@dataclass(frozen=True)
class Arrays:
    """What is known of N held-out images, M out-of-distribution ones and B of the training set.

    K classes; the teacher is Dt wide, the student D. Without labels the optional ones are None.
    """

    labels: Ints
    """[N], -1 where the label is not known."""
    teacher_embedding: Floats
    """[N, Dt]"""
    teacher_knn: Ints | None
    """[N], the class its kNN answers."""
    teacher_logits: Floats | None
    """[N, K], of its linear probe."""
    teacher_ood_inside: Floats
    """[N], cosine to the nearest training embedding."""
    teacher_ood_outside: Floats | None
    """[M], the same for the out-of-distribution images."""
    student_embedding: Floats
    """[N, D], from torch: what every file made of the student is compared with."""
    student_logits: Floats | None
    """[N, K]"""
    student_ood_embedding: Floats | None
    """[M, D]"""
    bank: Floats
    """[B, D], student embeddings of training images."""
    bank_labels: Ints
    """[B], -1 where not known."""
    teacher_probe: Ints | None = None
    """[N], the class that the teacher's own probe of the deployed kind answers; None where that is
    the linear probe."""
    linear_weight: Floats | None = None
    """[K, D], the student's linear probe, where the logits are of another one."""
    linear_bias: Floats | None = None
    """[K]"""
    pixels: npt.NDArray[np.uint8] | None = None
    """[P, S, S, 3], the first P images after resize and crop on the desk (bundle only)."""
    teacher_probe_logits: Floats | None = None
    """[N, K], of the teacher's own probe of the deployed kind; None where that is the linear."""
    teacher_ood_logits: Floats | None = None
    """[M, K], of the teacher's own probe of the deployed kind."""
    student_ood_logits: Floats | None = None
    """[M, K]"""
    teacher_mahalanobis_inside: Floats | None = None
    """[N], minus the squared distance to the nearest Gaussian of the training embeddings."""
    teacher_mahalanobis_outside: Floats | None = None
    """[M]"""
    map_turn: Floats | None = None
    """[D, Dt], fitted on training images: lays the student's embedding on the teacher's."""
    map_source_mean: Floats | None = None
    """[D]"""
    map_target_mean: Floats | None = None
    """[Dt]"""
    corrupted_rows: Ints | None = None
    """[R], which of the N images were corrupted."""
    corrupted_seeds: Ints | None = None
    """[R], of their corruptions."""
    teacher_corrupted_answers: Ints | None = None
    """[R, F, S], the class that the teacher's probe of the deployed kind answers."""
    teacher_corrupted_stability: Floats | None = None
    """[R, F, S], cosine of the image's embedding to that of the corrupted image, both less the
    training images' mean."""
    student_corrupted_answers: Ints | None = None
    """[R, F, S]"""
    student_corrupted_stability: Floats | None = None
    """[R, F, S]"""

    @property
    def teacher_chances(self) -> Floats | None:
        """[N, K], logits of what the deployed file is compared with; their softmax is calibrated.

        None without labels, or where an older version left no more than the answers.
        """
        if self.teacher_probe_logits is not None:
            return self.teacher_probe_logits
        return None if self.teacher_probe is not None else self.teacher_logits

    @property
    def orthogonal_map(self) -> OrthogonalMap | None:
        """From the student's embedding to the teacher's."""
        if self.map_turn is None or self.map_source_mean is None or self.map_target_mean is None:
            return None
        return OrthogonalMap(self.map_turn, self.map_source_mean, self.map_target_mean)

    def only(self, inside: Ints, outside: Ints | None, corrupted: Ints) -> Arrays:
        """Some rows of N (ascending), of M (None: all) and of R (those that are inside)."""
        changes: dict[str, Any] = {}
        kept = ((OF_INSIDE, inside), (OF_OUTSIDE, outside), (OF_CORRUPTED, corrupted))
        for names, rows in kept:
            for name in names:
                values = getattr(self, name)
                if values is not None and rows is not None:
                    changes[name] = values[rows]
        if self.corrupted_rows is not None:
            changes["corrupted_rows"] = np.searchsorted(inside, self.corrupted_rows[corrupted])
        if self.pixels is not None:
            changes["pixels"] = self.pixels[inside[inside < len(self.pixels)]]
        return replace(self, **changes)
