"""How well TinTeM's head keeps the teacher's angles, for the report."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressor.distillation.methods.tintem_head import TeacherHead


@dataclass(frozen=True)
class HeadFidelity:
    """Scores of a head, on features that it was not fitted on."""

    cosine_mae: float
    """Mean absolute difference of the off-diagonal cosines before and after the head."""
    cosine_correlation: float
    """Their Pearson r, which a constant shift of all cosines leaves at 1."""
    semi_orthogonality_defect: float
    """|A A^T / c - I| / sqrt(D) of its matrix A [D, Dt], c the mean of A A^T's diagonal: 0 for a
    projection that turns and scales only."""


def head_fidelity(
    head: nn.Module, features: Tensor, *, against: Tensor | None = None
) -> HeadFidelity:
    """Measure a head on teacher features [n, Dt], n >= 3.

    Args:
        head: [n, Dt] -> [n, D]
        features: input of the head; best ones that it was not fitted on.
        against: [n, Dt], the features whose cosines are the reference; None: `features`. Those
            before centring also measure what the centring changes.
    """
    teacher = features if against is None else against
    with torch.inference_mode():
        before, after = (
            _off_diagonal(F.normalize(x.double(), dim=1)) for x in (teacher, head(features))
        )
        correlation = torch.corrcoef(torch.stack([before, after]))[0, 1]
    return HeadFidelity(
        cosine_mae=float((before - after).abs().mean()),
        cosine_correlation=float(correlation.nan_to_num()),
        semi_orthogonality_defect=semi_orthogonality_defect(head, features.shape[1]),
    )


def semi_orthogonality_defect(head: nn.Module, teacher_dim: int) -> float:
    """Return |A A^T / c - I|_F / sqrt(D); after a LayerNorm A = W diag(gamma) (I - 11^T / Dt)."""
    match head:
        case nn.Identity():
            return 0.0
        case nn.Linear():
            matrix = head.weight.detach().double()
        case TeacherHead():
            centring = torch.eye(teacher_dim, dtype=torch.float64) - 1 / teacher_dim
            weight = head.projection.weight.detach().double().cpu()
            matrix = weight * head.norm.weight.detach().double().cpu() @ centring
        case _:
            raise TypeError(f"{type(head).__name__} has no known matrix")
    gram = matrix @ matrix.T
    dim = len(gram)
    scaled = gram / gram.diagonal().mean()
    identity = torch.eye(dim, dtype=gram.dtype, device=gram.device)
    return float((scaled - identity).norm() / math.sqrt(dim))


def _off_diagonal(unit: Tensor) -> Tensor:
    cosines = unit @ unit.T
    return cosines[~torch.eye(len(unit), dtype=torch.bool, device=unit.device)]
