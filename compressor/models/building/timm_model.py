"""Timm's models, built for the size of a recipe's images, with the weights that it names."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import nn

from compressor.models.building import size_limit
from compressor.models.pretrained import hub, weights
from compressor.models.pretrained.source import file_of_timm
from compressor.models.pretrained.weights import REFUSALS
from compressor.recipe.networks import Network
from runtime.errors import InputError
from runtime.images.preprocess import Preprocess

logger = logging.getLogger(__name__)

_SETTLED = {
    "num_classes": "the classifier is always left out",
    "features_only": "an image has one embedding",
    "in_chans": "images have three channels",
    "pretrained": "`weights` decides it",
    "pretrained_cfg": "`weights` decides it",
    "pretrained_cfg_overlay": "`weights` decides it",
    "checkpoint_path": "`weights` decides it",
}
"""Arguments of timm.create_model that are not the user's, and why."""


@dataclass(frozen=True)
class Built:
    """A model of timm that takes images of the recipe's size."""

    spec: Network
    """With the arguments that it was built with."""
    model: nn.Module
    arguments: dict[str, Any]
    """Of timm.create_model, beside its name, to build it again without weights."""
    part: str
    """Which of the weights in a local file it has, in words."""
    preprocess: Preprocess
    pooled: int
    """Width of its pooled features."""


def build(spec: Network, *, role: str, load: bool) -> Built:
    """Build a model; one that does not take the recipe's size is built anew for that size.

    Raises:
        InputError: as for `create_student`; or it takes no images of this size.
    """
    state, own = torch.get_rng_state(), None
    for sized in (spec, _for_its_size(spec)):
        if sized is None:
            break
        torch.set_rng_state(state)
        try:
            model, arguments, part = _create(sized, role=role, load=load)
            preprocess = _preprocess(sized, model)
            pooled = _width(sized, model, preprocess.size_px)
        except _SizeError as error:
            refused, own = error, getattr(model, "pretrained_cfg", {})["input_size"][-1]
        except InputError:
            if sized is spec:
                raise
        else:
            _tell_cut_patches(model, preprocess.size_px, role=role)
            return Built(sized, model, arguments, part, preprocess, pooled)
    raise InputError(
        f"{refused}\n  timm made it for {own} px: set {role}.image_size to that, see whether its "
        f"{role}.args fit together, or take another model."
    ) from refused


class _SizeError(InputError):
    """A model does not take images of this size."""


def _for_its_size(spec: Network) -> Network | None:
    """Return a network whose model is told the size of its images; None if it is or has none."""
    if not spec.image_size or "img_size" in spec.args:
        return None
    return spec.model_copy(update={"args": {**spec.args, "img_size": spec.image_size}})


def _create(spec: Network, *, role: str, load: bool) -> tuple[nn.Module, dict[str, Any], str]:
    """Return timm's model, its arguments, and which of the weights in a local file it has."""
    config = hub.config_of(spec.model, role=role)
    for name in sorted(_SETTLED.keys() & spec.args.keys()):
        raise InputError(f"{role}.args.{name}: {_SETTLED[name]}; remove it")
    args: dict[str, Any] = {"num_classes": 0, **spec.args}
    if config is not None and config.fixed_input_size and spec.image_size:
        args.setdefault("img_size", spec.image_size)
    size_limit.require_possible(spec, args, role)
    file = file_of_timm(spec, role) if load else None
    of_weights: dict[str, Any] = {}
    if file is not None:
        overlay = {"file": str(file), "custom_load": False}
        of_weights = {"pretrained": True, "pretrained_cfg_overlay": overlay}
    try:
        with size_limit.limited(spec, role):
            model, args = _of_timm(spec, args, of_weights)
    except REFUSALS as error:
        what = f"no such choice: {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{role}: timm cannot build {spec.model} so: {what}") from error
    part = ""
    if file is None and load and spec.weights != "none":
        part = weights.load_into(model, Path(spec.weights), role=role)
    return model, args, part


def _of_timm(
    spec: Network, args: dict[str, Any], of_weights: dict[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """Create a model; return it and its arguments.

    A size that it was told without need is left out where it takes none.
    """
    try:
        return timm.create_model(spec.model, **args, **of_weights), args
    except TypeError as error:
        if "img_size" not in str(error) or "img_size" in spec.args:
            raise
    args = {name: value for name, value in args.items() if name != "img_size"}
    return timm.create_model(spec.model, **args, **of_weights), args


def _preprocess(spec: Network, model: nn.Module) -> Preprocess:
    """Return timm's data config of the model, changed where the recipe overrides it."""
    config = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    size = spec.image_size or spec.args.get("img_size") or config["input_size"][-1]
    crop = spec.crop or config["crop_pct"]
    try:
        return Preprocess(
            size_px=size,
            resize_px=math.floor(size / crop),
            crop_mode=config["crop_mode"],
            interpolation=spec.interpolation or config["interpolation"],
            mean=spec.mean or config["mean"],
            std=spec.std or config["std"],
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"{spec.model}: its input cannot be prepared here: {error}") from error


def _tell_cut_patches(model: nn.Module, size_px: int, *, role: str) -> None:
    """Warn of a size that is no whole number of patches: a transformer does not see the rest."""
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    side = patch[0] if isinstance(patch, tuple) else patch
    if side and size_px % side:
        _tell_once(role, size_px, side)


@cache
def _tell_once(role: str, size_px: int, side: int) -> None:
    below = size_px // side * side
    logger.warning(
        "%s.image_size: %d px is not a multiple of %d px patches; the last %d px of each side are "
        "not seen. %s none.",
        role,
        size_px,
        side,
        size_px - below,
        f"{below} or {below + side} px cut off" if below else f"{below + side} px cuts off",
    )


def _width(spec: Network, module: nn.Module, size_px: int) -> int:
    """Return D, measured by running one image."""
    try:
        with torch.inference_mode():
            embedded = module.eval()(torch.zeros(1, 3, size_px, size_px))
    except REFUSALS as error:
        why = str(error) or f"{type(error).__name__} in timm"
        raise _SizeError(f"{spec.model}: cannot take images of {size_px} px: {why}") from error
    if embedded.ndim != 2:
        raise InputError(
            f"{spec.model}: gives {list(embedded.shape[1:])} values for an image, not one "
            "embedding; is its args.global_pool right?"
        )
    return int(embedded.shape[-1])
