"""The C library's allocator, set for tensors that come and go at every step."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of mallopt(3)
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees, for its next tensors; whether that took.

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
