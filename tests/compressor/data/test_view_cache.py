"""Views that are kept are the views, and are cut once."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from compressor.data.audit import AuditSettings, audit
from compressor.data.loading import Augmentation, Views, load_batches
from compressor.data.view_cache import ViewCache
from runtime.errors import InputError
from runtime.images.preprocess import Preprocess


@pytest.fixture
def views(folder_of_images):
    found = audit(folder_of_images, AuditSettings("none", 0.2, 0.2, seed=0))
    wanted = Preprocess(
        size_px=24,
        resize_px=24,
        crop_mode="center",
        interpolation="bicubic",
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )
    return Views(found.images, Augmentation(0, (0.25, 1.0), 64), (wanted,))


@pytest.mark.parametrize("workers", [0, 2])
def test_they_are_the_views_the_first_time_and_again(views, tmp_path, workers):
    kept = ViewCache(views, 2, tmp_path)
    jobs = [(row, number) for number in range(2) for row in range(len(views.paths))]
    ((expected,),) = load_batches(views, [jobs], 0)
    for _ in range(2):
        ((got,),) = load_batches(kept, [jobs], workers)
        assert np.array_equal(got, expected)


def test_an_image_is_asked_for_once(views, tmp_path):
    kept = ViewCache(views, 2, tmp_path)
    (first,) = kept[3, 1]
    kept.views = Views(Gone(views), views.augment, views.inputs)
    (again,) = kept[3, 1]
    assert np.array_equal(first, again)
    with pytest.raises(InputError, match="cannot be read"):
        kept[3, 0]
    with pytest.raises(InputError, match="cannot be read"):
        kept[3, 0]  # what could not be cut does not count as cut


def test_nothing_is_left_in_the_folder(views, tmp_path):
    kept = ViewCache(views, 1, tmp_path)
    kept[0, 0]
    assert not list(tmp_path.iterdir())


class Gone:
    """The same images, their files gone."""

    def __init__(self, views):
        self.keys = views.keys
        self.records = [SimpleNamespace(width=32, height=32)] * len(views.paths)
        self.paths = [Path("/nowhere") / path.name for path in views.paths]
