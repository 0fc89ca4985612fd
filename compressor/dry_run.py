"""`compressor run --dry-run`: what a run would do and about how long it takes. Writes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from compressor import images, stages
from compressor.pipeline import STAGES
from compressor.run import Run
from compressor.yaml_file import dump
from runtime.report import table

_TIMED_IMAGES = 16


def rehearse(run: Run) -> dict[str, Any]:
    """The resolved recipe, the state of each stage, and an estimate of the work."""
    planned = stages.plan(STAGES, run, run.folder)
    return {
        "recipe": run.plan.recipe.model_dump(mode="json"),
        "digest": run.plan.digest,
        "target": {"name": run.plan.target_name, **run.plan.target.model_dump(mode="json")},
        "folder": str(run.folder),
        "stages": [
            {"stage": stage.name, "state": state, "what": stage.summary} for stage, state in planned
        ],
        "estimate": _estimate(run),
    }


def text(found: dict[str, Any]) -> str:
    """The rehearsal to read."""
    estimate = found["estimate"]
    rows = [[each["stage"], each["state"], each["what"]] for each in found["stages"]]
    return "\n".join(
        [
            dump(found["recipe"]),
            f"would write to {found['folder']}",
            "",
            table(["stage", "state", "what it does"], rows),
            "",
            f"about {estimate['images']:,} images to train on; if nothing is cached:",
            f"  teacher {estimate['teacher_passes']:,} passes, {_minutes(estimate['teacher_s'])}; "
            f"features {estimate['features_mb']:,.0f} MB on disk",
            f"  student {estimate['student_steps']:,} steps, {_minutes(estimate['student_s'])}",
            "  (timed just now on random weights; reading the images comes on top)",
        ]
    )


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _estimate(run: Run) -> dict[str, float]:
    """Counts from the folder's listing; seconds from timing both networks for a moment."""
    recipe = run.plan.recipe
    files = len(images.files_below(recipe.data.images))
    share = recipe.data.holdout if isinstance(recipe.data.holdout, float) else 0.0
    train = round(files * (1 - share) * (1 - recipe.distill.validation))
    passes = train * recipe.distill.views_used + files
    steps = recipe.distill.epochs * max(1, train // recipe.distill.batch)
    teacher_s, student_s, width = _seconds_per_image(run)
    return {
        "images": train,
        "teacher_passes": passes,
        "teacher_s": passes * teacher_s,
        "features_mb": train * recipe.distill.views_used * width * 4 / 1e6,
        "student_steps": steps,
        "student_s": steps * recipe.distill.batch * student_s,
    }


def _seconds_per_image(run: Run) -> tuple[float, float, int]:
    """Of a teacher's pass and of a student's step, and the teacher's width; random weights."""
    import torch

    from compressor.encoders import create_student, load_teacher

    recipe, device = run.plan.recipe, run.compute().device
    teacher = load_teacher(recipe.teacher.model_copy(update={"weights": "none"}))
    student = create_student(recipe.student.model_copy(update={"weights": "none"}), seed=0)
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

    return _timed(forward), _timed(step), teacher.dim


def _timed(call: Callable[[], None]) -> float:
    call()
    started, calls = time.perf_counter(), 0
    while calls < 2 or time.perf_counter() - started < 1:
        call()
        calls += 1
    return (time.perf_counter() - started) / calls / _TIMED_IMAGES
