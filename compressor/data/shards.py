"""Arrays on disk that are filled in place through memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def new_shard(path: Path, dtype: npt.DTypeLike, count: int) -> np.memmap[Any, Any]:
    """A writable, memory-mapped `.npy` of `count` records, its room on the disk reserved.

    Without that, a disk that fills up would end the process by a signal, at some later page.

    Raises:
        OSError: the disk has not enough room.
    """
    shard: np.memmap[Any, Any] = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.dtype(dtype), shape=(count,)
    )
    with path.open("rb+") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return shard
