"""Bundles before the training has ended: of the closed form, and of a training that was stopped.

A student that has weights answers well as soon as its embedding layer is solved. So a run makes a
whole bundle of that student first, from one pass of teacher and student over the images as they
are, and over no synthetic ones; training goes on from there and replaces it. Ctrl-C in the training
makes one of the best student so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compressor.pipeline.context import Run
from compressor.pipeline.step import Step
from compressor.pipeline.step_list import steps_of
from compressor.pipeline.steps.learning import distill, start

_QUICK: Mapping[str, Mapping[str, object]] = {
    "export": {"precisions": ("fp32",), "engines": (), "formats": ()},
    "check": {"robustness_images": 0},
}


def first(run: Run) -> Run | None:
    """Return the run that makes the first bundle, in the same folder; None where there is none.

    There is none for a student from scratch, for a run without training, and where the folder holds
    a bundle already: an earlier one, which may be better, stays until a trained one replaces it.
    """
    recipe = run.plan.recipe
    if not start.wanted(run) or recipe.distill.epochs == 0 or "bundle" in run.files.steps:
        return None
    without = {"epochs": 0, "views": 1, "patience": 1.0, "teacher": "cached", "synthetic": 0}
    return _changed(run, {**_QUICK, "distill": without})


def best_so_far(run: Run) -> tuple[Run, Sequence[Step]] | None:
    """Return a run of the best student of a stopped training, and its steps.

    None if the training has not begun, or has had no epoch that is better than its start.
    """
    if not start.wanted(run):
        return None
    best = distill.best_so_far(run)
    if best is None:
        return None
    quick = _changed(run, _QUICK)
    steps = [best if step.name == best.name else step for step in steps_of(quick)]
    return quick, steps


def _changed(run: Run, changes: Mapping[str, Mapping[str, object]]) -> Run:
    recipe = run.plan.recipe
    sections = {
        name: getattr(recipe, name).model_copy(update=dict(update))
        for name, update in changes.items()
    }
    return run.with_sections(**sections)
