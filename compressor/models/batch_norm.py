"""Batch norm that was folded into the convolutions: recognised, and given true statistics again.

Folding multiplies a convolution by the scale of its batch norm and leaves a batch norm that only
adds: mean 0, variance 1. In evaluation mode the answers are the same. In training mode each batch
is normalised by its own statistics instead, for which the scale is gone: the network is destroyed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compressor.data.loading import PreprocessedImages, in_batches, load_batches, to_input
from compressor.models.compute import Compute
from compressor.models.encoder import Encoder
from runtime.errors import InputError
from runtime.images.image_file import ImageFile
from runtime.progress import Track, silent
from runtime.sampling import evenly

IMAGES = 400
"""Images that statistics are measured on."""

_ONE = 0.01  # beside an eps of up to 1e-3, which some leave out of the variance
_CONSTANT = 1e-6  # of channels that were set, not measured; measured ones differ by far more


def folded_layers(module: nn.Module) -> tuple[str, ...]:
    """Return the names of batch norms whose statistics were never measured, though they shift.

    The running variance is 1 for all channels, up to eps, which no measured one is. A new batch
    norm is like that too, but shifts nothing (bias 0, mean 0), so it is not meant.
    """
    return tuple(name for name, layer in _batch_norms(module) if _is_folded(layer))


def recalibrate_on(
    encoder: Encoder, paths: Sequence[ImageFile], compute: Compute, track: Track = silent
) -> int:
    """Measure the statistics of folded batch norms on training images; see `recalibrate`.

    Args:
        encoder: a student, changed in place.
        paths: training images; an even choice of `IMAGES` of them is used.
        compute: where to run it.
        track: shows the progress.

    Returns:
        How many batch norms there were; 0 leaves everything untouched, and reads no image.

    Raises:
        InputError: there are no images, or an answer is not finite.
    """
    if not folded_layers(encoder.module):
        return 0
    chosen = [paths[row] for row in evenly(len(paths), IMAGES)]
    batches = in_batches(range(len(chosen)))
    images = PreprocessedImages(chosen, encoder.preprocess)
    loaded = track(
        load_batches(images, batches, compute.workers),
        label="statistics of folded batch norm",
        total=len(batches),
    )
    module = encoder.module.to(compute.device)
    pixels = (to_input(batch, encoder.preprocess, compute.device) for (batch,) in loaded)
    return recalibrate(module, pixels)


def recalibrate(module: nn.Module, batches: Iterable[Tensor]) -> int:
    """Give folded batch norms the statistics of their inputs, so that the network can be trained.

    A batch norm that computes k x + b gets the mean m and the variance v of x; its scale becomes
    k sqrt(v + eps), its shift b + k m. So it still computes k x + b in evaluation mode, and nearly
    so in training mode.

    Args:
        module: changed in place; its mode (training or evaluation) stays.
        batches: inputs of the module, on its device. Read only if there is a folded batch norm.

    Returns:
        How many batch norms were folded.

    Raises:
        InputError: there are no images, or what a batch norm sees is not finite.
    """
    layers = [(name, layer) for name, layer in _batch_norms(module) if _is_folded(layer)]
    if not layers:
        return 0
    seen = {name: _Moments() for name, _ in layers}
    hooks = [layer.register_forward_pre_hook(_watch(seen[name])) for name, layer in layers]
    modes = {each: each.training for each in module.modules()}
    images = 0
    try:
        module.eval()
        with torch.no_grad():
            for batch in batches:
                module(batch)
                images += len(batch)
    finally:
        for hook in hooks:
            hook.remove()
        for each, training in modes.items():
            each.training = training
    if not images:
        raise InputError(
            f"the student's weights have {len(layers)} batch norms that were folded into the "
            "convolutions before them, and there are no images to measure their statistics on.\n"
            "  Give training images, or weights that were saved before the folding."
        )
    for name, _ in layers:
        if not seen[name].is_finite():
            raise InputError(
                f"the student's batch norm {name} sees values that are not finite; are its weights "
                "damaged?"
            )
    for name, layer in layers:
        _set(layer, seen[name])
    return len(layers)


class _Moments:
    """Mean and variance of each channel, of batches one after another, joined in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.squares = torch.zeros(())
        """Sum of squared distances from the mean."""

    def add(self, inputs: Tensor) -> None:
        """Add a batch [B, C, ...] (Chan, Golub and LeVeque 1979)."""
        others = [axis for axis in range(inputs.ndim) if axis != 1]
        variance, mean = torch.var_mean(inputs.float(), dim=others, correction=0)
        variance, mean = variance.double(), mean.double()
        count = inputs.numel() // inputs.shape[1]
        total = self.count + count
        apart = mean - self.mean.to(mean)
        between = apart**2 * self.count * count / total
        self.squares = self.squares.to(mean) + variance * count + between
        self.mean = self.mean.to(mean) + apart * count / total
        self.count = total

    def is_finite(self) -> bool:
        """Return whether it saw finite values, and some."""
        return self.count > 0 and bool(torch.isfinite(self.mean + self.squares).all())


def _watch(moments: _Moments) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        moments.add(inputs[0])

    return hook


def _set(layer: _BatchNorm, seen: _Moments) -> None:
    scale, shift = _affine(layer)
    mean, variance = _statistics(layer)
    with torch.no_grad():
        mean.copy_(seen.mean)
        variance.copy_(seen.squares / seen.count)
        # From what was stored: rounding the statistics must not change the answers
        spread = (variance.double() + layer.eps).sqrt()
        layer.weight.copy_(scale * spread)
        layer.bias.copy_(shift + layer.weight.double() / spread * mean.double())
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked.fill_(1)


def _affine(layer: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return k and b of each channel, in float64: the layer computes k x + b."""
    mean, variance = _statistics(layer)
    scale = layer.weight.detach().double() / (variance.double() + layer.eps).sqrt()
    return scale, layer.bias.detach().double() - scale * mean.double()


def _statistics(layer: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return the running mean and variance themselves."""
    if layer.running_mean is None or layer.running_var is None:
        raise ValueError("a batch norm without statistics")
    return layer.running_mean, layer.running_var


def _batch_norms(module: nn.Module) -> list[tuple[str, _BatchNorm]]:
    """All batch norms with statistics, a scale and a shift, by name."""
    return [
        (name, layer)
        for name, layer in module.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_var is not None and layer.affine
    ]


def _is_folded(layer: _BatchNorm) -> bool:
    variance = _statistics(layer)[1].double()
    was_set = bool(((variance - 1).abs() <= _ONE).all()) and (
        float(variance.max() - variance.min()) <= _CONSTANT
    )
    _, shift = _affine(layer)
    return was_set and bool((shift != 0).any())
