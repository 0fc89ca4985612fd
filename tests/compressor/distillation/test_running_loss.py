"""The losses of the steps are read a few steps at a time, and none is lost."""

import math

import pytest
import torch

from compressor.distillation.running_loss import EVERY, RunningLoss
from compressor.distributed.group import ALONE
from runtime.errors import InputError


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


def test_the_means_of_an_epoch_are_those_of_its_steps():
    losses = RunningLoss(ALONE, 60)
    for epoch in range(2):
        for step in range(30):
            losses.add(30 * epoch + step + 1, 1e-3, scalar(0.5 * epoch), scalar(float(step)))
        assert losses.end_epoch(30) == (0.5 * epoch, sum(range(30)) / 30)


def test_a_method_without_a_head_has_none_to_sum():
    losses = RunningLoss(ALONE, 1)
    losses.add(1, 1e-3, None, scalar(2.0))
    assert losses.end_epoch(1) == (0.0, 2.0)


def test_the_device_is_waited_for_once_in_so_many_steps(monkeypatch):
    looks, really = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: looks.append(self) or really(self))
    losses = RunningLoss(ALONE, 100)
    for step in range(1, 2 * EVERY):
        losses.add(step, 1e-3, None, scalar(1.0))
    assert len(looks) == 1
    losses.read()
    losses.read()  # nothing new
    assert len(looks) == 2
    assert losses.sums == [0.0, 2 * EVERY - 1]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_first_step_that_went_wrong_is_named_whenever_it_is_seen(value):
    losses = RunningLoss(ALONE, 100)
    for step in range(1, 8):
        losses.add(step, step / 1000, scalar(1.0), scalar(value if step in (5, 7) else 1.0))
    with pytest.raises(InputError, match=r"at step 5 of 100 \(learning rate 0\.005, head 1, stud"):
        losses.read()
