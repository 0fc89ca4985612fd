"""A student that has weights, solved before training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from compressor.distillation.methods import tintem_head
from compressor.distillation.start import closed_form
from compressor.distillation.start.closed_form import solve_start
from compressor.distillation.trainer import distill
from compressor.distillation.training import Training
from compressor.models.compute import Compute
from compressor.models.embed import embed
from compressor.models.encoder import create_student
from compressor.models.features import stages_of, widths_of
from compressor.recipe.schema import Distill
from runtime import metrics
from runtime.errors import InputError
from student_from_file import student_from_file

CPU = Compute(torch.device("cpu"), workers=0)
SPEC = Distill(epochs=2, batch=8, views=2, lr=1e-4, mix=0.0, checkpoint_s=1e9, batch_norm="frozen")
MODELS = {
    "cnn": {"model": "test_efficientnet", "image_size": 32, "embedding": 20},
    "vit": {
        "model": "vit_tiny_patch16_224",
        "image_size": 32,
        "args": {"patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 2},
        "embedding": 20,
    },
}


@pytest.fixture(scope="module", params=MODELS)
def from_weights(request, tmp_path_factory):
    """A student whose weights come from a file."""
    return student_from_file(MODELS[request.param], tmp_path_factory.mktemp("weights"))


def solved(spec, data, settings=SPEC):
    return solve_start(create_student(spec, seed=0), data, settings, CPU, note=print)


def similarity(spec, state, data):
    student = create_student(spec, seed=0)
    student.module.load_state_dict(state)
    embedded = embed(student, data.validation.paths, CPU, label="")
    mean = data.teacher.sample().pooled.mean(dim=0).numpy()
    return metrics.pair_correlation(
        embedded - student.module.constant.numpy(), data.validation_features - mean
    )


def test_its_layer_takes_statistics_of_stages(from_weights):
    student = create_student(from_weights, seed=0)
    backbone = student.module.backbone
    widths = widths_of(backbone, 32, student.module.stages)
    assert student.has_start
    assert student.module.stages == stages_of(backbone, 4)
    assert student.module.embedding.in_features == sum(widths)
    assert len(widths) == 1 + 2 * 4
    none = create_student(from_weights.model_copy(update={"stages": 0}), seed=0)
    assert none.module.embedding.in_features == widths[0]


def test_the_start_follows_the_teacher(from_weights, data):
    start, found = solved(from_weights, data)
    assert found["images"] == 30 and found["views"] == 2
    assert 0 < found["unexplained"] < 1
    before = create_student(from_weights, seed=0)
    random = similarity(from_weights, before.module.state_dict(), data)
    assert similarity(from_weights, start.student, data) > max(0.5, random + 0.2)
    backbone = {key for key in start.student if key.startswith("backbone.")}
    weights = before.module.state_dict()
    assert all(torch.equal(start.student[key], weights[key]) for key in backbone)


def test_the_same_bits_again(from_weights, data):
    one, other = (solved(from_weights, data)[0] for _ in range(2))
    assert all(torch.equal(one.student[key], other.student[key]) for key in one.student)


@pytest.mark.parametrize(
    ("method", "width"),
    [("tintem", 8), ("tintem", 28), ("cosine", 8), ("cosine", 28), ("proteus", 20)],
)
def test_every_method_and_width_starts_well(data, method, width, from_weights, monkeypatch):
    """A narrower and a wider embedding than the teacher's 20 keep the angles too."""
    monkeypatch.setattr(tintem_head, "FIT_STEPS", 50)
    spec = from_weights.model_copy(update={"embedding": width})
    settings = SPEC.model_copy(update={"method": method, "head": "identity-when-it-fits"})
    if method == "tintem" and width > 20:
        settings = settings.model_copy(update={"head_fit": "first"})
    start, _ = solve_start(create_student(spec, seed=0), data, settings, CPU, note=print)
    assert similarity(spec, start.student, data) > 0.5


def test_a_method_without_a_teacher_keeps_the_students_own_angles(from_weights, data):
    alone = replace(data, teacher=None)
    settings = SPEC.model_copy(update={"method": "supervised"})
    spec = from_weights.model_copy(update={"embedding": 24, "stages": 0})
    start, _ = solve_start(create_student(spec, seed=0), alone, settings, CPU, note=print)
    student = create_student(spec, seed=0)
    student.module.load_state_dict(start.student)
    own = embed(student, data.validation.paths, CPU, label="")
    student.module.embedding = nn.Identity()
    student.module.register_buffer("constant", None)
    (width,) = widths_of(student.module.backbone, 32, ())
    raw, learnt = (
        embed(replace(student, dim=width), part.paths, CPU, label="")
        for part in (data.validation, data.train)
    )
    raw_mean = learnt.mean(axis=0)
    assert metrics.pair_correlation(own, raw - raw_mean) > 0.85


