"""The module of an encoder: a timm model and the layer that makes its embedding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compressor.models.features import Features, features_of


class EmbeddingNet(nn.Module):
    """A timm model and, for most students, the linear layer that makes its embedding."""

    constant: Tensor | None
    """[D]: what the embeddings of all images have in common; training learns the rest."""

    def __init__(
        self, backbone: nn.Module, embedding: nn.Module, stages: Sequence[int] = ()
    ) -> None:
        """Join the two.

        Args:
            backbone: a timm model without classifier.
            embedding: from the pooled features to the embedding.
            stages: those that give the layer their means and deviations too.
        """
        super().__init__()
        self.backbone = backbone
        self.embedding = embedding
        self.stages = tuple(stages)
        width = embedding.out_features if isinstance(embedding, nn.Linear) else None
        self.register_buffer("constant", None if width is None else torch.zeros(width))

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] -> the embedding [B, D]."""
        return self.with_constant(self.centred(images))

    def with_constant(self, centred: Tensor) -> Tensor:
        """[B, D] of `centred` -> the embedding [B, D]."""
        return centred if self.constant is None else centred + self.constant

    def centred(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] -> the embedding less what all images have in common, [B, D]."""
        pooled = self.pooled(images).pooled if self.stages else self.backbone(images)
        embedded: Tensor = self.embedding(pooled)
        return embedded

    def features(self, images: Tensor) -> Features:
        """[B, 3, S, S] -> the same, [B, D], and the backbone's last map if it has one."""
        features = self.pooled(images)
        return Features(self.embedding(features.pooled), features.maps)

    def pooled(self, images: Tensor) -> Features:
        """[B, 3, S, S] -> what the embedding layer is given, [B, C], and the last map."""
        return features_of(self.backbone, images, self.stages)


class WithFeatures(nn.Module):
    """A student as a training step calls it: one `forward` gives all that a loss needs.

    A wrapper such as DistributedDataParallel can hook this `forward`. The student's own gives the
    embedding alone, which is what an ONNX file has.
    """

    def __init__(self, student: EmbeddingNet, *, with_maps: bool) -> None:
        super().__init__()
        self.student = student
        self.with_maps = with_maps

    def forward(self, images: Tensor) -> Features:
        """[B, 3, S, S] -> the embedding and, if wanted, the last feature map."""
        if self.with_maps:
            return self.student.features(images)
        return Features(self.student.centred(images), None)


class WithPooled(nn.Module):
    """A student's embedding [B, D], and behind it its backbone's last features, pooled [B, C]."""

    def __init__(self, student: EmbeddingNet, width: int) -> None:
        """Take the student, and C."""
        super().__init__()
        self.student = student
        self.width = width

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, D + C]."""
        pooled = self.student.pooled(images).pooled
        embedded = self.student.with_constant(self.student.embedding(pooled))
        return torch.cat([embedded, pooled[:, : self.width]], dim=1)


def freeze_statistics(network: nn.Module) -> None:
    """Let batch norms use the mean and variance that they came with; scale and shift still learn.

    Call it after every `network.train()`, which undoes it.
    """
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
