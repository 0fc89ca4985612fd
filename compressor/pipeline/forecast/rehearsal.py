"""What a dry run measures: how many images there are, and how fast the networks are on a few."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compressor.data.dataset import ImageRecord, ImageSet
from compressor.data.image_files import DecodedInfo, inspect, open_rgb
from compressor.data.layout.layout import Layout
from compressor.data.layout.listing import files_below
from compressor.data.sources.source import Root, name_of
from compressor.pipeline import engine
from compressor.pipeline.context import Run
from compressor.pipeline.forecast.seconds import Pace, Sizes
from compressor.pipeline.settling import time_budget
from compressor.pipeline.steps import images, probes, robustness
from compressor.pipeline.storage.cache import store_for
from compressor.pipeline.work import ImageCounts
from compressor.recipe.networks import WEIGHTS_WORDS
from runtime.errors import InputError
from runtime.images import corruptions
from runtime.images.image_file import ImageFile
from runtime.sampling import evenly

if TYPE_CHECKING:
    from compressor.distillation.disk_budget import DiskPlan
    from compressor.distillation.pace.measure import Pair
    from compressor.distillation.pace.rates import Rates

_CLASSES = ("one", "other")  # of images whose labels are not read yet


@dataclass(frozen=True)
class Rehearsed:
    """A run with what was counted and measured for it."""

    run: Run
    """With epochs and views that are settled."""
    sizes: Sizes
    plan: DiskPlan
    pace: Pace


@dataclass(frozen=True)
class _Found:
    """The images of a run, as far as they are known before it."""

    train: ImageSet
    """To train on; where the run has not begun, records of the right number and sizes."""
    sample: ImageSet
    """A few of them, as they are."""
    files: int
    images: int
    """Usable ones."""
    validation: int
    outside: int
    corrupted: int


def measure(run: Run, layout: Layout) -> Rehearsed:
    """Count the images of a run, and measure how fast it is on a few of them.

    Args:
        run: the run.
        layout: its files, as `images.look` found them.

    Raises:
        InputError: there are no images, or a network cannot be built as the recipe says, of its
            file of weights.
        MissingDependencyError: a device or precision asked for is not here.
    """
    from compressor.distillation.disk_budget import plan_disk
    from compressor.distillation.pace.budget import Measured
    from compressor.distillation.pace.cost import Counts, cost_of
    from compressor.distillation.pace.measure import Pair
    from compressor.models.encoder import create_student, load_teacher

    recipe = run.plan.recipe
    of_teacher, of_student = (  # a file is read, nothing is downloaded
        each.weights not in WEIGHTS_WORDS for each in (recipe.teacher, recipe.student)
    )
    student = create_student(recipe.student, seed=recipe.distill.seed, load=of_student)
    pair = Pair(load_teacher(recipe.teacher, load=of_teacher), student, run.compute())
    found = _found(run, layout)
    counts = Counts(train=len(found.train), validation=found.validation)
    kept = time_budget.kept(run, counts.train, counts.validation)
    rates = kept.rates if kept is not None else _rates(run, found, pair)
    if recipe.distill.minutes is not None:
        kept = kept or time_budget.fitted(run, Measured(found.train, counts, pair, rates))
        run.note(kept.why)
        run = time_budget.applied(run, kept)
    spec = run.plan.recipe.distill
    plan = plan_disk(spec, found.train, pair.teacher, student)
    side = max(each.preprocess.resize_px for each in (pair.teacher, student))
    return Rehearsed(
        run,
        Sizes(
            files=found.files,
            counts=ImageCounts(counts.train, found.images, found.outside, found.corrupted),
            students=1 + len(probes.before_training(run)[:1]) * (spec.epochs != 0),
            decoded=counts.train if plan.keep_images else 0,
        ),
        plan,
        Pace(
            rates=rates,
            corrupt_s=_corrupt_s(found.sample, side, pair.compute.workers),
            training=cost_of(spec, counts, plan, rates),
            on_cpu=pair.compute.device.type == "cpu",
        ),
    )


def _rates(run: Run, found: _Found, pair: Pair) -> Rates:
    from compressor.distillation.pace import measure

    run.note("measuring how fast teacher and student are here")
    spec = run.plan.recipe.distill
    folder = store_for(run.folder, writable=False).folder
    there = folder if os.access(folder, os.W_OK) else None  # nothing is made that stays
    return measure.measure(found.sample, found.train, pair, spec, there)


def _corrupt_s(sample: ImageSet, short_side_px: int, threads: int) -> float:
    """Return the seconds to corrupt an image in every way, while `threads` images are."""
    image, begun = open_rgb(sample.paths[0]), time.perf_counter()
    for corruption in corruptions.all_of(0, short_side_px):
        corruption(image)
    return (time.perf_counter() - begun) / max(1, threads)


def _found(run: Run, layout: Layout) -> _Found:
    from compressor.distillation.pace.measure import SAMPLE, sample_of

    data, spec = run.plan.recipe.data, run.plan.recipe.distill
    ((_, state),) = engine.plan((images.STEP,), run)
    if state == "cached":
        known = run.images()
        train = known.part("train")
        return _Found(
            train=train,
            sample=sample_of(train),
            files=len(known),
            images=len(known),
            validation=len(known.rows("validation")),
            outside=len(run.ood_ids()),
            corrupted=len(robustness.rows(run)),
        )
    root = run.roots.images
    files = [path for each, path in layout.files if each == root]
    if not files:
        raise InputError(f"{data.images}: no files in this folder")
    sample, usable = _sample(root, [files[at] for at in evenly(len(files), SAMPLE)])
    total = round(usable * len(layout.files))
    held = round(usable * len(layout.held_out))
    if isinstance(data.holdout, float) and not layout.is_split:
        held = round(total * data.holdout)
    learnt = total - held
    validation = round(learnt * spec.validation)
    count = learnt - validation
    records = tuple(itertools.islice(itertools.cycle(sample.records), count))
    recipe = run.plan.recipe
    return _Found(
        train=ImageSet(sample.root, _CLASSES, records),
        sample=sample,
        files=len(layout.files),
        images=total,
        validation=validation,
        outside=_count(run.roots.ood),
        corrupted=min(recipe.check.robustness_images, recipe.export.golden_images, held),
    )


def _count(root: Root | None) -> int:
    if root is None:
        return 0
    return len(files_below(root)) if isinstance(root, Path) else len(root.names)


def _sample(root: Root, files: Sequence[ImageFile]) -> tuple[ImageSet, float]:
    """Return the usable ones of some files, and their share.

    Raises:
        InputError: none can be used.
    """
    records = tuple(
        ImageRecord(
            name_of(path, root),
            info.pixels_sha256,
            info.width,
            info.height,
            number % len(_CLASSES),  # a method that learns from labels is as fast with any
            "train",
        )
        for number, (path, info) in enumerate(inspect(files).items())
        if isinstance(info, DecodedInfo)
    )
    if not records:
        raise InputError(f"{root}: no usable image among {len(files)} files that were tried")
    return ImageSet(root, _CLASSES, records), len(records) / len(files)
