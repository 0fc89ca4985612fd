"""Mixed views in the training: teacher and student see the same mix, cached and online."""

import itertools
import json
from dataclasses import replace

import pytest
import torch

from compressor.data.loading import Views, load_batches, to_input
from compressor.data.mixing import Partners
from compressor.distillation.schedule import Schedule
from compressor.distillation.teacher_features import OnlineFeatures, TeacherRunner
from compressor.distillation.trainer import distill
from compressor.models.encoder import create_student
from compressor.recipe.schema import Distill, Student
from teacher_answers import COUNT, CPU, GRID, write

VIEWS = 4
MIXED = frozenset({1, 3})
CNN = Student(model="mobilenetv3_small_050", weights="none", image_size=32, embedding=16)


@pytest.fixture
def mixed(images, views):
    """The teacher's views of the images, two of four mixed."""
    return Views(images, replace(views.augment, mixed=MIXED), views.inputs)


@pytest.fixture
def runner(teacher):
    return TeacherRunner(teacher, CPU, None, GRID)


@pytest.fixture
def cached(runner, mixed, tmp_path, small_shards):
    """The teacher's features of the views."""
    return replace(write(runner, mixed, tmp_path, VIEWS), mixed=MIXED)


def test_features_are_of_the_blend_of_two_views(teacher, images, views, cached):
    for row in (0, 7, 47):
        mix = Partners(images.keys).mix(row, 3, views.augment.seed)
        blended = mix.blend(*views[row, 3], *views[mix.partner, 3])
        pixels = to_input(torch.from_numpy(blended)[None], teacher.preprocess, CPU.device)
        with torch.inference_mode():
            expected = teacher.module.eval().features(pixels).pooled
        found = cached.features([(row, 3)], []).pooled
        assert torch.allclose(found, expected, atol=1e-5)
        alone = to_input(torch.from_numpy(views[row, 3][0].copy())[None], teacher.preprocess,
                         CPU.device)  # fmt: skip
        with torch.inference_mode():
            assert not torch.allclose(found, teacher.module.features(alone).pooled, atol=1e-2)


def test_online_the_teacher_answers_of_the_same_mix_with_its_maps(images, mixed, runner, cached):
    jobs = [(row, number) for number in range(VIEWS) for row in range(COUNT)]
    student = replace(runner.teacher.preprocess, size_px=16, resize_px=16)
    both = Views(images, mixed.augment, (*mixed.inputs, student))
    ((for_teacher, _),) = load_batches(both, [jobs], 0)
    online = OnlineFeatures(runner, mixed).features(jobs, [for_teacher])
    kept = cached.features(jobs, [])
    assert torch.allclose(online.pooled, kept.pooled, atol=1e-5)
    assert torch.allclose(online.maps, kept.maps, rtol=1e-3, atol=2e-3)


def test_means_and_heads_are_made_from_views_that_are_not_mixed(mixed, runner, cached):
    everything = [(row, number) for number in (0, 2) for row in range(COUNT)]
    assert torch.equal(cached.sample().pooled, cached.features(everything, []).pooled)
    online = OnlineFeatures(runner, mixed).sample()
    second = cached.features([(row, 2) for row in range(COUNT)], [])
    assert torch.allclose(online.pooled, second.pooled, atol=1e-5)


def test_batches_have_views_of_several_numbers_and_each_image_sees_all_of_its_own():
    spec = Distill(epochs=8, batch=8, views=4)
    schedule = Schedule(spec, images=40, interleaved=True)
    batches = list(schedule.batches())
    assert all(len({number for _, number in batch}) > 1 for batch in batches)
    seen = sorted(itertools.chain(*batches))
    assert seen == sorted(2 * [(row, number) for row in range(40) for number in range(4)])
    # The rows are those of a training without mixed views
    rows = [[row for row, _ in batch] for batch in batches]
    assert rows == [[row for row, _ in batch] for batch in Schedule(spec, 40).batches()]
    assert list(schedule.batches(11)) == batches[11:]


def test_a_training_with_mixed_views_says_so_and_has_the_same_bits_again(data, tmp_path):
    spec = Distill(epochs=2, batch=8, views=2, checkpoint_s=1e9)
    mixed = replace(data, augment=replace(data.augment, mixed=frozenset({1})))
    states = []
    for name, chosen in (("one", mixed), ("two", mixed), ("alone", data)):
        (tmp_path / name).mkdir()
        states.append(distill(create_student(CNN, seed=0), chosen, spec, CPU, tmp_path / name))
    said = [
        json.loads((tmp_path / name / "training.json").read_text()) for name in ("one", "alone")
    ]
    assert said[0]["mixed_views"] == 1
    assert "mixed_views" not in said[1]
    one, two, alone = states
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not all(torch.equal(one[key], alone[key]) for key in one)
