"""TinTeM's teacher head: from the teacher's width to the student's, keeping the angles.

The head never sees the student, so it can be learnt together with it (the paper) or before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressor.distillation.methods.tintem import sne_divergence
from compressor.models.features import Features

FIT_STEPS = 1000
"""Optimiser steps of a head that is fitted before the student, at most."""
_FIT_BATCH = 256
_FIT_IMAGES, _FIT_TOKENS = 16, 64  # whose maps are in a step, and how many of their tokens
_FIT_LR = 5e-3
_FIT_WINDOW = 100  # the fit ends when a window's mean loss is not this much under the last one's
_FIT_GAIN = 0.01


class TeacherHead(nn.Module):
    """LayerNorm and Linear from the teacher's width to the student's: [..., Dt] -> [..., D].

    The published form: affine LayerNorm (eps 1e-5), bias, PyTorch's own initialisation, no
    constraint of orthogonality.
    """

    def __init__(self, teacher_dim: int, student_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(teacher_dim)
        self.projection = nn.Linear(teacher_dim, student_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Project teacher features."""
        projected: Tensor = self.projection(self.norm(features))
        return projected


@dataclass(frozen=True)
class HeadFigures:
    """How well a head keeps the teacher's cosines, on features it was not fitted on."""

    cosine_mae: float
    """Mean absolute difference of the off-diagonal cosines before and after the head."""
    cosine_correlation: float
    """Their Pearson r, which a constant shift of all cosines leaves at 1."""
    semi_orthogonality_defect: float
    """|A A^T / c - I| / sqrt(D) of its matrix A [D, Dt], c the mean of A A^T's diagonal: 0 for a
    projection that turns and scales only."""


def pca_basis(features: Tensor, dim: int) -> Tensor:
    """The `dim` directions that hold most of the features' square length: [N, Dt] -> [dim, Dt].

    Of uncentred features, so that cosines are kept as well as a projection can keep them; with
    `dim` = Dt it is a rotation and keeps them all.

    Raises:
        ValueError: the teacher is narrower than `dim`.
    """
    if dim > features.shape[1]:
        raise ValueError(f"{features.shape[1]} features have no {dim} principal directions")
    unit = F.normalize(features.double(), dim=1)
    _, vectors = torch.linalg.eigh(unit.T @ unit)  # in rising order
    basis: Tensor = vectors.T.flip(0)[:dim]
    return basis.to(features.dtype)


def pca_head(features: Tensor, dim: int, *, learns: bool) -> nn.Linear:
    """A bias-free linear head that starts as the uncentred PCA of the teacher's features.

    Args:
        features: [N, Dt]
        dim: D, at most Dt.
        learns: whether the SNE losses go on to train it, or it stays as it is.
    """
    head = nn.Linear(features.shape[1], dim, bias=False)
    with torch.no_grad():
        head.weight.copy_(pca_basis(features, dim))
    return head.requires_grad_(learns)


def fit(head: nn.Module, sample: Features, *, seed: int) -> int:
    """Train a head to convergence on the SNE losses, before any student: in place, then frozen.

    Args:
        head: [..., Dt] -> [..., D]
        sample: of the teacher's features: pooled [n, Dt] for L_global; maps [m, H, W, Dt] of the
            first m of them, for L_local of their tokens, or none, which leaves it out.
        seed: of the batches.

    Returns:
        Steps taken.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=_FIT_LR, weight_decay=0.0)
    pooled, before, total = sample.pooled, math.inf, 0.0
    for step in range(1, FIT_STEPS + 1):
        optimizer.param_groups[0]["lr"] = _FIT_LR * (1 + math.cos(math.pi * step / FIT_STEPS)) / 2
        batch = pooled[torch.randperm(len(pooled), generator=generator)[:_FIT_BATCH]]
        loss = sne_divergence(batch, head(batch))
        if sample.maps is not None:
            few = torch.randperm(len(sample.maps), generator=generator)[:_FIT_IMAGES]
            tokens = Features(pooled[few], sample.maps[few]).tokens()
            chosen = torch.randperm(tokens.shape[1], generator=generator)[:_FIT_TOKENS]
            tokens = tokens[:, chosen]
            loss = loss + sne_divergence(tokens, head(tokens)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.item()
        if step % _FIT_WINDOW == 0:
            if total > before * (1 - _FIT_GAIN):
                break
            before, total = total, 0.0
    head.requires_grad_(False)
    return step


def figures(head: nn.Module, features: Tensor, *, against: Tensor | None = None) -> HeadFigures:
    """Measure a head on teacher features [n, Dt], n >= 3 (at best ones it was not fitted on).

    Args:
        head: [n, Dt] -> [n, D]
        features: what it is given.
        against: [n, Dt], what cosines are compared with: `features` themselves if None; those
            before centring see what the centring does, too.
    """
    teacher = features if against is None else against
    with torch.inference_mode():
        before, after = (
            _off_diagonal(F.normalize(each.double(), dim=1)) for each in (teacher, head(features))
        )
        correlation = torch.corrcoef(torch.stack([before, after]))[0, 1]
    return HeadFigures(
        cosine_mae=float((before - after).abs().mean()),
        cosine_correlation=float(correlation.nan_to_num()),
        semi_orthogonality_defect=semi_orthogonality_defect(head, features.shape[1]),
    )


def semi_orthogonality_defect(head: nn.Module, teacher_dim: int) -> float:
    """|A A^T / c - I|_F / sqrt(D); behind a LayerNorm A = W diag(gamma) (I - 11^T / Dt)."""
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
            raise TypeError(f"no matrix is known of {type(head).__name__}")
    gram = matrix @ matrix.T
    dim = len(gram)
    scaled = gram / gram.diagonal().mean()
    identity = torch.eye(dim, dtype=gram.dtype, device=gram.device)
    return float((scaled - identity).norm() / math.sqrt(dim))


def _off_diagonal(unit: Tensor) -> Tensor:
    cosines = unit @ unit.T
    return cosines[~torch.eye(len(unit), dtype=torch.bool, device=unit.device)]
