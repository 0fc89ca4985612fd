"""The section `distill:` of recipes that run in seconds."""

from __future__ import annotations

from typing import Final

TINY_TRAINING: Final[dict[str, object]] = {
    "epochs": 1,
    "batch": 8,
    "views": 1,
    "workers": 1,
    "device": "cpu",
    "disk_gb": 20,  # by default it follows from the disk of this machine
}
