"""Quantisation-aware distillation: a few more epochs with the rounding of INT8 in the student.

The same distillation against the same cached teacher features, at a twentieth of its learning rate.
Weights of convolutions and linear layers are rounded per channel, their inputs per tensor, both
symmetric, as in the INT8 file; gradients pass straight through the rounding (Bengio et al. 2013,
arXiv 1308.3432). Afterwards the rounding is removed, and the weights are exported as usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from compressor.distillation.trainer import distill, log_epoch
from compressor.distillation.training_data import TrainingData
from compressor.events import EpochEnded
from compressor.models.compute import Compute
from compressor.models.encoder import Encoder
from compressor.recipe.schema import Distill
from runtime.progress import Track, silent

LR_SHARE = 0.05
"""Share of `distill.lr`: the student is trained, and only adapts to the rounding."""
_MEMORY = 0.95  # of the running peak of an input, from batch to batch
_LEAST = 1e-8


class RoundedWeight(nn.Module):
    """Rounds weights as INT8 does: one scale for each output channel, from its largest weight."""

    def forward(self, weight: Tensor) -> Tensor:
        """Float [O, ...] -> the same, rounded to 255 levels of each channel."""
        scale = weight.detach().abs().flatten(1).amax(dim=1).clamp(min=_LEAST) / 127
        zero = torch.zeros_like(scale, dtype=torch.int32)
        rounded: Tensor = torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127, 127)
        return rounded


class RoundedInput(nn.Module):
    """Rounds an input as INT8 does: one scale, from a running peak that training updates."""

    peak: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("peak", torch.zeros(1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Float of any shape -> the same, rounded."""
        if self.training:
            seen = inputs.detach().abs().amax().reshape(1)
            first = self.peak == 0
            self.peak.copy_(torch.where(first, seen, _MEMORY * self.peak + (1 - _MEMORY) * seen))
        scale = self.peak.clamp(min=_LEAST) / 127
        zero = torch.zeros(1, dtype=torch.int32, device=inputs.device)
        rounded: Tensor = torch.fake_quantize_per_tensor_affine(inputs, scale, zero, -128, 127)
        return rounded


@contextmanager
def int8_rounding(module: nn.Module) -> Iterator[None]:
    """Let a student's layers round as INT8 does, as long as the context lasts."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    handles = []
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", RoundedWeight())
        layer.add_module("rounded_input", RoundedInput())
        handles.append(layer.register_forward_pre_hook(_round_input))
    yield
    for handle in handles:
        handle.remove()
    for layer in layers:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        del layer.rounded_input


def _round_input(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    first, *rest = inputs
    rounding = layer.get_submodule("rounded_input")
    return (rounding(first), *rest)


def shorter(spec: Distill, epochs: int, *, images: int, transformer: bool) -> Distill:
    """Return the recipe's `distill:` for a few more epochs of a student trained on so many images.

    They show no view that the training before did not have: the teacher's features are of those.
    """
    changes = {
        "epochs": epochs,
        "lr": spec.lr_for(transformer=transformer) * LR_SHARE,
        "warmup_epochs": 0.0,
        "stop_after": None,
        "precision": "fp32",
    }
    short = spec.model_copy(update=changes)
    views = min(short.views_for(images), spec.views_for(images))
    return short.model_copy(update={"views": views})


def finetune(
    student: Encoder,
    data: TrainingData,
    spec: Distill,
    compute: Compute,
    work: Path,
    *,
    track: Track = silent,
    note: Callable[[str], None],
    on_epoch: Callable[[EpochEnded], None] = log_epoch,
) -> None:
    """Train a finished student with INT8 rounding, in place; its weights are float afterwards.

    Args:
        student: trained.
        data: what it was trained on.
        spec: the `distill:` of these epochs, as `shorter` gives it.
        compute: where to train.
        work: folder for the checkpoint.
        track: shows the progress.
        note: called with lines for the user.
        on_epoch: called after every epoch.
    """
    with int8_rounding(student.module):
        state = distill(
            student, data, spec, compute, work, track=track, note=note, on_epoch=on_epoch
        )
        student.module.load_state_dict(state)
    student.module.cpu().eval()
