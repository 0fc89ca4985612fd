"""What travels in a bundle, and how much of it."""

import numpy as np
import pytest
from PIL import Image

from export.bundle import FEWEST_IMAGES, Cap, thinned
from runtime.bundle.golden import Golden
from runtime.bundle.golden_arrays import Arrays, Outside

COUNT, SIDE = 60, 40


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """60 held-out images in the order of two classes, and 40 that are not of the task."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    names = [f"{n:03d}.png" for n in range(COUNT + 40)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(root / name)
    labels = np.repeat([0, 1], COUNT // 2)
    embedding = rng.normal(size=(COUNT, 3)).astype(np.float32)
    arrays = Arrays(
        labels=labels,
        teacher_embedding=embedding,
        teacher_knn=None,
        teacher_logits=None,
        teacher_nearest=embedding[:, 0],
        student_embedding=embedding,
        student_logits=None,
        outside=Outside(np.zeros(40, np.float32), np.ones((40, 3), np.float32)),
        bank=embedding,
        bank_labels=labels,
    )
    return Golden(root, tuple(names[:COUNT]), tuple(names[COUNT:]), ("a", "b"), arrays)


def megabytes(chosen):
    names = (*chosen.images, *chosen.ood_images)
    return sum((chosen.root / name).stat().st_size for name in names) / 1e6


def test_all_of_them_where_the_cap_is_high(golden):
    assert thinned(golden, Cap(100, 50)).images == golden.images


def test_so_many_evenly_over_their_order(golden):
    chosen = thinned(golden, Cap(20, 50))
    assert (len(chosen.images), len(chosen.ood_images)) == (20, 20)
    assert chosen.arrays.labels.tolist() == [0] * 10 + [1] * 10
    rows = [golden.images.index(name) for name in chosen.images]
    assert np.array_equal(chosen.arrays.student_embedding, golden.arrays.student_embedding[rows])


def test_so_many_megabytes(golden):
    whole = megabytes(golden)
    for share in (0.9, 0.6):
        chosen = thinned(golden, Cap(100, whole * share))
        assert whole * share * 0.8 < megabytes(chosen) <= whole * share
        assert len(set(chosen.arrays.labels.tolist())) == 2


def test_never_fewer_than_can_be_judged(golden):
    assert len(thinned(golden, Cap(100, 1e-9)).images) == FEWEST_IMAGES
