"""What this machine can do: packages, providers that really start, GPU, disk."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct

from runtime.backends.base import Availability
from runtime.backends.nvidia import gpu, jetson_board
from runtime.backends.nvidia.jetson_board import Jetson
from runtime.backends.nvidia.tensorrt_flavour import installed_version
from runtime.backends.ort_providers import starting_providers
from runtime.backends.registry import BACKENDS
from runtime.benchmark import machine as device
from runtime.benchmark.machine import Machine
from runtime.errors import MissingDependencyError

_TRAINING = ("torch", "torchvision", "timm", "safetensors", "scikit-learn", "openTSNE", "kmedoids",
             "onnx", "onnxscript", "pydantic", "ruamel.yaml", "rich", "filelock", "matplotlib",
             "scipy")  # fmt: skip
_DEVICE = ("onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "cuda-bindings")


class Findings(Struct, frozen=True, kw_only=True):
    """What this machine can do: the document that `doctor --json` prints."""

    machine: Machine
    free_disk_gb: float
    packages: dict[str, str | None]
    """Installed version of each package; None: it is not installed."""
    torch_sees_gpu: bool | None
    """None: torch is not installed."""
    onnxruntime_providers: dict[str, bool] | None
    """Whether each provider starts; None: ONNX Runtime is not installed."""
    tensorrt: dict[str, str | None]
    """Installed version of each of its two kinds."""
    gpu: str
    """The first GPU that CUDA shows; else why it shows none."""
    jetpack: str | None
    """On a Jetson, its versions; None elsewhere."""
    backends: dict[str, Availability]
    advice: tuple[str, ...]
    """What to install for the rest."""


def examine() -> Findings:
    """Return what is installed and what works here; changes nothing."""
    installed = {name: device.version_of(name) for name in (*_TRAINING, *_DEVICE)}
    board = jetson_board.read()
    return Findings(
        machine=device.describe(),
        free_disk_gb=round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
        packages=installed,
        torch_sees_gpu=_torch_sees_gpu(),
        onnxruntime_providers=_providers(),
        tensorrt={name: installed_version(name) for name in ("tensorrt", "tensorrt-rtx")},
        gpu=_gpu(),
        jetpack=_jetpack(board),
        backends={backend.name: backend.available() for backend in BACKENDS},
        advice=(*_advice(installed), *(jetson_board.missing(board) if board else ())),
    )


def text(findings: Findings) -> str:
    """Return the findings as text."""
    machine = findings.machine
    torch = {None: "torch is not installed", True: "seen by torch", False: "not seen by torch"}
    lines = [
        f"machine      {machine.cpu}, {machine.cores} cores, {machine.memory_gb} GB, "
        f"{machine.arch}, load {machine.load_1min}",
        f"GPU          {machine.gpu or 'none found'} ({torch[findings.torch_sees_gpu]})",
        f"CUDA         {findings.gpu}",
        f"disk         {findings.free_disk_gb} GB free here",
    ]
    lines += [f"Jetson       {findings.jetpack}"] if findings.jetpack else []
    lines += [f"{name:<12} {state.details}" for name, state in findings.backends.items()]
    lines += [f"  {name:<16}{version or '-'}" for name, version in findings.packages.items()]
    lines += [f"-> {line}" for line in findings.advice] or ["Everything for a run is here."]
    return "\n".join(lines)


def _gpu() -> str:
    found = gpu.find()
    if found is None:
        return gpu.why_none()
    return (
        f"{found.name}, compute capability {found.compute_capability}, CUDA {found.cuda} (the "
        "first that CUDA shows; CUDA_VISIBLE_DEVICES=1 makes another one the first)"
    )


def _jetpack(board: Jetson | None) -> str | None:
    if board is None:
        return None
    return f"JetPack {board.jetpack or 'unknown'}, Jetson Linux {board.linux} (docs/jetson.md)"


def _torch_sees_gpu() -> bool | None:
    if find_spec("torch") is None:
        return None
    import torch

    return torch.cuda.is_available()


def _providers() -> dict[str, bool] | None:
    try:
        return starting_providers()
    except MissingDependencyError:
        return None


def _advice(installed: dict[str, str | None]) -> list[str]:
    advice = []
    missing = [name for name in _TRAINING if installed[name] is None]
    if missing:
        advice.append(f"to train: pip install 'edge-compressor[train]' ({', '.join(missing)})")
    if installed["onnxruntime"] and installed["onnxruntime-gpu"]:
        advice.append(
            "onnxruntime and onnxruntime-gpu are both installed and break each other: "
            "pip uninstall both, then install one"
        )
    if not installed["onnxruntime"] and not installed["onnxruntime-gpu"]:
        advice.append("to run ONNX files: pip install 'edge-compressor[cpu]' (or [gpu])")
    return advice
