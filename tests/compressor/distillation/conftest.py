"""Teachers and students: a made-up teacher of coloured bars, small ViTs that see real images."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from compressor.data import loading
from compressor.data.dataset import ImageRecord, ImageSet
from compressor.data.loading import Augmentation, Views, load_batches
from compressor.distillation import teacher_features
from compressor.distillation.teacher_features import CachedFeatures, shard_name
from compressor.distillation.training_data import TrainingData
from compressor.models.encoder import create_student, load_teacher
from compressor.recipe.schema import Student, Teacher
from short_training import CNN, SPEC
from teacher_answers import AUGMENT, make_teacher

BARS = Augmentation(seed=0, scale=(0.25, 1.0), side_px=64)
GRID = (2, 2)


@pytest.fixture(scope="module")
def with_maps(tmp_path_factory):
    """Forty pictures of coloured bars, and a made-up teacher that sees their colours."""
    root = tmp_path_factory.mktemp("bars")
    rng = np.random.default_rng(0)
    photos = []
    for number in range(40):
        colour = rng.integers(0, 256, 3)
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[:, 8:24] = colour
        name = f"{number:02d}.png"
        Image.fromarray(pixels).save(root / name)
        split = "validation" if number % 4 == 0 else "train"
        photos.append(ImageRecord(name, f"{number:064x}", 32, 32, number % 2, split))
    images = ImageSet(root, ("a", "b"), tuple(photos))
    train, validation = images.part("train"), images.part("validation")
    mixing = rng.normal(size=(3, 20)).astype(np.float32)

    def teacher(pixels):  # [n, S, S, 3] -> mean colour -> 20 numbers
        colour = np.asarray(pixels, np.float32).mean(axis=(1, 2)) / 255 - 0.3
        return (colour @ mixing).astype(np.float32)

    views = Views(train, BARS, (create_student(CNN, seed=0).preprocess,))
    folder = tmp_path_factory.mktemp("features")
    record = np.dtype([("pooled", np.float32, (20,)), ("maps", np.float16, (*GRID, 20))])
    for number in range(SPEC.views):
        jobs = [(row, number) for row in range(len(train))]
        ((pixels,),) = load_batches(views, [jobs], 0)
        seen = pixels.numpy()  # type: ignore[attr-defined]
        shard = np.zeros(len(train), record)
        shard["pooled"] = teacher(seen)
        for row, column in np.ndindex(*GRID):
            quarter = seen[:, 16 * row :, 16 * column :][:, :16, :16]
            shard["maps"][:, row, column] = teacher(quarter)
        np.save(folder / shard_name(number, 0), shard)
    cached = CachedFeatures(folder, SPEC.views, len(train))
    still = teacher([np.asarray(Image.open(path)) for path in validation.paths])
    return TrainingData(train, BARS, None, False, cached, validation, still)


@pytest.fixture(scope="module")
def data(with_maps, tmp_path_factory):
    """The same, of the pooled features alone."""
    folder = tmp_path_factory.mktemp("pooled")
    for path in with_maps.teacher.folder.glob("*.npy"):
        shard = np.load(path)
        pooled = np.zeros(len(shard), np.dtype([("pooled", np.float32, (20,))]))
        pooled["pooled"] = shard["pooled"]
        np.save(folder / path.name, pooled)
    return replace(with_maps, teacher=replace(with_maps.teacher, folder=folder))


@pytest.fixture(scope="module")
def images(folder_of_images):
    paths = sorted(folder_of_images.rglob("*.png"))
    photos = tuple(
        ImageRecord(path.relative_to(folder_of_images).as_posix(), f"{n:064x}", 32, 32, 0, "train")
        for n, path in enumerate(paths)
    )
    return ImageSet(folder_of_images, ("a",), photos)


@pytest.fixture(scope="module")
def teacher():
    return make_teacher()


@pytest.fixture(scope="module")
def views(images, teacher):
    return Views(images, AUGMENT, (teacher.preprocess,))


@pytest.fixture
def small_shards(monkeypatch):
    """Three shards a view."""
    monkeypatch.setattr(teacher_features, "SHARD_IMAGES", 20)
    monkeypatch.setattr(loading, "BATCH", 7)


# --- for plans of the disk -------------------------------------------------------------------


@pytest.fixture(scope="module")
def coarse_teacher(tiny_teacher):
    """24 wide, a map of 2 x 2."""
    teacher = load_teacher(Teacher(**tiny_teacher))
    assert (teacher.dim, teacher.map_shape) == (24, (2, 2, 24))
    return teacher


def one_block(**changes):
    args = {"patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2, **changes}
    spec = Student(model="vit_tiny_patch16_224", weights="none", image_size=32, args=args)
    return create_student(spec, seed=0)


@pytest.fixture(scope="module")
def student():
    """16 wide, the same grid as `coarse_teacher`."""
    student = one_block(embed_dim=16)
    assert (student.dim, student.map_shape) == (16, (2, 2, 16))
    return student


@pytest.fixture(scope="module")
def finer():
    """A student with a map of 4 x 4."""
    finer = one_block(patch_size=8)
    assert finer.map_shape == (4, 4, 24)
    return finer
