"""What travels in a bundle, and how much of it."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from export.bundle import FEWEST_IMAGES, Cap, outlier_check, recommend, thinned
from runtime.bundle import bundle
from runtime.bundle.golden import Golden
from runtime.bundle.golden_arrays import Arrays, Outside
from runtime.errors import InputError
from runtime.files import sha256_of

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


def test_an_image_that_is_gone_is_named(golden, tmp_path):
    moved = replace(golden, root=tmp_path)
    with pytest.raises(InputError, match=r"000\.png: cannot be read: No such file .*\n.* moved"):
        thinned(moved, Cap(100, 50))


def test_never_fewer_than_can_be_judged(golden):
    assert len(thinned(golden, Cap(100, 1e-9)).images) == FEWEST_IMAGES


# --- whether outliers are told ---------------------------------------------------------------


def with_outside(golden, embedding):
    near = np.full(COUNT, -0.5, np.float32)  # of the teacher: no held-out image was seen before
    outside = Outside(np.zeros(len(embedding), np.float32), embedding)
    arrays = replace(golden.arrays, teacher_nearest=near, outside=outside)
    return replace(golden, ood_images=golden.ood_images[: len(embedding)], arrays=arrays)


@pytest.mark.parametrize(
    ("bank", "inside", "outside", "auroc", "told"),
    [
        ("x", "x", "y", 1.0, True),  # the images of the task are those that the bank has
        ("x", "y", "x", 0.0, False),  # the other way round: a threshold would be inverted
        ("x", "x", "x", 0.5, False),  # a coin toss
    ],
)
def test_outliers_are_told_where_they_are_recognised(golden, bank, inside, outside, auroc, told):
    axes = {"x": np.float32([1, 0, 0]), "y": np.float32([0, 1, 0])}
    arrays = replace(
        golden.arrays,
        bank=np.tile(axes[bank], (COUNT, 1)),
        student_embedding=np.tile(axes[inside], (COUNT, 1)),
    )
    made = with_outside(replace(golden, arrays=arrays), np.tile(axes[outside], (40, 1)))
    found = outlier_check(made)
    assert (found.source, found.images, found.auroc) == ("data.ood", 40, auroc)
    assert found.told is told
    assert found.auroc_ci[0] <= auroc <= found.auroc_ci[1]


def test_nothing_is_known_without_images_of_another_task(golden):
    arrays = replace(golden.arrays, outside=None)
    assert outlier_check(replace(golden, ood_images=(), arrays=arrays)) is None


# --- the file to deploy ----------------------------------------------------------------------


def test_a_bundle_with_its_recommendation_is_whole_and_the_draft_unchanged(
    make_bundle, onnx_bytes, tmp_path
):
    draft = make_bundle(models={"onnx-fp32": onnx_bytes(), "onnx-int8": onnx_bytes(factor=2.0)})
    before = sha256_of(draft)
    for stage in ("onnx-int8", "onnx-fp32"):
        recommend(draft, tmp_path / "bundle", stage)
        assert bundle.load(tmp_path / "bundle").recommended.stage == stage
    assert sha256_of(draft) == before
    assert bundle.load(draft).recommended.stage == "onnx-fp32"
