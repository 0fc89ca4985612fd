import numpy as np
import pytest
import torch
from PIL import Image

from compressor import embeddings
from compressor.embeddings import Compute, ViewPixels, embed, embed_views, load_views
from compressor.encoders import create_student
from compressor.images import ImageSet, Photo
from compressor.recipe import Student
from compressor.views import view_of
from runtime.errors import InputError, MissingDependencyError

CPU = Compute(torch.device("cpu"), workers=0)


@pytest.fixture(scope="module")
def encoder():
    return create_student(
        Student(model="mobilenetv3_small_050", image_size=32, embedding=8), seed=0
    )


@pytest.fixture(scope="module")
def images(folder_of_images):
    paths = sorted(folder_of_images.rglob("*.png"))
    photos = tuple(
        Photo(path.relative_to(folder_of_images).as_posix(), f"{n:064x}", 32, 32, 0, "train")
        for n, path in enumerate(paths)
    )
    return ImageSet(folder_of_images, ("a",), photos)


@pytest.fixture
def views(images, encoder):
    return ViewPixels(images, encoder.preprocess, 0, (0.25, 1.0))


@pytest.mark.parametrize("workers", [0, 2])
def test_images_are_embedded_in_order_as_the_device_sees_them(images, encoder, workers):
    got = embed(encoder, images.paths, Compute(torch.device("cpu"), workers), label="")
    assert got.shape == (48, 8)
    assert got.dtype == np.float32
    for row in (0, 17, 47):
        with Image.open(images.paths[row]) as image:
            one = torch.from_numpy(encoder.preprocess(image.convert("RGB"))[None])
        with torch.inference_mode():
            expected = encoder.module.eval()(one).numpy()[0]
        assert np.allclose(got[row], expected, atol=1e-5)


def test_no_images_give_no_rows(encoder):
    assert embed(encoder, [], CPU, label="").shape == (0, 8)


def test_features_of_a_view_are_those_of_its_pixels(images, encoder, views, tmp_path):
    for number in range(2):
        embed_views(encoder, views, number, tmp_path, CPU)
    features = load_views(tmp_path, 2, len(images))
    assert features.shape == (2, 48, 8)
    row, number = 5, 1
    with Image.open(images.paths[row]) as image:
        view = view_of(images.keys[row], number, seed=0, size=image.size, scale=(0.25, 1.0))
        pixels = view.render(image.convert("RGB"), 32, encoder.preprocess.resampling)
    one = torch.from_numpy(encoder.preprocess.normalise(pixels[None]))
    with torch.inference_mode():
        expected = encoder.module.eval()(one).numpy()[0]
    assert np.allclose(features[number, row], expected, atol=1e-5)


def test_shards_that_are_there_are_kept(encoder, views, tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "SHARD_IMAGES", 20)  # three shards of 48 images
    embed_views(encoder, views, 0, tmp_path, CPU)
    shards = sorted(tmp_path.glob("*.npy"))
    assert len(shards) == 3
    whole = load_views(tmp_path, 1, 48)
    kept = np.zeros((20, 8), np.float32)
    np.save(shards[0], kept)
    shards[2].unlink()
    embed_views(encoder, views, 0, tmp_path, CPU)
    again = load_views(tmp_path, 1, 48)
    assert np.array_equal(again[0, :20], kept)
    assert np.array_equal(again[0, 20:], whole[0, 20:])


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_went_away_is_named(encoder, images, tmp_path, workers):
    paths = [*images.paths, tmp_path / "gone.png"]
    with pytest.raises(InputError, match=r"^/.*gone\.png.*No such file(.|\n)*was it moved") as told:
        embed(encoder, paths, Compute(torch.device("cpu"), workers), label="")
    assert "Traceback" not in str(told.value)


def test_finished_parts_are_kept(encoder, images, tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "SHARD_IMAGES", 20)
    whole = embed(encoder, images.paths, CPU, label="", keep=tmp_path)
    parts = sorted(tmp_path.glob("part-*.npy"))
    assert len(parts) == 3
    np.save(parts[0], np.zeros((20, 8), np.float32))
    parts[1].unlink()
    again = embed(encoder, images.paths, CPU, label="", keep=tmp_path)
    assert not again[:20].any()
    assert np.array_equal(again[20:], whole[20:])


def test_cuda_is_never_replaced_in_silence():
    assert Compute.choose("cpu", 3) == Compute(torch.device("cpu"), 3)
    if torch.cuda.is_available():
        assert Compute.choose("cuda", None).device.type == "cuda"
    else:
        assert Compute.choose("auto", None).device.type == "cpu"
        with pytest.raises(MissingDependencyError, match=r"distill.device is cuda"):
            Compute.choose("cuda", None)
