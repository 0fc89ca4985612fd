"""The score that chooses an epoch rests on images that can be answered, or there is none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from compressor.data.dataset import ImageSet
from compressor.distillation.epochs import kept_of, read_log
from compressor.distillation.start.closed_form import solve_start
from compressor.distillation.trainer import distill
from compressor.distillation.validation import Validation
from compressor.models.encoder import create_student
from short_training import CNN, CPU, SPEC
from student_from_file import student_from_file

COLOURS = [(250, 0, 0), (240, 9, 0), (250, 9, 9), (0, 0, 250), (9, 0, 250)]
"""Three reds, two blues."""


class MeanColour(torch.nn.Module):
    """Stands for a student: the mean colour of an image is its embedding."""

    def centred(self, images):
        return images.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("labels", "accuracy"),
    [
        ([0, 0, 0, 1, 2], 1.0),  # nothing else is of class 1 or 2: only the three can be answered
        (
            [0, 0, 0, 0, 1],
            0.75,
        ),  # the blue one of class 0 is taken for a 1, which is not asked about
        ([0, 0, 1, 2, -1], None),  # two images decide nothing
        ([0, 1, 2, 3, 4], None),
    ],
)
def test_images_that_are_alone_in_their_class_are_not_asked_about(labels, accuracy):
    pixels = torch.tensor(COLOURS, dtype=torch.uint8)[:, None, None].expand(-1, 4, 4, -1)
    student, teacher = create_student(CNN, seed=0), np.eye(5, dtype=np.float32)
    validation = Validation(pixels, teacher, np.array(labels), 5, student, CPU)
    scores = validation.measure(MeanColour())
    assert scores.get("knn_accuracy") == (None if accuracy is None else pytest.approx(accuracy))
    assert "similarity" in scores


def labelled(images: ImageSet, labels: list[int]) -> ImageSet:
    classes = tuple("abcdefghij")
    pairs = zip(images.records, labels, strict=True)
    return replace(images, classes=classes, records=tuple(replace(r, label=n) for r, n in pairs))


@pytest.mark.parametrize(
    ("method", "few", "said"),
    [
        ("supervised", False, "fewer than 3 labelled validation images have another one of"),
        ("tintem", True, "fewer than 3 validation images"),
    ],
)
def test_where_no_score_can_choose_the_last_epoch_is_kept(data, tmp_path, method, few, said):
    keys = {"model": "test_efficientnet", "image_size": 32, "embedding": 20}
    keys = student_from_file(keys, tmp_path)
    validation, features = data.validation, data.validation_features
    train = labelled(data.train, [n % 10 for n in range(len(data.train))])
    if few:
        validation = replace(validation, records=validation.records[:2])
        features = features[:2]
    validation = labelled(validation, list(range(len(validation))))  # one image of each class
    data = replace(data, train=train, validation=validation, validation_features=features)
    spec = SPEC.model_copy(update={"method": method, "mix": 0.0, "head": "identity-when-it-fits"})
    start, _ = solve_start(create_student(keys, seed=0), data, spec, CPU, note=print)
    notes: list[str] = []
    work = tmp_path / "work"
    work.mkdir()
    student = create_student(keys, seed=0)
    state = distill(student, data, spec, CPU, work, start=start, note=notes.append)
    log = read_log(work / "train.jsonl")
    assert [epoch.best_so_far for epoch in log] == [False] * 4
    assert kept_of(log).epoch == 3
    assert any(key for key in state if not torch.equal(state[key], start.student[key]))
    assert any(note.startswith(said) for note in notes)
