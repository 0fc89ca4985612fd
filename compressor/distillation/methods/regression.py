"""Regression onto the teacher's tokens: what Proteus and cosine regression share."""

from __future__ import annotations

from torch import Tensor, nn

from compressor.distillation.methods.method import Method
from compressor.models.features import Features


class Regression(Method[Features]):
    """A head for the student's embedding and one for its map, each to the teacher's width."""

    def __init__(self, token_head: nn.Module, map_head: nn.Module | None) -> None:
        super().__init__()
        self.token_head = token_head
        self.map_head = map_head

    def target(self, teacher: Features, labels: Tensor) -> tuple[Tensor | None, Features]:
        """Return the teacher's features themselves."""
        return None, teacher

    def tokens(self, student: Features, target: Features) -> tuple[Tensor, Tensor]:
        """Return the student's tokens after the heads and the teacher's, [b, 1 or 1 + HW, Dt]."""
        own = self.token_head(student.pooled)
        if self.map_head is None or student.maps is None or target.maps is None:
            return Features(own, None).tokens(), Features(target.pooled, None).tokens()
        return Features(own, self.map_head(student.maps)).tokens(), target.tokens()
