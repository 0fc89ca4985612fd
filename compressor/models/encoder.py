"""Teacher and student: timm models that turn images into embeddings, one type for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from msgspec import UNSET, structs
from torch import Tensor, nn

from compressor.models.building.timm_model import Built, build
from compressor.models.card import Card, Origin
from compressor.models.embedding_net import EmbeddingNet
from compressor.models.features import stages_of, widths_of
from compressor.models.pretrained.source import origin_of
from compressor.recipe.schema import Student, Teacher
from runtime.errors import InputError
from runtime.images.preprocess import Preprocess

CNN_EMBEDDING = 192
"""Width of a CNN student's embedding where the recipe gives none: DINOv2's smallest students'."""

STAGES = 4
"""Stages whose statistics stand behind the last features of a student with weights; why is in
docs/decisions/start.md."""


@dataclass(frozen=True)
class Encoder:
    """A network from images to embeddings, with the preprocessing of its input."""

    name: str
    dim: int
    """D, the width of its embedding."""
    preprocess: Preprocess
    map_shape: tuple[int, int, int] | None
    """H, W and C of its last feature map; None for a network without one."""
    module: EmbeddingNet
    """float32 [B, 3, S, S], normalised -> [B, D]."""
    origin: Origin
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of timm.create_model, beside its name, to build its backbone again without weights."""

    def card(self) -> Card:
        """Return its entry in a report."""
        return Card(
            **structs.asdict(self.origin),
            embedding=self.dim,
            size_mb=self.size_mb,
            preprocess=self.preprocess,
        )

    @property
    def is_transformer(self) -> bool:
        """Whether it is a transformer, which cuts images into patches."""
        return hasattr(self.module.backbone, "patch_embed")

    @property
    def has_start(self) -> bool:
        """Whether its embedding layer can be solved: it has one, and trained weights before it."""
        trained = self.origin.weights not in ("none", "given")
        return trained and isinstance(self.module.embedding, nn.Linear)

    @property
    def size_mb(self) -> float:
        """Size of its weights in float32, 10^6 bytes."""
        values = sum(tensor.numel() for tensor in self.module.state_dict().values())
        return float(values * 4 / 1e6)


def load_teacher(spec: Teacher, *, load: bool = True) -> Encoder:
    """Load the teacher: frozen, in eval mode, with timm's pooled features as embedding.

    Args:
        spec: the recipe's `teacher:`.
        load: whether to load its weights; without, it is as fast, and nothing is downloaded.

    Raises:
        InputError: the model, its arguments or its weights are wrong.
        MissingDependencyError: hub weights that are neither cached nor reachable.
    """
    built = build(spec, role="teacher", load=load)
    frozen = EmbeddingNet(built.model, nn.Identity()).eval().requires_grad_(False)
    return _encoder(built, frozen)


def create_student(spec: Student, *, seed: int, load: bool = True) -> Encoder:
    """Make the student before distillation; without pretrained weights, the seed decides them.

    Args:
        spec: the recipe's `student:`.
        seed: of what is not pretrained.
        load: whether to load its weights; without, it is as fast, and nothing is downloaded.

    Raises:
        InputError: the model, its arguments or its weights are wrong.
        MissingDependencyError: hub weights that are neither cached nor reachable.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = build(spec, role="student", load=load)
        stages = _stages(spec, built.model)
        embedding = _embedding_layer(spec, built, stages)
    return _encoder(built, EmbeddingNet(built.model, embedding, stages))


def _stages(spec: Student, model: nn.Module) -> tuple[int, ...]:
    if spec.stages is None:
        return () if spec.weights == "none" else stages_of(model, STAGES)
    found = stages_of(model, spec.stages)
    if len(found) < spec.stages:
        raise InputError(f"student.stages: timm gives {len(found)} stages of {spec.model}")
    return found


def _embedding_layer(spec: Student, built: Built, stages: Sequence[int]) -> nn.Module:
    """Make a linear layer; a transformer from scratch keeps its own embedding."""
    model, pooled, size_px = built.model, built.pooled, built.preprocess.size_px
    inputs = sum(widths_of(model, size_px, stages))
    with torch.inference_mode():
        features = model.forward_features(torch.zeros(1, 3, size_px, size_px))  # type: ignore[operator]
    if not isinstance(features, Tensor) or features.ndim == 3:  # tokens [B, T, D], or several
        if spec.weights != "none":
            return nn.Linear(inputs, spec.embedding or pooled)
        if stages:
            raise InputError(
                f"student.stages: {spec.model} is a transformer from scratch, which has no "
                "embedding layer for them; set it to 0"
            )
        if spec.embedding not in (None, pooled):
            raise InputError(
                f"student.embedding: {spec.model} is a transformer and keeps its own width "
                f"{pooled}; remove the key, or change its width with student.args.embed_dim"
            )
        return nn.Identity()
    return nn.Linear(inputs, spec.embedding or CNN_EMBEDDING)


def _encoder(built: Built, module: EmbeddingNet) -> Encoder:
    spec, preprocess = built.spec, built.preprocess
    with torch.inference_mode():
        size = preprocess.size_px
        features = module.eval().features(torch.zeros(1, 3, size, size))
    shape = None
    if features.maps is not None:
        _, rows, columns, channels = features.maps.shape
        shape = (rows, columns, channels)
    origin = structs.replace(origin_of(spec), part=built.part or UNSET)
    dim = features.pooled.shape[1]
    return Encoder(spec.model, dim, preprocess, shape, module, origin, built.arguments)
