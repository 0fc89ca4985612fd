"""The times that TensorRT measured of kernels, kept for later builds on the same kind of GPU.

One file for each version and GPU: TensorRT refuses the times of another one, and then measures
anew. `tensorrt-rtx` chooses kernels on the device and has no such cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.backends.nvidia.tensorrt_flavour import Flavour
from runtime.files import replacing


def path_of(folder: Path, flavour: Flavour, version: str, capability: str) -> Path:
    """Return the file for a version of TensorRT and a GPU."""
    sm = capability.replace(".", "")
    return folder / f"{flavour}-{version}-sm{sm}.timing-cache"


def attach(config: Any, path: Path | None) -> bool:
    """Let a build use the times in a file, and measure what is not there; a new cache otherwise.

    Returns:
        Whether a file that is there is stale: of another version or GPU, or no cache. It is not
        used, and written anew after the build.
    """
    measured = path.read_bytes() if path is not None and path.is_file() else b""
    cache = config.create_timing_cache(measured)
    # False: of another GPU or version, although the file says not. None: no times at all.
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
        return bool(measured)
    return False


def keep(config: Any, path: Path | None) -> None:
    """Write the times of a finished build, if it has any."""
    cache = config.get_timing_cache()
    if path is None or cache is None:
        return
    with replacing(path) as temporary:
        temporary.write_bytes(bytes(cache.serialize()))
