"""The countable work of a run's steps, reckoned from the recipe and the number of images."""

from __future__ import annotations

from compressor.events import StepWork
from compressor.recipe.choices import METHODS
from compressor.recipe.schema import Recipe

_BATCH = 64  # images a network embeds together; compressor.data.loading needs torch to say so


def planned_work(recipe: Recipe, *, train: int, images: int, outside: int) -> tuple[StepWork, ...]:
    """Return the work of the steps whose time grows with images, views and epochs.

    A step that turns out to need less (its outputs are cached, the disk has no room for them) ends
    early; the steps after training have no counted work.

    Args:
        recipe: the run's.
        train: training images.
        images: all images, training images included.
        outside: out-of-distribution images.
    """
    spec = recipe.distill
    batch = max(1, spec.batch_for(train))
    steps = spec.epochs_for(train) * (train // batch)
    looks = [train, images - train, outside]
    cached = METHODS[spec.method].needs_teacher and spec.teacher == "cached"
    views = spec.views_for(train) if cached else 0
    return (
        _work("embeddings", "teacher batch", sum(map(_batches, looks)), "teacher on "),
        _work("pixels", "decoded image", train, "decoding images"),
        _work("features", "teacher batch", max(0, views - 1) * _batches(train), "teacher on view"),
        _work("distill", "student step", steps, "distilling"),
        _work("probes", "student batch", _batches(images) + _batches(outside), "student on "),
    )


def _batches(images: int) -> int:
    return -(-images // _BATCH)


def _work(step: str, unit: str, count: int, label: str) -> StepWork:
    return StepWork(step=step, unit=unit, count=count, label=label)
