"""A Jetson board: which JetPack it has, and what is missing there for engines."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from runtime.backends.nvidia import gpu
from runtime.backends.nvidia.tensorrt_flavour import import_flavour
from runtime.errors import MissingDependencyError

_RELEASE = Path("etc/nv_tegra_release")
_JETPACKS = {32: "4", 34: "5", 35: "5", 36: "6", 38: "7", 39: "7"}
"""By the major version of Jetson Linux."""
_CUDA_MAJOR = {"6": 12, "7": 13}


@dataclass(frozen=True)
class Jetson:
    """What /etc/nv_tegra_release says of a board."""

    linux: str
    """The version of Jetson Linux, such as `36.4.3`."""
    jetpack: str | None
    """The major version of JetPack; None: newer than this table."""


def read(root: Path = Path("/")) -> Jetson | None:
    """Return the board that this process runs on; None if it is no Jetson.

    Args:
        root: of the file system.
    """
    try:
        text = (root / _RELEASE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    if found is None:
        return None
    return Jetson(f"{found[1]}.{found[2]}", _JETPACKS.get(int(found[1])))


def missing(jetson: Jetson, root: Path = Path("/")) -> list[str]:
    """Return what to do on a board before engines can be built and run there; empty: nothing.

    Args:
        jetson: the board.
        root: of the file system, where the system's Python packages are looked for.
    """
    if jetson.jetpack in ("4", "5"):
        return [
            f"JetPack {jetson.jetpack} has TensorRT 8, and 10.3 or newer is needed: flash JetPack "
            "6 (docs/jetson.md)"
        ]
    found = list[str]()
    try:
        import_flavour("tensorrt")
    except MissingDependencyError as error:
        found.append(_about_tensorrt(root, str(error).splitlines()[0]))
    major = _CUDA_MAJOR.get(jetson.jetpack or "")
    limits = f">=12.9,<{major + 1}" if major else ">=12.9"
    try:
        gpu.import_cuda()
    except MissingDependencyError:
        found.append(f"to run engines: pip install 'cuda-bindings{limits}'")
        return found
    if why := gpu.why_none():
        found.append(f"engines do not run: {why}")
    return found


def _about_tensorrt(root: Path, said: str) -> str:
    """JetPack installs TensorRT for the system's Python; an environment sees it or does not."""
    installed = sorted(root.glob("usr/lib/python3*/dist-packages/tensorrt"))
    if not installed:
        return "to build and run engines: sudo apt install nvidia-jetpack"
    if sys.prefix == sys.base_prefix:
        return f"TensorRT is in {installed[0]}, but: {said}"
    return (
        f"TensorRT is in {installed[0]}, and this environment does not see it: python3 -m venv "
        "--system-site-packages ENVIRONMENT, and install into that"
    )
