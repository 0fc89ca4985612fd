"""A new method is one new file and one line: the file and the line that the fixture writes."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from compressor.data.dataset import ImageRecord, ImageSet
from compressor.data.loading import Augmentation
from compressor.distillation.disk_budget import plan_disk
from compressor.distillation.trainer import distill
from compressor.distillation.training_data import TrainingData
from compressor.models.compute import Compute
from compressor.models.encoder import create_student
from compressor.recipe import choices
from compressor.recipe.schema import Distill, Student, json_schema

FILE = '''
"""A method without teacher or labels."""

from compressor.distillation.methods.method import Method


class Constant(Method):
    """Brings the length of every embedding to 1."""

    quality = "knn_accuracy"

    @classmethod
    def build(cls, setup):
        return cls()

    def target(self, teacher, labels):
        return None, labels

    def distance(self, student, target):
        return (student.pooled.norm(dim=1) - 1).square()

    def summary(self, spec, validation, centring):
        return {"invented": True}
'''


@pytest.fixture
def invented(monkeypatch, tmp_path):
    (tmp_path / "invented_method.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    line = choices.MethodChoice(
        "unit-length", "invented_method:Constant", needs_teacher=False, uses_maps=False
    )
    monkeypatch.setitem(choices.METHODS, "unit-length", line)
    yield
    sys.modules.pop("invented_method", None)


@pytest.fixture
def images(tmp_path):
    rng, records = np.random.default_rng(0), []
    for number in range(24):
        pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02d}.png")
        split = "validation" if number < 6 else "train"
        records.append(ImageRecord(f"{number:02d}.png", f"{number:064x}", 32, 32, 0, split))
    return ImageSet(tmp_path, ("a",), tuple(records))


@pytest.mark.usefixtures("invented")
def test_a_student_learns_by_it(images, tmp_path):
    student = create_student(
        Student(model="mobilenetv3_small_050", weights="none", image_size=32, embedding=8), seed=0
    )
    spec = Distill(method="unit-length", epochs=3, batch=6, views=2, lr=1e-3, disk_gb=1)
    train, validation = images.part("train"), images.part("validation")
    assert plan_disk(spec, train, student, student).features == "none"
    data = TrainingData(
        train=train,
        augment=Augmentation(0, (0.5, 1.0), 64),
        store=None,
        keep_views=False,
        teacher=None,
        validation=validation,
        validation_features=np.ones((len(validation), 4), np.float32),
    )
    epochs = []
    compute = Compute(torch.device("cpu"), workers=0)
    distill(student, data, spec, compute, tmp_path, on_epoch=epochs.append)
    assert [ended.epoch for ended in epochs] == [1, 2, 3]
    assert epochs[-1].student_loss < epochs[0].student_loss
    assert '"invented": true' in (tmp_path / "training.json").read_text()


@pytest.mark.usefixtures("invented")
def test_a_recipe_may_name_it_and_its_schema_lists_it():
    assert Distill(method="unit-length").method == "unit-length"
    method = json_schema()["$defs"]["Distill"]["properties"]["method"]
    assert "unit-length" in method["enum"]


def test_without_its_line_it_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="'tintem', 'proteus', 'cosine' or 'supervised'"):
        Distill(method="unit-length")
