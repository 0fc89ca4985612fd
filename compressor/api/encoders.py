"""Teacher and student as a caller gives them: by name, by keys, as a timm model, as an encoder."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import timm
import torch
from pydantic import ValidationError
from timm.data.config import resolve_model_data_config
from torch import nn

from compressor.events import Reporter
from compressor.models.card import Origin
from compressor.models.embedding_net import EmbeddingNet
from compressor.models.encoder import Encoder, create_student, load_teacher
from compressor.models.student_weights import choose
from compressor.recipe import networks
from compressor.recipe.networks import AUTO
from compressor.recipe.places.weights_folder import with_file
from compressor.recipe.schema import Student, Teacher
from runtime.errors import InputError
from runtime.images.preprocess import Preprocess

Network = str | Mapping[str, object] | nn.Module | Encoder
"""A timm model by name, keys of a recipe's section, a timm model that is built, or an encoder."""

Kind = TypeVar("Kind", bound=networks.Network)


def teacher_from(network: Network) -> Encoder:
    """Return a frozen teacher; a built model or encoder is copied, its classifier left out.

    Raises:
        InputError: the model, its keys or its weights are wrong.
        MissingDependencyError: hub weights that are neither cached nor reachable.
    """
    if isinstance(network, Encoder):
        return replace(network, module=copy.deepcopy(network.module).requires_grad_(False))
    if isinstance(network, nn.Module):
        encoder = _built(network, "teacher")
        encoder.module.eval().requires_grad_(False)
        return encoder
    return load_teacher(_section(Teacher, network, "teacher"))


def student_from(network: Network, *, seed: int, reporter: Reporter) -> Encoder:
    """Return a student before distillation; a built model or encoder is copied.

    By name it has pretrained weights if there are any, as `student.weights: auto` finds them.

    Args:
        network: as the caller gives it.
        seed: of new weights.
        reporter: sends what a user should know of its weights.

    Raises:
        InputError: as for `teacher_from`.
        MissingDependencyError: as for `teacher_from`.
    """
    if isinstance(network, Encoder):
        return replace(network, module=copy.deepcopy(network.module).requires_grad_(True))
    if isinstance(network, nn.Module):
        return _built(network, "student")
    spec = _section(Student, network, "student")
    if spec.weights == AUTO:
        choice = choose(spec)
        choice.tell(reporter)
        spec = spec.model_copy(update={"weights": choice.weights})
    return create_student(spec, seed=seed)


def _section(kind: type[Kind], network: str | Mapping[str, object], role: str) -> Kind:
    keys = {"model": network} if isinstance(network, str) else dict(network)
    if "weights" in keys:
        keys["weights"] = str(keys["weights"])
    try:
        return with_file(kind.model_validate(keys))
    except ValidationError as error:
        lines = [f"{role}.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise InputError("\n  ".join(lines)) from error


def _built(model: nn.Module, role: str) -> Encoder:
    """Return a copy of a timm model as an encoder: pooled features, without classifier."""
    if not hasattr(model, "forward_features") or not hasattr(model, "reset_classifier"):
        raise InputError(
            f"{role}: {type(model).__name__} is not a timm model. Give a model of "
            "timm.create_model, its name, or a compressor.models.encoder.Encoder"
        )
    backbone: Any = copy.deepcopy(model).cpu().float()
    backbone.reset_classifier(0)
    config = resolve_model_data_config(backbone)  # type: ignore[no-untyped-call]
    built_for = getattr(getattr(backbone, "patch_embed", None), "img_size", None)
    size = int((built_for or config["input_size"])[-1])
    preprocess = Preprocess(
        size_px=size,
        resize_px=math.floor(size / config["crop_pct"]),
        crop_mode=config["crop_mode"],
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
    )
    network = EmbeddingNet(backbone, nn.Identity())
    was_training = network.training
    with torch.inference_mode():
        found = network.eval().features(torch.zeros(1, 3, size, size))
    network.train(was_training)
    shape = None
    if found.maps is not None:
        _, rows, columns, channels = found.maps.shape
        shape = (rows, columns, channels)
    name = str((getattr(model, "pretrained_cfg", None) or {}).get("architecture", role))
    origin = Origin(model=name, weights="given", args={}, timm=timm.__version__)
    return Encoder(name, found.pooled.shape[1], preprocess, shape, network, origin)
