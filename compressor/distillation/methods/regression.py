"""Regression onto the teacher's tokens: what Proteus and cosine regression share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from compressor.distillation.least_squares.layer import solve_layer
from compressor.distillation.methods.method import Method, Sample, Setup
from compressor.distillation.methods.tintem_head import pca_basis
from compressor.models.features import Features


class Regression(Method[Features]):
    """A head for the student's embedding and one for its map, each to the teacher's width."""

    def __init__(self, token_head: nn.Module, map_head: nn.Module | None) -> None:
        super().__init__()
        self.token_head = token_head
        self.map_head = map_head
        self.basis: Tensor | None = None
        """[D, Dt], the teacher's principal directions where the student is narrower."""

    def keep_basis(self, setup: Setup) -> Self:
        """Find the directions of the teacher that a narrower student's embedding starts as."""
        features, dim = setup.teacher_sample.pooled, setup.student.dim
        if dim < features.shape[1]:
            self.basis = pca_basis(features, dim)
        return self

    def target(self, teacher: Features, labels: Tensor) -> tuple[Tensor | None, Features]:
        """Return the teacher's features themselves."""
        return None, teacher

    def embedding_target(self, teacher: Features) -> Tensor:
        """Return the teacher's features: their principal directions for a narrower student."""
        if self.basis is None:
            return teacher.pooled
        return teacher.pooled @ self.basis.T.to(teacher.pooled.device)

    @property
    def is_linear(self) -> bool:
        """Whether it is: always."""
        return True

    def begin(self, sample: Callable[[], Sample]) -> None:
        """Solve the heads, by least squares on the teacher's features."""
        found = sample()
        _solve(self.token_head, found.student.pooled, found.teacher.pooled)
        own, target = found.student.maps, found.teacher.maps
        if self.map_head is not None and own is not None and target is not None:
            _solve(self.map_head, own.flatten(0, 2), target.flatten(0, 2))

    def tokens(self, student: Features, target: Features) -> tuple[Tensor, Tensor]:
        """Return the student's tokens after the heads and the teacher's, [b, 1 or 1 + HW, Dt]."""
        own = self.token_head(student.pooled)
        if self.map_head is None or student.maps is None or target.maps is None:
            return Features(own, None).tokens(), Features(target.pooled, None).tokens()
        return Features(own, self.map_head(student.maps)).tokens(), target.tokens()


def _solve(head: nn.Module, own: Tensor, target: Tensor) -> None:
    """Solve the last layer of a head; an identity has none."""
    *before, last = head if isinstance(head, nn.Sequential) else [head]
    if isinstance(last, nn.Linear):
        with torch.no_grad():
            inputs = nn.Sequential(*before)(own)
        solve_layer(last, inputs, target)
