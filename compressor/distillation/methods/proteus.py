"""Proteus (arXiv 2407.10366): mean squared error to the teacher's tokens."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn

from compressor.distillation.methods.method import Setup
from compressor.distillation.methods.regression import Regression
from compressor.models.features import Features


class Proteus(Regression):
    """MSE to the teacher's tokens through LayerNorm and Linear on the student.

    The token and, with maps, the feature part of its loss; no masked patches, no EMA.
    """

    def __init__(self, teacher_dim: int, student_dim: int, map_dim: int | None = None) -> None:
        super().__init__(
            _norm_and_linear(student_dim, teacher_dim),
            None if map_dim is None else _norm_and_linear(map_dim, teacher_dim),
        )

    @classmethod
    def build(cls, setup: Setup) -> Self:
        """Make a head for the embedding, and one for the map where there is one."""
        made = cls(setup.teacher_sample.pooled.shape[1], setup.student.dim, setup.map_dim)
        return made.keep_basis(setup)

    def distance(self, student: Features, target: Features) -> Tensor:
        """Return the error of the embedding plus, with maps, that of all tokens: [b]."""
        own, teacher = self.tokens(student, target)
        error = (own - teacher).square().mean(dim=2)
        token: Tensor = error[:, 0]
        return token + error.mean(dim=1) if error.shape[1] > 1 else token


def _norm_and_linear(student_dim: int, teacher_dim: int) -> nn.Module:
    return nn.Sequential(nn.LayerNorm(student_dim), nn.Linear(student_dim, teacher_dim))
