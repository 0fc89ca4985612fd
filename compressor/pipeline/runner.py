"""Runs the steps of a recipe in their order, and sends events to the run's observer."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from compressor.distributed import group as groups
from compressor.events import RunEnded, RunStarted, StepEnded, StepStarted, WorkPlanned
from compressor.pipeline import early_bundle, engine
from compressor.pipeline.context import Run
from compressor.pipeline.settling import export_trial
from compressor.pipeline.step import Step
from compressor.pipeline.step_list import BEFORE_SELECTION, LEARNING, steps_of
from compressor.pipeline.steps import robustness, selection
from compressor.pipeline.steps.files import engines, litert, ncnn
from compressor.pipeline.steps.learning import start
from compressor.pipeline.work import ImageCounts, planned_work, uncounted
from runtime.errors import InputError

Outcome = Literal["done", "waiting"]
"""How a run ends: with a report, or waiting for labels."""


def run_all(run: Run, *, until: str | None = None) -> Outcome:
    """Make or find the outputs of every step, in order; the observer sees what happens.

    Args:
        run: what to run; its folder must be locked.
        until: name of the last step that is wanted; None: all.

    Returns:
        "waiting" if it stops after `selection`, because labels are missing; else "done".
    """
    steps = tuple(step.name for step in steps_of(run))
    run.observer(RunStarted(name=run.plan.recipe.name, folder=str(run.folder), steps=steps))
    outcome: Literal["done", "waiting", "failed"] = "failed"
    started = time.monotonic()
    try:
        first = _first_bundle(run) if until is None else "done"
        outcome = _run_all(run, until) if first == "done" else first
    except KeyboardInterrupt:
        if until is None:
            _keep_best(run)
        raise
    finally:
        error = sys.exc_info()[1]
        seconds = round(time.monotonic() - started, 2)
        message = None if error is None else str(error)
        run.observer(RunEnded(outcome=outcome, seconds=seconds, error=message))
    return outcome


def _first_bundle(run: Run) -> Outcome:
    """Make a bundle of the closed form before the training, where there is one."""
    first = early_bundle.first(run)
    if first is None or planned(run)["distill"] in ("cached", "stored"):
        return "done"
    run.note("first a bundle of the closed form, without training")
    try:
        outcome = _run_all(first, None)
    finally:
        first.files.close()
    run.files.read_again()
    if outcome == "done":
        bundle = run.folder / "bundle"
        run.note(f"first bundle: {bundle}, checked; it stays until training has a better student")
    return outcome


def _keep_best(run: Run) -> None:
    """Make a bundle of the best student of a training that the user has stopped."""
    run.files.read_again()
    found = early_bundle.best_so_far(run)
    if found is None:
        return
    best, steps = found
    run.note("stopped; making a bundle of the best student so far (Ctrl-C again leaves it out)")
    engine.attach(best, steps)
    try:
        for number, step in enumerate(steps, 1):
            _run(step, best, number, len(steps))
    finally:
        best.files.close()
    run.note(f"bundle of the best student so far: {run.folder / 'bundle'}, checked")


def _run_all(run: Run, until: str | None) -> Outcome:
    steps, waits = steps_of(run), False
    engine.attach(run, steps)
    for number, step in enumerate(steps, 1):
        if waits and step.name not in BEFORE_SELECTION:
            _run(selection.step(run), run, number, number)
            return "waiting"
        _run(step, run, number, len(steps))
        if step.name == until:
            break
        if step.name == "images":
            waits = selection.short(run)
            run.observer(_work(run, waits=waits))
    return "done"


def _work(run: Run, *, waits: bool) -> WorkPlanned:
    """Return the work of the steps that are not cached; of a run that waits, up to the choice."""
    found, states = run.images(), planned(run)
    due = [
        name
        for name, state in states.items()
        if state in ("to do", "waits") and (not waits or name in BEFORE_SELECTION)
    ]
    counts = ImageCounts(
        train=len(found.part("train")),
        images=len(found),
        outside=len(run.ood_ids()),
        corrupted=len(robustness.rows(run)),
    )
    counted = planned_work(run.plan.recipe, counts)
    return WorkPlanned(
        work=tuple(work for work in counted if work.step in due),
        uncounted=uncounted(due, counted, run.files.steps),
    )


def run_selection(run: Run, more: int | None, *, among: Sequence[Path] | None = None) -> None:
    """Run the steps that a choice of images needs, and the choice.

    Args:
        run: what to run; its folder must be locked.
        more: how many images beyond those labelled or proposed; None: up to the recipe's budget.
        among: images that came back from a device, to choose from; None: all. Without `more`, the
            recipe's budget is how many of them.
    """
    run_embeddings(run)
    number = len(BEFORE_SELECTION) + 1
    _run(selection.step(run, more=more, among=among), run, number, number)


def run_images(run: Run) -> None:
    """Run the step that reads the images; the folder must be locked."""
    steps = steps_of(run)
    engine.attach(run, steps)
    _run(steps[0], run, 1, len(steps))


def run_embeddings(run: Run) -> None:
    """Run the steps up to the teacher's embeddings; the folder must be locked."""
    steps = steps_of(run)
    engine.attach(run, steps)
    for number, step in enumerate(steps[: len(BEFORE_SELECTION)], 1):
        _run(step, run, number, len(BEFORE_SELECTION))


