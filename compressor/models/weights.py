"""Load weights from a local file or the hub; a partial match is never silent."""

from __future__ import annotations

import logging
import os
import pickle
import re
import socket
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import PretrainedCfg
from torch import Tensor, nn

from runtime.errors import InputError, MissingDependencyError

logger = logging.getLogger(__name__)

State = dict[str, Tensor]
_NESTS = ("model", "state_dict", "model_state_dict")
_WRAPPERS = ("module.", "_orig_mod.", "model.", "backbone.")


def load_into(model: nn.Module, path: Path, *, role: str) -> None:
    """Load a local checkpoint into a timm model without its classifier.

    Nested checkpoints and wrapper prefixes are unwrapped; where names or shapes differ, timm's
    own conversion for the model's family is tried (it knows the original DINOv2, CLIP and other
    files, and resamples position embeddings). A classifier in the file is left out with a line.

    Args:
        model: a timm model with `num_classes=0`.
        path: `.safetensors`, or a weights-only `.pth`, `.pt` or `.bin`.
        role: `teacher` or `student`, for messages.

    Raises:
        InputError: the file cannot be read safely, or does not fit; the keys are named.
    """
    loaded = _read(path)
    unwrapped = _unwrap(loaded)
    if not unwrapped:
        keys = _some([str(key) for key in loaded]) or "nothing"
        raise InputError(f"{path}: found no weights in it; it holds {keys}")
    state = _without_classifier(unwrapped, model, path)
    expected = model.state_dict()
    if _misfits(state, expected):
        state = _converted(state, model, path, role)
    if misfits := _misfits(state, expected):
        lines = "\n  ".join(misfits)
        raise InputError(
            f"{path}: these weights do not fit {role}.model {_name(model)}\n  {lines}\n"
            f"  Is it the right model? A different width or depth goes into {role}.args."
        )
    model.load_state_dict(state)


def require_hub(model_name: str, *, role: str, config: PretrainedCfg | None) -> None:
    """Fail early, with the way out, if hub weights are not available.

    Weights that are already in the local cache are found without a connection.

    Raises:
        InputError: timm knows no pretrained weights for this model.
        MissingDependencyError: neither cached nor reachable.
    """
    import timm

    hub_id, url = (config.hf_hub_id, config.url) if config is not None else (None, None)
    if not hub_id and url:
        raise InputError(
            f"{role}.model {model_name}: its weights are not on the hub; fetch {url}\n"
            f"  yourself, and name the file in {role}.weights"
        )
    if config is None or not hub_id:
        known = timm.list_pretrained(f"{model_name.split('.')[0]}*")[:5]
        hint = f"known: {', '.join(known)}" if known else "use a local file"
        raise InputError(
            f"{role}.model {model_name}: timm has no pretrained weights for it; {hint}"
        )
    from huggingface_hub import try_to_load_from_cache

    if any(
        isinstance(try_to_load_from_cache(hub_id, name), str)
        for name in (_file_of(config), "pytorch_model.bin")
    ):
        return
    if not _reachable(endpoint := _endpoint()):
        why = f"the model hub {endpoint} cannot be reached from here."
        raise not_fetched(model_name, role=role, config=config, why=why)


def not_fetched(
    model_name: str, *, role: str, config: PretrainedCfg, why: str
) -> MissingDependencyError:
    """Return the message for a failed download: the file, and how to name it in the recipe."""
    file = _file_of(config)
    return MissingDependencyError(
        f"{role}.weights: {why}\n"
        f"  On a machine that can, fetch {_endpoint()}/{config.hf_hub_id}/resolve/main/{file}\n"
        f"  copy it beside the recipe, and write\n"
        f"    {role}:\n      model: {model_name}\n      weights: {file}"
    )


def _file_of(config: PretrainedCfg) -> str:
    return config.hf_hub_filename or "model.safetensors"


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def _reachable(endpoint: str) -> bool:
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True  # the proxy decides; the download itself will fail or not
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return False
    url = urlparse(endpoint)
    try:
        port = url.port or (80 if url.scheme == "http" else 443)
        socket.create_connection((url.hostname or "", port), timeout=5).close()
    except OSError:
        return False
    return True


def _read(path: Path) -> Mapping[str, Any]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with path.open("rb") as file:
            if not file.read(2).startswith((b"PK", b"\x80")):  # a zip of torch's, or an old pickle
                raise InputError(f"{path}: neither a .safetensors nor a PyTorch checkpoint")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole .safetensors file ({error})") from error
    loaded = _unpickled(path)
    if not isinstance(loaded, Mapping):
        raise InputError(f"{path}: holds a {type(loaded).__name__}, not a state dict")
    return loaded


def _unpickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other kinds: they fail, or are fine
            return torch.load(path, map_location="cpu", weights_only=True)
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


def _unwrap(loaded: Mapping[str, Any]) -> State:
    while nest := next((n for n in _NESTS if isinstance(loaded.get(n), Mapping)), None):
        loaded = loaded[nest]
    state = {key: value for key, value in loaded.items() if isinstance(value, Tensor)}
    while prefix := next((w for w in _WRAPPERS if _all_start(state, w)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _all_start(state: State, prefix: str) -> bool:
    return bool(state) and all(key.startswith(prefix) for key in state)


def _without_classifier(state: State, model: nn.Module, path: Path) -> State:
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    prefixes = tuple(f"{n}." for n in ([names] if isinstance(names, str) else names))
    expected = model.state_dict()
    dropped = [key for key in state if key.startswith(prefixes) and key not in expected]
    if dropped:
        logger.info("%s: its classifier is not used (%s)", path.name, ", ".join(dropped))
    return {key: value for key, value in state.items() if key not in dropped}


def _converted(state: State, model: nn.Module, path: Path, role: str) -> State:
    """Return the state dict after timm's checkpoint filter for this family, if it has one."""
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        return _without_classifier(dict(convert(dict(state), model)), model, path)
    except (KeyError, RuntimeError, ValueError, AttributeError, IndexError) as error:
        logger.debug("timm's filter for %s could not convert %s: %r", role, path, error)
        return state


def _misfits(state: State, expected: Mapping[str, Tensor]) -> list[str]:
    shapes = [
        f"{key} {list(state[key].shape)} in the file, {list(expected[key].shape)} in the model"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    missing = [key for key in expected if key not in state]
    unknown = [key for key in state if key not in expected]
    kinds = (("of another shape", shapes), ("missing", missing), ("not in the model", unknown))
    return [f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in kinds if keys]


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:4]) + (", ..." if len(keys) > 4 else "")


def _name(model: nn.Module) -> str:
    return str(getattr(model, "pretrained_cfg", {}).get("architecture") or type(model).__name__)
