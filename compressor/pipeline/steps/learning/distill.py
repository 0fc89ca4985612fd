"""Step `distill`: the training of the student."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compressor.distillation.epochs import BEST_STUDENT
from compressor.pipeline.context import Run
from compressor.pipeline.crew import together
from compressor.pipeline.shared import teacher_views, training_data
from compressor.pipeline.step import NETWORK_LIBRARIES, Step
from compressor.pipeline.steps.learning import start
from compressor.pipeline.storage.digests import digest
from compressor.recipe.choices import METHODS
from runtime.documents import read_json
from runtime.files import sha256_of, write_json

if TYPE_CHECKING:
    from torch import Tensor

_NOT_DECIDING = {"workers", "checkpoint_s", "device", "disk_gb", "minutes", "deterministic"}
"""Keys of `distill:` that change no bit. What fits on the disk shows in the digests of features and
pixels."""


def _inputs(run: Run) -> dict[str, object]:
    recipe, found = run.plan.recipe, run.images()
    needs_labels = METHODS[recipe.distill.method].needs_labels
    seen = found.part("train", "validation")
    return {
        "labels": digest([seen.labels.tolist(), found.classes]) if needs_labels else None,
        "student": run.network_digest(recipe.student),
        "distill": recipe.distill.model_dump(mode="json", exclude=_NOT_DECIDING),
        **({"deterministic": True} if recipe.distill.deterministic else {}),
        "train": digest(found.part("train").keys),
        "pixels": run.outputs("pixels"),
        "validation": digest(found.part("validation").keys),
        "features": run.outputs("features"),
        "embeddings": run.outputs("embeddings"),
        **teacher_views.draft(run),
        **({"start": run.outputs("start")} if start.wanted(run) else {}),
    }


def _make(run: Run, work: Path) -> None:
    from safetensors.torch import save_file

    recipe = run.plan.recipe
    state = together(run, _train, work)
    if start.wanted(run):
        trained = read_json(work / "training.json")
        write_json(work / "training.json", trained | {"start": read_json(run.file("start.json"))})
    save_file(state, work / "student.safetensors", metadata={"model": recipe.student.model})


def _train(run: Run, work: Path) -> dict[str, Tensor]:
    from compressor.distillation.trainer import distill
    from compressor.models.encoder import create_student

    recipe, compute = run.plan.recipe, run.shared_compute()
    return distill(
        create_student(recipe.student, seed=recipe.distill.seed),
        training_data.of(run, compute),
        recipe.distill,
        compute,
        work,
        start=start.load(run) if start.wanted(run) else None,
        track=run.track,
        note=run.note,
        on_epoch=run.observer,
    )


def best_so_far(run: Run) -> Step | None:
    """Return a step that takes the best student of a stopped training with a start as it is.

    It stands in for the training in the folder of the run alone. The next run continues the
    training where it was stopped.

    Returns:
        None where no training was stopped, or no epoch was better than the start.
    """
    training = step(started=start.wanted(run))
    if any(name not in run.files.steps for name in training.needs):
        return None
    work = run.files.store.work(training.entry(run, training.key(run)))
    if not (work / BEST_STUDENT).is_file():
        return None

    def make(run: Run, folder: Path) -> None:
        shutil.copyfile(work / BEST_STUDENT, folder / "student.safetensors")
        shutil.copyfile(work / "train.jsonl", folder / "train.jsonl")
        spec, images = run.plan.recipe.distill, len(run.images().part("train"))
        mixed = spec.mixed_views(images, pretrained=True)
        stopped = {
            "stopped_early": True,
            "images": images,
            "views": spec.views_for(images),
            "batch": spec.batch_for(images),
            **({"mixed_views": len(mixed)} if mixed else {}),
            "start": read_json(run.file("start.json")),
        }
        write_json(folder / "training.json", stopped)

    return replace(
        training,
        summary="the best student of the training so far",
        inputs=lambda run: {
            "best": sha256_of(work / BEST_STUDENT),
            "log": sha256_of(work / "train.jsonl"),
        },
        make=make,
        shared=False,
    )


def step(*, started: bool) -> Step:
    """Return the step.

    Args:
        started: whether the step `start` comes before it, because the student has weights.
    """
    return Step(
        name="distill",
        summary="train the student on the cached views",
        version=7,
        products=("student.safetensors", "train.jsonl", "training.json"),
        needs=("images", "embeddings", "pixels", "features", *(["start"] if started else [])),
        inputs=_inputs,
        make=_make,
        libraries=NETWORK_LIBRARIES,
    )
