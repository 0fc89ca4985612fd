"""In which number format networks compute: what was asked for, or what this machine gains by."""

from __future__ import annotations

from typing import Any

import torch

from compressor.data.loading import Compute
from compressor.recipe.schema import Precision
from runtime.errors import MissingDependencyError


def training_dtype(wanted: Precision, compute: Compute) -> torch.dtype | None:
    """The autocast type of the student's step, None for float32.

    Raises:
        MissingDependencyError: the precision asked for does not run here.
    """
    if wanted == "auto" and compute.device.type == "cpu":
        # On two AVX-512 cores bfloat16 training was slower for a MobileNet and faster for a ViT.
        return None
    return _dtype("distill.precision", wanted, compute)


def teacher_dtype(wanted: Precision, compute: Compute, *, transformer: bool) -> torch.dtype | None:
    """The autocast type of the teacher on the views, None for float32.

    On a CPU `auto` takes bfloat16 for a transformer where the processor computes in it.

    Raises:
        MissingDependencyError: the precision asked for does not run here.
    """
    if wanted == "auto" and compute.device.type == "cpu":
        # torch before 2.11 cannot tell: float32 then
        able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        in_hardware = able.get("avx512_bf16") or able.get("amx_bf16")
        return torch.bfloat16 if transformer and in_hardware else None
    return _dtype("distill.teacher_precision", wanted, compute)


def autocast(dtype: torch.dtype | None, compute: Compute) -> torch.autocast:
    """Where networks compute in `dtype`; None leaves them in float32."""
    return torch.autocast(compute.device.type, dtype=dtype, enabled=dtype is not None)


def _dtype(key: str, wanted: Precision, compute: Compute) -> torch.dtype | None:
    on_gpu = compute.device.type == "cuda"
    if wanted == "auto":
        wanted = "bf16" if _gpu_has_bf16() else "fp16"
    if wanted == "fp32":
        return None
    if wanted == "fp16" and not on_gpu:
        raise MissingDependencyError(f"{key} is fp16, which needs a GPU; use fp32, bf16 or auto")
    if wanted == "bf16" and on_gpu and not _gpu_has_bf16():
        raise MissingDependencyError(f"{key} is bf16, which this GPU lacks; use fp16")
    return torch.bfloat16 if wanted == "bf16" else torch.float16


def _gpu_has_bf16() -> bool:
    """In hardware: what older GPUs emulate is slower than float16."""
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))
