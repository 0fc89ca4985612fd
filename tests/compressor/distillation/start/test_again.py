"""The embedding layer of a trained student, solved once more."""

import json
from dataclasses import replace

import pytest
import torch

from compressor.distillation.epochs import kept_of, read_log
from compressor.distillation.least_squares.layer import solve_layer
from compressor.distillation.start.again import solve_again, solve_ends
from compressor.distillation.start.closed_form import solve_start
from compressor.distillation.trainer import distill, keep_end
from compressor.distillation.training import Training
from compressor.models.compute import Compute
from compressor.models.encoder import create_student
from compressor.recipe.schema import Distill
from runtime.progress import silent
from student_from_file import student_from_file

CPU = Compute(torch.device("cpu"), workers=0)
SPEC = Distill(epochs=2, batch=8, views=2, lr=1e-4, mix=0.0, checkpoint_s=1e9, batch_norm="frozen")


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """A student whose weights come from a file."""
    keys = {"model": "test_efficientnet", "image_size": 32, "embedding": 20}
    return student_from_file(keys, tmp_path_factory.mktemp("weights"))


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


def solve_from_validation_images(training):
    """Set a layer that no other images give."""
    validation = training.validation()
    with torch.no_grad():
        pooled = torch.from_numpy(validation.embed(lambda x: training.student.pooled(x).pooled))
    solve_layer(training.student.embedding, pooled, torch.from_numpy(validation.teacher))


def spoil(layer, seed=0):
    with torch.no_grad():
        noise = torch.randn(layer.weight.shape, generator=torch.manual_seed(seed))
        layer.weight += 0.3 * layer.weight.std() * noise


def test_a_layer_that_has_gone_astray_is_brought_back(training):
    solved = score(training)
    spoil(training.student.embedding)
    astray = score(training)
    again = solve_again(training, training.validation(), None, silent, 1)
    assert again.before == astray
    assert again.after == score(training) >= solved > astray


def test_a_layer_that_is_better_on_validation_images_stays(training):
    validation = training.validation()
    solve_from_validation_images(training)
    before = training.student_state()
    again = solve_again(training, validation, None, silent, 1)
    assert again.after < again.before
    after = training.student_state()
    assert all(torch.equal(after[key], before[key]) for key in before)


def begun(training):
    """The validation images of a training whose start is the student as it is."""
    validation = training.validation()
    training.begin(validation.measure(training.student))
    return validation


def last_epoch(training, validation):
    """The end of an epoch, after which no other comes."""
    zero = torch.zeros((), dtype=torch.float64)
    for _ in range(training.schedule.steps_per_epoch):
        training.done += 1
        training.losses.add(training.done, 0.0, None, zero)
    return training.end_epoch(validation.measure(training.student), 0.0)


def test_a_last_epoch_that_is_behind_by_its_layer_alone_is_kept(training):
    solved = score(training)
    spoil(training.student.embedding)
    validation = begun(training)  # a start that could be better
    spoil(training.student.embedding, seed=1)
    assert not last_epoch(training, validation).best_so_far
    start = training.best.quality
    again = solve_ends(training, validation, None, silent)
    assert (again.epoch, training.best.epoch, kept_of(training.log).epoch) == (1, 1, 1)
    assert again.before < start < solved <= again.after == score(training)


def test_a_last_epoch_that_is_behind_solved_again_too_is_not(training):
    solve_from_validation_images(training)
    validation = begun(training)
    start = training.student_state()
    spoil(training.student.embedding)
    last_epoch(training, validation)
    assert solve_ends(training, validation, None, silent) is None
    assert kept_of(training.log).epoch == 0
    assert all(torch.equal(value, start[key]) for key, value in training.student_state().items())


def shaken(state, share, seed):
    """The weights of a student, each kernel of its backbone moved by a share of its size."""
    generator = torch.Generator().manual_seed(seed)
    return {
        key: value + share * value.std() * torch.randn(value.shape, generator=generator)
        if value.ndim > 1 and not key.startswith("embedding")
        else value
        for key, value in state.items()
    }


