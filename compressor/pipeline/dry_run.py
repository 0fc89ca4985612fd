"""`compressor run --dry-run`: what a run would do and about how long it takes. Writes nothing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from compressor.data.dataset import ImageRecord, ImageSet
from compressor.data.image_files import DecodedInfo, files_below, inspect
from compressor.data.labels import UNLABELLED
from compressor.pipeline import engine
from compressor.pipeline.context import Run
from compressor.pipeline.engine import State
from compressor.pipeline.step import Step
from compressor.pipeline.step_list import BEFORE_SELECTION, steps_of
from compressor.pipeline.steps import selection
from compressor.recipe.document import dump
from runtime.errors import InputError
from runtime.images import corruptions
from runtime.text import table

if TYPE_CHECKING:
    from compressor.models.encoder import Encoder

_SHOWN = {"stored": "cached"}
_TIMED_IMAGES = 16
_SIZED_IMAGES = 16  # files that are decoded to see how large the images are


class PlannedStep(Struct, frozen=True, kw_only=True):
    """A step, and whether a run would make it, copy it or skip it."""

    stage: str
    """The name of the step."""
    state: str
    """`cached`, `to do`, or `waits` for a step that is to do."""
    what: str


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


class DryRun(Struct, frozen=True, kw_only=True):
    """What a run would do: the document that `--dry-run --json` prints."""

    recipe: dict[str, Any]
    """Every key with its value, as YAML has it."""
    digest: str
    target: dict[str, Any]
    """Its name, and every key with its value."""
    folder: str
    stages: tuple[PlannedStep, ...]
    stops_after_selection: bool | None
    """Whether the run would wait for labels; None: not known before the images are read."""
    estimate: Estimate


def rehearse(run: Run) -> DryRun:
    """Return the resolved recipe, the state of each step, and an estimate of the work."""
    planned, waits = _planned(run)
    return DryRun(
        recipe=run.plan.recipe.resolved(),
        digest=run.plan.digest,
        target={"name": run.plan.target_name, **run.plan.target.model_dump(mode="json")},
        folder=str(run.folder),
        stages=tuple(
            PlannedStep(stage=step.name, state=_SHOWN.get(state, state), what=step.summary)
            for step, state in planned
        ),
        stops_after_selection=waits,
        estimate=_estimate(run),
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
    rows = [[step.stage, step.state, step.what] for step in found.stages]
    return "\n".join(
        [
            dump(found.recipe),
            f"would write to {found.folder}",
            "",
            table(["step", "state", "what it does"], rows),
            *_about_labels(found),
            "",
            f"about {estimate.images:,} images to train on; if nothing is cached:",
            f"  teacher {estimate.teacher_passes:,} passes, {_minutes(estimate.teacher_s)}",
            *(f"  {line}" for line in estimate.disk),
            f"  student {estimate.student_steps:,} steps, {_minutes(estimate.student_s)}",
            "  (timed just now on random weights; reading the images comes on top)",
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


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _estimate(run: Run) -> Estimate:
    """Counts from the folder's listing; seconds from timing both networks for a moment."""
    from compressor.distillation.disk_budget import plan_disk
    from compressor.models.encoder import create_student, load_teacher

    recipe = run.plan.recipe
    files = files_below(recipe.data.images)
    if not files:
        raise InputError(f"{recipe.data.images}: no files in this folder")
    share = recipe.data.holdout if isinstance(recipe.data.holdout, float) else 0.0
    train = round(len(files) * (1 - share) * (1 - recipe.distill.validation))
    teacher = load_teacher(recipe.teacher.model_copy(update={"weights": "none"}))
    student = create_student(recipe.student.model_copy(update={"weights": "none"}), seed=0)
    disk = plan_disk(recipe.distill, _like(files, train), teacher, student)
    batch = max(1, recipe.distill.batch_for(train))
    steps = recipe.distill.epochs_for(train) * max(1, train // batch)
    shown = steps * batch
    # Beside the first, the image as it is, which the teacher looks at in any case
    more = 0 if disk.features == "none" else recipe.distill.views_for(train) - 1
    corrupted = min(recipe.check.robustness_images, recipe.export.golden_images)
    passes = (shown if disk.features == "online" else more * train) + len(files)
    passes += min(corrupted, len(files)) * len(corruptions.cells())
    teacher_s, student_s = _seconds_per_image(run, teacher, student)
    return Estimate(
        images=train,
        teacher_passes=passes,
        teacher_s=passes * teacher_s,
        disk_mb=disk.bytes / 1e6,
        disk=disk.lines,
        student_steps=steps,
        student_s=shown * student_s,
    )


def _like(files: Sequence[Path], count: int) -> ImageSet:
    """A set of `count` images with the sizes of the first few files."""
    results = inspect(files[:_SIZED_IMAGES]).values()
    sizes = [(info.width, info.height) for info in results if isinstance(info, DecodedInfo)]
    records = [ImageRecord("", "", *size, UNLABELLED, "train") for size in sizes or [(1, 1)]]
    return ImageSet(Path(), (), tuple(itertools.islice(itertools.cycle(records), count)))


def _seconds_per_image(run: Run, teacher: Encoder, student: Encoder) -> tuple[float, float]:
    """Return the seconds per image of a teacher's pass and of a student's training step."""
    import torch

    device = run.compute().device
    networks = [
        each.module.to(device).to(memory_format=torch.channels_last) for each in (teacher, student)
    ]
    inputs = [
        torch.zeros(_TIMED_IMAGES, 3, each.preprocess.size_px, each.preprocess.size_px).to(device)
        for each in (teacher, student)
    ]

    def forward() -> None:
        with torch.inference_mode():
            networks[0].eval()(inputs[0]).sum().item()  # .item() waits for a GPU

    def step() -> None:
        loss = networks[1].train()(inputs[1]).mean()
        loss.backward()
        next(each.grad for each in networks[1].parameters() if each.grad is not None).sum().item()

    return _timed(forward), _timed(step)


def _timed(call: Callable[[], None]) -> float:
    call()
    started, calls = time.perf_counter(), 0
    while calls < 2 or time.perf_counter() - started < 1:
        call()
        calls += 1
    return (time.perf_counter() - started) / calls / _TIMED_IMAGES
