"""Features of a few views, which stand for those of all: what is in them changes no time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from compressor.data.loading import ViewId
from compressor.models.features import Features
from runtime.images.preprocess import Preprocess

_FITTED = 16  # views


@dataclass(frozen=True)
class KnownFeatures:
    """Features of a few views, which stand for those of all."""

    known: Features

    kind: ClassVar[str] = "measured"
    inputs: ClassVar[tuple[Preprocess, ...]] = ()

    def features(self, jobs: Sequence[ViewId], pixels: Sequence[Tensor]) -> Features:
        """Return as many features as there are jobs."""
        rows = torch.arange(len(jobs)) % len(self.known.pooled)
        maps = self.known.maps
        return Features(self.known.pooled[rows], None if maps is None else maps[rows])

    def sample(self) -> Features:
        """Return a few of them: a head that is fitted first is fitted in a moment."""
        maps = self.known.maps
        return Features(self.known.pooled[:_FITTED], None if maps is None else maps[:1])