def two_epochs(training, first, last):
    """A training whose start is far behind, and whose two epochs ended with these weights."""
    spoil(training.student.embedding)
    validation = begun(training)
    for state in (first, last):
        training.student.load_state_dict(state)
        last_epoch(training, validation)
    return validation


def test_an_epoch_that_is_hardly_better_gives_way_to_the_last_one(training):
    """Of two that are alike one is better by chance, as it was trained and solved again."""
    state, validation = training.student_state(), training.validation()

    def scores(seed):
        student = shaken(state, 0.01, seed)
        training.student.load_state_dict(student)
        again = solve_again(training, validation, None, silent, 1)
        return again.before, max(again.before, again.after), student

    first, last = sorted((scores(seed) for seed in range(8)), key=lambda each: each[0])[::-7]
    assert first[1] > last[1]
    training.student.load_state_dict(state)
    pair = first[2], last[2]
    two_epochs(training, *pair)
    assert training.best.epoch == 1
    again = solve_ends(training, validation, None, silent)
    assert (again.epoch, training.best.epoch, kept_of(training.log).epoch) == (2, 2, 2)
    assert score(training) == max(again.before, again.after)


def test_an_epoch_that_is_clearly_better_than_the_last_one_is_kept(training):
    state = training.student_state()
    solve_from_validation_images(training)
    validation = two_epochs(training, training.student_state(), state)
    again = solve_ends(training, validation, None, silent)
    assert (again.epoch, training.best.epoch, kept_of(training.log).epoch) == (1, 1, 1)
    assert score(training) == max(again.before, again.after)


def test_so_is_one_of_a_training_from_scratch(training):
    validation, last = training.validation(), training.student_state()
    solve_from_validation_images(training)
    for state in (training.student_state(), last):
        training.student.load_state_dict(state)
        last_epoch(training, validation)
    keep_end(training, validation)
    assert (training.best.epoch, kept_of(training.log).epoch) == (1, 1)
    assert score(training) == training.best.quality


def test_a_training_that_stops_early_names_the_epoch_that_is_kept(spec, data, tmp_path):
    spoilt = create_student(spec, seed=0)
    start, _ = solve_start(spoilt, data, SPEC, CPU, note=print)
    spoil(spoilt.module.embedding)
    start = replace(start, student=spoilt.module.state_dict())
    stopping = SPEC.model_copy(update={"epochs": 9, "lr": 3e-2, "stop_after": 1})
    said = []
    distill(
        create_student(spec, seed=0), data, stopping, CPU, tmp_path, start=start, note=said.append
    )
    log = read_log(tmp_path / "train.jsonl")
    kept = kept_of(log).epoch
    assert kept > 0 == max(log, key=lambda each: each.scores["similarity"]).epoch
    assert f"stopped early: no better student in the last 1 epochs; epoch {kept} is kept" in said


def test_a_training_ends_with_it(spec, data, tmp_path):
    start, _ = solve_start(create_student(spec, seed=0), data, SPEC, CPU, note=print)
    student = create_student(spec, seed=0)
    state = distill(student, data, SPEC, CPU, tmp_path, start=start, note=print)
    log = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    best = max(log, key=lambda epoch: epoch["similarity"])
    kept = next(epoch for epoch in reversed(log) if epoch["best_so_far"])
    assert kept["epoch"] in (best["epoch"], log[-1]["epoch"])
    summary = json.loads((tmp_path / "training.json").read_text())
    student.module.load_state_dict(state)
    ended = Training(student, data, SPEC, CPU, print)
    assert score(ended) >= best["similarity"] - 1e-5
    if kept["epoch"] == 0:
        assert "solved_again" not in summary
        assert score(ended) == pytest.approx(best["similarity"], abs=1e-5)
    else:
        found = summary["solved_again"]
        assert found["epoch"] == kept["epoch"]
        assert found["before"] == pytest.approx(kept["similarity"], abs=1e-5)
        expected = max(found["before"], found["after"])
        assert score(ended) == pytest.approx(expected, abs=1e-5)
