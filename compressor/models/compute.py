"""Where networks run, in which number format, and with which memory settings."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from compressor.distributed.group import ALONE, Group
from compressor.recipe.values import Precision
from runtime.backends.cores import cores
from runtime.errors import MissingDependencyError

SMALLER_IMAGES = "a smaller image_size, or distill.teacher_precision: bf16"
"""What makes a pass of a network take less memory."""
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of mallopt(3)
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Compute:
    """Device of the networks, and threads that load their images."""

    device: torch.device
    workers: int
    group: Group = ALONE
    """The processes that share the work; one alone unless all of them were called."""

    @classmethod
    def choose(cls, device: str, workers: int | None) -> Compute:
        """Resolve `auto`, and check that the device is there.

        Raises:
            MissingDependencyError: the device is CUDA, and this machine has none.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise MissingDependencyError(
                "distill.device is cuda, and torch sees no GPU here.\n"
                f"  Is one visible (nvidia-smi)? Does its driver match torch {torch.__version__}?\n"
                "  Or set distill.device to cpu or auto."
            )
        chosen = "cuda" if device == "auto" and torch.cuda.is_available() else device
        if workers is None:
            workers = min(16, cores())
        if chosen == "cuda":  # or convolutions in "float32" would compute in TensorFloat-32
            torch.backends.cudnn.allow_tf32 = False
        return cls(torch.device("cpu" if chosen == "auto" else chosen), workers)

    @property
    def on_gpu(self) -> bool:
        """Whether the networks run on a GPU."""
        return self.device.type == "cuda"

    def over(self, group: Group) -> Compute:
        """Return the share of this process: its own GPU, and its part of the threads."""
        if group.size == 1:
            return self
        device = torch.device("cuda", group.local_rank) if self.device.type == "cuda" else None
        workers = max(1, self.workers // group.local_size) if self.workers else 0
        return replace(self, device=device or self.device, workers=workers, group=group)


def training_dtype(wanted: Precision, compute: Compute) -> torch.dtype | None:
    """Return the autocast type of the student's step; None is float32.

    Raises:
        MissingDependencyError: the chosen precision does not run here.
    """
    if wanted == "auto" and compute.device.type == "cpu":
        # On two AVX-512 cores bfloat16 training was slower for a MobileNet and faster for a ViT.
        return None
    return _dtype("distill.precision", wanted, compute)


def teacher_dtype(wanted: Precision, compute: Compute, *, transformer: bool) -> torch.dtype | None:
    """Return the autocast type of the teacher; None is float32.

    On a CPU `auto` takes bfloat16 for a transformer where the processor computes in it.

    Raises:
        MissingDependencyError: the chosen precision does not run here.
    """
    if wanted == "auto" and compute.device.type == "cpu":
        # torch before 2.11 does not know: float32 then
        able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        in_hardware = able.get("avx512_bf16") or able.get("amx_bf16")
        return torch.bfloat16 if transformer and in_hardware else None
    return _dtype("distill.teacher_precision", wanted, compute)


def autocast(dtype: torch.dtype | None, compute: Compute) -> torch.autocast:
    """Return a context in which networks compute in `dtype`; None leaves them in float32."""
    return torch.autocast(compute.device.type, dtype=dtype, enabled=dtype is not None)


@contextmanager
def same_bits(wanted: bool) -> Iterator[None]:
    """Let torch take only algorithms that give the same bits each time, while this context lasts.

    A CPU's do without it. On a GPU they are slower, and an operation that has none is an error of
    torch's that names it.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for one of two
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


@contextmanager
def within_memory(batch: int, remedies: str) -> Iterator[None]:
    """Tell a GPU whose memory is full with the way out, and leave this process able to go on.

    Args:
        batch: images that the network runs on.
        remedies: what takes less memory, such as a key of the recipe.

    Raises:
        MissingDependencyError: the GPU's memory is full.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info()
        raise MissingDependencyError(
            f"the GPU's memory is full ({(total - free) / 1e9:.1f} of {total / 1e9:.1f} GB in use, "
            f"batch {batch}): {remedies}. Or is another process on it (nvidia-smi)? What was "
            "finished is kept: the same command continues."
        ) from error


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
    """Return whether it is in hardware: emulated by older GPUs it is slower than float16."""
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees, for its next tensors; return whether that worked.

    glibc gives a large block back to the kernel when it is freed, and the next step pays for every
    page of it again: 7 to 16 % of a MobileNet's step and 15 to 25 % of a ViT-S teacher's pass on
    two cores (docs/results.md). Other C libraries are left alone.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, 256 << 20))
    return all(mallopt(option, value) for option, value in settings)
