"""Where a step gets the teacher's features: from shards, or from the teacher at once."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from compressor.data.loading import Views, load_batches
from compressor.distillation import teacher_features
from compressor.distillation.teacher_features import (
    CachedFeatures,
    OnlineFeatures,
    TeacherRunner,
    shard_name,
)
from compressor.models.compute import Compute
from teacher_answers import AUGMENT, COUNT, CPU, GRID, VIEWS, asked, kept, look, some_jobs, write


def test_cached__features_of_any_jobs_across_shards_and_views(
    teacher, views, tmp_path, small_shards
):
    cached = write(TeacherRunner(teacher, CPU, None, GRID), views, tmp_path)
    assert cached.inputs == ()
    jobs = [(19, 0), (20, 0), (47, 1), (0, 1), (19, 0), *some_jobs()]
    found = kept(cached, jobs)
    assert found.pooled.shape == (35, 24)
    assert found.maps.shape == (35, *GRID, 24)
    assert found.pooled.dtype == found.maps.dtype == torch.float32
    for at, (row, number) in enumerate(jobs):
        record = np.load(tmp_path / shard_name(number, row // 20 * 20))[row % 20]
        assert np.array_equal(found.pooled[at], record["pooled"])
        assert np.array_equal(found.maps[at], record["maps"])


def test_cached__shards_of_any_size_hold_the_same(teacher, views, tmp_path, monkeypatch):
    runner, jobs = TeacherRunner(teacher, CPU, None, GRID), some_jobs()
    whole = kept(write(runner, views, tmp_path / "whole"), jobs)
    for size in (1, 24, 47):
        monkeypatch.setattr(teacher_features, "SHARD_IMAGES", size)
        cached = write(runner, views, tmp_path / str(size))
        found = kept(cached, jobs)
        assert torch.allclose(found.pooled, whole.pooled, atol=1e-5)
        assert torch.allclose(found.maps, whole.maps, atol=2e-3)


def test_cached__what_it_gives_may_be_changed_and_the_file_stays(teacher, views, tmp_path):
    cached = write(TeacherRunner(teacher, CPU, None, GRID), views, tmp_path)
    found = kept(cached, [(0, 0)])
    before = found.pooled.clone()
    found.pooled.zero_()
    found.maps.zero_()
    again = kept(cached, [(0, 0)])
    assert torch.equal(again.pooled, before)
    assert again.maps.any()


def test_cached__a_sample_is_taken_evenly_over_views_and_images(
    teacher, views, tmp_path, small_shards, monkeypatch
):
    cached = write(TeacherRunner(teacher, CPU, None, GRID), views, tmp_path)
    monkeypatch.setattr(teacher_features, "SAMPLE_POOLED", 6)
    monkeypatch.setattr(teacher_features, "SAMPLE_MAPS", 3)
    sample = cached.sample()
    # maps of 0, 47.5 (rounded to the even 48) and 95 of 96; then 19, 38, 57, 76: 0 and 95 are there
    pooled = kept(cached, [(0, 0), (0, 1), (47, 1), (19, 0), (38, 0), (9, 1), (28, 1)])
    assert torch.equal(sample.pooled, pooled.pooled)
    assert torch.equal(sample.maps, kept(cached, [(0, 0), (0, 1), (47, 1)]).maps)


def test_cached__a_sample_of_few_is_all_of_them_once(teacher, views, tmp_path, small_shards):
    cached = write(TeacherRunner(teacher, CPU, None, GRID), views, tmp_path)
    everything = kept(cached, [(row, number) for number in range(VIEWS) for row in range(COUNT)])
    sample = cached.sample()
    assert torch.equal(sample.pooled, everything.pooled)
    assert torch.equal(sample.maps, everything.maps)


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_cached__shards_are_not_read_whole(tmp_path):
    # 300 MB, which the file has as a hole, of images whose maps are 3 MB each.
    record = np.dtype([("pooled", np.float32, (4,)), ("maps", np.float16, (612, 612, 4))])
    path = tmp_path / shard_name(0, 0)
    shard = np.lib.format.open_memmap(path, mode="w+", dtype=record, shape=(100,))
    shard[70]["pooled"] = [1, 2, 3, 4]
    shard.flush()
    del shard
    before, cached = resident_bytes(), CachedFeatures(tmp_path, 1, 100)
    found = kept(cached, [(70, 0)])
    assert found.pooled.tolist() == [[1, 2, 3, 4]]
    assert resident_bytes() - before < 80e6


def test_online__says_what_the_shards_say(teacher, views, tmp_path, small_shards):
    runner, jobs = TeacherRunner(teacher, CPU, None, GRID), some_jobs()
    cached = kept(write(runner, views, tmp_path), jobs)
    online = OnlineFeatures(runner, views)
    assert online.inputs == (teacher.preprocess,)
    found = asked(runner, views, jobs)
    assert torch.allclose(found.pooled, cached.pooled, atol=1e-5)
    assert found.maps.shape == cached.maps.shape
    assert torch.allclose(found.maps, cached.maps, rtol=1e-3, atol=2e-3)


def test_online__a_student_s_batch_shows_it_the_views(teacher, images, tmp_path):
    # As a training step has it: the teacher's cut first, then one for a student of 16 pixels.
    student = replace(teacher.preprocess, size_px=16, resize_px=16)
    online = OnlineFeatures(
        TeacherRunner(teacher, CPU, None, GRID), Views(images, AUGMENT, (teacher.preprocess,))
    )
    jobs = some_jobs()
    both = Views(images, AUGMENT, (*online.inputs, student))
    ((*looks, _),) = load_batches(both, [jobs], 0)
    found = online.features(jobs, looks)
    for at in (0, 11, 29):
        pooled, _ = look(teacher, images, *jobs[at])
        assert np.allclose(found.pooled[at], pooled, atol=1e-5)


@pytest.mark.parametrize("workers", [0, 2])
def test_online__a_sample_is_the_first_cut_of_some_images(
    teacher, views, tmp_path, small_shards, monkeypatch, workers
):
    monkeypatch.setattr(teacher_features, "SAMPLE_MAPS", 10)
    runner = TeacherRunner(teacher, Compute(torch.device("cpu"), workers), None, GRID)
    sample = OnlineFeatures(runner, views).sample()
    rows = [0, 5, 10, 16, 21, 26, 31, 37, 42, 47]
    cached = write(runner, views, tmp_path)
    expected = kept(cached, [(row, 1) for row in rows])
    assert torch.allclose(sample.pooled, expected.pooled, atol=1e-5)
    assert torch.allclose(sample.maps, expected.maps, rtol=1e-3, atol=2e-3)


def test_a_student_can_learn_from_either_and_the_teacher_from_neither(teacher, views, tmp_path):
    runner, jobs = TeacherRunner(teacher, CPU, None, GRID), some_jobs()
    cached = kept(write(runner, views, tmp_path), jobs)
    online = asked(runner, views, jobs)
    for found in (cached, online):
        assert not found.pooled.requires_grad
        assert not found.maps.requires_grad
        layer = torch.nn.Linear(24, 24)
        loss = (layer(found.pooled) * found.pooled).sum() + (layer(found.maps) * found.maps).sum()
        loss.backward()
        assert layer.weight.grad.any()
    assert all(each.grad is None for each in teacher.module.parameters())
