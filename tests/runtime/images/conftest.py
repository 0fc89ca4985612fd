"""An image file, decoded."""

import numpy as np
import pytest

from runtime.images.decode import decode


@pytest.fixture
def decoded(tmp_path):
    """Write bytes or a Pillow image, and decode the file into an array [H, W, 3]."""

    def write_and_decode(content, name="image.png", **options):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.save(path, **options)
        image = decode(path)
        assert image.mode == "RGB"
        pixels = np.asarray(image)
        assert pixels.dtype == np.uint8
        return pixels

    return write_and_decode
