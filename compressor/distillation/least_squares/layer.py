"""A linear layer that is solved from a sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compressor.distillation.least_squares.normal_equations import NormalEquations
from compressor.distillation.least_squares.ridge import Ridge, solve


def solve_layer(layer: nn.Linear, x: Tensor, y: Tensor) -> Ridge:
    """Set a layer to the ridge regression of outputs on inputs.

    Args:
        layer: C inputs, D outputs; it has a bias.
        x: inputs [n, C].
        y: outputs [n, D].

    Raises:
        InputError: the inputs do not differ.
    """
    equations = NormalEquations(x.shape[1], y.shape[1], x.device)
    equations.add(x, y, torch.arange(len(x)))
    ridge = solve(equations.folds)
    set_layer(layer, ridge.weight, ridge.bias)
    return ridge


def set_layer(layer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    """Give a layer its weights: weight [D, C] and bias [D], of any float type."""
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
