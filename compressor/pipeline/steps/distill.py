"""Step `distill`: the training of the student."""

from __future__ import annotations

from pathlib import Path

from compressor.pipeline.context import Run
from compressor.pipeline.shared import training_data
from compressor.pipeline.step import NETWORK_LIBRARIES, Step
from compressor.pipeline.storage.digests import digest
from compressor.recipe.choices import METHODS

_NOT_DECIDING = {"workers", "checkpoint_s", "device", "disk_gb"}
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
        "train": digest(found.part("train").keys),
        "pixels": run.outputs("pixels"),
        "validation": digest(found.part("validation").keys),
        "features": run.outputs("features"),
        "embeddings": run.outputs("embeddings"),
    }


def _make(run: Run, work: Path) -> None:
    from safetensors.torch import save_file

    from compressor.distillation.trainer import distill
    from compressor.models.encoder import create_student

    recipe = run.plan.recipe
    student = create_student(recipe.student, seed=recipe.distill.seed)
    state = distill(
        student,
        training_data.of(run),
        recipe.distill,
        run.compute(),
        work,
        track=run.track,
        note=run.note,
        on_epoch=run.observer,
    )
    save_file(state, work / "student.safetensors", metadata={"model": recipe.student.model})


STEP = Step(
    name="distill",
    summary="train the student on the cached views",
    version=1,
    products=("student.safetensors", "train.jsonl", "training.json"),
    needs=("images", "embeddings", "pixels", "features"),
    inputs=_inputs,
    make=_make,
    libraries=NETWORK_LIBRARIES,
)
