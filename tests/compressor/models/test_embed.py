import numpy as np
import pytest
import torch
from PIL import Image

from compressor.data import loading
from compressor.models import embed as embeddings
from compressor.models.compute import Compute
from compressor.models.embed import embed
from compressor.models.encoder import create_student
from compressor.recipe.schema import Student
from runtime.errors import InputError

CPU = Compute(torch.device("cpu"), workers=0)


@pytest.fixture(scope="module")
def encoder():
    return create_student(
        Student(model="mobilenetv3_small_050", weights="none", image_size=32, embedding=8), seed=0
    )


@pytest.fixture(scope="module")
def paths(folder_of_images):
    return sorted(folder_of_images.rglob("*.png"))


@pytest.mark.parametrize("workers", [0, 2])
def test_images_are_embedded_in_order_as_the_device_sees_them(paths, encoder, workers):
    got = embed(encoder, paths, Compute(torch.device("cpu"), workers), label="")
    assert got.shape == (48, 8)
    assert got.dtype == np.float32
    for row in (0, 17, 47):
        with Image.open(paths[row]) as image:
            one = torch.from_numpy(encoder.preprocess(image.convert("RGB"))[None])
        with torch.inference_mode():
            expected = encoder.module.eval()(one).numpy()[0]
        assert np.allclose(got[row], expected, atol=1e-5)


def test_a_network_in_training_is_asked_as_the_device_would(paths, encoder):
    expected = embed(encoder, paths, CPU, label="")
    encoder.module.train()
    assert np.array_equal(embed(encoder, paths, CPU, label=""), expected)


def test_no_images_give_no_rows(encoder):
    assert embed(encoder, [], CPU, label="").shape == (0, 8)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_went_away_is_named(encoder, paths, tmp_path, workers):
    with pytest.raises(InputError, match=r"^/.*gone\.png.*No such file(.|\n)*was it moved") as told:
        embed(
            encoder,
            [*paths, tmp_path / "gone.png"],
            Compute(torch.device("cpu"), workers),
            label="",
        )
    assert "Traceback" not in str(told.value)


def test_finished_parts_are_kept(encoder, paths, tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "PART_IMAGES", 20)
    whole = embed(encoder, paths, CPU, label="", keep=tmp_path)
    parts = sorted(tmp_path.iterdir())
    assert [path.name for path in parts] == [f"part-{start:07d}.npy" for start in (0, 20, 40)]
    np.save(parts[0], np.zeros((20, 8), np.float32))
    parts[1].unlink()
    again = embed(encoder, paths, CPU, label="", keep=tmp_path)
    assert not again[:20].any()
    assert np.array_equal(again[20:], whole[20:])


def test_parts_change_nothing(encoder, paths, tmp_path, monkeypatch):
    whole = embed(encoder, paths, CPU, label="")
    monkeypatch.setattr(embeddings, "PART_IMAGES", 20)
    assert np.allclose(embed(encoder, paths, CPU, label="", keep=tmp_path), whole, atol=1e-5)


def test_progress_is_shown_in_batches(encoder, paths, monkeypatch):
    monkeypatch.setattr(loading, "BATCH", 10)
    shown = []

    def track(items, *, label, total):
        shown.append((label, total))
        yield from items

    embed(encoder, paths, CPU, label="student images", track=track)
    assert shown == [("student images", 5)]
