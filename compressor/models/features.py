"""The features of an image: one pooled embedding, and a feature map.

timm's families differ in what `forward_features` gives: tokens with class, register or distillation
tokens before them, maps with the channels second, maps with the channels last. Here they become
one type.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Grid = tuple[int, int]
"""Rows and columns of a map."""


@dataclass(frozen=True)
class Features:
    """The features of B images."""

    pooled: Tensor
    """[B, D]: the embedding, as timm pools it (for most transformers, the class token)."""
    maps: Tensor | None
    """[B, H, W, C] as `forward_features` ends (a ViT's, behind its final norm); None without."""

    def tokens(self) -> Tensor:
        """Return embedding and map cells as one list: [B, 1 + HW, D]; without a map [B, 1, D]."""
        embedding = self.pooled[:, None]
        if self.maps is None:
            return embedding
        return torch.cat([embedding, self.maps.flatten(1, 2)], dim=1)

    def to(self, device: torch.device) -> Features:
        """Move the features to another device."""
        return Features(self.pooled.to(device), None if self.maps is None else self.maps.to(device))

    def float(self) -> Features:
        """Convert the features to float32."""
        return Features(self.pooled.float(), None if self.maps is None else self.maps.float())

    def detach(self) -> Features:
        """Detach the features from the graph."""
        return Features(self.pooled.detach(), None if self.maps is None else self.maps.detach())

    def tensor_split(self, parts: int) -> list[Features]:
        """Split along the images into parts of nearly equal size, as torch.tensor_split does."""
        pooled = self.pooled.tensor_split(parts)
        maps = [None] * parts if self.maps is None else self.maps.tensor_split(parts)
        return [Features(*part) for part in zip(pooled, maps, strict=True)]


def features_of(model: Any, images: Tensor) -> Features:
    """Run a timm model without classifier: images [B, 3, S, S] -> `Features`.

    Class, register and distillation tokens are not part of the map.
    """
    layers = model.forward_features(images)
    pooled: Tensor = model.forward_head(layers)
    return Features(pooled, _map(model, layers))


def resample(maps: Tensor, grid: Grid) -> Tensor:
    """Resample feature maps to another grid: [B, H, W, C] -> [B, *grid, C].

    Bilinear and, where the grid becomes coarser, antialiased: each cell is a weighted mean of the
    cells it covers, so a constant map stays as it is. The same grid is returned untouched.
    """
    if maps.shape[1:3] == grid:
        return maps
    channels_first = maps.permute(0, 3, 1, 2)
    finer_or_coarser = F.interpolate(
        channels_first, size=grid, mode="bilinear", antialias=True, align_corners=False
    )
    return finer_or_coarser.permute(0, 2, 3, 1)


def _map(model: nn.Module, layers: Any) -> Tensor | None:
    if not isinstance(layers, Tensor):  # several maps at once: CoaT, CrossViT
        return None
    if layers.ndim == 4:
        channels_last = getattr(model, "output_fmt", None) == "NHWC"
        return layers if channels_last else layers.permute(0, 2, 3, 1)
    prefix = int(getattr(model, "num_prefix_tokens", 0))
    patches = layers[:, prefix:]
    grid = _grid(model, patches.shape[1])
    return patches.reshape(len(patches), *grid, -1) if grid else None


def _grid(model: nn.Module, patches: int) -> Grid | None:
    """Return the grid of `patches` tokens over a square image; None if they form no grid."""
    known = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if known is not None and math.prod(known) == patches and patches > 1:
        return (int(known[0]), int(known[1]))
    side = math.isqrt(patches)
    return (side, side) if side > 1 and side * side == patches else None
