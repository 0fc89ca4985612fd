"""TinTeM's head: from the teacher's width to the student's, keeping the angles.

The head never sees the student, so it can be trained together with it (the paper) or before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressor.distillation.methods.losses import sne_divergence
from compressor.models.features import Features
from compressor.recipe.schema import Distill
from runtime.errors import InputError
from runtime.sampling import evenly

FIT_STEPS = 1000
"""Most optimiser steps of a head that is fitted before the student."""
_FIT_BATCH = 256
_FIT_IMAGES, _FIT_TOKENS = 16, 64  # images whose maps are in a step, and tokens of each
_FIT_LR = 5e-3
_FIT_WINDOW = 100  # steps; the fit ends when the mean loss of a window fell by less than
_FIT_GAIN = 0.01  # this share


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


def pca_basis(features: Tensor, dim: int) -> Tensor:
    """Return the directions that hold most of the square length: [N, Dt] -> [dim, Dt].

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
    """Make a bias-free linear head that starts as the uncentred PCA of the teacher's features.

    Args:
        features: [N, Dt]
        dim: D, at most Dt.
        learns: whether the SNE losses train it further, or it stays fixed.
    """
    head = nn.Linear(features.shape[1], dim, bias=False)
    with torch.no_grad():
        head.weight.copy_(pca_basis(features, dim))
    return head.requires_grad_(learns)


def fit(head: nn.Module, sample: Features, *, seed: int) -> int:
    """Train a head in place on the SNE losses until it converges, and freeze it.

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


def make_head(
    spec: Distill, student_dim: int, sample: Features, note: Callable[[str], None]
) -> nn.Module:
    """Make the head that a recipe asks for, fitted where the recipe wants it fitted first.

    Args:
        spec: the recipe's `distill:`.
        student_dim: D.
        sample: centred features of the teacher.
        note: called with a line when a head is fitted.

    Raises:
        InputError: the head is a PCA, and the student is wider than the teacher.
    """
    teacher_dim = sample.pooled.shape[1]
    require_directions(spec, teacher_dim, student_dim)
    if spec.head == "identity-when-it-fits" and student_dim == teacher_dim:
        return nn.Identity()
    head: nn.Module
    if spec.head == "learned" or student_dim > teacher_dim:
        head = TeacherHead(teacher_dim, student_dim)
    else:
        learns = spec.head == "pca-then-learned"
        head = pca_head(pca_sample(sample), student_dim, learns=learns)
        if not learns:
            return head
    if spec.head_fit == "first":
        steps = fit(head, sample, seed=spec.seed)
        note(f"the head was fitted first, in {steps} steps; the student's target is fixed")
    return head


def require_directions(spec: Distill, teacher_dim: int, student_dim: int) -> None:
    """Refuse a PCA with more directions than the teacher has features.

    Raises:
        InputError: names the keys to change.
    """
    if spec.head in ("pca", "pca-then-learned") and student_dim > teacher_dim:
        raise InputError(
            f"distill.head is {spec.head}, and a PCA of {teacher_dim} teacher features has no "
            f"{student_dim} directions; lower student.embedding, or use head: learned"
        )


def pca_sample(sample: Features) -> Tensor:
    """Return pooled features and as many map cells: one head serves both. [2n, Dt]."""
    if sample.maps is None:
        return sample.pooled
    cells = sample.maps.flatten(0, 2)
    # A plain stride would take one column of the grid, or one cell, wherever the grid divides it.
    return torch.cat([sample.pooled, cells[evenly(len(cells), len(sample.pooled))]])
