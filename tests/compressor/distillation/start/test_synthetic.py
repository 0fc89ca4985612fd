"""Synthetic images beside those of the task."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from compressor.distillation.start.closed_form import solve_start
from compressor.distillation.start.synthetic import SyntheticImages
from compressor.distillation.teacher_features import TeacherRunner
from compressor.models.compute import Compute
from compressor.models.embedding_net import EmbeddingNet
from compressor.models.encoder import create_student
from compressor.models.features import Features
from compressor.recipe.schema import Distill, Student
from runtime.images.preprocess import Preprocess

SMALL, LARGE = (
    Preprocess(size, size + 4, "center", "bicubic", (0.5,) * 3, (0.5,) * 3) for size in (32, 64)
)
CPU = Compute(torch.device("cpu"), workers=0)
SPEC = Distill(epochs=2, batch=8, views=2, mix=0.0)


def image(number, *, seed=0, preprocess=LARGE, side_px=68):
    (pixels,) = SyntheticImages(preprocess, seed, side_px)[number]
    return pixels


def test_number_seed_and_side_decide_every_pixel():
    large = image(5, seed=3)
    assert large.shape == (64, 64, 3) and large.dtype == np.uint8
    assert image(5, seed=3, preprocess=SMALL).shape == (32, 32, 3)
    assert np.array_equal(large, image(5, seed=3))
    for other in (image(7, seed=3), image(5, seed=4), image(5, seed=3, side_px=100)):
        assert not np.array_equal(large, other)


def test_half_are_noise_whose_power_falls_with_frequency_and_half_have_edges():
    images = [image(number).astype(int) for number in range(40)]
    steps = [np.diff(pixels, axis=0) for pixels in images]
    rough = [np.abs(step).mean() for step in steps]
    flat = [np.mean(step == 0) for step in steps]
    assert all(pixels.std() > 5 for pixels in images)
    # Smooth images among the noise, and plain surfaces among the leaves alone
    assert min(rough[::2]) < 8 < max(rough[::2])
    assert np.median(flat[1::2]) > 3 * np.median(flat[::2])


class _MeanColour(nn.Module):
    """A teacher as the fixture `data` has it: 20 numbers of the mean colour."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        for _ in range(40):  # as the fixture draws: forty colours come first
            rng.integers(0, 256, 3)
        self.register_buffer("mixing", torch.from_numpy(rng.normal(size=(3, 20))).float())

    def forward(self, images):
        return ((images.mean(dim=(2, 3)) + 1) / 2 - 0.3) @ self.mixing


class _Teacher(EmbeddingNet):
    def features(self, images):
        return Features(self(images), None)


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A student whose weights come from a file."""
    from safetensors.torch import save_file

    half = (0.5, 0.5, 0.5)
    keys = {"model": "test_efficientnet", "image_size": 32, "mean": half, "std": half}
    backbone = create_student(Student(**keys, weights="none"), seed=3).module.backbone
    path = tmp_path_factory.mktemp("weights") / "student.safetensors"
    save_file({key: value.contiguous() for key, value in backbone.state_dict().items()}, path)
    return Student(**keys, weights=str(path), embedding=20)


def made(student, data, *, synthetic, asked=True):
    encoder = create_student(student, seed=0)
    net = _Teacher(_MeanColour(), nn.Identity())
    teacher = replace(encoder, module=net, dim=20, map_shape=None)
    spec = SPEC.model_copy(update={"synthetic": synthetic})
    runner = TeacherRunner(teacher, CPU, None, None) if asked else None
    return solve_start(encoder, data, spec, CPU, teacher=runner, note=print)


def test_they_are_no_more_than_two_for_each_training_image(student, data):
    assert made(student, data, synthetic=600)[1]["synthetic_images"] == 2 * len(data.train)
    assert made(student, data, synthetic=25)[1]["synthetic_images"] == 25


def test_the_layer_learns_the_teachers_answers_to_them(student, data):
    pixels = torch.cat([*SyntheticImages(SMALL, 99, 36).batches([range(64)], workers=0)])
    inputs = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    mean = data.teacher.sample().pooled.mean(dim=0)
    wanted = _MeanColour()(inputs) - mean

    def error(state):
        net = create_student(student, seed=0).module.eval()
        net.load_state_dict(state)
        with torch.no_grad():
            found = net.centred(inputs)
        return 1 - torch.cosine_similarity(found, wanted).mean()

    without, beside = (made(student, data, synthetic=n)[0].student for n in (0, 60))
    assert error(beside) < error(without)


def test_its_answers_are_kept_with_the_start(student, data):
    start, _ = made(student, data, synthetic=20)
    images = start.synthetic.images(create_student(student, seed=0).preprocess)
    pixels = torch.cat([*images.batches([range(20)], workers=0)])
    mean_colours = _MeanColour()(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
    assert torch.allclose(start.synthetic.pooled, mean_colours, atol=1e-5)


def test_without_a_teacher_to_ask_or_with_0_there_are_none(student, data):
    none, silent = made(student, data, synthetic=0), made(student, data, synthetic=60, asked=False)
    assert "synthetic_images" not in none[1] and "synthetic_images" not in silent[1]
    assert all(torch.equal(none[0].student[key], silent[0].student[key]) for key in none[0].student)
