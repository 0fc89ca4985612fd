"""Views that are cut once and shown again: the first epochs fill a file, the later ones read it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from compressor.data.loading import Arrays, Job, Views
from compressor.data.shards import new_shard


class Rendered:
    """The views of one network; each is cut when it is first asked for.

    They lie in an unnamed file that ends with the process. A run that is continued cuts them again.
    """

    def __init__(self, views: Views, count: int, folder: Path) -> None:
        """Reserve the room.

        Args:
            views: of one network.
            count: V, the numbers of views that are asked for.
            folder: where the disk has room for V x N x S x S x 3 bytes.

        Raises:
            OSError: it has not.
        """
        (wanted,) = views.inputs
        images, side = len(views.paths), wanted.size_px
        self.views = views
        self.cut = np.zeros((images, count), np.bool_)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:  # the mapping outlives the name
            shard = new_shard(Path(temporary) / "views.npy", np.uint8, images * count * side**2 * 3)
        self.pixels = shard.reshape(images, count, side, side, 3)

    def __getitem__(self, job: Job) -> Arrays:
        if not self.cut[job]:
            (self.pixels[job],) = self.views[job]
            self.cut[job] = True
        return (self.pixels[job],)
