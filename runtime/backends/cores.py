"""The CPU cores that this process may use."""

from __future__ import annotations

import os

import psutil


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):  # macOS has none
        return len(process.cpu_affinity())
    return os.cpu_count() or 1


def physical_cores() -> int:
    """Return the same without a core's second thread: more threads than these are no faster."""
    return min(cores(), psutil.cpu_count(logical=False) or cores())
