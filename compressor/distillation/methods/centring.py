"""Centring of the teacher's features: angles are measured from their mean."""

from __future__ import annotations

import torch

from compressor.models.features import Features


class Centring:
    """Subtracts the mean of a sample; embeddings and map cells have a mean each."""

    def __init__(self, sample: Features | None, *, enabled: bool) -> None:
        self.pooled, self.maps = torch.zeros(()), torch.zeros(())
        if sample is not None and enabled:
            self.pooled = sample.pooled.mean(dim=0)
            if sample.maps is not None:
                self.maps = sample.maps.mean(dim=(0, 1, 2))

    def apply(self, features: Features) -> Features:
        """Return the features minus the mean."""
        if self.pooled.device != (device := features.pooled.device):  # moved once, not every step
            self.pooled, self.maps = self.pooled.to(device), self.maps.to(device)
        maps = None if features.maps is None else features.maps - self.maps
        return Features(features.pooled - self.pooled, maps)
