"""From images to what a student learns from: the stages before the training."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor.data.audit import AuditSettings, audit
from compressor.data.augmentation import PLAIN
from compressor.data.image_files import DecodedInfo, files_below, inspect
from compressor.pipeline import stage
from compressor.pipeline.context import Run, digest, listing_digest, network_digest
from compressor.pipeline.stage import Stage
from compressor.recipe.choices import METHODS
from runtime.arrays import Floats
from runtime.errors import InputError
from runtime.files import replacing, sha256_of, write_json

if TYPE_CHECKING:
    import torch

    from compressor.data.image_store import ImageStore
    from compressor.data.loading import Augmentation, Views
    from compressor.distillation.teacher_features import FeatureSource, TeacherRunner
    from compressor.models.features import Grid


LIBRARIES = ("torch", "timm", "pillow", "numpy")
"""Distributions that decide what a network answers."""


# --- images ----------------------------------------------------------------------------------


def _images_inputs(run: Run) -> dict[str, Any]:
    data, spec = run.plan.recipe.data, run.plan.recipe.distill
    labels = _labels(run)
    csv = labels not in ("folders", "none")
    return {
        "files": listing_digest(run),
        "labels": sha256_of(Path(labels)) if csv else labels,
        "labelling": run.plan.recipe.label is not None,
        "holdout": str(data.holdout),
        "limits": [data.max_rejected, data.min_images],
        "validation": spec.validation,
        "seed": spec.seed,
    }


def _labels(run: Run) -> str:
    """As `audit` takes them; none while their file is still to be written."""
    labels, waiting = run.plan.recipe.data.labels, run.plan.recipe.label is not None
    missing = labels != "folders" and not Path(labels).is_file()
    return "none" if waiting and missing else labels


def _make_images(run: Run, work: Path) -> None:
    data, spec = run.plan.recipe.data, run.plan.recipe.distill
    own = [run.folder.resolve()]
    task = [data.images, *([data.holdout] if isinstance(data.holdout, Path) else [])]
    settings = AuditSettings(
        labels=_labels(run),
        holdout=data.holdout,
        validation=spec.validation,
        seed=spec.seed,
        exclude=own + ([data.ood] if data.ood else []),
        labelling=run.plan.recipe.label is not None,
    )
    found = audit(data.images, settings, run.track)
    outside = files_below(data.ood, [*own, *task]) if data.ood else []
    ood = inspect(outside, run.track)
    if data.ood and not any(isinstance(info, DecodedInfo) for info in ood.values()):
        raise InputError(f"{data.ood}: data.ood has no usable image among {len(ood)} files")
    found.save(work, ood=ood)
    counts = found.counts()
    run.note(
        f"{counts['images']} usable images: {counts['train']} to train on, "
        f"{counts['validation']} to choose the best checkpoint, {counts['holdout']} held out; "
        f"{counts['rejected']} files rejected, {counts['duplicates']} duplicates set aside"
    )
    if run.plan.recipe.label is not None and found.images.classes:
        run.note(f"labels: {found.images.class_counts()}")  # a class misspelt shows here
    try:
        found.require_usable(max_rejected=data.max_rejected, min_images=data.min_images)
    except InputError:
        found.save(run.folder, ood=ood)  # so that the user finds rejected.csv
        raise


# --- teacher ---------------------------------------------------------------------------------


def _teacher_inputs(run: Run) -> dict[str, Any]:
    return {
        "teacher": network_digest(run.plan.recipe.teacher),
        "precision": run.plan.recipe.distill.teacher_precision,
        "pixels": run.pixels_digest(),
        "train": digest(run.images().part("train").keys),
    }


def _make_embeddings(run: Run, work: Path) -> None:
    import torch
    from safetensors.numpy import save_file

    from compressor.distillation.teacher_features import pooled_of, require_finite
    from compressor.models.embed import embed

    teacher, compute, precision = run.teacher, run.compute(), teacher_precision(run)

    def look(name: str, paths: Sequence[Path]) -> Floats:
        found = embed(
            teacher,
            paths,
            compute,
            label=f"teacher on {name} images",
            precision=precision,
            keep=work / "parts" / name,
            track=run.track,
        )
        require_finite(torch.from_numpy(found), precision or torch.float32)
        return found

    def make(path: Path) -> None:
        # The training images as they are: their first view, which the student learns from too
        found = run.images()
        of_all = np.empty((len(found), teacher.dim), np.float32)
        of_all[found.rows("train")] = pooled_of(_look_at_views(run, [PLAIN], work / "parts"))
        of_all[found.rows("validation", "holdout")] = look(
            "other", found.part("validation", "holdout").paths
        )
        arrays = {"images": of_all, "ood": look("ood", run.ood_paths())}
        with replacing(path) as temporary:
            save_file(arrays, temporary)

    computed_in = str(precision or torch.float32).removeprefix("torch.")
    code = _code("compressor.models.embed", "compressor.distillation.teacher_features")
    key = [_teacher_inputs(run), code, compute.device.type, computed_in]
    run.once(key, work / "embeddings.safetensors", make)
    write_json(work / "teacher.json", teacher.card() | {"computed_in": computed_in})


def _pixels_inputs(run: Run) -> dict[str, Any]:
    """What decides the store, and whether there is one: that depends on all that is kept."""
    return _features_inputs(run)


def _make_pixels(run: Run, work: Path) -> None:
    from compressor.data import image_store

    (work / "pixels").mkdir(exist_ok=True)
    for line in run.disk_plan.lines:
        run.note(line)
    if not run.disk_plan.keep_images:
        return
    train, side_px = run.images().part("train"), run.disk_plan.side_px
    code = _code("compressor.data.image_store")
    for start in range(0, len(train), image_store.SHARD_IMAGES):
        keys = train.keys[start : start + image_store.SHARD_IMAGES]
        path = work / "pixels" / image_store.shard_name(start)
        make = partial(
            image_store.write_shard, images=train, start=start, side_px=side_px, track=run.track
        )
        run.once(["pixels", keys, side_px, code], path, make)


def _features_inputs(run: Run) -> dict[str, Any]:
    recipe, spec = run.plan.recipe, run.plan.recipe.distill
    keys = run.images().part("train").keys
    return {
        "teacher": network_digest(recipe.teacher),
        "student": network_digest(recipe.student),
        "train": digest(keys),
        "views": [spec.views_for(len(keys)), spec.seed, spec.crop_scale],
        "learns": [not METHODS[spec.method].needs_teacher, spec.teacher, spec.teacher_precision],
        "maps": [spec.token_maps, spec.resample, spec.disk_gb],
    }


def _make_features(run: Run, work: Path) -> None:
    (work / "features").mkdir(exist_ok=True)
    if run.disk_plan.features != "cached":
        return
    spec = run.plan.recipe.distill
    count = spec.views_for(len(run.images().part("train")))
    _look_at_views(run, range(count), work / "features")


def _look_at_views(run: Run, numbers: Iterable[int], folder: Path) -> list[Path]:
    """Shards with the teacher's features of views of the training images, each made once."""
    from compressor.distillation.teacher_features import SHARD_IMAGES, shard_name, write_shard

    # Without shards of views there are none of maps either: the disk may not have room for them
    plan = run.disk_plan
    runner = _teacher_runner(run, None if plan.features == "online" else plan.grid)
    keys, cut = run.images().part("train").keys, augment(run)
    teacher, code = (
        network_digest(run.plan.recipe.teacher),
        _code("compressor.distillation.teacher_features"),
    )
    seen_by = [str(runner.precision), runner.grid, runner.compute.device.type]
    folder.mkdir(exist_ok=True)
    shards = []
    for number in numbers:
        whole = number == PLAIN
        dataset = _views_for_teacher(run, whole=whole)
        how = [teacher, None if whole else [cut.seed, cut.scale, cut.side_px], seen_by, code]
        for start in range(0, len(keys), SHARD_IMAGES):
            of = keys[start : start + SHARD_IMAGES]
            make = partial(
                write_shard,
                runner=runner,
                dataset=dataset,
                number=number,
                start=start,
                track=run.track,
            )
            shards.append(folder / shard_name(number, start))
            run.once(["features", how, number, of], shards[-1], make)
    return shards


