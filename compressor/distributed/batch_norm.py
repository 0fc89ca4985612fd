"""Batch norm over a batch that processes share: mean and variance of the whole, not of a part."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def over_all_processes(module: nn.Module) -> None:
    """Let batch norms that learn take the statistics of the whole batch.

    On a GPU they become torch's SyncBatchNorm, which runs nowhere else; on a CPU hooks do the same.
    Names and values of the weights stay as they are.

    Args:
        module: on its device; changed in place.
    """
    if next(module.parameters()).is_cuda:
        from timm.layers.norm_act import convert_sync_batchnorm  # also of timm's own batch norms

        convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            hooks = _Hooks()
            layer.register_forward_pre_hook(hooks.before)
            layer.register_forward_hook(hooks.after)


class _Hooks:
    """Normalises what a layer is given, and lets the layer do the rest: scale, shift, activation.

    In evaluation mode the layer takes off its running mean and divides by its running deviation:
    for the time of the call these are 0 and 1.
    """

    running: tuple[Tensor, Tensor] | None = None
    """Mean and variance of the layer, from before the call until after it."""

    def before(self, layer: _BatchNorm, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        running_mean, running_var = layer.running_mean, layer.running_var
        if not layer.training or running_mean is None or running_var is None:
            return None
        x, *rest = inputs
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        axes = [axis for axis in range(values.ndim) if axis != 1]
        own = values.sum(axes)
        total = _Sum.apply(torch.cat([own, own.new_tensor([values.numel() / len(own)])]))
        count = total[-1].detach()
        mean = total[:-1] / count
        about = values - _shaped(mean, values)
        variance = _Sum.apply(about.square().sum(axes)) / count
        with torch.no_grad():
            if layer.num_batches_tracked is not None:
                layer.num_batches_tracked += 1
            share = layer.momentum
            if share is None:
                share = 1 / float(layer.num_batches_tracked or 1)
            running_mean.lerp_(mean.to(running_mean), share)
            running_var.lerp_((variance * count / (count - 1)).to(running_var), share)
        self.running, layer.training = (running_mean, running_var), False
        layer.running_mean = torch.zeros_like(running_mean)
        layer.running_var = torch.full_like(running_var, 1 - layer.eps)
        normal = about * _shaped(variance + layer.eps, values).rsqrt()
        return (normal.to(x.dtype), *rest)

    def after(self, layer: _BatchNorm, inputs: tuple[Any, ...], output: Tensor) -> None:
        if self.running is not None:
            layer.running_mean, layer.running_var = self.running
            self.running, layer.training = None, True


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def _shaped(of_channels: Tensor, like: Tensor) -> Tensor:
    """[C] -> [1, C, 1, ...], to go with a batch."""
    return of_channels.reshape(1, -1, *[1] * (like.ndim - 2))
