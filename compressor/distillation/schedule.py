"""The plan of a training: which views each step shows, learning rate and weight decay."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from compressor.data.loading import ViewId
from compressor.recipe.schema import Distill
from runtime.errors import InputError

_FINAL_LR = 0.01  # share of the highest learning rate, at the end of the cosine


@dataclass(frozen=True)
class Schedule:
    """Steps and epochs of a training on a number of images."""

    spec: Distill
    images: int
    interleaved: bool = False
    """Whether the images of an epoch show different views, not one and the same number."""

    @property
    def batch(self) -> int:
        """Images of a step."""
        return self.spec.batch_for(self.images)

    @property
    def parts(self) -> int:
        """Parts of a step of one process: fewer than asked for where few images leave few each."""
        return min(self.spec.accumulate, max(1, self.batch // 3))

    @property
    def epochs(self) -> int:
        """Passes over the images."""
        return self.spec.epochs_for(self.images)

    @property
    def views(self) -> int:
        """Different views of an image."""
        return self.spec.views_for(self.images)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return self.images // self.batch

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.epochs * self.steps_per_epoch

    def require_parts(self, processes: int) -> None:
        """Refuse a batch of which a process would get next to nothing.

        Raises:
            InputError: under three images, as for the parts of `distill.accumulate`.
        """
        parts = processes * self.spec.accumulate
        if processes > 1 and self.epochs and self.batch < 3 * parts:
            raise InputError(
                f"a batch of {self.batch} images in {parts} parts (processes times "
                "distill.accumulate) leaves parts of under 3 images; start fewer processes, or "
                "raise distill.batch"
            )

    def lr_share(self, step: int) -> float:
        """Return the share of the highest learning rate at a step."""
        return lr_share(step, self.steps, self.spec.warmup_epochs * self.steps_per_epoch)

    def batches(self, done: int = 0) -> Iterator[list[ViewId]]:
        """Yield the (row, view) pairs of each step after the first `done` ones.

        Every epoch has a new order; its incomplete last batch is dropped. From epoch to epoch, each
        image goes through its views; interleaved, images of different rows are at different ones.
        """
        for epoch in range(done // self.steps_per_epoch, self.epochs):
            order = np.random.default_rng([self.spec.seed, epoch]).permutation(self.images)
            first = max(0, done - epoch * self.steps_per_epoch)
            for start in range(first * self.batch, self.steps_per_epoch * self.batch, self.batch):
                rows = order[start : start + self.batch]
                ahead = rows if self.interleaved else np.zeros_like(rows)
                numbers = (epoch + ahead) % self.views
                yield list(zip(rows.tolist(), numbers.tolist(), strict=True))


def lr_share(step: int, steps: int, warmup_steps: float) -> float:
    """Return the share of the highest learning rate: linear warm-up, then a cosine down to 1 %.

    The warm-up is at most a fifth of all steps.
    """
    warmup = min(warmup_steps, steps / 5)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - warmup)
    return _FINAL_LR + (1 - _FINAL_LR) * 0.5 * (1 + math.cos(math.pi * progress))


def layer_share(layer: nn.Linear) -> float:
    """Return the learning rate of a solved layer as a share of the others': 1 / sqrt(inputs).

    The weights of a layer that is solved from C inputs of variance 1 are as small as 1 / sqrt(C).
    AdamW moves every weight by the learning rate, however small it is, and would undo the solution
    within an epoch (docs/decisions/start.md).
    """
    return 1 / math.sqrt(layer.in_features)


def parameter_groups(
    module: nn.Module, weight_decay: float, solved: Sequence[nn.Linear] = ()
) -> list[dict[str, Any]]:
    """Group parameters: weight decay for matrices and kernels, none for biases and norms.

    Args:
        module: all that learns.
        weight_decay: of matrices and kernels.
        solved: layers in it whose solution is kept: they have no decay, and a smaller `share` of
            the learning rate.
    """
    own = [parameter for layer in solved for parameter in layer.parameters()]
    parameters = [
        parameter
        for parameter in module.parameters()
        if parameter.requires_grad and not any(parameter is each for each in own)
    ]
    decayed = [parameter for parameter in parameters if parameter.ndim > 1]
    plain = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay, "share": 1.0},
        {"params": plain, "weight_decay": 0.0, "share": 1.0},
    ]
    for layer in solved:
        own = [*layer.parameters()]
        groups.append({"params": own, "weight_decay": 0.0, "share": layer_share(layer)})
    return groups
