"""The way of the data: the stages of a run, in order, each from files to files."""

from __future__ import annotations

import sys
import time
from typing import Literal

from compressor.events import RunEnded, RunStarted, StepEnded, StepStarted
from compressor.pipeline import stage as stages
from compressor.pipeline.context import Run
from compressor.pipeline.stage import Stage
from compressor.pipeline.steps import check, export, learn, prepare, selection

TO_SELECTION = ("images", "embeddings")
Outcome = Literal["done", "waiting"]
"""How a run ends: with a report, or waiting for labels."""


def way(run: Run) -> tuple[Stage[Run], ...]:
    """The whole way; with `label:` in the recipe, `selection` comes in while labels are missing."""
    return (*prepare.STAGES, *learn.STAGES, *check.way(run))


def run_all(run: Run, *, until: str | None = None) -> Outcome:
    """Make or find the outputs of every step, in order; the observer sees what happens.

    Args:
        run: what to run; its folder must be locked.
        until: name of the last step that is wanted; None: all.

    Returns:
        "waiting" if it stops after `selection`, because labels are missing; else "done".
    """
    steps = tuple(stage.name for stage in way(run))
    run.observer(RunStarted(name=run.plan.recipe.name, folder=str(run.folder), steps=steps))
    outcome: Literal["done", "waiting", "failed"] = "failed"
    started = time.monotonic()
    try:
        outcome = _run_all(run, until)
    finally:
        error = sys.exc_info()[1]
        seconds = round(time.monotonic() - started, 2)
        message = None if error is None else str(error)
        run.observer(RunEnded(outcome=outcome, seconds=seconds, error=message))
    return outcome


def _run_all(run: Run, until: str | None) -> Outcome:
    steps, waits = way(run), False
    for number, stage in enumerate(steps, 1):
        if waits and stage.name not in TO_SELECTION:
            _run(selection.stage(run), run, number, number)
            return "waiting"
        _run(stage, run, number, len(steps))
        if stage.name == until:
            break
        if stage.name == "images":
            waits = selection.short(run)
    return "done"


def run_selection(run: Run, more: int | None) -> None:
    """Run the steps that a choice of images needs, and the choice.

    Args:
        run: what to run; its folder must be locked.
        more: how many images beyond those labelled or proposed; None: up to the recipe's budget.
    """
    run_embeddings(run)
    number = len(TO_SELECTION) + 1
    _run(selection.stage(run, more=more), run, number, number)


def run_embeddings(run: Run) -> None:
    """Run the steps up to the teacher's embeddings; the folder must be locked."""
    for number, stage in enumerate(way(run)[: len(TO_SELECTION)], 1):
        _run(stage, run, number, len(TO_SELECTION))


def _run(stage: Stage[Run], run: Run, number: int, total: int) -> None:
    started = StepStarted(step=stage.name, summary=stage.summary, number=number, total=total)
    run.observer(started)
    run.reporter.step = stage.name
    ended = stages.run_stage(stage, run, run.folder)
    run.reporter.step = ""
    state: Literal["made", "cached"] = "cached" if ended.state == "cached" else "made"
    run.observer(StepEnded(step=stage.name, state=state, seconds=ended.seconds))


LEARNING = ("embeddings", "pixels", "features", "distill")


def refuse_early(run: Run) -> None:
    """Find mistakes about teacher and student before the long work, not in its middle.

    Raises:
        InputError: a network cannot be built as the recipe says, or the two do not go together.
        MissingDependencyError: weights, device or precision asked for are not here.
    """
    export.refuse_early(run)
    if learnt(run):
        return
    from compressor.distillation.disk_budget import require_maps
    from compressor.distillation.methods.method import method_class
    from compressor.models.compute import teacher_dtype, training_dtype

    spec, compute = run.plan.recipe.distill, run.compute()
    training_dtype(spec.precision, compute)
    teacher_dtype(spec.teacher_precision, compute, transformer=False)
    method = method_class(spec.method)
    method.check(spec, teacher_dim=run.teacher.dim, student_dim=run.untrained_student.dim)
    require_maps(spec, run.teacher, run.untrained_student)


def learnt(run: Run) -> bool:
    """Whether all that a student is made of is there and unchanged."""
    if not (run.folder / ".stages").is_dir():
        return False
    states = {stage.name: state for stage, state in stages.plan(way(run), run, run.folder)}
    return all(states[name] == "cached" for name in LEARNING)