def _teacher_runner(run: Run, grid: Grid | None) -> TeacherRunner:
    from compressor.distillation.teacher_features import TeacherRunner

    return TeacherRunner(run.teacher, run.compute(), teacher_precision(run), grid)


def teacher_precision(run: Run) -> torch.dtype | None:
    """In which precision the teacher looks: at the images as the device sees them and at views."""
    from compressor.models.compute import teacher_dtype

    wanted, transformer = run.plan.recipe.distill.teacher_precision, run.teacher.is_transformer
    return teacher_dtype(wanted, run.compute(), transformer=transformer)


def _views_for_teacher(run: Run, *, whole: bool) -> Views:
    """Cut from the images as they are, or from those that are kept decoded and shrunk."""
    from compressor.data.loading import Views

    train, inputs = run.images().part("train"), (run.teacher.preprocess,)
    if whole:
        return Views(train, replace(augment(run), side_px=sys.maxsize), inputs)
    return Views(train, augment(run), inputs, store_of(run))


def augment(run: Run) -> Augmentation:
    """What decides the views."""
    from compressor.data.loading import Augmentation

    spec = run.plan.recipe.distill
    return Augmentation(spec.seed, spec.crop_scale, run.disk_plan.side_px)


def store_of(run: Run) -> ImageStore | None:
    """The decoded training images, if the disk had room for them."""
    from compressor.data.image_store import ImageStore

    count = len(run.images().part("train"))
    return ImageStore(run.folder / "pixels", count) if run.disk_plan.keep_images else None


