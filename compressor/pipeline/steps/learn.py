"""From what was prepared to a student with its probes: the stages that learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor.pipeline import stage
from compressor.pipeline.context import Run, digest, network_digest
from compressor.pipeline.stage import Stage
from compressor.pipeline.steps import prepare
from compressor.pipeline.steps.prepare import LIBRARIES
from compressor.recipe.choices import METHODS
from runtime.arrays import Floats
from runtime.files import write_json

if TYPE_CHECKING:
    from compressor.distillation.training_data import TrainingData
    from compressor.models.encoder import Encoder


# --- student ---------------------------------------------------------------------------------


def _distill_inputs(run: Run) -> dict[str, Any]:
    recipe, found = run.plan.recipe, run.images()
    # What fits on the disk shows in the digests of features and pixels.
    not_deciding = {"workers", "checkpoint_s", "device", "disk_gb"}
    needs_labels = METHODS[recipe.distill.method].needs_labels
    seen = found.part("train", "validation")
    return {
        "labels": digest([seen.labels.tolist(), found.classes]) if needs_labels else None,
        "student": network_digest(recipe.student),
        "distill": recipe.distill.model_dump(mode="json", exclude=not_deciding),
        "train": digest(found.part("train").keys),
        "pixels": stage.outputs_digest("pixels", run.folder),
        "validation": digest(found.part("validation").keys),
        "features": stage.outputs_digest("features", run.folder),
        "embeddings": stage.outputs_digest("embeddings", run.folder),
    }


def _make_student(run: Run, work: Path) -> None:
    from safetensors.torch import save_file

    from compressor.distillation.trainer import distill
    from compressor.models.encoder import create_student

    recipe = run.plan.recipe
    student = create_student(recipe.student, seed=recipe.distill.seed)
    state = distill(
        student,
        training_data(run),
        recipe.distill,
        run.compute(),
        work,
        track=run.track,
        note=run.note,
        on_epoch=run.observer,
    )
    save_file(state, work / "student.safetensors", metadata={"model": recipe.student.model})


def training_data(run: Run) -> TrainingData:
    """The training data of a run, as the steps before left it."""
    from compressor.distillation.training_data import TrainingData

    found = run.images()
    embedded = run.tensors("embeddings.safetensors")["images"]
    return TrainingData(
        train=found.part("train"),
        augment=prepare.augment(run),
        store=prepare.store_of(run),
        keep_views=run.disk_plan.keep_views,
        teacher=prepare.feature_source(run),
        validation=found.part("validation"),
        validation_features=embedded[found.rows("validation")],
    )


def trained_student(run: Run) -> Encoder:
    """The student of the `distill` stage."""
    from safetensors.torch import load_file

    from compressor.models.encoder import create_student

    recipe = run.plan.recipe
    student = create_student(recipe.student, seed=recipe.distill.seed)
    student.module.load_state_dict(load_file(run.folder / "student.safetensors"))
    return student


# --- probes ----------------------------------------------------------------------------------


def probes_inputs(run: Run) -> dict[str, Any]:
    """Everything that decides the trained student and its probes."""
    return {
        "student": network_digest(run.plan.recipe.student),
        "weights": stage.outputs_digest("distill", run.folder)["student.safetensors"],
        "embeddings": stage.outputs_digest("embeddings", run.folder),
        "images": stage.outputs_digest("images", run.folder)["dataset.json"],
    }


def _make_probes(run: Run, work: Path) -> None:
    """Embed all images with the student, before and after distillation; choose and fit probes."""
    from safetensors.numpy import save_file

    from compressor.models.embed import embed
    from compressor.models.encoder import create_student, side_by_side
    from compressor.probes.fit import fit_all

    recipe, found, compute = run.plan.recipe, run.images(), run.compute()
    untrained = create_student(recipe.student, seed=recipe.distill.seed)
    encoders = {"student": trained_student(run), "untrained": untrained}
    both = side_by_side(*encoders.values())  # so that an image is decoded once
    arrays = dict[str, Floats]()
    for end, what, paths in (("", "images", found.paths), ("_ood", "ood images", run.ood_paths())):
        label, keep = f"student on {what}", work / "parts" / what
        seen = embed(both, paths, compute, label=label, keep=keep, track=run.track)
        for name, own in zip(encoders, np.split(seen, len(encoders), axis=1), strict=True):
            arrays[name + end] = np.ascontiguousarray(own)
    training = found.rows("train", "validation")
    embedded = {"teacher": run.tensors("embeddings.safetensors")["images"], **arrays}
    of_training = {name: embedded[name][training] for name in ("teacher", *encoders)}
    probes, document = fit_all(of_training, found.labels[training], found.classes, run.note)
    save_file(arrays | probes, work / "probes.safetensors")
    write_json(work / "probe.json", document)
    write_json(work / "student.json", encoders["student"].card())


STAGES: Sequence[Stage[Run]] = (
    Stage(
        name="distill",
        summary="train the student on the cached views",
        outputs=("student.safetensors", "train.jsonl", "training.json"),
        needs=("images", "embeddings", "pixels", "features"),
        inputs=_distill_inputs,
        make=_make_student,
        code=("compressor.distillation.trainer",),
        libraries=LIBRARIES,
    ),
    Stage(
        name="probes",
        summary="the student on every image, before and after; its probe",
        outputs=("probes.safetensors", "probe.json", "student.json"),
        needs=("images", "embeddings", "distill"),
        inputs=probes_inputs,
        make=_make_probes,
        code=("compressor.probes.fit", "compressor.models.embed"),
        libraries=(*LIBRARIES, "scikit-learn", "scipy"),
    ),
)
