"""What TinTeM is compared with, in the same loop: Proteus, cosine regression, supervised.

Each gives a target for a batch and a distance of the student's answer from it. Their heads sit on
the student and are thrown away after training.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressor.tintem import at_least_float32


class Proteus(nn.Module):
    """MSE to the teacher's features through LayerNorm and Linear on the student (arXiv 2407.10366).

    The token part of its loss, on pooled features; no masked patches, no EMA.
    """

    def __init__(self, teacher_dim: int, student_dim: int) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.LayerNorm(student_dim), nn.Linear(student_dim, teacher_dim))

    def target(self, teacher: Tensor, labels: Tensor) -> tuple[Tensor | None, Tensor]:
        """The teacher's features themselves: [B, Dt]."""
        return None, teacher

    def distance(self, answer: Tensor, target: Tensor) -> Tensor:
        """Mean squared error over the teacher's width: [b, D], [b, Dt] -> [b]."""
        (answer,) = at_least_float32(answer)
        error: Tensor = self.head(answer) - target
        return error.square().mean(dim=1)


class Cosine(nn.Module):
    """1 - cosine to the teacher's features, through a Linear if the widths differ."""

    def __init__(self, teacher_dim: int, student_dim: int) -> None:
        super().__init__()
        same = teacher_dim == student_dim
        self.head = nn.Identity() if same else nn.Linear(student_dim, teacher_dim)

    def target(self, teacher: Tensor, labels: Tensor) -> tuple[Tensor | None, Tensor]:
        """The teacher's features themselves: [B, Dt]."""
        return None, teacher

    def distance(self, answer: Tensor, target: Tensor) -> Tensor:
        """[b, D], [b, Dt] -> [b]."""
        (answer,) = at_least_float32(answer)
        return 1 - F.cosine_similarity(self.head(answer), target, dim=1)


class Supervised(nn.Module):
    """Cross-entropy to the labels, with no teacher: what the labels alone would have given."""

    def __init__(self, classes: int, student_dim: int) -> None:
        super().__init__()
        self.head = nn.Linear(student_dim, classes)

    def target(self, teacher: Tensor, labels: Tensor) -> tuple[Tensor | None, Tensor]:
        """The labels: [B], -1 where not known."""
        return None, labels

    def distance(self, answer: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy [b], 0 for an image without a label."""
        (answer,) = at_least_float32(answer)
        loss = F.cross_entropy(self.head(answer), target, ignore_index=-1, reduction="none")
        return torch.where(target >= 0, loss, 0.0)
