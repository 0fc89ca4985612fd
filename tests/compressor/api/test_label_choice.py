"""Choosing images to label from Python: embeddings, folders, arrays, and what is refused."""

import tarfile
import tempfile

import numpy as np
import pytest

import compressor

pytest.importorskip("openTSNE")


@pytest.fixture
def embeddings():
    """Four tight clusters of ten: [40, 8]."""
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(8)[:4] * 5, 10, axis=0)
    return centres + rng.normal(scale=0.05, size=centres.shape)


@pytest.mark.parametrize("strategy", ["k-medoids", "k-center", "cold-paws-cosine"])
def test_each_cluster_gets_one_label(embeddings, strategy):
    selection = compressor.select_images(embeddings, budget=4, strategy=strategy)
    assert sorted(selection.rows // 10) == [0, 1, 2, 3]
    assert selection.paths == ()
    assert (selection.represented_by // 10 == np.arange(40) // 10).all()
    assert (selection.distance >= 0).all()


def test_the_choice_goes_on_from_labelled_images(embeddings):
    selection = compressor.select_images(
        embeddings, budget=2, strategy="k-center", already=[3, 3, 15]
    )
    assert sorted(selection.rows // 10) == [2, 3]
    again = compressor.select_images(embeddings, budget=2, strategy="k-center", already=[15, 3])
    assert (selection.rows == again.rows).all()


def test_shards_are_refused_with_the_command_that_takes_them(
    folder_of_images, tiny_teacher, tmp_path
):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(folder_of_images / "red", "red")
    with pytest.raises(compressor.InputError, match="`compressor label` takes other sources too"):
        compressor.select_images(tmp_path / "a.tar", budget=2, teacher=tiny_teacher)


def test_a_folder_of_images_is_embedded_by_a_teacher(folder_of_images, tiny_teacher):
    selection = compressor.select_images(
        folder_of_images, budget=3, strategy="k-center", teacher=tiny_teacher, device="cpu"
    )
    assert selection.embeddings.shape == (48, 24)
    assert len(set(selection.paths)) == 3
    assert all(path.is_file() for path in selection.paths)
    paths = sorted(folder_of_images.rglob("*.png"))
    assert selection.paths == tuple(paths[row] for row in selection.rows)


@pytest.mark.parametrize(
    "strategy", ["cold-paws", "typiclust", "random", "k-center", "k-medoids", "mini-max"]
)
def test_a_seed_may_be_a_time_in_milliseconds(embeddings, strategy):
    how = {"budget": 4, "strategy": strategy, "seed": 1_780_000_000_000}
    rows = compressor.select_images(embeddings, **how).rows
    assert len(set(rows)) == 4
    assert np.array_equal(rows, compressor.select_images(embeddings, **how).rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": 0}, "a budget of 0"),
        ({"budget": 41}, "40 different images"),
        ({"strategy": "k-mediods"}, "k-mediods"),
        ({"already": [40]}, "rows from 0 to 39"),
        ({"seed": -1}, "0 or more"),
        ({"already": [True] * 40}, "numbers of rows are wanted, not bool"),
        ({"already": [0.5]}, "numbers of rows are wanted, not float64"),
        ({"strategy": "stratified-random"}, "label"),
    ],
)
def test_wrong_arguments_are_refused(embeddings, changes, message):
    with pytest.raises(compressor.InputError, match=message):
        compressor.select_images(embeddings, **{"budget": 4, **changes})


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (np.ones(5), "expected"),
        (np.zeros((0, 3)), "expected"),
        (np.full((5, 3), np.nan), "not finite"),
        (np.zeros((5, 3)), "zero"),
        (np.zeros((5, 8, 8, 3), np.uint8), "need a teacher"),
    ],
)
def test_wrong_embeddings_are_refused(broken, message):
    with pytest.raises(compressor.InputError, match=message):
        compressor.select_images(broken, budget=2)


def test_what_the_file_system_refuses_is_an_input_error(tiny_teacher, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    images = np.zeros((4, 32, 32, 3), np.uint8)
    with pytest.raises(compressor.InputError, match=r"Not a directory\. Choose another folder"):
        compressor.select_images(images, budget=2, teacher=tiny_teacher, device="cpu")
