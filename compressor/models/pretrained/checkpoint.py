"""Reads a checkpoint file: every mapping of tensors in it, however deep it lies. Runs no code."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from runtime.errors import InputError

State = dict[str, Tensor]
Nest = tuple[str, ...]
"""The names of the mappings around a state dict, from the outermost; () for the file itself."""

_DEEPEST = 6
_NESTS = ("model", "state_dict", "model_state_dict")
_WRAPPERS = ("module.", "_orig_mod.", "model.", "backbone.")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def nests_of(path: Path) -> dict[Nest, State]:
    """Return every mapping of a checkpoint that holds tensors by name.

    Args:
        path: `.safetensors`, or a weights-only `.pth`, `.pt` or `.bin`.

    Raises:
        InputError: the file cannot be read safely, or holds no weights.
    """
    loaded = _read(path)
    found = dict[Nest, State]()
    _collect(loaded, (), found)
    if not found:
        keys = some([str(key) for key in loaded]) or "nothing"
        numbers = any(isinstance(value, Tensor) for value in loaded.values())
        why = "; a state dict names its tensors by text, not by numbers" if numbers else ""
        raise InputError(f"{path}: found no weights in it; it holds {keys}{why}")
    return found


def state_of(path: Path) -> State:
    """Return the weights of a file that holds one state dict, without nests and wrapper prefixes.

    Raises:
        InputError: as for `nests_of`; or a tensor is none of plain numbers.
    """
    nests = nests_of(path)
    plain = [nest for nest in nests if all(name in _NESTS for name in nest)]
    nest = min(plain or nests, key=len)
    state = nests[nest]
    while prefix := next((w for w in _WRAPPERS if _all_start(state, w)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    require_plain(state, path)
    return state


def require_plain(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that hold their numbers in another way, or hold none.

    Raises:
        InputError: a tensor is quantised, sparse, without values, or of a number type that weights
            do not have; it is named.
    """
    for key, tensor in state.items():
        if (what := _oddity(tensor)) is not None:
            kind, way_out = what
            raise InputError(
                f"{path}: its weights must be plain tensors, and {key} is {kind}.\n  {way_out}"
            )


def some(keys: Sequence[str]) -> str:
    """Return the first few keys, as a list to read."""
    return ", ".join(keys[:4]) + (", ..." if len(keys) > 4 else "")


def _oddity(tensor: Tensor) -> tuple[str, str] | None:
    """Return what is odd about a tensor, and the way out."""
    if tensor.is_quantized:
        return f"quantised ({tensor.dtype})", "Save the weights as they were before quantisation."
    if tensor.layout != torch.strided:
        return f"sparse ({tensor.layout})", "Save it dense: value.to_dense()"
    if tensor.is_meta:
        return "without values (of the device meta)", "Load the model's weights before saving it."
    if tensor.is_complex() or (tensor.is_floating_point() and tensor.dtype not in _FLOATS):
        return f"of {tensor.dtype}", "Save it as float32: value.float()"
    return None


def _collect(document: Mapping[Any, Any], nest: Nest, found: dict[Nest, State]) -> None:
    named = {key: value for key, value in document.items() if isinstance(key, str)}
    state = {key: value for key, value in named.items() if isinstance(value, Tensor)}
    if state:
        found[nest] = state
    if len(nest) < _DEEPEST:  # a pickle may hold itself
        for key, value in named.items():
            if isinstance(value, Mapping):
                _collect(value, (*nest, key), found)


def _read(path: Path) -> Mapping[Any, Any]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with path.open("rb") as file:
            if not file.read(2).startswith((b"PK", b"\x80")):  # a zip of torch's, or an old pickle
                raise InputError(f"{path}: neither a .safetensors nor a PyTorch checkpoint")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (SafetensorError, KeyError, TypeError) as error:  # KeyError: a type unknown to torch
        raise InputError(f"{path}: not a whole .safetensors file ({error})") from error
    loaded = _unpickled(path)
    if not isinstance(loaded, Mapping):
        raise InputError(f"{path}: holds a {type(loaded).__name__}, not a state dict")
    return loaded


def _unpickled(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other kinds: they fail, or are fine
            loaded: object = torch.load(path, map_location="cpu", weights_only=True)
            return loaded
    except Exception as error:  # of nearly any kind: torch's reader trusts what it reads
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and refused:
            raise InputError(
                f"{path}: holds more than weights ({refused[1]}), and loading that would run code "
                "from the file.\n"
                "  Save its state dict alone: torch.save(model.state_dict(), 'weights.pth')"
            ) from error
        raise InputError(
            f"{path}: not a checkpoint that torch can read; it is damaged, or of another kind"
        ) from error


def _all_start(state: State, prefix: str) -> bool:
    return bool(state) and all(key.startswith(prefix) for key in state)
