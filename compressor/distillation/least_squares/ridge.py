"""Ridge regression from sums over images; its strength by cross-validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compressor.distillation.least_squares.normal_equations import Sums
from runtime.errors import InputError

STRENGTHS = tuple(10 ** (step / 2) for step in range(-8, 7))
"""1e-4 to 1e3, two a decade: a penalty in units of the inputs' mean variance, times the images."""
_FIRST = STRENGTHS.index(1.0)
_WEAKER = 1
USUAL_TRIES = 3
"""Strengths that are usually tried: on TrashNet, 20 of 20 choices were the one after the first."""


@dataclass(frozen=True)
class Layer:
    """A linear layer y = W x + b with the least squared error plus a penalty on W."""

    weight: Tensor
    """[D, C], float64."""
    bias: Tensor
    """[D]"""
    strength: float
    """k: the penalty is k |W|^2 for inputs that are scaled to a mean variance of 1, per image."""


@dataclass(frozen=True)
class Ridge(Layer):
    """The layer whose strength left-out images have chosen."""

    error: float
    """Share of the outputs' variance that it does not explain, on images that it has not seen."""
    scales: Tensor
    """[C], what each input was divided by before it was penalised."""


def scales_of(total: Sums, blocks: Sequence[int]) -> Tensor:
    """Return what each input is divided by before it is penalised: [C].

    Args:
        total: sums over all images.
        blocks: widths of the kinds of inputs, in their order.

    Raises:
        InputError: no input differs between the images.
    """
    variances = total.xx.diagonal() / total.count - (total.x / total.count).square()
    return scales_of_blocks(variances.clamp(min=0), blocks)


def scales_of_blocks(variances: Tensor, blocks: Sequence[int]) -> Tensor:
    """Return what each input is divided by before it is penalised: [C].

    Inputs of one kind keep their proportions: a block is divided by the root of its mean variance,
    so that the penalty means the same for the features of every stage of a network.

    Args:
        variances: of the inputs over the images, [C].
        blocks: widths of the kinds of inputs, in their order.

    Raises:
        InputError: no input differs between the images.
    """
    blocks_of = torch.split(variances, list(blocks))
    roots = [_root(block.mean(), block.max()) for block in blocks_of]
    if not any(roots):
        raise InputError(
            "the student's features are the same for every image: there is nothing to solve the "
            "embedding layer from.\n"
            "  Are the images different from each other? Are student.weights those of a trained "
            "network?"
        )
    # A constant block gets no weight, whatever it is divided by: deviations of a map of one cell
    filled = [
        variances.new_full((size,), root or 1.0) for size, root in zip(blocks, roots, strict=True)
    ]
    return torch.cat(filled)


def _root(mean: Tensor, largest: Tensor) -> float:
    return float(mean.sqrt()) if mean > 1e-12 * (1 + largest) else 0.0


def solve(
    folds: Sequence[Sums],
    blocks: Sequence[int] | None = None,
    beside: Sums | None = None,
) -> Ridge:
    """Solve the layer; see `solve_scaled`.

    Args:
        folds: sums over parts of the images that have no image in common.
        blocks: widths of the kinds of inputs, see `scales_of`; None: all are of one kind.
        beside: sums over others that are learnt from and never asked about.

    Raises:
        InputError: one image, or the features do not differ between images.
    """
    first, *others = folds
    scales = scales_of(sum(others, first), blocks or [len(first.x)])
    return solve_scaled(folds, scales, beside)


def solve_scaled(
    folds: Sequence[Sums],
    scales: Tensor,
    beside: Sums | None = None,
) -> Ridge:
    """Solve the layer, its strength one step below the one that predicts left-out images best.

    Each strength is tried on every fold with the layer of the others, from 1 on in the direction
    in which the error falls. The error has one minimum and is flat there; one step below it, what
    is not of the task is shrunk less, and is told apart better (docs/decisions/start.md).

    Args:
        folds: sums over parts of the images that have no image in common.
        scales: what each input is divided by before it is penalised, [C].
        beside: sums over others that are learnt from and never asked about.

    Raises:
        InputError: there is one image only.
    """
    first, *others = folds
    total = sum(others, first)
    filled = [fold for fold in folds if fold.count]
    if len(filled) < 2:
        raise InputError("an embedding layer cannot be solved from one image; add images")
    errors = dict[int, float]()

    def error(at: int) -> float:
        if at not in errors:
            parts = [
                left_out_error(total - fold, fold, scales, STRENGTHS[at], beside) for fold in filled
            ]
            variance = total.yy - total.y @ total.y / total.count
            errors[at] = float(sum(parts) / variance)
        return errors[at]

    best = _FIRST
    for direction in (1, -1):
        while 0 <= best + direction < len(STRENGTHS) and error(best + direction) < error(best):
            best += direction
    chosen = max(0, best - _WEAKER)
    weight, bias = _solved(total, scales, STRENGTHS[chosen], beside)
    return Ridge(weight.T, bias, STRENGTHS[chosen], error(chosen), scales)


def at_strength(
    folds: Sequence[Sums], scales: Tensor, strength: float, beside: Sums | None = None
) -> Layer:
    """Solve the layer with a strength that is given.

    Args:
        folds: as for `solve_scaled`.
        scales: as for `solve_scaled`.
        strength: one of STRENGTHS.
        beside: as for `solve_scaled`.
    """
    first, *others = folds
    weight, bias = _solved(sum(others, first), scales, strength, beside)
    return Layer(weight.T, bias, strength)


def left_out_layers(
    folds: Sequence[Sums], strength: float, scales: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for each fold, W^T [C, D] and b [D] of the layer that is solved from the others.

    Args:
        folds: as for `solve_scaled`; two or more have images.
        strength: of the penalty, as `solve_scaled` has chosen it.
        scales: as for `solve_scaled`.
    """
    first, *others = folds
    total = sum(others, first)
    for fold in folds:
        yield _solved(total - fold, scales, strength)


def _solved(
    sums: Sums, scales: Tensor, strength: float, beside: Sums | None = None
) -> tuple[Tensor, Tensor]:
    """Return W^T [C, D] and b [D]; what is beside them moves no mean."""
    x_mean, y_mean = sums.x / sums.count, sums.y / sums.count
    centred = sums.about(x_mean, y_mean)
    if beside is not None:
        centred += beside.about(x_mean, y_mean)
    gram = centred.xx / scales / scales[:, None]
    gram = (gram + gram.T) / 2
    gram.diagonal().add_(strength * sums.count)
    factor = torch.linalg.cholesky(gram)
    weight = torch.cholesky_solve(centred.xy / scales[:, None], factor) / scales[:, None]
    return weight, y_mean - x_mean @ weight


def left_out_error(
    learnt: Sums, left: Sums, scales: Tensor, strength: float, beside: Sums | None = None
) -> Tensor:
    """Return the squared error of the layer of `learnt`, summed over the images of `left`.

    Args:
        learnt: sums that the layer is solved from.
        left: sums over other images.
        scales: of the inputs, see `scales_of`.
        strength: one of STRENGTHS.
        beside: sums over others that the layer is solved from too.
    """
    weight, bias = _solved(learnt, scales, strength, beside)
    zero = torch.zeros_like(left.x)
    rest = left.about(zero, bias)  # outputs without b: predicted by W x alone
    return rest.yy - 2 * (weight * rest.xy).sum() + (weight * (left.xx @ weight)).sum()
