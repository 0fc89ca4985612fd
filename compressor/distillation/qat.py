"""Quantisation-aware distillation: a few more epochs with the rounding of INT8 in the student.

The same distillation against the same cached teacher features, at a twentieth of its learning rate.
Convolutions and linear layers see weights rounded per channel and inputs rounded per tensor, both
symmetric, as the INT8 file has them; gradients pass straight through the rounding (Bengio et al.
2013, arXiv 1308.3432). Afterwards the rounding is taken out, and the weights go the usual way.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from compressor.data.loading import Compute
from compressor.distillation.trainer import Material, distill
from compressor.models.encoder import Encoder
from compressor.recipe.schema import Distill
from runtime.progress import Track, silent

LR_SHARE = 0.05
"""Of `distill.lr`: the student is finished, and only gives way to the rounding."""
_MEMORY = 0.95  # of the running peak of an input, from batch to batch
_LEAST = 1e-8


class RoundedWeight(nn.Module):
    """Weights as INT8 holds them: one scale for each output channel, from the largest of it."""

    def forward(self, weight: Tensor) -> Tensor:
        """Float [O, ...] -> the same, rounded to 255 levels of each channel."""
        scale = weight.detach().abs().flatten(1).amax(dim=1).clamp(min=_LEAST) / 127
        zero = torch.zeros_like(scale, dtype=torch.int32)
        rounded: Tensor = torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127, 127)
        return rounded


class RoundedInput(nn.Module):
    """An input as INT8 holds it: one scale, from a running peak that training keeps up."""

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


def round_in(module: nn.Module) -> Callable[[], None]:
    """Let a student's layers round as INT8 does; gives what takes the rounding out again."""
    layers = [each for each in module.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    handles = []
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", RoundedWeight())
        layer.add_module("rounded_input", RoundedInput())
        handles.append(layer.register_forward_pre_hook(_round_input))

    def take_out() -> None:
        for handle in handles:
            handle.remove()
        for layer in layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
            del layer.rounded_input

    return take_out


def _round_input(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    first, *rest = inputs
    rounding = layer.get_submodule("rounded_input")
    return (rounding(first), *rest)


def shorter(spec: Distill, epochs: int, *, transformer: bool) -> Distill:
    """The recipe's `distill:` for a few epochs more of a finished student."""
    changes = {
        "epochs": epochs,
        "lr": spec.lr_for(transformer=transformer) * LR_SHARE,
        "warmup_epochs": 0.0,
        "patience": None,
        "precision": "fp32",
    }
    return spec.model_copy(update=changes)


def finetune(
    student: Encoder,
    material: Material,
    spec: Distill,
    compute: Compute,
    work: Path,
    *,
    track: Track = silent,
    note: Callable[[str], None],
) -> None:
    """Teach a finished student the rounding, in place; its weights are float again afterwards.

    Args:
        student: trained.
        material: what it was trained with.
        spec: of these epochs, as `shorter` gives it.
        compute: where.
        work: folder for the checkpoint.
        track: shows the progress.
        note: is told a line an epoch.
    """
    take_out = round_in(student.module)
    state = distill(student, material, spec, compute, work, track=track, note=note)
    student.module.load_state_dict(state)
    take_out()
    student.module.cpu().eval()
