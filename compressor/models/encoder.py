"""Teacher and student: timm models that turn images into embeddings, one type for both."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from msgspec.structs import asdict
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from compressor.models import weights
from compressor.models.card import Card, Origin
from compressor.models.features import Features, features_of
from compressor.recipe.networks import Network
from compressor.recipe.schema import Student, Teacher
from runtime.errors import InputError
from runtime.files import sha256_of
from runtime.images.preprocess import Preprocess

CNN_EMBEDDING = 192
"""Width of a CNN student's embedding where the recipe gives none: DINOv2's smallest students'."""

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

# What timm and torch raise on arguments or sizes that a network was not made for.
_REFUSALS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
             ValueError)  # fmt: skip


@dataclass(frozen=True)
class Encoder:
    """A network from images to embeddings, with the preprocessing of its input."""

    name: str
    dim: int
    """D, the width of its embedding."""
    preprocess: Preprocess
    map_shape: tuple[int, int, int] | None
    """H, W and C of its last feature map; None for a network without one."""
    module: EmbeddingNet
    """float32 [B, 3, S, S], normalised -> [B, D]."""
    origin: Origin

    def card(self) -> Card:
        """Return its entry in a report."""
        return Card(
            **asdict(self.origin),
            embedding=self.dim,
            size_mb=self.size_mb,
            preprocess=self.preprocess,
        )

    @property
    def is_transformer(self) -> bool:
        """Whether it is a transformer, which cuts images into patches."""
        return hasattr(self.module.backbone, "patch_embed")

    @property
    def size_mb(self) -> float:
        """Size of its weights in float32, 10^6 bytes."""
        values = sum(tensor.numel() for tensor in self.module.state_dict().values())
        return float(values * 4 / 1e6)


class EmbeddingNet(nn.Module):
    """A timm model and, for a CNN student, the linear layer that makes its embedding."""

    def __init__(self, backbone: nn.Module, embedding: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.embedding = embedding

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, D]."""
        embedded: Tensor = self.embedding(self.backbone(images))
        return embedded

    def features(self, images: Tensor) -> Features:
        """[B, 3, S, S] -> the embedding [B, D], and the backbone's last map if it has one."""
        features = features_of(self.backbone, images)
        return Features(self.embedding(features.pooled), features.maps)


class WithFeatures(nn.Module):
    """A student as a training step calls it: one `forward` gives all that a loss needs.

    A wrapper such as DistributedDataParallel can hook this `forward`. The student's own gives the
    embedding alone, which is what an ONNX file has.
    """

    def __init__(self, student: EmbeddingNet, *, with_maps: bool) -> None:
        super().__init__()
        self.student = student
        self.with_maps = with_maps

    def forward(self, images: Tensor) -> Features:
        """[B, 3, S, S] -> the embedding and, if wanted, the last feature map."""
        if self.with_maps:
            return self.student.features(images)
        return Features(self.student(images), None)


class _SideBySide(nn.Module):
    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([network(images) for network in self.networks], dim=1)


def side_by_side(*encoders: Encoder) -> Encoder:
    """Join encoders that take the same pixels: their embeddings side by side, [B, sum D].

    Raises:
        ValueError: they prepare an image in different ways.
    """
    first = encoders[0]
    if any(other.preprocess != first.preprocess for other in encoders):
        raise ValueError("encoders that prepare an image in different ways cannot share its pixels")
    network = EmbeddingNet(_SideBySide([encoder.module for encoder in encoders]), nn.Identity())
    return replace(
        first, module=network, dim=sum(encoder.dim for encoder in encoders), map_shape=None
    )


def load_teacher(spec: Teacher) -> Encoder:
    """Load the teacher: frozen, in eval mode, with timm's pooled features as embedding.

    Raises:
        InputError: the model, its arguments or its weights are wrong.
        MissingDependencyError: hub weights that are neither cached nor reachable.
    """
    model = _create(spec, role="teacher")
    preprocess = _preprocess(spec, model)
    _require_whole_patches(model, preprocess.size_px, role="teacher")
    _width(spec, model, preprocess.size_px)  # refuses what it cannot take
    frozen = EmbeddingNet(model, nn.Identity()).eval().requires_grad_(False)
    return _encoder(spec, frozen, preprocess)


