"""The machine that a number was measured on, and whether it is the target of a bundle."""

from __future__ import annotations

import platform
import re
import subprocess
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import psutil
from msgspec import Struct

from runtime.backends.cores import cores
from runtime.benchmark.machine_load import MachineLoad

_LIBRARIES = ("numpy", "pillow", "onnxruntime", "onnxruntime-gpu", "onnx", "torch", "timm")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_BOARD = Path("/proc/device-tree/model")
_CPU_INFO = Path("/proc/cpuinfo")


class Machine(Struct, frozen=True, omit_defaults=True):
    """A machine, as it stands in a report. None: this machine does not tell."""

    os: str
    arch: str
    cpu: str | None
    cores: int
    """Those that this process may use."""
    memory_gb: float
    board: str | None
    """The model of a single-board computer, such as a Jetson."""
    gpu: str | None
    load_1min: float
    cpu_governor: str | None
    cpu_mhz: float | None
    python: str
    libraries: dict[str, str]
    """Installed version of each library that a measurement depends on."""
    while_timing: MachineLoad | None = None
    """Only in a report: how busy the machine was while files were timed."""


def describe() -> Machine:
    """Describe the machine that this process runs on."""
    return Machine(
        os=platform.platform(),
        arch=platform.machine(),
        cpu=_cpu_model(),
        cores=cores(),
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        board=_read(_BOARD),
        gpu=_gpu(),
        load_1min=round(psutil.getloadavg()[0], 2),
        cpu_governor=_read(_GOVERNOR),
        cpu_mhz=_cpu_mhz(),
        python=platform.python_version(),
        libraries={name: version for name in _LIBRARIES if (version := version_of(name))},
    )


def now() -> str:
    """Return the time in UTC, such as `2026-11-29T20:15:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def matches(machine: Machine, pattern: Mapping[str, str]) -> bool:
    """Tell whether a machine is what a target file describes.

    Args:
        machine: see `describe`.
        pattern: for some of `arch`, `cpu`, `board`, `gpu`, `os`, a regular expression to search in
            it. An empty pattern matches every machine.
    """
    return all(
        re.search(expression, getattr(machine, key, None) or "", re.IGNORECASE)
        for key, expression in pattern.items()
    )


def version_of(distribution: str) -> str | None:
    """Return the installed version of a distribution without importing it, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def _cpu_model() -> str | None:
    """Return the name of the CPU; psutil does not read it."""
    for key in ("model name", "Model"):
        if line := re.search(rf"^{key}\s*:\s*(.+)$", _read(_CPU_INFO) or "", re.MULTILINE):
            return line[1].strip()
    return platform.processor() or None


def _cpu_mhz() -> float | None:
    try:
        frequency = psutil.cpu_freq()
    except (AttributeError, NotImplementedError, OSError):
        return None
    return round(frequency.current, 1) if frequency and frequency.current else None


def _gpu() -> str | None:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
