"""A cache of views: the first epochs fill a file, later epochs read it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from compressor.data.image_store import new_shard
from compressor.data.loading import Arrays, ViewId, Views


class ViewCache:
    """The views of one network; each is made when it is first needed.

    They are in a temporary file that ends with the process. A resumed run makes them again.
    """

    def __init__(self, views: Views, count: int, folder: Path) -> None:
        """Reserve the disk space.

        Args:
            views: of one network.
            count: V, the number of views per image.
            folder: on a disk with room for V x N x S x S x 3 bytes.

        Raises:
            OSError: the disk has too little room.
        """
        (preprocess,) = views.inputs
        images, side = len(views.paths), preprocess.size_px
        self.views = views
        self.filled = np.zeros((images, count), np.bool_)
        with tempfile.TemporaryDirectory(
            dir=folder
        ) as temporary:  # the mapping outlives the file name
            shard = new_shard(Path(temporary) / "views.npy", np.uint8, images * count * side**2 * 3)
        self.pixels = shard.reshape(images, count, side, side, 3)

    def __getitem__(self, view_id: ViewId) -> Arrays:
        if not self.filled[view_id]:
            (self.pixels[view_id],) = self.views[view_id]
            self.filled[view_id] = True
        return (self.pixels[view_id],)
