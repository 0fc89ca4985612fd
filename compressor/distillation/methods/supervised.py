"""Supervised training without a teacher: what the labels alone would have given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressor.distillation.methods.method import Method, Sample, Setup
from compressor.models.features import Features

_FIT_STEPS, _PENALTY = 100, 1e-3


class Supervised(Method[Tensor]):
    """Cross-entropy of a linear classifier on the student's embedding."""

    quality = "knn_accuracy"

    def __init__(self, classes: int, student_dim: int) -> None:
        super().__init__()
        self.head = nn.Linear(student_dim, classes)

    @classmethod
    def build(cls, setup: Setup) -> Self:
        """Make the classifier."""
        return cls(setup.classes, setup.student.dim)

    def target(self, teacher: Features, labels: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return the labels."""
        return None, labels

    def begin(self, sample: Callable[[], Sample]) -> None:
        """Fit the classifier on the student's embedding as it is."""
        found = sample()
        labels, embedded = found.labels, found.student.pooled.detach()
        known = labels >= 0
        optimizer = torch.optim.LBFGS(self.head.parameters(), max_iter=_FIT_STEPS)

        def loss() -> Tensor:
            optimizer.zero_grad()
            penalty = _PENALTY * self.head.weight.square().sum()
            error = F.cross_entropy(self.head(embedded[known]), labels[known]) + penalty
            error.backward()  # type: ignore[no-untyped-call]
            return error

        if known.any():
            optimizer.step(loss)  # type: ignore[no-untyped-call]

    def distance(self, student: Features, target: Tensor) -> Tensor:
        """Return the cross-entropy [b], 0 for an image without a label."""
        logits = self.head(student.pooled)
        return F.cross_entropy(logits, target, ignore_index=-1, reduction="none")
