"""A thousand images whose bytes on disk are known, and the `distill:` section for them."""

from pathlib import Path

from compressor.data.dataset import ImageRecord, ImageSet
from compressor.recipe.schema import Distill

SIDE = 64
"""Of the store, for networks that see 32 pixels."""
VIEWS, IMAGES = 3, 1000
POOLED = 4 * 24 * VIEWS * IMAGES
"""Bytes of the teacher's pooled features, which are 24 wide."""
MAPS = 2 * 24 * 2 * 2 * VIEWS * IMAGES
PIXELS = (3 * 64 * 64 + 8) * IMAGES
TRAIN = ImageSet(Path(), (), (ImageRecord("", "", 100, 100, -1, "train"),) * IMAGES)


def spec(limit=20e9, **changes):
    """Three views, each shown once, at most `limit` bytes."""
    return Distill(disk_gb=limit / 1e9, **{"views": VIEWS, "epochs": VIEWS, **changes})
