"""The losses of the steps of an epoch: left on the device, and read a few steps at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from compressor.distributed.group import Group
from runtime.errors import InputError

EVERY = 20
"""Steps between two looks: each makes this process wait for its GPU, which then has no work."""


class RunningLoss:
    """Losses of head and student, summed over the steps since the last epoch."""

    def __init__(self, group: Group, steps: int) -> None:
        """Sum the losses of a training of so many steps.

        Processes that share a batch look at each step, which is one of all of them.
        """
        self._group, self._steps = group, steps
        self._every = EVERY if group.size == 1 else 1
        self._unread = list[tuple[int, float, Tensor]]()
        self.sums = [0.0, 0.0]
        """Of what was read."""

    def add(self, step: int, lr: float, head: Tensor | None, student: Tensor) -> None:
        """Add the losses of a step.

        Args:
            step: its number, from 1.
            lr: its learning rate.
            head: a scalar in float64; None for a method without a head that learns.
            student: a scalar in float64.

        Raises:
            InputError: as `read`.
        """
        losses = torch.stack([student.new_zeros(()) if head is None else head, student])
        self._unread.append((step, lr, losses))
        if len(self._unread) == self._every:
            self.read()

    def read(self) -> None:
        """Look at the losses that were added since the last look.

        Raises:
            InputError: one is no longer finite; it names the first such step.
        """
        if not self._unread:
            return
        losses = torch.stack([each for _, _, each in self._unread]).cpu()
        self._group.sum_in_place([losses])
        for (step, lr, _), (head, student) in zip(self._unread, losses.tolist(), strict=True):
            if self._group.is_first and not math.isfinite(head + student):
                raise InputError(
                    f"the loss is no longer finite at step {step} of {self._steps} "
                    f"(learning rate {lr:.2g}, head {head:.3g}, student {student:.3g}).\n"
                    "  Lower distill.lr, raise distill.warmup_epochs, or set distill.precision to "
                    "fp32."
                )
            self.sums = [self.sums[0] + head, self.sums[1] + student]
        self._unread.clear()

    def end_epoch(self, steps: int) -> tuple[float, float]:
        """Return the mean losses of head and student over an epoch's steps, and begin anew."""
        self.read()
        head, student = self.sums
        self.sums = [0.0, 0.0]
        return head / steps, student / steps
