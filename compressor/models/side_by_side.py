"""Several encoders as one, so that an image is decoded once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from compressor.models.embedding_net import EmbeddingNet
from compressor.models.encoder import Encoder


class _SideBySide(nn.Module):
    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([network(images) for network in self.networks], dim=1)


def side_by_side(*encoders: Encoder) -> Encoder:
    """Join encoders that take the same pixels: their embeddings side by side, [B, sum D].

    Raises:
        ValueError: they prepare an image in different ways.
    """
    first = encoders[0]
    if any(other.preprocess != first.preprocess for other in encoders):
        raise ValueError("encoders that prepare an image in different ways cannot share its pixels")
    network = EmbeddingNet(_SideBySide([encoder.module for encoder in encoders]), nn.Identity())
    return replace(
        first, module=network, dim=sum(encoder.dim for encoder in encoders), map_shape=None
    )
