"""The countable work of a run's steps, computed from the recipe and the number of images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from compressor.events import StepWork, UncountedStep
from compressor.pipeline.storage.records import StepRecord
from compressor.recipe.choices import METHODS
from compressor.recipe.schema import Recipe

_BATCH = 64  # images a network embeds together; compressor.data.loading needs torch to say so


@dataclass(frozen=True)
class ImageCounts:
    """How many images a run has."""

    train: int
    images: int
    """All, training images included."""
    outside: int
    """Out-of-distribution images."""
    corrupted: int
    """Held-out images that are corrupted."""


def planned_work(recipe: Recipe, counts: ImageCounts) -> tuple[StepWork, ...]:
    """Return the work of the steps whose time grows with images, views and epochs.

    A step that turns out to need less (its outputs are cached, the disk has no room for them) ends
    early. Making and checking the files is not counted: see `uncounted`.
    """
    train, images, outside = counts.train, counts.images, counts.outside
    spec = recipe.distill
    batch = max(1, spec.batch_for(train))
    steps = spec.epochs_for(train) * (train // batch)
    looks = [train, images - train, outside]
    cached = METHODS[spec.method].needs_teacher and spec.teacher != "online"
    views = spec.views_for(train) if cached else 0
    seen = len(spec.start_views(train)) if recipe.student.pretrained else 0
    return (
        _work("embeddings", "teacher batch", sum(map(_batches, looks)), "teacher on "),
        _work("pixels", "decoded image", train, "decoding images"),
        _work("features", "teacher batch", max(0, views - 1) * _batches(train), "teacher on view"),
        _work("start", "student batch", seen * _batches(train), "solving"),
        _work("distill", "student step", steps, "distilling"),
        _work("probes", "student batch", _batches(images) + _batches(outside), "student on "),
        # A unit is an image in all its corruptions: some thirty passes.
        *(
            _work(
                "robustness", f"{name}: corrupted image", counts.corrupted, f"{name} on corrupted"
            )
            for name in ("teacher", "student")
        ),
    )


def uncounted(
    steps: Iterable[str], counted: Iterable[StepWork], made: Mapping[str, StepRecord]
) -> tuple[UncountedStep, ...]:
    """Return the steps that have no counted work, with the seconds that they last took.

    Args:
        steps: names of the steps that have to run, in order.
        counted: the counted work of all steps.
        made: what the folder's earlier run has made, by step.
    """
    names = {work.step for work in counted}
    return tuple(
        UncountedStep(
            step=step,
            part="check" if step == "check" else "export",
            seconds=made[step].seconds if step in made else None,
        )
        for step in steps
        if step not in names
    )


def _batches(images: int) -> int:
    return -(-images // _BATCH)


def _work(step: str, unit: str, count: int, label: str) -> StepWork:
    return StepWork(step=step, unit=unit, count=count, label=label)
