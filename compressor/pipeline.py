"""The way of the data: the stages of a run, in order, each from files to files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compressor import images, stages
from compressor.run import Run, digest, listing_digest, network_digest
from compressor.stages import Progress, Stage
from runtime.errors import InputError
from runtime.files import read_json, sha256_of, write_json

if TYPE_CHECKING:
    from compressor.encoders import Encoder
    from compressor.probes import LinearProbe
    from runtime.golden import Golden

Floats = npt.NDArray[np.float32]

MAX_BANK = 20_000
"""Training embeddings that the kNN and the OOD score search, at most; labelled ones come first."""
_LEARNING = ("torch", "timm")


def run_all(run: Run, *, until: str | None = None) -> Iterator[Progress]:
    """Make or find the outputs of every stage, in order; yields after each one."""
    for stage in STAGES:
        run.note(f"{stage.name}: {stage.summary}")
        yield stages.run_stage(stage, run, run.folder)
        if stage.name == until:
            return


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
    found = images.audit(
        data.images,
        labels=data.labels,
        holdout=data.holdout,
        validation=spec.validation,
        seed=spec.seed,
        exclude=own + ([data.ood] if data.ood else []),
        track=run.track,
    )
    looks = images.inspect(images.files_below(data.ood, own), run.track) if data.ood else {}
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
        arrays[name] = embed(teacher, paths, compute, label=label, track=run.track)
    save_file(arrays, work / "embeddings.safetensors")
    write_json(work / "teacher.json", _card(teacher))


def _features_inputs(run: Run) -> dict[str, Any]:
    spec = run.plan.recipe.distill
    return {
        "teacher": network_digest(run.plan.recipe.teacher),
        "train": digest(run.images().part("train").keys),
        "views": [spec.views, spec.seed, spec.crop_scale],
    }


def _make_features(run: Run, work: Path) -> None:
    from compressor.embeddings import ViewPixels, embed_views

    spec, compute = run.plan.recipe.distill, run.compute()
    teacher, train = run.teacher, run.images().part("train")
    dataset = ViewPixels(train, teacher.preprocess, spec.seed, spec.crop_scale)
    for number in range(spec.views):
        embed_views(teacher, dataset, number, work / "features", compute, track=run.track)


# --- student ---------------------------------------------------------------------------------


def _distill_inputs(run: Run) -> dict[str, Any]:
    recipe, found = run.plan.recipe, run.images()
    not_deciding = {"workers", "checkpoint_s", "device"}
    return {
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
        features=load_views(run.folder / "features", recipe.distill.views, len(train)),
        validation=validation,
        validation_features=embedded[chosen],
    )
    student = create_student(recipe.student, seed=recipe.distill.seed)
    state = distill(
        student, material, recipe.distill, run.compute(), work, track=run.track, note=run.note
    )
    save_file(state, work / "student.safetensors", metadata={"model": recipe.student.model})


def _trained_student(run: Run) -> Encoder:
    from safetensors.torch import load_file

    from compressor.encoders import create_student

    recipe = run.plan.recipe
    student = create_student(recipe.student, seed=recipe.distill.seed)
    student.module.load_state_dict(load_file(run.folder / "student.safetensors"))
    return student


# --- probes and golden set -------------------------------------------------------------------


def _probes_inputs(run: Run) -> dict[str, Any]:
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
    encoders = {"student": _trained_student(run), "untrained": untrained}
    arrays: dict[str, Floats] = {"teacher": run.tensors("embeddings.safetensors")["images"]}
    for name, encoder in encoders.items():
        label = f"{name} on images" if name == "student" else "untrained student on images"
        arrays[name] = embed(encoder, found.paths, compute, label=label, track=run.track)
        label = f"{name} on out-of-distribution images"
        arrays[f"{name}_ood"] = embed(
            encoder, run.ood_paths(), compute, label=label, track=run.track
        )
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


def _golden_inputs(run: Run) -> dict[str, Any]:
    return {
        "root": str(run.root),
        "embeddings": stages.outputs_digest("embeddings", run.folder),
        "probes": stages.outputs_digest("probes", run.folder),
        "images": stages.outputs_digest("images", run.folder)["dataset.json"],
    }


def _make_golden(run: Run, work: Path) -> None:
    from runtime.check import fidelity_figures
    from runtime.session import Outputs

    golden = _golden(run, "student")
    golden.save(work / "holdout", root=str(run.root))
    before = _golden(run, "untrained").arrays
    outputs = Outputs(before.student_embedding, before.student_logits)
    measured = replace(golden, arrays=before)
    write_json(
        work / "untrained.json", fidelity_figures(measured, outputs, before.student_ood_embedding)
    )


def _golden(run: Run, student: str) -> Golden:
    """Held-out images with the answers of the teacher and of `student` (or `untrained`)."""
    from runtime import fidelity
    from runtime.golden import Arrays, Golden

    found, probed = run.images(), run.tensors("probes.safetensors")
    teacher, ood = (run.tensors("embeddings.safetensors")[name] for name in ("images", "ood"))
    held = np.array([photo.split == "holdout" for photo in found.photos])
    bank = _bank_rows(found.labels, ~held)
    known = bank[found.labels[bank] >= 0]
    votes = None
    if len(known):
        of_known = found.labels[known]
        votes = fidelity.knn_votes(teacher[held], teacher[known], of_known, len(found.classes))
    teacher_probe, student_probe = _probe(probed, "teacher"), _probe(probed, student)
    arrays = Arrays(
        labels=found.labels[held],
        teacher_embedding=teacher[held],
        teacher_knn=None if votes is None else votes.argmax(axis=1),
        teacher_logits=teacher_probe.logits(teacher[held]) if teacher_probe else None,
        teacher_ood_inside=fidelity.ood_scores(teacher[held], teacher[bank]),
        teacher_ood_outside=fidelity.ood_scores(ood, teacher[bank]) if len(ood) else None,
        student_embedding=probed[student][held],
        student_logits=student_probe.logits(probed[student][held]) if student_probe else None,
        student_ood_embedding=probed[f"{student}_ood"] if len(ood) else None,
        bank=probed[student][bank],
        bank_labels=found.labels[bank],
    )
    names = [photo.id for photo in found.part("holdout").photos]
    outside: list[str] = read_json(run.folder / "dataset.json")["ood_images"]
    return Golden(run.root, tuple(names), tuple(outside), found.classes, arrays)


def _bank_rows(labels: npt.NDArray[np.int64], usable: npt.NDArray[np.bool_]) -> Any:
    """Rows of the bank: labelled images first, then evenly over the rest, at most MAX_BANK."""
    labelled = np.flatnonzero(usable & (labels >= 0))
    others = np.flatnonzero(usable & (labels < 0))
    rows = []
    left = MAX_BANK
    for candidates in (labelled, others):
        kept = min(len(candidates), left)
        at = np.linspace(0, len(candidates) - 1, kept).round().astype(np.int64)
        rows.append(candidates[at])
        left -= kept
    return np.sort(np.concatenate(rows))


def _probe(probed: dict[str, Floats], name: str) -> LinearProbe | None:
    from compressor.probes import LinearProbe

    if f"{name}_weight" not in probed:
        return None
    return LinearProbe(probed[f"{name}_weight"], probed[f"{name}_bias"])


# --- files for the device --------------------------------------------------------------------


def _onnx_inputs(run: Run) -> dict[str, Any]:
    return _probes_inputs(run) | {
        "probes": stages.outputs_digest("probes", run.folder),
        "recipe": run.plan.digest,
    }


def _make_onnx(run: Run, work: Path) -> None:
    from export.to_onnx import Deployed, export

    student, probe = _trained_student(run), _probe(run.tensors("probes.safetensors"), "student")
    parameters = (probe.weight, probe.bias) if probe else (None, None)
    module = Deployed(student.module, *parameters)
    metadata = {
        "preprocess": student.preprocess.to_dict(),
        "classes": list(run.images().classes),
        "recipe": {"name": run.plan.recipe.name, "digest": run.plan.digest},
        "teacher": read_json(run.folder / "teacher.json"),
        "student": read_json(run.folder / "student.json"),
    }
    export(module, student.preprocess.size_px, work / "student.fp32.onnx", metadata)


def _bundle_inputs(run: Run) -> dict[str, Any]:
    return {
        "onnx": stages.outputs_digest("to_onnx", run.folder),
        "golden": stages.outputs_digest("golden", run.folder),
        "target": [run.plan.target_name, run.plan.target.model_dump(mode="json")],
        "require": run.plan.recipe.require.model_dump(mode="json"),
        "golden_images": run.plan.recipe.export.golden_images,
    }


def _make_bundle(run: Run, work: Path) -> None:
    from export import bundle
    from export.to_onnx import facts
    from runtime import fidelity, golden
    from runtime.bundle import SCHEMA_VERSION

    plan, found = run.plan, run.images()
    student, teacher = (read_json(run.folder / f"{role}.json") for role in ("student", "teacher"))
    embedded = run.tensors("probes.safetensors")["student"]
    train, validation = (
        embedded[[photo.split == split for photo in found.photos]]
        for split in ("train", "validation")
    )
    scores = fidelity.ood_scores(validation, train)
    match = plan.target.match.model_dump(exclude_none=True)
    path = run.folder / "student.fp32.onnx"
    document = {
        "schema_version": SCHEMA_VERSION,
        "name": plan.recipe.name,
        "recipe": {"name": plan.recipe.name, "digest": plan.digest},
        "classes": list(found.classes),
        "preprocess": student["preprocess"],
        # Under it, an image is less like the training images than 95 % of unseen ones of the task.
        "ood_threshold": float(np.percentile(scores, 5)),
        "target": {"name": plan.target_name, **plan.target.model_dump(mode="json"), "match": match},
        "require": plan.recipe.require.model_dump(mode="json"),
        "teacher": teacher,
        "student": student,
        "onnx": facts(path),
    }
    files = [("onnx-fp32", "fp32", path)]
    held_out = golden.load(run.folder / "holdout")
    bundle.write(
        work / bundle.BUNDLE_NAME,
        document,
        files,
        held_out,
        golden_images=plan.recipe.export.golden_images,
    )


def _check_inputs(run: Run) -> dict[str, Any]:
    from runtime.device import describe

    machine = describe()
    return {
        "bundle": stages.outputs_digest("bundle", run.folder),
        "golden": stages.outputs_digest("golden", run.folder),
        "machine": [machine["cpu"], machine["cores"], machine["gpu"]],
    }


def _make_check(run: Run, work: Path) -> None:
    from runtime import bundle, golden, report
    from runtime.check import check

    found = check(
        bundle.load(run.folder / "bundle"), golden.load(run.folder / "holdout"), track=run.track
    )
    before = [stage.name for stage in STAGES if stage.name != "check"]
    found |= {
        "data": {**run.counts(), "digest": run.pixels_digest()},
        "timings_s": {name: stages.seconds_of(name, run.folder) for name in before},
        "training": _training_summary(run.folder / "train.jsonl"),
        "untrained_student": read_json(run.folder / "untrained.json"),
    }
    report.write(found, work)


def _training_summary(path: Path) -> dict[str, Any]:
    epochs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    best = max(epochs, key=lambda epoch: epoch.get("similarity", float(epoch["epoch"])))
    return {"epochs": len(epochs), "best_epoch": best["epoch"], "last": epochs[-1]}


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
        code=("compressor.images", "compressor.labels", "runtime.decode"),
        libraries=("pillow",),
    ),
    Stage(
        name="embeddings",
        summary="the teacher on every image",
        outputs=("embeddings.safetensors", "teacher.json"),
        needs=("images",),
        inputs=_teacher_inputs,
        make=_make_embeddings,
        code=(
            "compressor.embeddings",
            "compressor.encoders",
            "compressor.weights",
            "runtime.preprocess",
            "runtime.decode",
        ),
        libraries=_LEARNING,
    ),
    Stage(
        name="features",
        summary="the teacher on the fixed seeded views of the training images, once",
        outputs=("features",),
        needs=("images",),
        inputs=_features_inputs,
        make=_make_features,
        code=(
            "compressor.embeddings",
            "compressor.encoders",
            "compressor.weights",
            "compressor.views",
            "runtime.decode",
        ),
        libraries=_LEARNING,
    ),
    Stage(
        name="distill",
        summary="train the student on the cached views",
        outputs=("student.safetensors", "train.jsonl"),
        needs=("images", "embeddings", "features"),
        inputs=_distill_inputs,
        make=_make_student,
        code=(
            "compressor.distill",
            "compressor.tintem",
            "compressor.encoders",
            "compressor.embeddings",
            "compressor.views",
        ),
        libraries=_LEARNING,
    ),
    Stage(
        name="probes",
        summary="the student on every image, before and after; linear probes",
        outputs=("probes.safetensors", "student.json"),
        needs=("images", "embeddings", "distill"),
        inputs=_probes_inputs,
        make=_make_probes,
        code=(
            "compressor.probes",
            "compressor.embeddings",
            "compressor.encoders",
            "runtime.preprocess",
        ),
        libraries=(*_LEARNING, "scikit-learn"),
    ),
    Stage(
        name="golden",
        summary="the answers of teacher and student to the held-out images",
        outputs=("holdout", "untrained.json"),
        needs=("images", "embeddings", "probes"),
        inputs=_golden_inputs,
        make=_make_golden,
        code=("compressor.pipeline", "runtime.golden", "runtime.fidelity", "runtime.check"),
    ),
    Stage(
        name="to_onnx",
        summary="student and probe as one ONNX file",
        outputs=("student.fp32.onnx",),
        needs=("images", "embeddings", "distill", "probes"),
        inputs=_onnx_inputs,
        make=_make_onnx,
        code=("export.to_onnx", "compressor.encoders"),
        libraries=(*_LEARNING, "onnx", "onnxscript"),
    ),
    Stage(
        name="bundle",
        summary="everything the device needs, with a manifest",
        outputs=("bundle",),
        needs=("images", "embeddings", "probes", "golden", "to_onnx"),
        inputs=_bundle_inputs,
        make=_make_bundle,
        code=("compressor.pipeline", "export.bundle", "runtime.golden", "runtime.bundle"),
    ),
    Stage(
        name="check",
        summary="run the bundle here: latency, parity, fidelity, verdict",
        outputs=("report.json", "report.md"),
        needs=("images", "distill", "golden", "bundle"),
        inputs=_check_inputs,
        make=_make_check,
        code=(
            "runtime.check",
            "runtime.fidelity",
            "runtime.latency",
            "runtime.parity",
            "runtime.verdict",
            "runtime.report",
            "runtime.ort",
        ),
    ),
)
