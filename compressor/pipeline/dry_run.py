"""`compressor run --dry-run`: what a run would do and about how long it takes. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from compressor.data.layout.class_counts import ClassCount
from compressor.observers.eta import duration
from compressor.pipeline import early_bundle, engine
from compressor.pipeline.context import Run
from compressor.pipeline.engine import State
from compressor.pipeline.step import Step
from compressor.pipeline.step_list import BEFORE_SELECTION, steps_of
from compressor.pipeline.steps import images, selection
from compressor.recipe.document import dump
from runtime.images import corruptions
from runtime.text import table

if TYPE_CHECKING:
    from compressor.pipeline.forecast.rehearsal import Rehearsed

_SHOWN = {"stored": "cached"}


class PlannedStep(Struct, frozen=True, kw_only=True):
    """A step, and whether a run would make it, copy it or skip it."""

    stage: str
    """The name of the step."""
    state: str
    """`cached`, `to do`, or `waits` for a step that is to do."""
    what: str
    seconds: float | None = None
    """How long making it would take; None: not known."""


class Estimate(Struct, frozen=True, kw_only=True):
    """The work of a run of which nothing is cached."""

    images: int
    """Training images."""
    teacher_passes: int
    teacher_s: float
    disk_mb: float
    disk: tuple[str, ...]
    """What a user should know of it."""
    student_steps: int
    student_s: float
    """Training; `stages` has the seconds of every step."""
    first_bundle_s: float
    """A bundle of the closed form before the training; 0 where there is none."""
    total_s: float
    """Of all steps whose time is known."""
    on_top: tuple[str, ...]
    """Steps whose time is not known, because they were never made here."""


class DryRun(Struct, frozen=True, kw_only=True):
    """What a run would do: the document that `--dry-run --json` prints."""

    recipe: dict[str, Any]
    """Every key with its value, as YAML has it."""
    digest: str
    target: dict[str, Any]
    """Its name, and every key with its value."""
    folder: str
    images: tuple[str, ...]
    """What was found, in sentences: classes with their counts, what is held out or left out."""
    classes: dict[str, ClassCount]
    """Image files of each class, before any is decoded."""
    stages: tuple[PlannedStep, ...]
    stops_after_selection: bool | None
    """Whether the run would wait for labels; None: not known before the images are read."""
    estimate: Estimate


def rehearse(run: Run) -> DryRun:
    """Return the resolved recipe, the state of each step, and an estimate of the work.

    Networks and images are timed for some seconds. Epochs and views of `distill.minutes` are those
    that a run would settle now; only the run itself keeps them.
    """
    from compressor.pipeline.forecast import rehearsal
    from compressor.pipeline.forecast.seconds import step_seconds

    found = images.look(run)
    rehearsed = rehearsal.measure(run, found.layout)
    run = rehearsed.run
    planned, waits = _planned(run)
    seconds = step_seconds(rehearsed.sizes, rehearsed.pace, run.files.steps)
    known = {step.name: seconds[step.name] for step, _ in planned if step.name in seconds}
    return DryRun(
        recipe=run.plan.recipe.resolved(),
        digest=run.plan.digest,
        target={"name": run.plan.target_name, **run.plan.target.model_dump(mode="json")},
        folder=str(run.folder),
        images=found.lines,
        classes=found.classes,
        stages=tuple(
            PlannedStep(
                stage=step.name,
                state=_SHOWN.get(state, state),
                what=step.summary,
                seconds=known.get(step.name),
            )
            for step, state in planned
        ),
        stops_after_selection=waits,
        estimate=_estimate(rehearsed, known),
    )


def _planned(run: Run) -> tuple[list[tuple[Step, State]], bool | None]:
    """Each step with its state, and whether the run would wait for labels; None: not known yet."""
    steps = steps_of(run)
    planned = engine.plan(steps, run)
    if run.plan.recipe.label is None:
        return planned, False
    if planned[0][1] != "cached":
        return planned, None
    if not selection.short(run):
        return planned, False
    at = len(BEFORE_SELECTION)
    return engine.plan((*steps[:at], selection.step(run), *steps[at:]), run), True


def text(found: DryRun) -> str:
    """Return the dry run to read."""
    estimate = found.estimate
    rows = [
        [step.stage, step.state, "" if step.seconds is None else duration(step.seconds), step.what]
        for step in found.stages
    ]
    return "\n".join(
        [
            dump(found.recipe),
            f"would write to {found.folder}",
            *found.images,
            "",
            table(["step", "state", "takes", "what it does"], rows),
            *_about_labels(found),
            "",
            f"about {estimate.images:,} images to train on; if nothing is cached: about "
            f"{duration(estimate.total_s)}{_on_top(estimate)}",
            f"  teacher {estimate.teacher_passes:,} passes, {duration(estimate.teacher_s)}",
            *(f"  {line}" for line in estimate.disk),
            f"  student {estimate.student_steps:,} steps, {duration(estimate.student_s)}",
            *_first_bundle(estimate),
            "  (timed just now on a few of your images; other programs at work make it longer)",
        ]
    )


def _about_labels(found: DryRun) -> list[str]:
    if found.stops_after_selection is False:
        return []
    budget = found.recipe["label"]["budget"]
    return [
        "",
        f"stops after the choice of images to label, while fewer than {budget} have a label",
    ]


def _first_bundle(estimate: Estimate) -> list[str]:
    if not estimate.first_bundle_s:
        return []
    return [f"  a first bundle before the training, {duration(estimate.first_bundle_s)}"]


def _on_top(estimate: Estimate) -> str:
    if not estimate.on_top:
        return ""
    return f", and what was never timed here: {', '.join(estimate.on_top)}"


def _estimate(rehearsed: Rehearsed, seconds: Mapping[str, float | None]) -> Estimate:
    from compressor.pipeline.forecast.seconds import first_bundle_seconds

    spec, counts, plan = rehearsed.run.plan.recipe.distill, rehearsed.sizes.counts, rehearsed.plan
    train, rates = counts.train, rehearsed.pace.rates
    steps = spec.epochs_for(train) * (train // max(1, spec.batch_for(train)))
    passes = rehearsed.pace.training.teacher_passes
    passes += counts.images + counts.outside + counts.corrupted * len(corruptions.cells())
    has_first = early_bundle.first(rehearsed.run) is not None
    first_s = first_bundle_seconds(rehearsed.sizes, rehearsed.pace) if has_first else 0.0
    return Estimate(
        images=train,
        teacher_passes=passes,
        teacher_s=passes * rates.teacher_s,
        disk_mb=plan.bytes / 1e6,
        disk=plan.lines,
        student_steps=steps,
        student_s=rehearsed.pace.training.student_s,
        first_bundle_s=first_s,
        total_s=first_s + sum(each for each in seconds.values() if each is not None),
        on_top=tuple(step for step, each in seconds.items() if each is None),
    )
