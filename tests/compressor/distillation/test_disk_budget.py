"""What is kept on disk: counted to the byte, and what is given up first when it is too much."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from compressor.data import image_store
from compressor.data.audit import AuditSettings, audit
from compressor.data.dataset import ImageRecord, ImageSet
from compressor.data.image_store import store_bytes
from compressor.data.loading import Augmentation, Views
from compressor.distillation import teacher_features
from compressor.distillation.disk_budget import DiskPlan, plan_disk
from compressor.distillation.teacher_features import TeacherRunner
from compressor.models.compute import Compute
from disk_plans import IMAGES, MAPS, PIXELS, POOLED, SIDE, TRAIN, VIEWS, spec

CPU = Compute(torch.device("cpu"), workers=0)
VIEW = 3 * 32 * 32
PACKED = (round(1.2 * 64 * 64) + 700 + 8) * IMAGES


@pytest.fixture(scope="module")
def teacher(coarse_teacher):
    return coarse_teacher


# --- the bytes -------------------------------------------------------------------------------


@pytest.mark.parametrize("shard_images", [7, 4096])
@pytest.mark.parametrize("token_maps", ["auto", "off"])
def test_the_bytes_are_those_that_are_written(
    folder_of_images, teacher, finer, tmp_path, monkeypatch, token_maps, shard_images
):
    for name, size in (("large", (150, 200)), ("long", (500, 70)), ("small", (20, 10))):
        noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    for path in sorted(folder_of_images.rglob("*.png"))[:17]:
        (tmp_path / f"{path.parent.name}{path.name}").write_bytes(path.read_bytes())
    found = audit(tmp_path, AuditSettings("none", 0.2, 0.2, seed=0))
    train = found.images
    assert len(train) == 20

    monkeypatch.setattr(image_store, "SHARD_IMAGES", shard_images)
    monkeypatch.setattr(teacher_features, "SHARD_IMAGES", shard_images)
    chosen = spec(views=2, epochs=2, token_maps=token_maps)
    plan = plan_disk(chosen, train, teacher, finer)
    assert plan.keep_images and plan.features == "cached"
    augment = Augmentation(0, chosen.crops, plan.side_px)
    views = Views(train, augment, (teacher.preprocess,))
    runner = TeacherRunner(teacher, CPU, None, plan.grid)
    kept = tmp_path / "kept"
    for start in range(0, len(train), shard_images):
        image_store.write_shard(kept / image_store.shard_name(start), train, start, plan.side_px)
        for number in range(chosen.views_for(len(train))):
            path = kept / teacher_features.shard_name(number, start)
            teacher_features.write_shard(path, runner, views, number, start)
    written = [np.load(path, mmap_mode="r") for path in kept.iterdir()]
    assert len(written) == 3 * math.ceil(20 / shard_images)
    assert plan.bytes == sum(shard.nbytes for shard in written)
    # The headers, which are not counted, are small.
    on_disk = sum(path.stat().st_size for path in kept.iterdir())
    assert on_disk - plan.bytes <= 192 * len(written)


def test_the_views_that_count_are_those_shown(teacher, student):
    def pooled(**changes):
        chosen = spec(token_maps="off", **changes)
        return plan_disk(chosen, TRAIN, teacher, student).bytes - PIXELS

    assert pooled() == POOLED
    assert pooled(views=2, epochs=2) == POOLED * 2 / 3
    assert pooled(views=8, epochs=5) == POOLED * 5 / 3
    assert pooled(views=8, epochs=1) == POOLED / 3


def test_where_all_fits_all_is_kept(teacher, student):
    assert plan_disk(spec(), TRAIN, teacher, student) == DiskPlan(
        features="cached",
        grid=(2, 2),
        keep_images=True,
        keep_views=False,
        side_px=SIDE,
        bytes=POOLED + MAPS + PIXELS,
        lines=(
            "teacher features of 3,000 views: 0.9 MB (0.3 KB a view)",
            "decoded images: 12.3 MB",
        ),
        feature_bytes=4 * 24 + 2 * 24 * 2 * 2,
        view_bytes=VIEW,
    )


def test_large_amounts_are_told_in_gb(teacher, student):
    many = replace(TRAIN, records=TRAIN.records * 100)
    assert plan_disk(spec(), many, teacher, student).lines[1] == "decoded images: 1.2 GB"


# --- what is given up first ------------------------------------------------------------------


def above_and_below(count):
    """Limits that `count` bytes just fit in, and just do not."""
    return count + 0.5, count - 0.5


def test_images_that_are_too_many_are_kept_as_jpeg(teacher, student):
    fits, too_small = above_and_below(POOLED + MAPS + PIXELS)
    assert plan_disk(spec(fits), TRAIN, teacher, student).packing == "raw"
    plan = plan_disk(spec(too_small), TRAIN, teacher, student)
    assert (plan.grid, plan.features, plan.keep_images) == ((2, 2), "cached", True)
    assert plan.packing == "jpeg"
    assert plan.bytes == POOLED + MAPS + PACKED
    assert plan.lines[1] == (
        "decoded images would take 12.3 MB, more than what is left of distill.disk_gb "
        f"({too_small / 1e9:g}): kept as JPEG of quality 95, about {PACKED / 1e6:.1f} MB"
    )


def test_images_that_are_too_many_as_jpeg_too_are_decoded_again(teacher, student):
    fits, too_small = above_and_below(POOLED + MAPS + PACKED)
    assert plan_disk(spec(fits), TRAIN, teacher, student).keep_images
    plan = plan_disk(spec(too_small), TRAIN, teacher, student)
    assert (plan.grid, plan.features, plan.keep_images) == ((2, 2), "cached", False)
    assert plan.bytes == POOLED + MAPS
    assert plan.lines == (
        "teacher features of 3,000 views: 0.9 MB (0.3 KB a view)",
        f"decoded images would take 12.3 MB, more than what is left of distill.disk_gb "
        f"({too_small / 1e9:g}): files are decoded again for every view",
    )


def test_maps_that_are_too_large_are_left_out_under_auto(teacher, student):
    fits, too_small = above_and_below(POOLED + MAPS)
    assert plan_disk(spec(fits), TRAIN, teacher, student).grid == (2, 2)
    plan = plan_disk(spec(too_small), TRAIN, teacher, student)
    assert (plan.grid, plan.features, plan.keep_images) == (None, "cached", False)
    assert plan.bytes == POOLED
    assert plan.lines[:2] == (
        "token maps of 3,000 views would take 0.6 MB, over distill.disk_gb "
        f"({too_small / 1e9:g}): learning from the pooled features alone",
        "teacher features of 3,000 views: 0.3 MB (0.1 KB a view)",
    )


def test_maps_that_are_too_large_are_made_at_every_step_where_they_must_be(teacher, student):
    fits, too_small = above_and_below(POOLED + MAPS)
    assert plan_disk(spec(fits, token_maps="on"), TRAIN, teacher, student).features == "cached"
    plan = plan_disk(spec(too_small, token_maps="on"), TRAIN, teacher, student)
    assert (plan.grid, plan.features, plan.keep_images) == ((2, 2), "online", False)
    assert plan.bytes == 0
    assert plan.lines[0] == (
        "token maps of 3,000 views would take 0.6 MB, over distill.disk_gb "
        f"({too_small / 1e9:g}): the teacher runs at every step instead"
    )
    assert len(plan.lines) == 2


@pytest.mark.parametrize("token_maps", ["auto", "on", "off"])
def test_features_that_are_too_many_are_made_at_every_step(teacher, student, token_maps):
    fits, too_small = above_and_below(POOLED)
    chosen = spec(fits, token_maps="off")
    assert plan_disk(chosen, TRAIN, teacher, student).features == "cached"
    plan = plan_disk(spec(too_small, token_maps=token_maps), TRAIN, teacher, student)
    # A teacher that runs anyway gives its maps as well.
    assert plan.grid == (None if token_maps == "off" else (2, 2))
    assert (plan.features, plan.keep_images, plan.bytes) == ("online", False, 0)
    assert plan.lines[0] == (
        "the teacher's features of 3,000 views would take 0.3 MB, over distill.disk_gb "
        f"({too_small / 1e9:g}): the teacher runs at every step instead"
    )


def test_without_features_the_images_have_all_the_room(teacher, student):
    # Images smaller than their features: here 2 x 2 pixels.
    small = ImageSet(Path(), (), (ImageRecord("", "", 2, 2, -1, "train"),) * IMAGES)
    plan = plan_disk(spec(store_bytes(small, SIDE) + 0.5), small, teacher, student)
    assert (plan.features, plan.keep_images) == ("online", True)
    assert plan.bytes == store_bytes(small, SIDE) == 20 * IMAGES


def test_a_teacher_asked_to_run_at_every_step_keeps_nothing_and_says_nothing(teacher, student):
    plan = plan_disk(spec(teacher="online"), TRAIN, teacher, student)
    assert (plan.grid, plan.features, plan.keep_images) == ((2, 2), "online", True)
    assert plan.bytes == PIXELS
    assert plan.lines == ("decoded images: 12.3 MB",)


def test_supervised_keeps_the_images_and_no_features(teacher, student):
    for chosen in (spec(PIXELS + 0.5), spec(PIXELS + 0.5, teacher="online")):
        chosen = chosen.model_copy(update={"method": "supervised"})
        plan = plan_disk(chosen, TRAIN, teacher, student)
        lines = ("decoded images: 12.3 MB",)
        assert plan == DiskPlan("none", None, True, False, SIDE, PIXELS, lines, view_bytes=VIEW)


@settings(max_examples=60, deadline=None)
@given(
    limit=st.floats(1, 20e6),
    token_maps=st.sampled_from(["auto", "on", "off"]),
    method=st.sampled_from(["tintem", "proteus", "cosine", "supervised"]),
    asked=st.sampled_from(["cached", "online"]),
    resample=st.booleans(),
    epochs=st.sampled_from([1, VIEWS, 9]),
)
def test_the_limit_is_kept_and_a_step_always_has_what_it_needs(
    teacher, student, limit, token_maps, method, asked, resample, epochs
):
    how = {"token_maps": token_maps, "method": method, "teacher": asked, "resample": resample}
    chosen = spec(limit, epochs=epochs, **how)
    plan = plan_disk(chosen, TRAIN, teacher, student)
    assert 0 <= plan.bytes <= limit * (1 + 1e-9)
    fell_back = any("at every step" in line for line in plan.lines)
    online = method != "supervised" and (asked == "online" or fell_back)
    kept = "none" if method == "supervised" else "cached"
    assert plan.features == ("online" if online else kept)
    if method == "supervised" or token_maps == "off":
        assert plan.grid is None
    elif token_maps == "on":
        assert plan.grid == (2, 2)
    as_jpeg = any("kept as JPEG of quality 95" in line for line in plan.lines)
    assert as_jpeg == (plan.packing == "jpeg")
    assert plan.keep_images == (as_jpeg or "decoded images: 12.3 MB" in plan.lines)
    kept_lines = {line.partition(":")[0] for line in plan.lines}
    assert plan.keep_views == ("the student's views during training" in kept_lines)
    assert not (plan.keep_views and (online or epochs <= VIEWS))


def test_views_shown_again_are_kept_while_there_is_room(teacher, student):
    chosen = {"epochs": VIEWS + 1, "token_maps": "off"}
    shown = 3 * 32 * 32 * VIEWS * IMAGES
    fits, too_small = above_and_below(POOLED + PIXELS + shown)
    plan = plan_disk(spec(fits, **chosen), TRAIN, teacher, student)
    assert (plan.keep_views, plan.bytes) == (True, POOLED + PIXELS + shown)
    assert plan.lines[-1] == "the student's views during training: 9.2 MB"
    plan = plan_disk(spec(too_small, **chosen), TRAIN, teacher, student)
    assert (plan.keep_views, plan.keep_images, plan.bytes) == (False, True, POOLED + PIXELS)
    assert plan.lines[-1] == (
        "the student's views during training would take 9.2 MB, more than what is left of "
        f"distill.disk_gb ({too_small / 1e9:g}): each is cut again every time"
    )


@pytest.mark.parametrize("changes", [{"epochs": VIEWS}, {"epochs": 9, "teacher": "online"}])
def test_views_shown_once_are_not_kept(teacher, student, changes):
    plan = plan_disk(spec(**changes), TRAIN, teacher, student)
    assert not plan.keep_views
    assert plan.lines[-1] == "decoded images: 12.3 MB"
