"""The teacher's features: what the shards hold is what the teacher says of those very views."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from compressor.data.loading import Views
from compressor.distillation.teacher_features import (
    OnlineFeatures,
    TeacherRunner,
    shard_name,
    write_shard,
)
from compressor.models.compute import Compute
from compressor.models.encoder import create_student
from compressor.recipe.schema import Student
from runtime.errors import InputError
from teacher_answers import (
    AUGMENT,
    COUNT,
    CPU,
    GRID,
    VIT,
    asked,
    kept,
    look,
    make_teacher,
    shown,
    some_jobs,
    write,
)

CNN = Student(model="mobilenetv3_small_050", weights="none", image_size=32, embedding=24)


def on_grid(maps, grid):
    """Pillow's antialiased bilinear resize of each channel: [H, W, C] -> [*grid, C]."""
    channels = [
        Image.fromarray(np.ascontiguousarray(maps[..., channel])).resize(
            grid[::-1], Image.Resampling.BILINEAR
        )
        for channel in range(maps.shape[2])
    ]
    return np.stack([np.asarray(each) for each in channels], axis=2)


# --- shards ----------------------------------------------------------------------------------


def test_a_record_is_what_the_teacher_says_of_that_view(
    teacher, images, views, tmp_path, small_shards
):
    write(TeacherRunner(teacher, CPU, None, GRID), views, tmp_path)
    for row, number in ((0, 0), (19, 1), (20, 0), (33, 1), (47, 0), (47, 1)):
        record = np.load(tmp_path / shard_name(number, row // 20 * 20))[row % 20]
        pooled, maps = look(teacher, images, row, number)
        assert np.allclose(record["pooled"], pooled, atol=1e-5)
        assert record["maps"].shape == (3, 2, 24)
        assert np.allclose(record["maps"], on_grid(maps, GRID), rtol=1e-3, atol=2e-3)


def test_a_map_of_the_same_grid_is_kept_as_it_is(teacher, images, views, tmp_path):
    write(TeacherRunner(teacher, CPU, None, (4, 4)), views, tmp_path, count=1)
    record = np.load(tmp_path / shard_name(0, 0))[5]
    _, maps = look(teacher, images, 5, 0)
    assert np.allclose(record["maps"], maps, rtol=1e-3, atol=1e-4)


def test_a_shard_is_float32_pooled_and_float16_maps_and_nothing_else(teacher, views, tmp_path):
    write(TeacherRunner(teacher, CPU, None, GRID), views, tmp_path, count=1)
    (path,) = tmp_path.iterdir()
    shard = np.load(path)
    assert shard.dtype == [("pooled", "<f4", (24,)), ("maps", "<f2", (3, 2, 24))]
    assert shard.nbytes == COUNT * (4 * 24 + 2 * 3 * 2 * 24)
    assert path.stat().st_size - shard.nbytes <= 192


def test_without_a_grid_there_are_no_maps(teacher, views, tmp_path):
    cached = write(TeacherRunner(teacher, CPU, None, None), views, tmp_path)
    assert np.load(tmp_path / shard_name(0, 0)).nbytes == COUNT * 4 * 24
    with_maps = write(TeacherRunner(teacher, CPU, None, GRID), views, tmp_path / "with maps")
    jobs = some_jobs()
    found = kept(cached, jobs)
    assert found.maps is None
    assert torch.equal(found.pooled, kept(with_maps, jobs).pooled)
    assert cached.sample().maps is None
    runner = TeacherRunner(teacher, CPU, None, None)
    assert asked(runner, views, jobs).maps is None
    assert OnlineFeatures(runner, views).sample().maps is None


def test_reader_processes_change_no_bit(teacher, views, tmp_path):
    write(TeacherRunner(teacher, CPU, None, GRID), views, tmp_path / "alone", count=1)
    fed = Compute(torch.device("cpu"), workers=2)
    write(TeacherRunner(teacher, fed, None, GRID), views, tmp_path / "fed", count=1)
    one, other = (tmp_path / name / shard_name(0, 0) for name in ("alone", "fed"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("network", [VIT, CNN], ids=["vit", "cnn"])
def test_bf16_is_near_and_what_it_gives_is_float32(views, network):
    teacher, seen = create_student(network, seed=0), shown(views, some_jobs())
    exact = TeacherRunner(teacher, CPU, None, GRID).run(seen)
    rough = TeacherRunner(teacher, CPU, torch.bfloat16, GRID).run(seen)
    for one, other in ((exact.pooled, rough.pooled), (exact.maps, rough.maps)):
        assert one.dtype == other.dtype == torch.float32
        assert not torch.equal(one, other)
        assert torch.nn.functional.cosine_similarity(one, other, dim=-1).min() > 0.99


def test_a_teacher_in_training_is_asked_in_peace(views):
    teacher = make_teacher()
    runner, seen = TeacherRunner(teacher, CPU, None, GRID), shown(views, some_jobs())
    expected = runner.run(seen)
    teacher.module.train()  # would drop half of the paths
    assert torch.equal(runner.run(seen).pooled, expected.pooled)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_the_teacher_is_asked_where_it_is_told(teacher, views):
    on_gpu = replace(CPU, device=torch.device("cuda"))
    seen = shown(views, some_jobs())
    expected = TeacherRunner(make_teacher(), CPU, None, GRID).run(seen)
    got = TeacherRunner(make_teacher(), on_gpu, None, GRID).run(seen)
    assert got.pooled.device.type == "cuda"
    assert torch.allclose(got.pooled.cpu(), expected.pooled, atol=1e-3)


def test_progress_is_shown_and_counts_views_from_one(teacher, views, tmp_path, small_shards):
    told = []

    def track(items, *, label, total):
        told.append((label, total))
        yield from items

    write_shard(
        tmp_path / "s.npy", TeacherRunner(teacher, CPU, None, None), views, 1, 40, track=track
    )
    write_shard(
        tmp_path / "t.npy", TeacherRunner(teacher, CPU, None, None), views, 0, 40, track=track
    )
    assert told == [("teacher on view 2", 2), ("teacher on images", 2)]
    assert len(np.load(tmp_path / "s.npy")) == 8


# --- what goes wrong -------------------------------------------------------------------------


class KilledError(Exception):
    """Stands for SIGKILL."""


def test_a_shard_is_written_whole_or_not_at_all(teacher, views, tmp_path, small_shards):
    runner, path = TeacherRunner(teacher, CPU, None, GRID), tmp_path / shard_name(0, 0)

    def killer(items, *, label, total):
        for number, item in enumerate(items):
            if number == total - 1:
                assert not path.exists()
                raise KilledError
            yield item

    with pytest.raises(KilledError):
        write_shard(path, runner, views, 0, 0, track=killer)
    assert list(tmp_path.iterdir()) == []
    write_shard(path, runner, views, 0, 0)
    assert list(tmp_path.iterdir()) == [path]
    whole = np.load(path)
    assert whole["pooled"].any(axis=1).all()
    assert whole["maps"].any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_went_away_is_named(teacher, images, tmp_path, workers):
    photos = (*images.records[:30], replace(images.records[30], id="gone.png"))
    views = Views(replace(images, records=photos), AUGMENT, (teacher.preprocess,))
    runner = TeacherRunner(teacher, Compute(torch.device("cpu"), workers), None, GRID)
    with pytest.raises(InputError, match=r"gone\.png: cannot be read: No such file"):
        write_shard(tmp_path / "shards" / "s.npy", runner, views, 0, 0)
    assert list((tmp_path / "shards").iterdir()) == []


def test_features_that_are_not_finite_are_refused(views, tmp_path):
    teacher = make_teacher()
    with torch.no_grad():
        teacher.module.backbone.norm.bias[3] = torch.nan
    for grid in (None, GRID):
        with pytest.raises(InputError) as told:
            write_shard(tmp_path / "s.npy", TeacherRunner(teacher, CPU, None, grid), views, 0, 0)
        assert str(told.value).startswith(
            "teacher: 48 of 1152 features are not finite in float32. "
        )
    assert list(tmp_path.iterdir()) == []


def test_maps_beyond_float16_are_refused_with_the_way_out(views, tmp_path):
    teacher = make_teacher()
    with torch.no_grad():
        teacher.module.backbone.norm.weight *= 1e6
    with pytest.raises(InputError, match=r"not finite in float16\.(.|\n)*distill.token_maps: off"):
        write_shard(tmp_path / "s.npy", TeacherRunner(teacher, CPU, None, GRID), views, 0, 0)
    assert list(tmp_path.iterdir()) == []
    write_shard(tmp_path / "s.npy", TeacherRunner(teacher, CPU, None, None), views, 0, 0)
    assert np.abs(np.load(tmp_path / "s.npy")["pooled"]).max() > 65_504