def _code(*modules: str) -> list[Any]:
    """The code and libraries that decide what modules make."""
    return [stage.code_digest(modules), {name: metadata.version(name) for name in LIBRARIES}]


def feature_source(run: Run) -> FeatureSource | None:
    """Where training gets the teacher's features; None for a method without a teacher."""
    from compressor.distillation.teacher_features import CachedFeatures, OnlineFeatures

    if run.disk_plan.features == "none":
        return None
    if run.disk_plan.features == "online":
        runner = _teacher_runner(run, run.disk_plan.grid)
        return OnlineFeatures(runner, _views_for_teacher(run, whole=False))
    spec = run.plan.recipe.distill
    count = len(run.images().part("train"))
    return CachedFeatures(run.folder / "features", spec.views_for(count), count)


STAGES: Sequence[Stage[Run]] = (
    Stage(
        name="images",
        summary="decode every file, name the unusable, set duplicates aside, split",
        outputs=("dataset.json", "rejected.csv", "duplicates.csv"),
        needs=(),
        inputs=_images_inputs,
        make=_make_images,
        code=("compressor.data.audit",),
        libraries=("pillow",),
    ),
    Stage(
        name="embeddings",
        summary="the teacher on every image",
        outputs=("embeddings.safetensors", "teacher.json"),
        needs=("images",),
        inputs=_teacher_inputs,
        make=_make_embeddings,
        code=(
            "compressor.models.embed",
            "compressor.distillation.teacher_features",
            "compressor.models.compute",
        ),
        libraries=LIBRARIES,
    ),
    Stage(
        name="pixels",
        summary="the training images decoded, for as long as they fit on the disk allowed",
        outputs=("pixels",),
        needs=("images",),
        inputs=_pixels_inputs,
        make=_make_pixels,
        code=("compressor.data.image_store", "compressor.distillation.disk_budget"),
        libraries=("pillow",),
    ),
    Stage(
        name="features",
        summary="the teacher on the fixed views of the training images, once",
        outputs=("features",),
        needs=("images", "pixels"),
        inputs=_features_inputs,
        make=_make_features,
        code=(
            "compressor.distillation.teacher_features",
            "compressor.distillation.disk_budget",
            "compressor.models.compute",
        ),
        libraries=LIBRARIES,
    ),
)