def test_training_never_ends_below_the_start(from_weights, data, tmp_path):
    start, _ = solved(from_weights, data)
    harmful = SPEC.model_copy(update={"lr": 0.03, "epochs": 2})
    student = create_student(from_weights, seed=0)
    state = distill(student, data, harmful, CPU, tmp_path, start=start)
    assert (
        similarity(from_weights, state, data)
        >= similarity(from_weights, start.student, data) - 1e-4
    )


def test_no_epochs_give_the_start_itself(from_weights, data, tmp_path):
    start, _ = solved(from_weights, data)
    student = create_student(from_weights, seed=0)
    none = SPEC.model_copy(update={"epochs": 0})
    state = distill(student, data, none, CPU, tmp_path, start=start)
    assert all(torch.equal(state[key], start.student[key]) for key in state)
    assert [line["epoch"] for line in log_of(tmp_path)] == [0]


def log_of(folder):
    import json

    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def test_a_solved_layer_learns_more_slowly_and_statistics_stay(from_weights, data):
    start, _ = solved(from_weights, data)
    training = Training(create_student(from_weights, seed=0), data, SPEC, CPU, print)
    training.load(start)
    groups = training.optimizer.param_groups
    inputs = training.student.embedding.in_features
    assert [group["share"] for group in groups] == [1.0, 1.0, pytest.approx(inputs**-0.5)]
    assert groups[2]["weight_decay"] == 0
    before = {key: value.clone() for key, value in training.student.named_buffers()}
    jobs = next(training.schedule.batches())
    from compressor.data.loading import load_batches

    (batch,) = load_batches(data.views(training.encoder), [jobs], 0)
    training.step(jobs, batch)
    after = dict(training.student.named_buffers())
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("head", ["learned", "pca-then-learned"])
def test_a_head_that_learns_with_the_student_is_no_solved_layer(from_weights, data, head):
    spec = from_weights.model_copy(update={"embedding": 16})
    settings = SPEC.model_copy(update={"head": head, "head_fit": "joint"})
    training = Training(create_student(spec, seed=0), data, settings, CPU, print)
    groups = training.optimizer.param_groups
    shares = {id(each): group["share"] for group in groups for each in group["params"]}
    assert {shares[id(each)] for each in training.method.head.parameters()} == {1.0}
    assert shares[id(training.student.embedding.weight)] < 0.1


def test_a_student_that_is_solved_again_keeps_no_mean_of_before(from_weights, data):
    student = create_student(from_weights, seed=0)
    student.module.constant.fill_(3)
    settings = SPEC.model_copy(update={"center": False})
    start, _ = solve_start(student, data, settings, CPU, note=print)
    assert not start.student["constant"].any()


def test_the_mean_is_given_back_and_the_cosines_follow_the_teachers_own(from_weights, data):
    shifted = replace(
        data, teacher=_Shifted(data.teacher), validation_features=(data.validation_features + 4)
    )
    start, _ = solve_start(create_student(from_weights, seed=0), shifted, SPEC, CPU, note=print)
    student = create_student(from_weights, seed=0)
    student.module.load_state_dict(start.student)
    own = embed(student, data.validation.paths, CPU, label="")
    without = own - start.student["constant"].numpy()
    teacher = shifted.validation_features
    given, left_out = (metrics.pair_correlation(each, teacher) for each in (own, without))
    assert given >= left_out
    if from_weights.model == MODELS["vit"]["model"]:
        assert given > left_out


class _Shifted:
    """The same teacher with 4 added to every feature: all its images have much in common."""

    kind, inputs = "cached", ()

    def __init__(self, teacher):
        self.teacher = teacher

    def features(self, jobs, pixels):
        found = self.teacher.features(jobs, pixels)
        return replace(found, pooled=found.pooled + 4)

    def sample(self):
        found = self.teacher.sample()
        return replace(found, pooled=found.pooled + 4)


def test_more_numbers_than_images_are_refused(from_weights, data):
    spec = from_weights.model_copy(update={"embedding": 31})
    with pytest.raises(InputError, match=r"student\.embedding: 31 .* 30 training images"):
        solve_start(create_student(spec, seed=0), data, SPEC, CPU, note=print)


def test_features_that_are_not_finite_name_an_image(from_weights, data):
    student = create_student(from_weights, seed=0)
    with torch.no_grad():
        next(student.module.backbone.parameters()).fill_(np.nan)
    with pytest.raises(InputError, match=r"features of .*\.png are not finite"):
        solve_start(student, data, SPEC, CPU, note=print)


def test_the_sample_of_a_methods_own_layers_is_bounded(from_weights, with_maps, monkeypatch):
    monkeypatch.setattr(closed_form, "SAMPLE_IMAGES", 12)
    cnn = from_weights.model == MODELS["cnn"]["model"]
    if not cnn:
        pytest.skip("its map is no 2 x 2 grid")
    larger = from_weights.model_copy(update={"image_size": 64})
    start, _ = solve_start(create_student(larger, seed=0), with_maps, SPEC, CPU, note=print)
    assert all(torch.isfinite(value).all() for value in start.heads.values())
    assert any(key.startswith("map_layer") for key in start.heads)
