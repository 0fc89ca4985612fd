"""Two processes with half a batch each learn what one process learns of the whole."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from compressor.data import image_files, loading
from compressor.data.image_files import inspect
from compressor.data.loading import Views, load_batches
from compressor.distillation.start.closed_form import solve_start
from compressor.distillation.teacher_features import OnlineFeatures, TeacherRunner, write_shard
from compressor.distillation.trainer import distill, own_batches
from compressor.distillation.training import Training
from compressor.distributed.batch_norm import over_all_processes
from compressor.distributed.group import ALONE, Group
from compressor.models.embed import embed
from compressor.models.encoder import create_student
from compressor.recipe.schema import Distill, Student
from runtime.errors import InputError
from short_training import CNN, CPU
from two_processes import in_two

VIT = Student(
    model="vit_tiny_patch16_224",
    weights="none",
    image_size=32,
    args={"patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2},
)
SPEC = Distill(epochs=2, batch=9, views=2, lr=1e-3, mix=0.0, checkpoint_s=1e9, seed=3)
JOINT = SPEC.model_copy(update={"head": "learned", "head_fit": "joint"})
FROZEN = SPEC.model_copy(update={"batch_norm": "frozen"})
CASES = {
    "a head that learns, with maps": (VIT, JOINT),
    "parts of a batch": (VIT, JOINT.model_copy(update={"batch": 13, "accumulate": 2})),
    "frozen batch norm": (CNN, FROZEN.model_copy(update={"method": "proteus"})),
    "live batch norm": (CNN, JOINT),
}
"""Batches of 9 and 13 are not divisible by 2."""
GRID = (2, 2)
AS_WIDE = VIT.model_copy(update={"args": VIT.args | {"embed_dim": 20}})  # as the made-up teacher


def two_steps(data, case, compute):
    """Losses, gradients and statistics of the first step; weights after the second."""
    student, spec = CASES[case]
    training = Training(create_student(student, seed=3), data[student is VIT], spec, compute, print)
    learns = [*training.student.named_parameters(), *training.method.named_parameters()]
    seen = SimpleNamespace()

    def look(*_):
        if not training.done:
            seen.gradients = {name: p.grad.clone() for name, p in learns if p.grad is not None}

    training.optimizer.register_step_pre_hook(look)
    jobs = itertools.islice(own_batches(training), 2)
    loaded = load_batches(training.data.views(training.encoder), own_batches(training), 0)
    for each, batch in zip(jobs, loaded, strict=False):
        training.step(each, batch)
        if training.done == 1:
            training.losses.read()
            seen.losses = training.losses.sums
            state = training.student_state()
            seen.statistics = {k: v for k, v in state.items() if "running" in k or "tracked" in k}
    seen.weights = [training.student_state(), training.method.state_dict()]
    return seen


def solved(data, weights, compute, spec=FROZEN):
    runner = TeacherRunner(create_student(AS_WIDE, seed=5), compute, None, None)
    student = create_student(weights, seed=0)
    start, found = solve_start(student, data, spec, compute, teacher=runner, note=print)
    return start.student, start.heads, found


def looked(data, compute, folder):
    """The teacher's features: a shard with maps, embeddings, a sample taken at every step."""
    teacher = create_student(VIT, seed=5)
    runner = TeacherRunner(teacher, compute, None, GRID)
    views = Views(data.train, data.augment, (teacher.preprocess,))
    write_shard(folder / "shard.npy", runner, views, 1, 0)
    sample = OnlineFeatures(runner, views).sample()
    embedded = embed(teacher, data.train.paths, compute, label="", keep=folder)
    return embedded, sample.pooled, sample.maps


def everything(given, folder, group):
    """All of it, to be called in each process."""
    data, weights = given
    compute, own = CPU.over(group), folder / f"own{group.rank}"
    own.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_files, "_ROUND", 4)
        patch.setattr(loading, "BATCH", 7)  # five batches of 30 images, for two processes
        return made(data, weights, compute, own)


