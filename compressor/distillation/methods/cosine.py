"""Cosine regression: 1 - cosine to the teacher's tokens, with nothing but a linear layer."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn

from compressor.distillation.methods.losses import cosine_distance
from compressor.distillation.methods.method import Setup
from compressor.distillation.methods.regression import Regression
from compressor.models.features import Features


class Cosine(Regression):
    """1 - cosine to the teacher's tokens, through a Linear where the widths differ.

    A CNN's raw map goes through a Linear in any case.
    """

    def __init__(
        self,
        teacher_dim: int,
        student_dim: int,
        map_dim: int | None = None,
        *,
        map_is_raw: bool = False,
    ) -> None:
        layer = nn.Linear if map_is_raw else _linear
        super().__init__(
            _linear(student_dim, teacher_dim),
            None if map_dim is None else layer(map_dim, teacher_dim),
        )

    @classmethod
    def build(cls, setup: Setup) -> Self:
        """Make the linear layers that the widths need."""
        teacher_dim = setup.teacher_sample.pooled.shape[1]
        made = cls(teacher_dim, setup.student.dim, setup.map_dim, map_is_raw=setup.map_is_raw)
        return made.keep_basis(setup)

    def distance(self, student: Features, target: Features) -> Tensor:
        """Return that of the embedding plus, with maps, that of all tokens as one vector: [b]."""
        own, teacher = self.tokens(student, target)
        token = cosine_distance(own[:, 0], teacher[:, 0])
        return token + cosine_distance(own, teacher) if own.shape[1] > 1 else token


def _linear(student_dim: int, teacher_dim: int) -> nn.Module:
    return nn.Identity() if student_dim == teacher_dim else nn.Linear(student_dim, teacher_dim)
