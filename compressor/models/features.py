"""The features of an image: one pooled embedding, and a feature map.

timm's families differ in what `forward_features` gives: tokens with class, register or distillation
tokens before them, maps with the channels second, maps with the channels last. Here they become
one type.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEAST_VARIANCE = 1e-6  # a root has no gradient at 0

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


def joined(parts: Sequence[Features]) -> Features:
    """Return the features of several batches as those of one."""
    maps = [part.maps for part in parts if part.maps is not None]
    return Features(torch.cat([part.pooled for part in parts]), torch.cat(maps) if maps else None)


def features_of(model: Any, images: Tensor, stages: Sequence[int] = ()) -> Features:
    """Run a timm model without classifier: images [B, 3, S, S] -> `Features`.

    Class, register and distillation tokens are not part of the map.

    Args:
        model: the network.
        images: its input.
        stages: of `stages_of`; the mean and the standard deviation of their channels over the image
            stand behind the pooled features: [B, D + 2 C of each stage].
    """
    if not stages:
        layers = model.forward_features(images)
        return Features(model.forward_head(layers), _map(model, layers))
    layers, maps = model.forward_intermediates(images, indices=[*stages], output_fmt="NCHW")
    statistics = [each for stage in maps for each in _statistics(stage)]
    return Features(torch.cat([model.forward_head(layers), *statistics], 1), _map(model, layers))


def stages_of(model: Any, count: int) -> tuple[int, ...]:
    """Return the stages whose statistics tell most, as timm numbers them; fewer if there are fewer.

    Of a network that shrinks its map these are the last; of one whose blocks are all alike (a ViT)
    every so many blocks, up to the last.
    """
    if not hasattr(model, "forward_intermediates"):
        return ()
    reductions = [stage["reduction"] for stage in model.feature_info]
    there, count = len(reductions), min(count, len(reductions))
    if len(set(reductions)) > 1:
        return tuple(range(there - count, there))
    return tuple((number + 1) * there // count - 1 for number in range(count))


def widths_of(model: Any, size_px: int, stages: Sequence[int]) -> list[int]:
    """Return the widths of the blocks of `features_of`: the pooled features, then the statistics.

    Args:
        model: on the CPU, in evaluation mode.
        size_px: S, the side of an image.
        stages: as for `features_of`.
    """
    images = torch.zeros(1, 3, size_px, size_px)
    with torch.inference_mode():
        pooled = int(model.forward_head(model.forward_features(images)).shape[1])
        if not stages:
            return [pooled]
        maps = model.forward_intermediates(
            images, indices=[*stages], output_fmt="NCHW", intermediates_only=True
        )
    return [pooled, *(width for stage in maps for width in 2 * [int(stage.shape[1])])]


def _statistics(stage: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each channel: [B, C, H, W] -> [B, C] twice."""
    mean = stage.mean(dim=(2, 3))
    variance = (stage - mean[:, :, None, None]).square().mean(dim=(2, 3))
    return mean, (variance + _LEAST_VARIANCE).sqrt()


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
    # Not len(patches), which an export would take for a constant
    return patches.reshape(patches.shape[0], *grid, -1) if grid else None


def _grid(model: nn.Module, patches: int) -> Grid | None:
    """Return the grid of `patches` tokens over a square image; None if they form no grid."""
    known = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if known is not None and math.prod(known) == patches and patches > 1:
        return (int(known[0]), int(known[1]))
    side = math.isqrt(patches)
    return (side, side) if side > 1 and side * side == patches else None