def normed(group):
    """Two passes of a small network with batch norms of torch and of timm, in float64."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1), BatchNormAct2d(5))
    network = nn.Sequential(*layers).double().train()
    inputs, weights = torch.rand(9, 3, 8, 8).double(), torch.rand(9, 5, 6, 6).double()
    if group.size > 1:
        over_all_processes(network)
    for _ in range(2):
        answers = network(inputs[group.cut(range(9))])
        (answers * weights[group.cut(range(9))]).sum().backward()
    gradients = {name: each.grad for name, each in network.named_parameters()}
    group.sum_in_place(gradients.values())
    network.eval()(inputs)
    return answers.detach(), network.state_dict(), gradients


def made(data, weights, compute, own):
    return {
        **{case: two_steps(data, case, compute) for case in CASES},
        "norms": normed(compute.group),
        "audit": inspect([*data[0].train.paths, own / "gone.png"], group=compute.group),
        "closed form": solved(data[0], weights, compute),
        "teacher": looked(data[1], compute, own),
        "trained": distill(create_student(CNN, seed=3), data[0], SPEC, compute, own, note=print),
        "files": sorted(path.name for path in own.iterdir()),
    }


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A student whose weights come from a file, its batch norms have seen images."""
    backbone = create_student(CNN.model_copy(update={"embedding": None}), seed=3).module.backbone
    with torch.no_grad():
        for seed in range(30):
            shades = torch.rand(16, 3, 1, 1, generator=torch.manual_seed(seed))
            backbone.train()(2 * shades.expand(16, 3, 32, 32))
    path = tmp_path_factory.mktemp("weights") / "student.safetensors"
    save_file({key: value.contiguous() for key, value in backbone.state_dict().items()}, path)
    return CNN.model_copy(update={"weights": str(path)})


@pytest.fixture(scope="module")
def one(data, with_maps, weights, tmp_path_factory):
    return everything(((data, with_maps), weights), tmp_path_factory.mktemp("one"), ALONE)


@pytest.fixture(scope="module")
def two(data, with_maps, weights, tmp_path_factory):
    return in_two(everything, ((data, with_maps), weights), tmp_path_factory.mktemp("two"))


def close(got, expected, tolerance=1e-5):
    """Whether all tensors are equal to rounding, compared with the largest number in each."""
    assert got.keys() == expected.keys()
    return all(
        (got[key].double() - expected[key].double()).abs().max()
        <= tolerance * (1e-3 + expected[key].double().abs().max())
        for key in expected
    )


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_are_those_of_the_whole_batch(one, two, case):
    expected = one[case]
    for got in (each[case] for each in two):
        assert got.losses == pytest.approx(expected.losses, rel=1e-6)
        # Rounding grows through 50 norms over 9 numbers; in float64 below it does not
        assert close(got.gradients, expected.gradients, 1e-3 if "live" in case else 1e-5)
    assert expected.losses[0] > 0 or CASES[case][1] is not JOINT


@pytest.mark.parametrize("case", CASES)
def test_both_processes_have_the_same_bits(two, case):
    first, second = (each[case].weights for each in two)
    for mine, other in zip(first, second, strict=True):
        assert all(torch.equal(mine[key], other[key]) for key in mine)


def test_batch_norms_take_the_statistics_of_the_whole_batch(one, two):
    answers, state, gradients = one["norms"]
    first, second = (each["norms"] for each in two)
    assert torch.allclose(torch.cat([first[0], second[0]]), answers, atol=1e-12)
    assert close(first[1], state, 1e-10) and close(first[2], gradients, 1e-10)
    assert state["1.num_batches_tracked"] == first[1]["1.num_batches_tracked"] == 2


def test_the_closed_form_is_the_same(one, two):
    expected, expected_heads, expected_found = one["closed form"]
    student, heads, found = two[0]["closed form"]
    assert close(student, expected, 1e-6) and close(heads, expected_heads, 1e-6)
    assert found["synthetic_images"] > 0
    assert found["unexplained"] == pytest.approx(expected_found["unexplained"], rel=1e-6)


def test_the_teacher_sees_every_image_once(one, two):
    for got in (each["teacher"] for each in two):
        for mine, expected in zip(got, one["teacher"], strict=True):
            assert np.allclose(mine, expected, atol=1e-5)


def test_every_file_is_decoded_once_and_the_first_process_knows(one, two):
    expected = list(one["audit"].values())
    assert len(expected) == 31 and "No such file" in expected[-1]
    first, second = (each["audit"] for each in two)
    assert list(first.values()) == expected and second == {}


def test_one_process_writes(one, two):
    first, second = (each["files"] for each in two)
    assert first == one["files"] and {"shard.npy", "train.jsonl", "training.json"} <= {*first}
    assert second == []


def test_a_batch_too_small_for_all_is_refused(with_maps, tmp_path):
    crowd = replace(CPU, group=Group(0, 4))
    with pytest.raises(InputError, match="9 images in 4 parts"):
        distill(create_student(CNN, seed=3), with_maps, SPEC, crowd, tmp_path)
