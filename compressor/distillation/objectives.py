"""From a recipe's `distill:` to what the student is asked to match."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from compressor.distillation.methods import tintem_head
from compressor.distillation.methods.baselines import Cosine, Proteus, Supervised
from compressor.distillation.methods.tintem import TinTeM
from compressor.models.encoder import Encoder
from compressor.models.features import Features
from compressor.recipe.schema import Distill
from runtime.errors import InputError
from runtime.sampling import evenly

Objective = TinTeM | Proteus | Cosine | Supervised
"""What a student is asked to match: `target` of a batch, and `distance` of answers from it."""

QUALITY = {
    "tintem": "similarity",
    "proteus": "similarity",
    "cosine": "similarity",
    "supervised": "knn_accuracy",
}
"""The validation figure that chooses the best epoch of each method."""


class Centre:
    """The mean of the teacher's features, which their angles are taken from; else zero."""

    def __init__(self, sample: Features | None, *, wanted: bool) -> None:
        self.pooled, self.maps = torch.zeros(()), torch.zeros(())
        if sample is not None and wanted:
            self.pooled = sample.pooled.mean(dim=0)
            if sample.maps is not None:
                self.maps = sample.maps.mean(dim=(0, 1, 2))

    def taken_off(self, features: Features) -> Features:
        """Features about the mean; the maps' cells have a mean of their own."""
        device = features.pooled.device
        maps = None if features.maps is None else features.maps - self.maps.to(device)
        return Features(features.pooled - self.pooled.to(device), maps)


def build(
    spec: Distill,
    student: Encoder,
    sample: Features | None,
    *,
    classes: int,
    note: Callable[[str], None],
) -> Objective:
    """The objective that the recipe names, its heads made from the sample where they need one.

    Args:
        spec: the recipe's `distill:`.
        student: gives the widths.
        sample: of the teacher's features, already centred, maps of the first of them; None for
            `supervised`.
        classes: K, for `supervised`.
        note: is told of a head that is fitted here.
    """
    if spec.method == "supervised":
        return Supervised(classes, student.dim)
    if sample is None:
        raise ValueError(f"{spec.method} learns from the teacher's features, and there are none")
    teacher_dim = sample.pooled.shape[1]
    map_dim = None
    if sample.maps is not None and student.map_shape is not None:
        map_dim = student.map_shape[2]
    # A CNN's map lies before the layer that makes its embedding: not in the embedding's space.
    is_raw = not isinstance(student.module.embedding, nn.Identity)
    if spec.method == "proteus":
        return Proteus(teacher_dim, student.dim, map_dim)
    if spec.method == "cosine":
        return Cosine(teacher_dim, student.dim, map_dim, map_is_raw=is_raw)
    map_layer = nn.Linear(map_dim, student.dim) if map_dim is not None and is_raw else None
    return TinTeM(_head(spec, student.dim, sample, note), map_layer)


def require_head(spec: Distill, teacher_dim: int, dim: int) -> None:
    """Refuse a PCA of more directions than the teacher has.

    Raises:
        InputError: one is asked for, and the student is wider than the teacher.
    """
    is_pca = spec.head in ("pca", "pca-then-learned")
    if spec.method == "tintem" and is_pca and dim > teacher_dim:
        raise InputError(
            f"distill.head is {spec.head}, and a PCA of {teacher_dim} teacher features has no "
            f"{dim} directions; lower student.embedding, or use head: learned"
        )


def _head(spec: Distill, dim: int, sample: Features, note: Callable[[str], None]) -> nn.Module:
    teacher_dim = sample.pooled.shape[1]
    require_head(spec, teacher_dim, dim)
    if spec.head == "identity-when-it-fits" and dim == teacher_dim:
        return nn.Identity()
    head: nn.Module
    if spec.head == "learned" or dim > teacher_dim:
        head = tintem_head.TeacherHead(teacher_dim, dim)
    else:
        learns = spec.head == "pca-then-learned"
        head = tintem_head.pca_head(_all(sample), dim, learns=learns)
        if not learns:
            return head
    if spec.head_fit == "first":
        steps = tintem_head.fit(head, sample, seed=spec.seed)
        note(f"the head was fitted first, in {steps} steps; the student's target is fixed")
    return head


def _all(sample: Features) -> Tensor:
    """Pooled features and the cells of maps, in equal parts: what one head serves."""
    if sample.maps is None:
        return sample.pooled
    cells = sample.maps.flatten(0, 2)
    # A plain stride would take one column of the grid, or one cell, wherever the grid divides it.
    return torch.cat([sample.pooled, cells[evenly(len(cells), len(sample.pooled))]])
