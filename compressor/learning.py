"""From images to a student with its probes: the stages that learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compressor import images, stages
from compressor.run import Run, digest, listing_digest, network_digest
from compressor.stages import Stage
from runtime.errors import InputError
from runtime.files import sha256_of, write_json

if TYPE_CHECKING:
    from compressor.encoders import Encoder

Floats = npt.NDArray[np.float32]

LIBRARIES = ("torch", "timm", "pillow")
"""Distributions that decide what a network answers."""


# --- images ----------------------------------------------------------------------------------


def _images_inputs(run: Run) -> dict[str, Any]:
    data, spec = run.plan.recipe.data, run.plan.recipe.distill
    csv = data.labels not in ("folders", "none")
    return {
        "files": listing_digest(run),
        "labels": sha256_of(Path(data.labels)) if csv else data.labels,
        "holdout": str(data.holdout),
        "limits": [data.max_rejected, data.min_images],
        "validation": spec.validation,
        "seed": spec.seed,
    }


def _make_images(run: Run, work: Path) -> None:
    data, spec = run.plan.recipe.data, run.plan.recipe.distill
    own = [run.folder.resolve()]
    task = [data.images, *([data.holdout] if isinstance(data.holdout, Path) else [])]
    found = images.audit(
        data.images,
        labels=data.labels,
        holdout=data.holdout,
        validation=spec.validation,
        seed=spec.seed,
        exclude=own + ([data.ood] if data.ood else []),
        track=run.track,
    )
    outside = images.files_below(data.ood, [*own, *task]) if data.ood else []
    looks = images.inspect(outside, run.track)
    if data.ood and not any(isinstance(look, images.Look) for look in looks.values()):
        raise InputError(f"{data.ood}: data.ood has no usable image among {len(looks)} files")
    found.save(work, ood=looks)
    counts = found.counts()
    run.note(
        f"{counts['images']} usable images: {counts['train']} to train on, "
        f"{counts['validation']} to choose the best checkpoint, {counts['holdout']} held out; "
        f"{counts['rejected']} files rejected, {counts['duplicates']} duplicates set aside"
    )
    try:
        images.enforce(found, max_rejected=data.max_rejected, min_images=data.min_images)
    except InputError:
        found.save(run.folder, ood=looks)  # so that the user finds rejected.csv
        raise


# --- teacher ---------------------------------------------------------------------------------


def _teacher_inputs(run: Run) -> dict[str, Any]:
    return {"teacher": network_digest(run.plan.recipe.teacher), "pixels": run.pixels_digest()}


def _make_embeddings(run: Run, work: Path) -> None:
    from safetensors.numpy import save_file

    from compressor.embeddings import embed

    teacher, compute = run.teacher, run.compute()
    arrays = {}
    for name, paths in (("images", run.images().paths), ("ood", run.ood_paths())):
        label = f"teacher on {name}"
        keep = work / "parts" / name
        arrays[name] = embed(teacher, paths, compute, label=label, keep=keep, track=run.track)
        if lost := int(np.sum(~np.isfinite(arrays[name]).all(axis=1))):
            raise InputError(
                f"teacher: its features of {lost} of {len(paths)} images are not finite; are the "
                f"weights damaged? ({run.plan.recipe.teacher.weights})"
            )
    save_file(arrays, work / "embeddings.safetensors")
    write_json(work / "teacher.json", _card(teacher))


def _features_inputs(run: Run) -> dict[str, Any]:
    spec = run.plan.recipe.distill
    return {
        "teacher": network_digest(run.plan.recipe.teacher),
        "train": digest(run.images().part("train").keys),
        "views": [spec.views_used, spec.seed, spec.crop_scale],
    }


def _make_features(run: Run, work: Path) -> None:
    from compressor.embeddings import ViewPixels, embed_views

    spec, compute = run.plan.recipe.distill, run.compute()
    teacher, train = run.teacher, run.images().part("train")
    dataset = ViewPixels(train, teacher.preprocess, spec.seed, spec.crop_scale)
    for number in range(spec.views_used):
        embed_views(teacher, dataset, number, work / "features", compute, track=run.track)


# --- student ---------------------------------------------------------------------------------


def _distill_inputs(run: Run) -> dict[str, Any]:
    recipe, found = run.plan.recipe, run.images()
    not_deciding = {"workers", "checkpoint_s", "device"}
    supervised = recipe.distill.method == "supervised"
    return {
        "labels": digest(found.part("train").labels.tolist()) if supervised else None,
        "student": network_digest(recipe.student),
        "distill": recipe.distill.model_dump(mode="json", exclude=not_deciding),
        "train": digest(found.part("train").keys),
        "validation": digest(found.part("validation").keys),
        "features": stages.outputs_digest("features", run.folder),
        "embeddings": stages.outputs_digest("embeddings", run.folder),
    }


def _make_student(run: Run, work: Path) -> None:
    from safetensors.torch import save_file

    from compressor.distill import Material, distill
    from compressor.embeddings import load_views
    from compressor.encoders import create_student

    recipe, found = run.plan.recipe, run.images()
    train, validation = found.part("train"), found.part("validation")
    embedded = run.tensors("embeddings.safetensors")["images"]
    chosen = [photo.split == "validation" for photo in found.photos]
    material = Material(
        train=train,
        features=load_views(run.folder / "features", recipe.distill.views_used, len(train)),
        validation=validation,
        validation_features=embedded[chosen],
    )
    student = create_student(recipe.student, seed=recipe.distill.seed)
    state = distill(
        student, material, recipe.distill, run.compute(), work, track=run.track, note=run.note
    )
    save_file(state, work / "student.safetensors", metadata={"model": recipe.student.model})


def trained_student(run: Run) -> Encoder:
    """The student of the `distill` stage."""
    from safetensors.torch import load_file

    from compressor.encoders import create_student

    recipe = run.plan.recipe
    student = create_student(recipe.student, seed=recipe.distill.seed)
    student.module.load_state_dict(load_file(run.folder / "student.safetensors"))
    return student


# --- probes ----------------------------------------------------------------------------------


def probes_inputs(run: Run) -> dict[str, Any]:
    """Everything that decides the trained student and its probes."""
    return {
        "student": network_digest(run.plan.recipe.student),
        "weights": stages.outputs_digest("distill", run.folder)["student.safetensors"],
        "embeddings": stages.outputs_digest("embeddings", run.folder),
        "images": stages.outputs_digest("images", run.folder)["dataset.json"],
    }


def _make_probes(run: Run, work: Path) -> None:
    """Embed all images with the student, before and after distillation; fit a probe on each."""
    from safetensors.numpy import save_file

    from compressor import probes
    from compressor.embeddings import embed
    from compressor.encoders import create_student

    recipe, found, compute = run.plan.recipe, run.images(), run.compute()
    fitted_on = np.array([each.split != "holdout" and each.label >= 0 for each in found.photos])
    untrained = create_student(recipe.student, seed=recipe.distill.seed)
    encoders = {"student": trained_student(run), "untrained": untrained}
    arrays: dict[str, Floats] = {"teacher": run.tensors("embeddings.safetensors")["images"]}
    for name, encoder in encoders.items():
        for key, paths in ((name, found.paths), (f"{name}_ood", run.ood_paths())):
            label, keep = f"{key.replace('_', ' ')} images", work / "parts" / key
            arrays[key] = embed(encoder, paths, compute, label=label, keep=keep, track=run.track)
    for name in ("teacher", "student", "untrained"):
        run.note(f"fitting the linear probe of the {name}")
        probe = probes.fit(
            arrays[name][fitted_on], found.labels[fitted_on], len(found.classes), seed=0
        )
        if probe is not None:
            arrays |= {f"{name}_weight": probe.weight, f"{name}_bias": probe.bias}
    del arrays["teacher"]
    save_file(arrays, work / "probes.safetensors")
    write_json(work / "student.json", _card(encoders["student"]))


def _card(encoder: Encoder) -> dict[str, Any]:
    """What a report says of a network."""
    return {
        **encoder.origin,
        "embedding": encoder.dim,
        "size_mb": encoder.size_mb,
        "preprocess": asdict(encoder.preprocess),
    }


STAGES: Sequence[Stage[Run]] = (
    Stage(
        name="images",
        summary="decode every file, name the unusable, set duplicates aside, split",
        outputs=("dataset.json", "rejected.csv", "duplicates.csv"),
        needs=(),
        inputs=_images_inputs,
        make=_make_images,
        code=("compressor.images",),
        libraries=("pillow",),
    ),
    Stage(
        name="embeddings",
        summary="the teacher on every image",
        outputs=("embeddings.safetensors", "teacher.json"),
        needs=("images",),
        inputs=_teacher_inputs,
        make=_make_embeddings,
        code=("compressor.embeddings",),
        libraries=LIBRARIES,
    ),
    Stage(
        name="features",
        summary="the teacher on the fixed seeded views of the training images, once",
        outputs=("features",),
        needs=("images",),
        inputs=_features_inputs,
        make=_make_features,
        code=("compressor.embeddings",),
        libraries=LIBRARIES,
    ),
    Stage(
        name="distill",
        summary="train the student on the cached views",
        outputs=("student.safetensors", "train.jsonl"),
        needs=("images", "embeddings", "features"),
        inputs=_distill_inputs,
        make=_make_student,
        code=("compressor.distill",),
        libraries=LIBRARIES,
    ),
    Stage(
        name="probes",
        summary="the student on every image, before and after; linear probes",
        outputs=("probes.safetensors", "student.json"),
        needs=("images", "embeddings", "distill"),
        inputs=probes_inputs,
        make=_make_probes,
        code=("compressor.probes", "compressor.embeddings"),
        libraries=(*LIBRARIES, "scikit-learn"),
    ),
)
