"""What this machine is, how busy it is, and whether it is the target."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

_LIBRARIES = ("numpy", "pillow", "onnxruntime", "onnxruntime-gpu", "onnx", "torch", "timm")


def describe() -> dict[str, Any]:
    """The machine a figure was measured on, as it stands in a report."""
    return {
        "os": platform.platform(),
        "arch": platform.machine(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": _memory_gb(),
        "board": _board(),
        "gpu": _gpu(),
        "load_1min": round(os.getloadavg()[0], 2),
        "cpu_governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "cpu_mhz": _cpu_mhz(),
        "python": platform.python_version(),
        "libraries": {name: version for name in _LIBRARIES if (version := version_of(name))},
    }


def matches(machine: Mapping[str, Any], pattern: Mapping[str, str]) -> bool:
    """Whether `machine` (from `describe`) is what a target file describes.

    Args:
        machine: what `describe` gave.
        pattern: for some of `arch`, `cpu`, `board`, `gpu`, a regular expression to be found in it.
            An empty pattern means: whatever this machine is.
    """
    return all(
        re.search(wanted, machine.get(key) or "", re.IGNORECASE) for key, wanted in pattern.items()
    )


def version_of(distribution: str) -> str | None:
    """Installed version of a distribution, without importing it."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def _cpuinfo(key: str) -> str | None:
    found = re.search(rf"^{key}\s*:\s*(.+)$", _read("/proc/cpuinfo") or "", re.MULTILINE)
    return found.group(1).strip() if found else None


def _cpu_model() -> str | None:
    return _cpuinfo("model name") or _cpuinfo("Model") or platform.processor() or None


def _cpu_mhz() -> float | None:
    now_khz = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    if now_khz:
        return round(int(now_khz) / 1000, 1)
    mhz = _cpuinfo("cpu MHz")
    return round(float(mhz), 1) if mhz else None


def _memory_gb() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)


def _board() -> str | None:
    return _read("/proc/device-tree/model")


def _gpu() -> str | None:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
