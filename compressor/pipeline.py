"""The way of the data: the stages of a run, in order, each from files to files."""

from __future__ import annotations

from collections.abc import Iterator

from compressor import delivery, learning, stages
from compressor.run import Run
from compressor.stages import Progress

STAGES = (*learning.STAGES, *delivery.STAGES)


def run_all(run: Run) -> Iterator[Progress]:
    """Make or find the outputs of every stage, in order; yields after each one."""
    for stage in STAGES:
        run.note(f"{stage.name}: {stage.summary}")
        yield stages.run_stage(stage, run, run.folder)


def refuse_early(run: Run) -> None:
    """Find mistakes about the student before the teacher's long work, not after it.

    Raises:
        InputError: the student cannot be built as the recipe says.
        MissingDependencyError: the device or the precision asked for is not here.
    """
    if (run.folder / ".stages" / "distill.json").exists():
        return
    from compressor.distill import training_dtype
    from compressor.encoders import create_student

    training_dtype(run.plan.recipe.distill, run.compute())
    create_student(run.plan.recipe.student, seed=0)
