"""Weights of timm's models on the Hugging Face hub: in its cache, or downloaded into it."""

from __future__ import annotations

import difflib
import os
import socket
from pathlib import Path
from urllib.parse import urlparse

import timm
from timm.models import PretrainedCfg

from runtime.errors import InputError, MissingDependencyError

_PICKLED = "pytorch_model.bin"
"""The name that a repository without safetensors uses."""


class DownloadError(Exception):
    """A file of the hub was not to be had; the text says why."""


def config_of(model_name: str, *, role: str) -> PretrainedCfg | None:
    """Return timm's record of a model's pretrained weights; None if it has none.

    Raises:
        InputError: timm knows no such model, or none of its weights have this tag.
    """
    if not timm.is_model(model_name):
        name, known = model_name.split(".")[0], timm.list_models()
        close = (
            difflib.get_close_matches(name, known, n=3)
            or sorted((each for each in known if name.lower() in each), key=len)[:4]
        )  # a family, such as dinov2: its plainest members
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise InputError(f"{role}.model: timm {timm.__version__} knows no {model_name!r}{hint}")
    try:
        return timm.models.get_pretrained_cfg(model_name)
    except RuntimeError as error:  # a tag that the model does not have
        tagged = ", ".join(timm.list_pretrained(f"{model_name.split('.')[0]}.*"))
        raise InputError(f"{role}.model {model_name}: {error} Known: {tagged}") from error


def full_name(config: PretrainedCfg) -> str:
    """Return a model's name with the tag of its weights, which says on what they were trained."""
    return f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)


def require(model_name: str, *, role: str, config: PretrainedCfg | None) -> PretrainedCfg:
    """Return timm's record of weights that are on the hub.

    Raises:
        InputError: timm knows none, or knows only another address.
    """
    if config is not None and config.hf_hub_id:
        return config
    if config is not None and config.url:
        raise InputError(
            f"{role}.model {model_name}: its weights are not on the hub; fetch {config.url}\n"
            f"  yourself, and name the file in {role}.weights"
        )
    known = timm.list_pretrained(f"{model_name.split('.')[0]}*")[:5]
    hint = f"known: {', '.join(known)}" if known else "use a local file"
    raise InputError(f"{role}.model {model_name}: timm has no pretrained weights for it; {hint}")


def file_of(model_name: str, *, role: str, config: PretrainedCfg) -> Path:
    """Return a model's weights: from the cache without asking anybody, else downloaded into it.

    Raises:
        MissingDependencyError: neither cached nor to be had from here; the message has the way out.
        OSError: the disk is full.
    """
    if (path := cached(config)) is not None:
        return path
    if not reachable():
        why = f"the model hub {endpoint()} cannot be reached from here."
        raise not_fetched(model_name, role=role, config=config, why=why)
    try:
        return download(config)
    except DownloadError as error:
        why = f"the download failed: {error}"
        raise not_fetched(model_name, role=role, config=config, why=why) from error


def cached(config: PretrainedCfg) -> Path | None:
    """Return the file in the hub's cache, or None. Needs no connection."""
    from huggingface_hub import try_to_load_from_cache

    for name in _names(config):
        found = try_to_load_from_cache(_hub_id(config), name)
        if isinstance(found, str):
            return Path(found)
    return None


def download(config: PretrainedCfg, into: Path | None = None) -> Path:
    """Download a model's weights, safetensors if there are any; return the file.

    Args:
        config: timm's record of the weights.
        into: a cache folder in the hub's layout; None: the hub's own.

    Raises:
        DownloadError: refused, not found, or the connection broke.
        OSError: the disk is full, or the folder cannot be written to.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    broken: type[Exception] = HfHubHTTPError.__bases__[0]  # of the HTTP client that the hub uses
    names = _names(config)
    for name in names:
        try:
            return Path(hf_hub_download(_hub_id(config), name, cache_dir=into, endpoint=endpoint()))
        except LocalEntryNotFoundError as error:
            raise DownloadError(str(error.__cause__ or error)) from error
        except EntryNotFoundError as error:
            if name == names[-1]:
                raise DownloadError(str(error)) from error
        except (OSError, broken) as error:
            if getattr(error, "errno", None) is not None:
                raise
            raise DownloadError(str(error) or type(error).__name__) from error
    raise ValueError("a model without a file name")


def url_of(config: PretrainedCfg) -> str:
    """Return the address that a browser could download the file from."""
    return f"{endpoint()}/{config.hf_hub_id}/resolve/main/{_names(config)[0]}"


def not_fetched(
    model_name: str, *, role: str, config: PretrainedCfg, why: str
) -> MissingDependencyError:
    """Return the message for a failed download: the file, and how to name it in the recipe."""
    file = _names(config)[0]
    return MissingDependencyError(
        f"{role}.weights: {why}\n"
        f"  On a machine that can, fetch {url_of(config)}\n"
        f"  copy it beside the recipe, and write\n"
        f"    {role}:\n      model: {model_name}\n      weights: {file}\n"
        "  Or fetch all that a recipe needs at once, there: compressor fetch RECIPE --to weights"
    )


def endpoint() -> str:
    """Return the address of the hub, or of the mirror that HF_ENDPOINT names."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def reachable(timeout_s: float = 5.0) -> bool:
    """Return whether the hub, or the proxy before it, may answer."""
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True  # the proxy decides; the download itself will fail or not
    url = urlparse(endpoint())
    try:
        port = url.port or (80 if url.scheme == "http" else 443)
        socket.create_connection((url.hostname or "", port), timeout=timeout_s).close()
    except OSError:
        return False
    return True


def _hub_id(config: PretrainedCfg) -> str:
    return str(config.hf_hub_id)


def _names(config: PretrainedCfg) -> tuple[str, ...]:
    """The files that a repository may have its weights in, the preferred one first."""
    if config.hf_hub_filename:
        return (str(config.hf_hub_filename),)
    return ("model.safetensors", _PICKLED)
