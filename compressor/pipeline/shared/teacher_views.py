"""The teacher on views of the training images: shards that recipes share, or at every step."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from compressor.data.augmentation import PLAIN
from compressor.pipeline.context import Run
from compressor.pipeline.crew import together
from compressor.pipeline.step import NETWORK_LIBRARIES
from compressor.pipeline.storage.digests import digest
from compressor.recipe.choices import METHODS
from compressor.recipe.networks import AUTO

if TYPE_CHECKING:
    import torch

    from compressor.data.image_store import ImageStore
    from compressor.data.loading import Augmentation, Views
    from compressor.distillation.teacher_features import FeatureSource, TeacherRunner
    from compressor.models.compute import Compute
    from compressor.models.features import Grid

_SHARDS_VERSION = 1
"""Raise it when the same view of the same image gives other features."""
_MIX_VERSION = 1
"""Raise it when a mixed view is made in another way."""
_DRAFT_VERSION = 1
"""Raise it when views of large JPEG files are cut from other pixels."""


def inputs(run: Run) -> dict[str, object]:
    """Return what decides the features, and what is kept on the disk at all."""
    recipe, spec = run.plan.recipe, run.plan.recipe.distill
    keys = run.images().part("train").keys
    mixed = sorted(spec.mixed_views(len(keys), pretrained=recipe.student.pretrained))
    return {
        "teacher": run.network_digest(recipe.teacher),
        "student": run.network_digest(recipe.student),
        "train": digest(keys),
        "views": [spec.views_for(len(keys)), spec.seed, spec.crops],
        "learns": [not METHODS[spec.method].needs_teacher, spec.teacher, spec.teacher_precision],
        "maps": [spec.token_maps, spec.resample, spec.disk_gb],
        **({"mixed": mixed} if mixed else {}),
        **draft(run),
    }


def draft(run: Run) -> dict[str, object]:
    """Return what keys say of large images, whose views are not cut from all their pixels.

    The sides that networks see are known without loading them, or are taken to be small.
    """
    from compressor.data import image_store

    networks = (run.plan.recipe.teacher, run.plan.recipe.student)
    sides = [each.args.get("img_size", each.image_size) or 0 for each in networks]
    side_px = image_store.SHORT_SIDES * max(int(side) for side in sides if isinstance(side, int))
    large = image_store.drafted(run.images().part("train").records, side_px)
    return {"draft": _DRAFT_VERSION} if large else {}


def of_draft(large: bool) -> list[object]:
    """Return what keys of shards say of them."""
    return [{"draft": _DRAFT_VERSION}] if large else []


def shards(run: Run, numbers: Iterable[int]) -> list[Path]:
    """Return shards of the teacher's features of some views of the training images, each made once.

    They are entries of the store with keys of their own, so that recipes share them.
    """
    from compressor.data.image_store import drafted
    from compressor.distillation.teacher_features import SHARD_IMAGES, shard_name

    grid = _kept_grid(run)
    train, cut = run.images().part("train"), augment(run)
    keys = train.keys
    computed = [str(precision(run)), grid, run.compute().device.type]
    found = []
    for number in numbers:
        view: list[object] | None = None if number == PLAIN else [cut.seed, cut.scale, cut.side_px]
        if view is not None and cut.packing != "raw":
            view.append(cut.packing)
        if view is not None and number in cut.mixed:  # any training image may be the partner
            view.append({"mixed": _MIX_VERSION, "with": digest(sorted(keys))})
        key = ["features", run.network_digest(run.plan.recipe.teacher), view, computed, code()]
        for start in range(0, len(keys), SHARD_IMAGES):
            make = partial(together, run, _write_shard, number, start)
            images, name = keys[start : start + SHARD_IMAGES], shard_name(number, start)
            seen = train.records if number in cut.mixed else train.records[start:][:SHARD_IMAGES]
            large = of_draft(number != PLAIN and drafted(seen, cut.side_px))
            found.append(run.shared([*key, number, images, *large], name, make))
    return found


def _write_shard(run: Run, number: int, start: int, path: Path) -> None:
    from compressor.distillation.teacher_features import write_shard

    looks = runner(run, run.shared_compute(), _kept_grid(run))
    dataset = _views_for_teacher(run, whole=number == PLAIN)
    write_shard(path, looks, dataset, number, start, track=run.track)


def _kept_grid(run: Run) -> Grid | None:
    """Return the grid of the maps in shards; None without maps."""
    if run.plan.recipe.student.model == AUTO:  # a choice of images, before that of a student
        return None
    # Without shards of views there are none of maps either: the disk may not have room for them
    return None if run.disk_plan.features == "online" else run.disk_plan.grid


def code() -> list[object]:
    """Return the versions of code and libraries that decide a shard."""
    return [_SHARDS_VERSION, {name: metadata.version(name) for name in NETWORK_LIBRARIES}]


def precision(run: Run) -> torch.dtype | None:
    """Return the precision of the teacher: for images as the device sees them and for views."""
    from compressor.models.compute import teacher_dtype

    wanted, transformer = run.plan.recipe.distill.teacher_precision, run.teacher.is_transformer
    return teacher_dtype(wanted, run.compute(), transformer=transformer)


def augment(run: Run) -> Augmentation:
    """Return what decides the views."""
    from compressor.data.loading import Augmentation

    spec, pretrained = run.plan.recipe.distill, run.plan.recipe.student.pretrained
    mixed = spec.mixed_views(len(run.images().part("train")), pretrained=pretrained)
    unknown = run.plan.recipe.student.model == AUTO  # only whole images are looked at then
    if unknown:
        return Augmentation(spec.seed, spec.crops, sys.maxsize, mixed=mixed)
    plan = run.disk_plan
    return Augmentation(spec.seed, spec.crops, plan.side_px, mixed, plan.packing)


def decoded(run: Run) -> ImageStore | None:
    """Return the decoded training images; None if the disk had no room for them."""
    from compressor.data.image_store import ImageStore

    count = len(run.images().part("train"))
    plan = run.disk_plan
    return ImageStore(run.file("pixels"), count, plan.packing) if plan.keep_images else None


def feature_source(run: Run, compute: Compute) -> FeatureSource | None:
    """Return where training gets the teacher's features; None for a method without a teacher."""
    from compressor.distillation.teacher_features import CachedFeatures, OnlineFeatures

    if run.disk_plan.features == "none":
        return None
    if run.disk_plan.features == "online":
        return OnlineFeatures(
            runner(run, compute, run.disk_plan.grid), _views_for_teacher(run, whole=False)
        )
    count = len(run.images().part("train"))
    views = run.plan.recipe.distill.views_for(count)
    return CachedFeatures(run.file("features"), views, count, augment(run).mixed)


def runner(run: Run, compute: Compute, grid: Grid | None = None) -> TeacherRunner:
    """Return the teacher, ready to run; without a grid it gives no maps."""
    from compressor.distillation.teacher_features import TeacherRunner

    return TeacherRunner(run.teacher, compute, precision(run), grid)


def _views_for_teacher(run: Run, *, whole: bool) -> Views:
    """Cut from the images as they are, or from those that are kept decoded and shrunk."""
    from compressor.data.loading import Views

    train, inputs = run.images().part("train"), (run.teacher.preprocess,)
    if whole:
        return Views(train, replace(augment(run), side_px=sys.maxsize, packing="raw"), inputs)
    return Views(train, augment(run), inputs, decoded(run))
