"""Sums over images from which a linear layer is solved: float64, in memory that does not grow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from compressor.distributed.group import Group

FOLDS = 5
"""Parts of the images for the cross-validation; every view of an image is in the same part."""


@dataclass(frozen=True)
class Sums:
    """Sums over n pairs of inputs x [C] and outputs y [D]."""

    count: float
    x: Tensor
    """[C]"""
    y: Tensor
    """[D]"""
    xx: Tensor
    """[C, C], of products of inputs."""
    xy: Tensor
    """[C, D], of products of inputs with outputs."""
    yy: Tensor
    """Scalar: of squared lengths of outputs."""

    def __add__(self, other: Sums) -> Sums:
        """Return the sums over both."""
        return Sums(
            self.count + other.count,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.xy + other.xy,
            self.yy + other.yy,
        )

    def __sub__(self, other: Sums) -> Sums:
        """Return the sums without a part of the images."""
        return Sums(
            self.count - other.count,
            self.x - other.x,
            self.y - other.y,
            self.xx - other.xx,
            self.xy - other.xy,
            self.yy - other.yy,
        )

    def about(self, x_mean: Tensor, y_mean: Tensor) -> Sums:
        """Return the sums of the same pairs after a constant is taken off inputs and outputs."""
        n = self.count
        return Sums(
            n,
            self.x - n * x_mean,
            self.y - n * y_mean,
            self.xx
            - torch.outer(self.x, x_mean)
            - torch.outer(x_mean, self.x)
            + n * torch.outer(x_mean, x_mean),
            self.xy
            - torch.outer(self.x, y_mean)
            - torch.outer(x_mean, self.y)
            + n * torch.outer(x_mean, y_mean),
            self.yy - 2 * self.y @ y_mean + n * y_mean @ y_mean,
        )


class NormalEquations:
    """Collects the sums of each fold, a batch at a time, and of what stands beside the folds."""

    def __init__(self, inputs: int, outputs: int, device: torch.device | None = None) -> None:
        """Begin with no images.

        Args:
            inputs: C
            outputs: D
            device: of the sums; None: the CPU.
        """

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        *self.folds, self.beside = [
            Sums(0, zeros(inputs), zeros(outputs), zeros(inputs, inputs), zeros(inputs, outputs),
                 zeros())
            for _ in range(FOLDS + 1)
        ]  # fmt: skip

    def add(self, x: Tensor, y: Tensor, images: Tensor) -> None:
        """Add a batch.

        Args:
            x: inputs [B, C].
            y: outputs [B, D].
            images: [B], the number of each image: it decides the fold.
        """
        x, y = x.double(), y.double()
        for number, fold in enumerate(self.folds):
            own = (images % FOLDS == number).to(x.device)
            if own.any():
                self.folds[number] = fold + _sums(x[own], y[own])

    def add_beside(self, x: Tensor, y: Tensor) -> None:
        """Add a batch that is learnt from in every fold, and left out in none.

        Args:
            x: inputs [B, C].
            y: outputs [B, D].
        """
        self.beside += _sums(x.double(), y.double())

    def sum_over(self, group: Group) -> None:
        """Let the sums be those over the batches of all processes: each has added its own."""
        *self.folds, self.beside = [_summed(sums, group) for sums in (*self.folds, self.beside)]

    def total(self) -> Sums:
        """Return the sums over all images."""
        first, *others = self.folds
        return sum(others, first)


def _summed(own: Sums, group: Group) -> Sums:
    if group.size == 1:
        return own
    count = own.x.new_tensor(own.count)
    tensors = [each.clone() for each in (own.x, own.y, own.xx, own.xy, own.yy)]
    group.sum_in_place([count, *tensors])
    return Sums(float(count), *tensors)


def _sums(x: Tensor, y: Tensor) -> Sums:
    return Sums(len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y, y.square().sum())
