"""How fast a disk takes large files: what reaches it, not what the memory of the system takes."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

_BLOCK = 1 << 23
_MOST_BLOCKS = 64
"""512 MB, and never more than a tenth of what is free."""
AT_LEAST_S = 1.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No room, no room for this user, and a limit of the size of files."""


def write_seconds(folder: Path) -> float:
    """Return the seconds that the disk takes for a byte, over a second of writing.

    Each block is written and sent to the disk before the next. The bytes are random, since some
    disks compress. A memory inside the disk that fills later is not seen: the rate is then too
    high.

    Args:
        folder: on the disk; a file is written there and removed.

    Returns:
        Over what the disk took before it was full; 0, nothing is known, where it took nothing. What
        is to be kept there then ends with its own message.

    Raises:
        OSError: the folder cannot be written to.
    """
    block = np.random.default_rng(0).bytes(_BLOCK)
    most = max(1, min(_MOST_BLOCKS, shutil.disk_usage(folder).free // 10 // _BLOCK))
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        written, begun = 0, time.perf_counter()
        while written < most * _BLOCK and time.perf_counter() - begun < AT_LEAST_S:
            try:
                written += file.write(block)
                os.fsync(file.fileno())
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                break
        return (time.perf_counter() - begun) / written if written else 0.0
