"""The embedding layer of a trained student, solved once more."""

import json

import pytest
import torch
from safetensors.torch import save_file

from compressor.distillation.least_squares.layer import solve_layer
from compressor.distillation.start.again import solve_again
from compressor.distillation.start.closed_form import solve_start
from compressor.distillation.trainer import distill
from compressor.distillation.training import Training
from compressor.models.compute import Compute
from compressor.models.encoder import create_student
from compressor.recipe.schema import Distill, Student
from runtime.progress import silent

CPU = Compute(torch.device("cpu"), workers=0)
SPEC = Distill(epochs=2, batch=8, views=2, lr=1e-4, mix=0.0, checkpoint_s=1e9, batch_norm="frozen")


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """A student whose weights come from a file."""
    keys = {"model": "test_efficientnet", "image_size": 32}
    backbone = create_student(Student(**keys, weights="none"), seed=3).module.backbone
    with torch.no_grad():  # batch norms that have seen images
        for seed in range(30):
            shades = torch.rand(16, 3, 1, 1, generator=torch.manual_seed(seed))
            backbone.train()(2 * shades.expand(16, 3, 32, 32))
    path = tmp_path_factory.mktemp("weights") / "student.safetensors"
    save_file({key: value.contiguous() for key, value in backbone.state_dict().items()}, path)
    return Student(**keys, weights=str(path), embedding=20)


@pytest.fixture
def training(spec, data):
    """A training whose student is solved."""
    start, _ = solve_start(create_student(spec, seed=0), data, SPEC, CPU, note=print)
    training = Training(create_student(spec, seed=0), data, SPEC, CPU, print)
    training.load(start)
    training.student.eval()
    return training


def score(training):
    return training.validation().measure(training.student)["similarity"]


def test_a_layer_that_has_gone_astray_is_brought_back(training):
    solved = score(training)
    layer = training.student.embedding
    with torch.no_grad():
        noise = torch.randn(layer.weight.shape, generator=torch.manual_seed(0))
        layer.weight += 0.3 * layer.weight.std() * noise
    astray = score(training)
    again = solve_again(training, training.validation(), None, silent)
    assert again.before == astray
    assert again.after == score(training) >= solved > astray


def test_a_layer_that_is_better_on_validation_images_stays(training):
    validation = training.validation()
    with torch.no_grad():  # solved from the validation images themselves
        pooled = torch.from_numpy(validation.embed(lambda x: training.student.pooled(x).pooled))
    solve_layer(training.student.embedding, pooled, torch.from_numpy(validation.teacher))
    before = training.student_state()
    again = solve_again(training, validation, None, silent)
    assert again.after < again.before
    after = training.student_state()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_a_training_ends_with_it(spec, data, tmp_path):
    start, _ = solve_start(create_student(spec, seed=0), data, SPEC, CPU, note=print)
    student = create_student(spec, seed=0)
    state = distill(student, data, SPEC, CPU, tmp_path, start=start, note=print)
    log = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    best = max(log, key=lambda epoch: epoch["similarity"])
    summary = json.loads((tmp_path / "training.json").read_text())
    student.module.load_state_dict(state)
    ended = Training(student, data, SPEC, CPU, print)
    if best["epoch"] == 0:
        assert "solved_again" not in summary
        assert score(ended) == pytest.approx(best["similarity"], abs=1e-5)
    else:
        found = summary["solved_again"]
        assert found["before"] == pytest.approx(best["similarity"], abs=1e-5)
        expected = max(found["before"], found["after"])
        assert score(ended) == pytest.approx(expected, abs=1e-5)
