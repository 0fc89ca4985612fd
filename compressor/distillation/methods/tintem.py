"""TinTeM (arXiv 2411.15239): a head keeps the teacher's angles, the student equals the head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Self

import torch
from torch import Tensor, nn

from compressor.distillation.least_squares.layer import solve_layer
from compressor.distillation.methods import tintem_head
from compressor.distillation.methods.centring import Centring
from compressor.distillation.methods.head_fidelity import head_fidelity
from compressor.distillation.methods.losses import cosine_distance, sne_divergence
from compressor.distillation.methods.method import Method, Sample, Setup
from compressor.models.features import Features
from compressor.recipe.schema import Distill

_HEAD_NAMES = {
    nn.Identity: "identity",
    nn.Linear: "pca",
    tintem_head.TeacherHead: "learned",
}
"""Name of a head in the report, by its type."""


class TinTeM(Method[Features]):
    """The paper's objective: SNE divergences train the head, 1 - cos trains the student.

    L = L_local + L_global (the head's own) + L_fea + L_token (the student's). Without maps L_local
    and L_fea are left out; with a fixed head there is no loss but the student's.
    """

    def __init__(self, head: nn.Module, map_layer: nn.Module | None = None) -> None:
        """Take the head, and the layer that brings a CNN's map to the width of its embedding.

        Args:
            head: [..., Dt] -> [..., D]
            map_layer: [..., C] -> [..., D], thrown away after training; a ViT needs none.
        """
        super().__init__()
        self.head = head
        self.map_layer = nn.Identity() if map_layer is None else map_layer
        self.learns = any(parameter.requires_grad for parameter in head.parameters())

    @classmethod
    def check(cls, spec: Distill, *, teacher_dim: int, student_dim: int) -> None:
        """Refuse a PCA with more directions than the teacher has features."""
        tintem_head.require_directions(spec, teacher_dim, student_dim)

    @classmethod
    def build(cls, setup: Setup) -> Self:
        """Make the head that the recipe asks for, and a layer for a CNN's map."""
        dim, map_dim = setup.student.dim, setup.map_dim
        sample = setup.teacher_sample
        map_layer = None
        if map_dim is not None and setup.map_is_raw:
            map_layer = nn.Linear(map_dim, dim)
        return cls(tintem_head.make_head(setup.spec, dim, sample, setup.note), map_layer)

    def target(self, teacher: Features, labels: Tensor) -> tuple[Tensor | None, Features]:
        """Return the head's own loss over the whole batch (None if fixed), and its output."""
        pooled: Tensor = self.head(teacher.pooled)
        projected = Features(pooled, None if teacher.maps is None else self.head(teacher.maps))
        own = None
        if self.learns:
            everyone = self.gathered(teacher.pooled)
            is_whole = everyone is teacher.pooled
            own = sne_divergence(everyone, pooled if is_whole else self.head(everyone))
            if teacher.maps is not None:
                own = own + sne_divergence(teacher.tokens(), projected.tokens()).mean()
            own = own * (len(pooled) / len(everyone))
        return own, projected.detach()

    def distance(self, student: Features, target: Features) -> Tensor:
        """Return L_token, plus L_fea where there are maps: [b]."""
        loss = cosine_distance(student.pooled, target.pooled)
        if target.maps is not None and student.maps is not None:
            own = Features(student.pooled, self.map_layer(student.maps))
            loss = loss + cosine_distance(own.tokens(), target.tokens())
        return loss

    def embedding_target(self, teacher: Features) -> Tensor:
        """Return the head's output, which the student is to equal."""
        pooled: Tensor = self.head(teacher.pooled)
        return pooled.detach()

    @property
    def is_linear(self) -> bool:
        """Whether the head has neither a LayerNorm nor a bias."""
        return isinstance(self.head, nn.Identity) or (
            isinstance(self.head, nn.Linear) and self.head.bias is None
        )

    def begin(self, sample: Callable[[], Sample]) -> None:
        """Solve the layer of a CNN's map, on the scale of an embedding of length 1."""
        if not isinstance(self.map_layer, nn.Linear):
            return
        found = sample()
        if found.student.maps is None or found.teacher.maps is None:
            return
        with torch.no_grad():
            length = self.head(found.teacher.pooled).norm(dim=1).mean()
            cells = self.head(found.teacher.maps).flatten(0, 2) / length
        solve_layer(self.map_layer, found.student.maps.flatten(0, 2), cells)

    def solved(self) -> list[nn.Linear]:
        """Return the layer of a CNN's map: a head that learns is not solved, but learns."""
        return [self.map_layer] if isinstance(self.map_layer, nn.Linear) else []

    def summary(self, spec: Distill, validation: Features, centring: Centring) -> dict[str, object]:
        """Return the kind of head, and how well it keeps the teacher's cosines."""
        head = self.head.cpu()
        found: dict[str, object] = {"head": _HEAD_NAMES[type(head)]}
        if spec.head == "pca-then-learned" or found["head"] == "learned":
            found["head_fit"] = spec.head_fit
        if len(validation.pooled) < 3:
            return found
        centred = centring.apply(validation).pooled
        both = head_fidelity(head, centred, against=validation.pooled)
        found["head_fidelity"] = asdict(head_fidelity(head, centred))
        return found | {"head_and_centring": asdict(both)}
