"""The way of the data: the stages of a run, in order, each from files to files."""

from __future__ import annotations

from collections.abc import Iterator

from compressor.pipeline import stage as stages
from compressor.pipeline.context import Run
from compressor.pipeline.stage import Progress, Stage
from compressor.pipeline.steps import check, export, learn, prepare, selection

TO_SELECTION = ("images", "embeddings")


def way(run: Run) -> tuple[Stage[Run], ...]:
    """The whole way; with `label:` in the recipe, `selection` comes in while labels are missing."""
    return (*prepare.STAGES, *learn.STAGES, *check.way(run))


def run_all(run: Run) -> Iterator[Progress]:
    """Make or find the outputs of every stage, in order; yields after each one.

    While labels are missing the last one is `selection`.
    """
    waits = False
    for stage in way(run):
        if waits and stage.name not in TO_SELECTION:
            yield _run(selection.stage(run), run)
            return
        yield _run(stage, run)
        if stage.name == "images":
            waits = selection.short(run)


def run_selection(run: Run, more: int | None) -> Iterator[Progress]:
    """The stages that a choice of images needs, and the choice.

    Args:
        run: what to run.
        more: how many images beyond those labelled or proposed; None: up to the recipe's budget.
    """
    yield from run_embeddings(run)
    yield _run(selection.stage(run, more=more), run)


def run_embeddings(run: Run) -> Iterator[Progress]:
    """The stages up to the teacher's embeddings."""
    for stage in way(run):
        if stage.name in TO_SELECTION:
            yield _run(stage, run)


def _run(stage: Stage[Run], run: Run) -> Progress:
    run.note(f"{stage.name}: {stage.summary}")
    return stages.run_stage(stage, run, run.folder)


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
    from compressor.distillation.objectives import require_head
    from compressor.models.precision import teacher_dtype, training_dtype

    spec, compute = run.plan.recipe.distill, run.compute()
    training_dtype(spec.precision, compute)
    teacher_dtype(spec.teacher_precision, compute, transformer=False)
    require_head(spec, run.teacher.dim, run.untrained_student.dim)
    require_maps(spec, run.teacher, run.untrained_student)


def learnt(run: Run) -> bool:
    """Whether all that a student is made of is there and unchanged."""
    if not (run.folder / ".stages").is_dir():
        return False
    states = {stage.name: state for stage, state in stages.plan(way(run), run, run.folder)}
    return all(states[name] == "cached" for name in LEARNING)
