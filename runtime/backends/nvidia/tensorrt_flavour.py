"""The two TensorRT packages (flavours) with one interface: chosen and imported here."""

from __future__ import annotations

import importlib
import re
from importlib import metadata
from typing import Any, Literal

from runtime.errors import MissingDependencyError

Flavour = Literal["tensorrt", "tensorrt-rtx"]
FLAVOURS: tuple[Flavour, ...] = ("tensorrt", "tensorrt-rtx")
ENGINE_SUFFIX = ".engine"
"""Ending of an engine's file name."""

_OLDEST = {"tensorrt": (10, 3), "tensorrt-rtx": (1, 2)}
"""The first versions with the strongly typed networks that we use."""

_HOW = {
    "tensorrt": (
        "  x86 with a GPU:  pip install 'edge-compressor[tensorrt]' (from NVIDIA's own index)\n"
        "  Jetson:          it comes with JetPack; do not install it with pip"
    ),
    "tensorrt-rtx": "  x86-64:  pip install 'edge-compressor[tensorrt-rtx]' (95 MB, needs no GPU)",
}


def import_flavour(flavour: Flavour) -> Any:
    """Import the module of a flavour.

    Raises:
        MissingDependencyError: it is not installed, too old, or its libraries do not load.
    """
    name = flavour.replace("-", "_")
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: a library below it does not load
        raise MissingDependencyError(
            f"{flavour} cannot be imported: {error}\n{_HOW[flavour]}\n"
            "  Or leave it out of `export.engines`."
        ) from error
    if version_key(module.__version__) < _OLDEST[flavour]:
        wanted = ".".join(map(str, _OLDEST[flavour]))
        raise MissingDependencyError(
            f"{flavour} {module.__version__} is too old: {wanted} or newer is needed, because "
            f"precision lives in the file.\n{_HOW[flavour]}"
        )
    return module


def installed_version(flavour: Flavour) -> str | None:
    """Return the version of a flavour, as in engine manifests, or None if it is not usable."""
    try:
        return str(import_flavour(flavour).__version__)
    except MissingDependencyError:
        return None


def version_key(version: str) -> tuple[int, int]:
    """Return major and minor version of `10.12.0.36`."""
    major, minor = [*re.findall(r"\d+", version), "0", "0"][:2]
    return int(major), int(minor)


def cuda_of(flavour: Flavour) -> str | None:
    """The CUDA major version that the installed package was made for, such as `13`."""
    pattern = re.compile(flavour.replace("-", "[-_]") + r"[-_]cu(\d+)", re.IGNORECASE)
    for each in metadata.distributions():
        if found := pattern.fullmatch(each.metadata["Name"] or ""):
            return found.group(1)
    return None