def _run(step: Step, run: Run, number: int, total: int) -> None:
    started = StepStarted(step=step.name, summary=step.summary, number=number, total=total)
    run.observer(started)
    run.reporter.step = step.name
    ended = engine.run_step(step, run)
    run.reporter.step = ""
    run.observer(StepEnded(step=step.name, state=ended.state, seconds=ended.seconds))


def planned(run: Run, steps: Sequence[Step] | None = None) -> dict[str, engine.State]:
    """Return what would become of each step. Touches nothing, and makes nothing."""
    found = engine.plan(steps_of(run) if steps is None else steps, run)
    return {step.name: state for step, state in found}


def refuse_teacher_early(run: Run) -> None:
    """Load the teacher before the first image is decoded, unless its embeddings are there.

    Raises:
        InputError: the teacher or its weights are wrong.
        MissingDependencyError: its weights are neither cached nor to be had.
    """
    states = planned(run, [step for step in steps_of(run) if step.name in BEFORE_SELECTION])
    if states["embeddings"] not in ("cached", "stored"):
        _ = run.teacher


def refuse_early(run: Run) -> None:
    """Find mistakes about teacher and student before the long work, not in its middle.

    Raises:
        InputError: a network cannot be built as the recipe says, the two do not go together, or the
            student cannot be exported.
        MissingDependencyError: weights, device or precision asked for are not here.
    """
    engines.refuse_early(run)
    ncnn.refuse_early(run)
    litert.refuse_early(run)
    if learnt(run):
        return
    from compressor.distillation.disk_budget import require_maps
    from compressor.distillation.methods.method import method_class
    from compressor.distillation.schedule import Schedule
    from compressor.models.compute import teacher_dtype, training_dtype

    spec, compute = run.plan.recipe.distill, run.compute()
    if spec.epochs == 0 and not start.wanted(run):
        raise InputError(
            "distill.epochs is 0, the closed form alone, and the student has no weights to begin "
            "with.\n  Give it some (student.weights), or let it train: distill.epochs: null"
        )
    Schedule(spec, images=sys.maxsize).require_parts(
        groups.current().size
    )  # however many there are
    training_dtype(spec.precision, compute)
    teacher_dtype(spec.teacher_precision, compute, transformer=False)
    method = method_class(spec.method)
    method.check(spec, teacher_dim=run.teacher.dim, student_dim=run.initial_student.dim)
    require_maps(spec, run.teacher, run.initial_student)
    export_trial.try_files(run)


def learnt(run: Run) -> bool:
    """Return whether all that a student is made of is there and unchanged."""
    states = planned(run)
    return all(states[name] in ("cached", "stored") for name in LEARNING)
