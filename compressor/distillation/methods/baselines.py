"""What TinTeM is compared with, in the same loop: Proteus, cosine regression, supervised.

Each gives a target for a batch and a distance of the student's answer from it. Their heads sit on
the student and are thrown away after training.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from compressor.distillation.methods.tintem import cosine_distance
from compressor.models.features import Features


class Regression(nn.Module):
    """What Proteus and cosine regression share: a head for the embedding, one for the map."""

    def __init__(self, token_head: nn.Module, map_head: nn.Module | None) -> None:
        super().__init__()
        self.token_head = token_head
        self.map_head = map_head

    def target(self, teacher: Features, labels: Tensor) -> tuple[Tensor | None, Features]:
        """The teacher's features themselves."""
        return None, teacher

    def tokens(self, answer: Features, target: Features) -> tuple[Tensor, Tensor]:
        """The student's tokens through the heads and the teacher's, both [b, 1 or 1 + HW, Dt]."""
        own = self.token_head(answer.pooled)
        if self.map_head is None or answer.maps is None or target.maps is None:
            return Features(own, None).tokens(), Features(target.pooled, None).tokens()
        return Features(own, self.map_head(answer.maps)).tokens(), target.tokens()


class Proteus(Regression):
    """MSE to the teacher's tokens through LayerNorm and Linear on the student (arXiv 2407.10366).

    The token and, with maps, the feature part of its loss; no masked patches, no EMA.
    """

    def __init__(self, teacher_dim: int, student_dim: int, map_dim: int | None = None) -> None:
        super().__init__(
            _norm_and_linear(student_dim, teacher_dim),
            None if map_dim is None else _norm_and_linear(map_dim, teacher_dim),
        )

    def distance(self, answer: Features, target: Features) -> Tensor:
        """Mean squared error of the embedding, and of all tokens where there are maps: [b]."""
        own, wanted = self.tokens(answer, target)
        error = (own - wanted).square().mean(dim=2)
        token: Tensor = error[:, 0]
        return token + error.mean(dim=1) if error.shape[1] > 1 else token


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

    def distance(self, answer: Features, target: Features) -> Tensor:
        """Of the embedding, and of all tokens as one vector where there are maps: [b]."""
        own, wanted = self.tokens(answer, target)
        token = cosine_distance(own[:, 0], wanted[:, 0])
        return token + cosine_distance(own, wanted) if own.shape[1] > 1 else token


class Supervised(nn.Module):
    """Cross-entropy to the labels, with no teacher: what the labels alone would have given."""

    def __init__(self, classes: int, student_dim: int) -> None:
        super().__init__()
        self.head = nn.Linear(student_dim, classes)

    def target(self, teacher: Features, labels: Tensor) -> tuple[Tensor | None, Tensor]:
        """The labels: [B], -1 where not known."""
        return None, labels

    def distance(self, answer: Features, target: Tensor) -> Tensor:
        """Cross-entropy [b], 0 for an image without a label."""
        logits = self.head(answer.pooled)
        return F.cross_entropy(logits, target, ignore_index=-1, reduction="none")


def _norm_and_linear(own: int, wanted: int) -> nn.Module:
    return nn.Sequential(nn.LayerNorm(own), nn.Linear(own, wanted))


def _linear(own: int, wanted: int) -> nn.Module:
    return nn.Identity() if own == wanted else nn.Linear(own, wanted)