def create_student(spec: Student, *, seed: int) -> Encoder:
    """Make the student before distillation; without pretrained weights, the seed decides them.

    Raises:
        InputError: the model, its arguments or its weights are wrong.
        MissingDependencyError: hub weights that are neither cached nor reachable.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _create(spec, role="student")
        preprocess = _preprocess(spec, model)
        _require_whole_patches(model, preprocess.size_px, role="student")
        embedding = _embedding_layer(spec, model, preprocess.size_px)
    return _encoder(spec, EmbeddingNet(model, embedding), preprocess)


def _create(spec: Network, *, role: str) -> nn.Module:
    if not timm.is_model(spec.model):
        close = difflib.get_close_matches(spec.model.split(".")[0], timm.list_models(), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise InputError(f"{role}.model: timm {timm.__version__} knows no {spec.model!r}{hint}")
    try:
        config = timm.models.get_pretrained_cfg(spec.model)
    except RuntimeError as error:  # a tag that the model does not have
        known = ", ".join(timm.list_pretrained(f"{spec.model.split('.')[0]}.*"))
        raise InputError(f"{role}.model {spec.model}: {error} Known: {known}") from error
    for name in sorted(_SETTLED.keys() & spec.args.keys()):
        raise InputError(f"{role}.args.{name}: {_SETTLED[name]}; remove it")
    args: dict[str, Any] = {"num_classes": 0, **spec.args}
    if config is not None and config.fixed_input_size and spec.image_size:
        args.setdefault("img_size", spec.image_size)
    if spec.weights == "hub":
        weights.require_hub(spec.model, role=role, config=config)
        args["pretrained"] = True
    try:
        model: nn.Module = timm.create_model(spec.model, **args)
    except OSError as error:
        if spec.weights != "hub" or config is None or error.errno is not None:  # a full disk, say
            raise
        why = f"the download failed: {error}"
        raise weights.not_fetched(spec.model, role=role, config=config, why=why) from error
    except _REFUSALS as error:
        what = f"no such choice: {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{role}: timm cannot build {spec.model} so: {what}") from error
    if spec.weights not in ("hub", "none"):
        weights.load_into(model, Path(spec.weights), role=role)
    return model


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


def _require_whole_patches(model: nn.Module, size_px: int, *, role: str) -> None:
    """Refuse a size that is no whole number of patches: a transformer would cut off the rest."""
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    side = patch[0] if isinstance(patch, tuple) else patch
    if side and size_px % side:
        below = size_px // side * side
        raise InputError(
            f"{role}.image_size: {size_px} px is not a multiple of {side} px patches; "
            f"use {f'{below} or ' if below else ''}{below + side}"
        )


def _embedding_layer(spec: Student, model: nn.Module, size_px: int) -> nn.Module:
    """Make a linear layer for a CNN; a transformer keeps its own embedding."""
    pooled = _width(spec, model, size_px)
    with torch.inference_mode():
        features = model.forward_features(torch.zeros(1, 3, size_px, size_px))  # type: ignore[operator]
    if not isinstance(features, Tensor) or features.ndim == 3:  # tokens [B, T, D], or several
        if spec.embedding not in (None, pooled):
            raise InputError(
                f"student.embedding: {spec.model} is a transformer and keeps its own width "
                f"{pooled}; remove the key, or change its width with student.args.embed_dim"
            )
        return nn.Identity()
    return nn.Linear(pooled, spec.embedding or CNN_EMBEDDING)


def _width(spec: Network, module: nn.Module, size_px: int) -> int:
    """Return D, measured by running one image."""
    try:
        with torch.inference_mode():
            embedded = module.eval()(torch.zeros(1, 3, size_px, size_px))
    except _REFUSALS as error:
        raise InputError(f"{spec.model}: cannot take images of {size_px} px: {error}") from error
    if embedded.ndim != 2:
        raise InputError(
            f"{spec.model}: gives {list(embedded.shape[1:])} values for an image, not one "
            "embedding; is its args.global_pool right?"
        )
    return int(embedded.shape[-1])


def _encoder(spec: Network, module: EmbeddingNet, preprocess: Preprocess) -> Encoder:
    with torch.inference_mode():
        size = preprocess.size_px
        features = module.eval().features(torch.zeros(1, 3, size, size))
    shape = None
    if features.maps is not None:
        _, rows, columns, channels = features.maps.shape
        shape = (rows, columns, channels)
    return Encoder(
        spec.model, features.pooled.shape[1], preprocess, shape, module, _origin(spec, module)
    )


def _origin(spec: Network, module: EmbeddingNet) -> Origin:
    if spec.weights == "none":
        return Origin(model=spec.model, weights=spec.weights, args=spec.args)
    if spec.weights == "hub":
        config = getattr(module.backbone, "pretrained_cfg", None) or {}
        return Origin(
            model=spec.model,
            weights=spec.weights,
            args=spec.args,
            hub_id=config.get("hf_hub_id"),
            license=config.get("license"),
        )
    path = Path(spec.weights)
    return Origin(
        model=spec.model,
        weights=path.name,
        args=spec.args,
        sha256=sha256_of(path),
        license="the user's",
    )
