"""Networks that arguments make too large: refused before memory and time are taken for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import timm
import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from compressor.models.pretrained.weights import REFUSALS
from compressor.recipe.networks import WEIGHTS_WORDS, Network
from runtime.errors import InputError
from runtime.text import amount

MOST_IN_ARGUMENT = 100_000
"""Largest number among arguments; timm's own are sides, widths, depths of some thousands."""
MOST_TENSORS = 20_000
"""Parameter tensors of a network; the deepest of timm's have a few thousand."""
FEW = 10_000_000
"""Numbers of a network that is built without a look at the size of its file."""
_BYTES = 4
_PASSED = set[str]()
"""Networks of arguments that this process has looked at."""


def require_possible(spec: Network, args: Mapping[str, Any], role: str) -> None:
    """Refuse a network that cannot be: its arguments make it larger than memory or than its file.

    It is made without memory for its weights (on torch's meta device), as far as timm can do that.

    Args:
        spec: a section of the recipe.
        args: for timm.create_model.
        role: `teacher` or `student`, for messages.

    Raises:
        InputError: with the argument, or with the sizes.
    """
    local = spec.weights not in WEIGHTS_WORDS
    if not (spec.args or local):
        return  # timm's own network, with weights of the hub or without
    for name, number in _numbers(spec.args, f"{role}.args"):
        if abs(number) > MOST_IN_ARGUMENT:
            raise InputError(
                f"{name}: {str(number)[:20]} is larger than anything in a network; the limit is "
                f"{MOST_IN_ARGUMENT:,}"
            )
    key = json.dumps([spec.model, spec.weights, dict(args)], default=repr)
    if key in _PASSED:
        return
    total = _count(spec, args, role)
    file = Path(spec.weights)
    if local and total > FEW and file.is_file() and file.stat().st_size < total:
        raise InputError(
            f"{file}: {amount(file.stat().st_size)} cannot hold the {total / 1e6:,.0f} million "
            f"numbers of {role}.model {spec.model}.\n"
            f"  Is it the right model? A different width or depth goes into {role}.args."
        )
    _PASSED.add(key)


def _count(spec: Network, args: Mapping[str, Any], role: str) -> int:
    """Return the numbers in a network's weights, counted while it is made without memory."""
    with limited(spec, role) as counted, torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                timm.create_model(spec.model, **args)
        except REFUSALS:  # not possible on that device, or not at all: building it will say
            return 0
    return sum(counted)


@contextmanager
def limited(spec: Network, role: str) -> Iterator[list[int]]:
    """Count the numbers of each parameter of a network that is being made; refuse too many.

    Raises:
        InputError: it has more than this machine has memory for, or endlessly many layers.
    """
    counted: list[int] = []
    total, memory = 0, psutil.virtual_memory().total

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal total
        if parameter is None:
            return
        counted.append(parameter.numel())
        total += counted[-1]
        if total * _BYTES > memory or len(counted) > MOST_TENSORS:
            how = f"{len(counted):,} tensors of weights, {amount(total * _BYTES)}, and more"
            raise InputError(
                f"{role}: {spec.model} with these args would have {how}; this machine has "
                f"{amount(memory)} of memory. Look at {role}.args."
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield counted
    finally:
        hook.remove()


def _numbers(node: object, name: str) -> Iterator[tuple[str, float]]:
    """Return the numbers among arguments, each with its place."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _numbers(value, f"{name}.{key}")
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _numbers(value, name)
    elif isinstance(node, (int, float)) and not isinstance(node, bool):
        yield name, node
